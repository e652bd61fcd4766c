"""Stigmer for the cases: a real gRPC server process on this host, TLS and key and all."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Cluster
from tests.e2e.cluster.cache import REPOSITORY
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import NAMESPACE, STIGMER_SECRET
from tests.e2e.harness.waiting import wait_for

from workflow_runner.server.tls import new_authority, serving_certificate

Json = dict[str, Any]

API_KEY = "e2e-key-that-appears-in-no-log-4711"
RUNNER = "with-stigmer"


@dataclass(frozen=True)
class Stigmer:
    """The running server and what it has heard."""

    endpoint: str
    events_file: Path

    def events(self, execution_id: str) -> list[Json]:
        """The events of one execution in order of arrival, as proto3 JSON."""
        lines = self.events_file.read_text().splitlines() if self.events_file.exists() else []
        everything = [json.loads(line) for line in lines if line.endswith("}")]
        return [event for event in everything if event.get("workflowExecutionId") == execution_id]

    def wait_for(self, execution_id: str, kind: str, seconds: float = 30.0) -> list[Json]:
        """The events of one execution once one of this type is among them."""
        return wait_for(
            lambda: self.events(execution_id),
            lambda events: any(event["eventType"] == kind for event in events),
            what=f"Stigmer hears {kind}",
            seconds=seconds,
        )


@contextlib.contextmanager
def running(cluster: Cluster, folder: Path) -> Iterator[Stigmer]:
    """Starts the server and registers a WorkflowRunner that reports to it."""
    authority = new_authority()
    key, chain = serving_certificate(authority, [cluster.host_gateway, "localhost"])
    (folder / "tls.key").write_bytes(key)
    (folder / "tls.crt").write_bytes(chain)
    port = _free_port()
    events = folder / "events.jsonl"
    command = [
        sys.executable,
        "-m",
        "tests.servers.stigmer",
        "--listen",
        f"0.0.0.0:{port}",
        "--api-key",
        API_KEY,
        "--events",
        str(events),
    ]
    command += ["--tls-cert", str(folder / "tls.crt"), "--tls-key", str(folder / "tls.key")]
    with (folder / "stigmer.log").open("w") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline(), (folder / "stigmer.log").read_text()
        stigmer = Stigmer(f"{cluster.host_gateway}:{port}", events)
        _register(Namespace(cluster, NAMESPACE), stigmer, authority.certificate.decode())
        yield stigmer
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def _register(namespace: Namespace, stigmer: Stigmer, ca: str) -> None:
    namespace.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": STIGMER_SECRET}, "stringData": {"api-key": API_KEY}},
    )
    namespace.apply(
        {
            "apiVersion": "workflowrunner.stigmer.ai/v1",
            "kind": "WorkflowRunner",
            "metadata": {"name": RUNNER},
            "spec": {
                "type": "embedded",
                "stigmer": {
                    "endpoint": stigmer.endpoint,
                    "apiKeySecretRef": {"name": STIGMER_SECRET, "key": "api-key"},
                    "caBundle": ca,
                },
            },
        }
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        port: int = probe.getsockname()[1]
        return port
