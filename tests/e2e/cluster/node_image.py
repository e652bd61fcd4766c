"""The image of kind's nodes: kind's own where a registry can be reached, else built from packages.
Called by cluster.py.

The decision is quick and is made only once: an image that is there already is used without asking.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tests.e2e.cluster.cache as cache
import tests.e2e.cluster.debian as debian
import tests.e2e.cluster.preflight as preflight
import tests.e2e.cluster.tools as tools
from tests.e2e.cluster.engine import Engine, available
from tests.e2e.cluster.shell import ClusterError, progress, run

# v1.34.11, built by kind's authors for exactly the kind release that tools/go.mod pins: the two change
# together. Without its tag, because Podman does not take one beside a digest.
PULLED = "docker.io/kindest/node@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d"
BUILT = "localhost/workflow-runner-node"

_HERE = Path(__file__).parent
_SCRIPTS = [
    _HERE / name for name in ("node-image.sh", "image_archive.py", "pod-network.sh", "pod-network.yaml", "storage.yaml")
]
# fmt: off
_PACKAGES = [
    "systemd", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount", "kmod", "libseccomp2",
    "e2fsprogs", "ca-certificates", "jq", "procps", "containerd", "runc", "containernetworking-plugins",
]
# fmt: on
_BINARIES = [name for name, program in tools.PROGRAMS.items() if program.folder != "."] + ["pause"]


@dataclass(frozen=True)
class Choice:
    engine: Engine
    image: str


def choose(engines: Sequence[Engine] | None = None) -> Choice:
    """The engine to use and a node image that it has."""
    candidates = available() if engines is None else engines
    if not candidates:
        preflight.require(preflight.PODMAN)
        raise ClusterError("neither a Docker daemon nor Podman was found")
    for engine in candidates:
        for image in (PULLED, built_name()):
            if engine.has_image(image):
                return Choice(engine, image)
    for engine in candidates:
        if engine.pull(PULLED):
            return Choice(engine, PULLED)
    progress("kind's node image cannot be pulled: building one from packages")
    for engine in candidates:
        if engine.name == "podman":
            return Choice(engine, build(engine))
    preflight.require(preflight.PODMAN + preflight.BUILD, root=True)
    raise ClusterError("a node image is built with Podman only")


def built_name() -> str:
    """The image's name says what it was built from."""
    pins = [tools.FOLDER / folder / name for folder in ("kubernetes", "etcd", "coredns") for name in ("go.mod", "go.sum")]
    inputs = cache.key(tools.version("sigs.k8s.io/kind"), *pins, *_SCRIPTS, tools.PAUSE, debian.SUITE, *_PACKAGES)
    return f"{BUILT}:{tools.kubernetes_version()}-{inputs}"


def build(engine: Engine) -> str:
    preflight.require(preflight.PODMAN + preflight.BUILD, root=True)
    image = built_name()
    with cache.locked("node-image"):
        if engine.has_image(image):
            return image
        base = debian.root_file_system("node", _PACKAGES)
        with tempfile.TemporaryDirectory(dir=cache.root()) as binaries:
            for name in _BINARIES:
                os.link(tools.path(name), Path(binaries) / name)  # one folder for the script, at no cost in space
            progress(f"building {image}")
            run(
                [_HERE / "node-image.sh"],
                env={
                    **engine.environment,
                    "BIN": binaries,
                    "BASE": str(base),
                    "KIND_SOURCE": str(tools.kind_source()),
                    "WORK": str(cache.root() / "node-image.work"),
                    "IMAGE": image,
                    "KUBE_VERSION": tools.kubernetes_version(),
                },
                timeout=900,
                show=True,
            )
        for former in engine.run("images", "--filter", f"reference={BUILT}", "--format", "{{.Repository}}:{{.Tag}}").split():
            if former != image:
                engine.succeeds("rmi", former)  # a gigabyte each; stays where a cluster uses it
    return image
