"""The operator as Helm installs it from the chart, and the ways in which cases mistreat it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.cluster import Cluster, CommandFailed, ensure_image, progress, tool
from tests.e2e.cluster.cache import REPOSITORY
from tests.e2e.cluster.shell import run
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.waiting import wait_for

NAMESPACE = "workflow-runner"
RELEASE = "workflow-runner"
STIGMER_SECRET = "stigmer-key"


@dataclass(frozen=True)
class Operator:
    """The installed release."""

    namespace: Namespace
    image: str

    def kill(self) -> None:
        """Ends the operator's pod with no time to say goodbye; its Deployment starts another."""
        pods = [pod["metadata"]["name"] for pod in self._pods()]
        self.namespace.kubectl("delete", "pod", *pods, "--grace-period=0", "--force", "--wait=false")

    def stop(self) -> None:
        """No operator at all, once this returns."""
        self._scale(0)
        wait_for(self._pods, lambda pods: not pods, what="the operator has stopped")

    def start(self) -> None:
        """One operator, ready."""
        self._scale(1)
        self.wait_ready()

    def wait_ready(self) -> None:
        try:
            self.namespace.kubectl("rollout", "status", f"deployment/{RELEASE}", "--timeout=90s", timeout=100)
        except CommandFailed as error:
            raise AssertionError(f"the operator does not become ready; its log ends:\n{self.logs()[-4000:]}") from error

    def logs(self) -> str:
        return self.namespace.kubectl("logs", f"deployment/{RELEASE}", "--tail=2000")

    def _scale(self, replicas: int) -> None:
        self.namespace.kubectl("scale", f"deployment/{RELEASE}", f"--replicas={replicas}")

    def _pods(self) -> list[dict[str, dict[str, str]]]:
        return self.namespace.list("pods", "-l", "app.kubernetes.io/name=workflow-runner")


def install(cluster: Cluster) -> Operator:
    """Builds and loads the image, installs the chart (or upgrades what is there), waits until it is ready."""
    image = ensure_image(cluster)
    repository, _, tag = image.rpartition(":")
    values = {
        "image": {"repository": repository, "tag": tag},
        "rbac": {"apiKeySecrets": [{"namespace": NAMESPACE, "name": STIGMER_SECRET}]},
    }
    namespace = Namespace(cluster, NAMESPACE)
    progress("installing the chart")
    if cluster.kubectl("get", "crd", "workflowexecutions.workflowrunner.stigmer.ai", "--ignore-not-found").strip():
        # A kept cluster: Helm installs CRDs but never upgrades them.
        crds = REPOSITORY / "charts" / "workflow-runner" / "crds"
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=helm", "-f", crds)
    command: list[str | Path] = [tool("helm"), "--kubeconfig", cluster.kubeconfig, "upgrade", "--install", RELEASE]
    command.append(REPOSITORY / "charts" / "workflow-runner")
    run([*command, "--namespace", NAMESPACE, "--create-namespace", "--values", "-"], stdin=json.dumps(values), timeout=120)
    operator = Operator(namespace, image)
    operator.start()
    progress("the operator is ready")
    return operator
