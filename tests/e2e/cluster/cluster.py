"""A Kubernetes cluster as the tests use it: run kubectl, load an image, read the audit log.

Made by lifecycle.py, either of the cluster that E2E_KUBECONFIG names or of one that kind started.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tests.e2e.cluster.kind_config as kind_config
import tests.e2e.cluster.tools as tools
from tests.e2e.cluster.engine import Engine
from tests.e2e.cluster.shell import ClusterError, CommandFailed, run

KUBECONFIG_ENV = "E2E_KUBECONFIG"
GATEWAY_ENV = "E2E_HOST_GATEWAY"
_CTR = ("ctr", "--namespace", "k8s.io")


@dataclass(frozen=True)
class Cluster:
    kubeconfig: Path
    name: str
    host_gateway: str  # where pods reach a server of this host, if it listens on all interfaces
    engine: Engine | None = None  # None: not made by us

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, timeout: float = 60) -> str:
        return run([tools.path("kubectl"), "--kubeconfig", self.kubeconfig, *arguments], stdin=stdin, timeout=timeout)

    def nodes(self) -> list[str]:
        """The node containers, control plane first."""
        names = self.kind("get", "nodes", "--name", self.name).split()
        return sorted(names, key=lambda node: ("control-plane" not in node, node))

    def node_exec(self, *command: str, node: str | None = None, timeout: float = 60) -> str:
        """Run a command in a node, by default the control plane."""
        return self._own().run("exec", node or f"{self.name}-control-plane", *command, timeout=timeout)

    def has_image(self, image: str) -> bool:
        """Whether every node has the image already."""
        query = ["images", "ls", "--quiet", f"name=={image}"]
        return all(self.node_exec(*_CTR, *query, node=node).strip() == image for node in self.nodes())

    def load_image_archive(self, archive: Path) -> None:
        """Load a file as of `docker save`, or a folder as of `podman save --format oci-dir`."""
        if not archive.is_dir():
            self.kind("load", "image-archive", archive, "--name", self.name, timeout=300)
            return
        for node in self.nodes():
            self._load_layout(archive, node)

    def _load_layout(self, layout: Path, node: str) -> None:
        """Load only the layers that the node lacks: after a change of our source that is one small
        layer of several hundred megabytes, and takes a fraction of a second."""
        present = {
            digest.removeprefix("sha256:") for digest in self.node_exec(*_CTR, "content", "ls", "--quiet", node=node).split()
        }
        with tempfile.TemporaryDirectory() as folder:
            missing = Path(folder) / "image.tar"
            with tarfile.open(missing, "w") as tar:
                for file in sorted(path for path in layout.rglob("*") if path.is_file() and path.name not in present):
                    tar.add(file, file.relative_to(layout))
            self._own().run("exec", "--interactive", node, *_CTR, "images", "import", "-", stdin=missing, timeout=300)

    def audit_log(self) -> Iterator[dict[str, Any]]:
        """The API server's audit events, oldest first: as many as the log's rotation has kept."""
        engine = self._own()
        # A rotated file's name, audit-<time>.log, sorts before audit.log.
        script = f"LC_ALL=C; export LC_ALL; cat {kind_config.NODE_AUDIT_LOGS}/*.log"
        command = [engine.name, "exec", f"{self.name}-control-plane", "sh", "-c", script]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **engine.environment}) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.endswith("}\n"):  # the newest line may not be written to its end yet
                    yield json.loads(line)

    def _own(self) -> Engine:
        if self.engine is None:
            raise ClusterError(f"not possible with the cluster of {KUBECONFIG_ENV}: its nodes are not ours")
        return self.engine

    def kind(self, *arguments: str | Path, timeout: float = 60, show: bool = False) -> str:
        return run([tools.path("kind"), *arguments], env=kind_environment(self._own(), self.name), timeout=timeout, show=show)


def kind_environment(engine: Engine, name: str) -> dict[str, str]:
    """kind looks for Docker unless told otherwise, and shares one network among all clusters, which
    it never removes: ours has its own."""
    return {
        **engine.environment,
        "KIND_EXPERIMENTAL_PROVIDER": engine.name,
        f"KIND_EXPERIMENTAL_{engine.name.upper()}_NETWORK": name,
    }


def existing(kubeconfig: Path, environment: Mapping[str, str] = os.environ) -> Cluster:
    if not kubeconfig.is_file():
        raise ClusterError(f"{KUBECONFIG_ENV} names {kubeconfig}, which is no file")
    cluster = Cluster(kubeconfig, "existing", environment.get(GATEWAY_ENV) or _own_address())
    try:
        cluster.kubectl("get", "--raw", "/readyz", timeout=20)
    except CommandFailed as error:
        raise ClusterError(f"the cluster of {KUBECONFIG_ENV} does not answer: {error}") from error
    return cluster


def _own_address() -> str:
    """The address that this host sends from; connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
