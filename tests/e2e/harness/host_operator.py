"""An operator as a process of this host, so that a case can stand between it and the API server.

The one in the cluster must be stopped meanwhile. Pods reach the process under the host's address on their network.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Cluster
from tests.e2e.cluster.cache import REPOSITORY
from tests.e2e.harness.operator import NAMESPACE, Operator
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

_PROGRAM = "from workflow_runner.cli.main import main; main()"


@dataclass(frozen=True)
class HostOperator:
    """The running process."""

    process: subprocess.Popen[bytes]
    health_port: int
    log: Path

    def health(self) -> Json:
        """What /health says; {} while nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health_port, timeout=5)
        try:
            connection.request("GET", "/health")
            value: Json = json.loads(connection.getresponse().read())
        except OSError:
            return {}
        finally:
            connection.close()
        return value

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Until all of its parts work."""

        def look() -> Json:
            assert self.process.poll() is None, f"the operator has ended; its log ends:\n{self.log.read_text()[-4000:]}"
            return self.health()

        wait_for(look, lambda health: health.get("status") == "ok", what="the operator is ready", seconds=seconds)


@contextlib.contextmanager
def running(cluster: Cluster, operator: Operator, kubeconfig: Path, folder: Path) -> Iterator[HostOperator]:
    """Starts it with this kubeconfig in the place of the one in the cluster, and ends it."""
    grpc, health, metrics = _free_ports(3)
    environment = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig),
        "WORKFLOW_RUNNER_IMAGE": operator.image,
        "WORKFLOW_RUNNER_NAMESPACE": NAMESPACE,
        "WORKFLOW_RUNNER_SINK_ENDPOINT": f"{cluster.host_gateway}:{grpc}",
        "GRPC_PORT": str(grpc),
        "HEALTH_PORT": str(health),
        "METRICS_PORT": str(metrics),
        "PYTHONPATH": str(REPOSITORY / "operator"),
    }
    operator.stop()
    log = folder / "operator.log"
    try:
        with log.open("wb") as file:
            process = subprocess.Popen([sys.executable, "-c", _PROGRAM, "operator"], env=environment, stderr=file)
        ended: int | None = None
        try:
            yield HostOperator(process, health, log)
        finally:
            ended = process.poll()
            process.terminate()
            process.wait(20)
            # Shown for a test that fails.
            print(f"the operator's log ends:\n{log.read_text()[-8000:]}")
        assert ended is None, f"the operator ended by itself, with {ended}"
    finally:
        operator.start()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("0.0.0.0", 0))
        return [probe.getsockname()[1] for probe in sockets]
