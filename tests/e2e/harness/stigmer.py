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

from tests import canaries
from tests.e2e.cluster import Cluster
from tests.e2e.cluster.cache import REPOSITORY
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import NAMESPACE, RELEASE, STIGMER_SECRET
from tests.e2e.harness.waiting import wait_for

from workflow_runner.server.tls import new_authority, serving_certificate

Json = dict[str, Any]

API_KEY = canaries.STIGMER_KEY
RUNNER = "with-stigmer"
_SECRET: Json = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": STIGMER_SECRET},
    "stringData": {"api-key": API_KEY},
}


@dataclass(frozen=True)
class Stigmer:
    """The running server and what it has heard."""

    endpoint: str
    events_file: Path
    ca: str
    control_file: Path
    states_file: Path

    def behave(self, mode: str, **fields: Any) -> None:
        """From now on the server does this (tests.servers.stigmer.Behaviour): take, refuse, hang, drop, down, …"""
        new = self.control_file.with_suffix(".new")
        new.write_text(json.dumps({"mode": mode, **fields}))
        new.replace(self.control_file)

    @property
    def spec(self) -> Json:
        """What a WorkflowRunner says of this server."""
        return {
            "endpoint": self.endpoint,
            "apiKeySecretRef": {"name": STIGMER_SECRET, "key": "api-key"},
            "caBundle": self.ca,
        }

    def lend_key(self, namespace: Namespace) -> None:
        """Makes the API key's Secret in a namespace, for runners there, and lets the operator read it."""
        namespace.apply(_SECRET)
        namespace.apply(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": {"name": STIGMER_SECRET},
                "rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [STIGMER_SECRET], "verbs": ["get"]}],
            }
        )
        namespace.apply(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": STIGMER_SECRET},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": STIGMER_SECRET},
                "subjects": [{"kind": "ServiceAccount", "name": RELEASE, "namespace": NAMESPACE}],
            }
        )

    def events(self, execution_id: str) -> list[Json]:
        """The events of one execution in order of arrival, as proto3 JSON."""
        lines = self.events_file.read_text().splitlines() if self.events_file.exists() else []
        everything = [json.loads(line) for line in lines if line.endswith("}")]
        return [event for event in everything if event.get("workflowExecutionId") == execution_id]

    def states(self, execution_id: str) -> list[Json]:
        """What updateStatus brought of one execution, in order of arrival, as proto3 JSON."""
        lines = self.states_file.read_text().splitlines() if self.states_file.exists() else []
        everything = [json.loads(line) for line in lines if line.endswith("}")]
        return [update["status"] for update in everything if update["executionId"] == execution_id]

    def told(self, execution_id: str, end: str) -> list[Json]:
        """The events of one execution without repeats, once it has ended so; checks that numbers ascend and that none
        stands for two events."""
        events = self.wait_for(execution_id, end)
        by_number: dict[int, Json] = {}
        for event in events:
            number = int(event["sequenceNumber"])
            assert number in by_number or number > max(by_number, default=0), f"{number} came late"
            first = by_number.setdefault(number, event)
            assert _what(first) == _what(event), f"two events have the number {number}"
        return list(by_number.values())

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
    with serving(cluster, folder) as stigmer:
        _register(Namespace(cluster, NAMESPACE), stigmer)
        yield stigmer


@contextlib.contextmanager
def serving(cluster: Cluster, folder: Path, resources: Json | None = None) -> Iterator[Stigmer]:
    """Starts a server that no runner knows yet; its files are in an empty folder. `resources` is what its queries find."""
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
    command += ["--control", str(folder / "control.json"), "--states", str(folder / "states.jsonl")]
    if resources is not None:
        (folder / "resources.json").write_text(json.dumps(resources))
        command += ["--resources", str(folder / "resources.json")]
    with (folder / "stigmer.log").open("w") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline(), (folder / "stigmer.log").read_text()
        yield Stigmer(
            f"{cluster.host_gateway}:{port}",
            events,
            authority.certificate.decode(),
            folder / "control.json",
            folder / "states.jsonl",
        )
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def _what(event: Json) -> tuple[Any, ...]:
    return tuple(event.get(key) for key in ("eventType", "taskReference", "taskIteration"))


def _register(namespace: Namespace, stigmer: Stigmer) -> None:
    namespace.apply(_SECRET)
    namespace.apply(
        {
            "apiVersion": "workflowrunner.stigmer.ai/v1",
            "kind": "WorkflowRunner",
            "metadata": {"name": RUNNER},
            "spec": {"type": "embedded", "stigmer": stigmer.spec},
        }
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        port: int = probe.getsockname()[1]
        return port
