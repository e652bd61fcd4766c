"""The programs that tests start, built from the go.mod files of tools/. Called for every use of
kind, kubectl, helm or grpcurl, and by node_image.py for what runs inside a node.

They are built instead of downloaded: a Go module proxy is enough, and versions and checksums are
pinned in the repository like any other dependency. There are several go.mod files, because one would
raise every program's dependencies to the highest that any of them asks for, which nobody has tested.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import tests.e2e.cluster.cache as cache
from tests.e2e.cluster.shell import ClusterError, progress, run

FOLDER = cache.REPOSITORY / "tools"
_KUBERNETES = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Program:
    package: str
    folder: str  # of its go.mod, below tools/


PROGRAMS = {
    "kind": Program("sigs.k8s.io/kind", "."),
    "helm": Program("helm.sh/helm/v4/cmd/helm", "."),
    "grpcurl": Program("github.com/fullstorydev/grpcurl/cmd/grpcurl", "."),
    "etcd": Program("go.etcd.io/etcd/server/v3", "etcd"),
    "coredns": Program("github.com/coredns/coredns", "coredns"),
} | {
    name: Program(f"k8s.io/kubernetes/cmd/{name}", "kubernetes")
    for name in (
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kube-proxy",
        "kubelet",
        "kubeadm",
        "kubectl",
    )
}
PAUSE = Path(__file__).with_name("pause.go")


def version(module: str, folder: str = ".") -> str:
    """The version that a go.mod pins for a module, such as v1.34.4."""
    for line in (FOLDER / folder / "go.mod").read_text().splitlines():
        words = line.removeprefix("require").split()
        if len(words) > 1 and words[0] == module and words[1].startswith("v"):
            return words[1]
    raise ClusterError(f"tools/{folder}/go.mod does not require {module}")


def kubernetes_version() -> str:
    return version("k8s.io/kubernetes", "kubernetes")


def link_flags(name: str) -> str:
    """Versions that a release build would have: kubeadm and clients compare them."""
    flags = "-s -w"
    if PROGRAMS[name].folder == "kubernetes":
        release = kubernetes_version()
        major, minor = release.removeprefix("v").split(".")[:2]
        flags += f" -X {_KUBERNETES}.gitVersion={release} -X {_KUBERNETES}.gitMajor={major} -X {_KUBERNETES}.gitMinor={minor}"
    elif name == "helm":
        flags += f" -X helm.sh/helm/v4/internal/version.version={version('helm.sh/helm/v4')}"
    elif name == "grpcurl":
        flags += f" -X main.version={version('github.com/fullstorydev/grpcurl')}"
    return flags


def _target(name: str) -> Path:
    if name == "pause":
        return cache.root() / "tools" / cache.key(PAUSE) / name
    folder = FOLDER / PROGRAMS[name].folder
    return cache.root() / "tools" / cache.key(folder / "go.mod", folder / "go.sum", link_flags(name)) / name


def path(name: str) -> Path:
    """The program, built when it is not in the cache yet. Go's own cache makes most of a second
    build, too: a change to one go.mod costs little more than linking."""
    target = _target(name)
    if target.exists():
        return target
    _require_go()
    with cache.locked("go-build"):
        if target.exists():
            return target
        progress(f"building {name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(".unfinished")
        program = PROGRAMS.get(name)
        flags, source = (link_flags(name), program.package) if program else ("-s -w", PAUSE)
        run(
            [*_niceness(), "go", "build", "-mod=readonly", "-buildvcs=false", "-ldflags", flags, "-o", unfinished, source],
            cwd=FOLDER / program.folder if program else None,
            # Static programs run in any image and on any host. No workspace of the user's.
            env={"CGO_ENABLED": "0", "GOWORK": "off"},
            timeout=3600,
        )
        unfinished.replace(target)
    return target


def kind_source() -> Path:
    """kind's source tree: the node image takes its scripts from there."""
    _require_go()
    listing = run(
        ["go", "mod", "download", "-json", f"sigs.k8s.io/kind@{version('sigs.k8s.io/kind')}"], cwd=FOLDER, timeout=300
    )
    return Path(json.loads(listing)["Dir"])


def _require_go() -> None:
    if not shutil.which("go"):
        raise ClusterError("Go is needed to build kind and kubectl; install the version that tools/go.mod names")


def _niceness() -> list[str]:
    return ["nice"] if shutil.which("nice") else []
