"""Temporal in the cluster, for the cases about it: the chart's development server, in a namespace of its own.

What is in it is asked by its own command line, within its pod.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.e2e.cluster import DEV_SERVER, Cluster, CommandFailed, ensure_image, progress
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.waiting import wait_for
from tools.manifests import rendered

Json = dict[str, Any]

NAME = "workflow-runner-temporal"
PORT = 7233
NAMESPACE = "default"
"""The one that a development server has."""
RUNNING = "WORKFLOW_EXECUTION_STATUS_RUNNING"


@dataclass(frozen=True)
class Temporal:
    """The server, where pods reach it at `address`."""

    namespace: Namespace

    @property
    def address(self) -> str:
        return f"{NAME}.{self.namespace.name}.svc:{PORT}"

    def runner(self, mode: str = "Job", **spec: Any) -> Json:
        """A WorkflowRunner that keeps its runs there, named default."""
        temporal = {"address": self.address, "heartbeatTimeout": "5s"}
        return {
            "apiVersion": "workflowrunner.stigmer.ai/v1",
            "kind": "WorkflowRunner",
            "metadata": {"name": "default"},
            "spec": {"type": "temporal", "launch": {"mode": mode}, "temporal": temporal, **spec},
        }

    def status(self, workflow_id: str) -> str:
        """How a workflow stands, in Temporal's word for it; empty where there is none of that id."""
        try:
            found = self._ask("workflow", "describe", "--workflow-id", workflow_id)
        except CommandFailed as error:
            if "not found" in str(error):
                return ""
            raise
        return str(found["workflowExecutionInfo"]["status"])

    def wait_closed(self, workflow_id: str) -> str:
        """How a workflow has ended, once it has; there has to be one."""
        return wait_for(
            lambda: self.status(workflow_id), lambda status: status not in ("", RUNNING), what=f"{workflow_id} is closed"
        )

    def stop(self) -> None:
        """No server at all, once this returns; what it knew is lost."""
        self.namespace.kubectl("scale", f"deployment/{NAME}", "--replicas=0")
        wait_for(lambda: self.namespace.list("pods"), lambda pods: not pods, what="Temporal has stopped")

    def start(self) -> None:
        """A server, ready."""
        self.namespace.kubectl("scale", f"deployment/{NAME}", "--replicas=1")
        self.namespace.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=120s", timeout=130)

    def _ask(self, *arguments: str) -> Json:
        command = ("temporal", *arguments, "--output", "json", "--namespace", NAMESPACE, "--address", f"localhost:{PORT}")
        found: Json = json.loads(self.namespace.kubectl("exec", f"deployment/{NAME}", "--", *command))
        return found


@contextlib.contextmanager
def running(cluster: Cluster) -> Iterator[Temporal]:
    """The server as the chart makes it, without the operator that comes along."""
    repository, _, tag = ensure_image(cluster, target=DEV_SERVER).rpartition(":")
    namespace = Namespace(cluster, f"e2e-temporal-server-{secrets.token_hex(3)}")
    progress("starting Temporal's development server")
    values = {"temporal": {"dev": {"enabled": True, "image": {"repository": repository, "tag": tag}}}}
    cluster.kubectl("create", "namespace", namespace.name)
    try:
        for manifest in rendered(values, namespace=namespace.name):
            if manifest["metadata"]["name"] == NAME:
                namespace.apply(manifest)
        server = Temporal(namespace)
        server.start()
        yield server
    finally:
        cluster.kubectl("delete", "namespace", namespace.name, "--wait=false", "--ignore-not-found")
