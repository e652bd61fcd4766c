"""The operator as Helm installs it from the chart, and the ways in which cases mistreat it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Cluster, CommandFailed, ensure_image, progress, tool
from tests.e2e.cluster.cache import REPOSITORY
from tests.e2e.cluster.shell import run
from tests.e2e.harness import evidence
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

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
        pods = [pod["metadata"]["name"] for pod in self.pods()]
        with contextlib.suppress(CommandFailed):
            evidence.keep("log of the operator: killed", self.logs(-1))
        self.namespace.kubectl("delete", "pod", *pods, "--grace-period=0", "--force", "--wait=false")

    def stop(self) -> None:
        """No operator at all, once this returns."""
        with contextlib.suppress(CommandFailed):
            evidence.keep("log of the operator: stopped", self.logs(-1))
        self._scale(0)
        wait_for(self.pods, lambda pods: not pods, what="the operator has stopped")

    def start(self) -> None:
        """One operator, ready."""
        self._scale(1)
        self.wait_ready()

    def wait_ready(self) -> None:
        try:
            self.namespace.kubectl("rollout", "status", f"deployment/{RELEASE}", "--timeout=90s", timeout=100)
        except CommandFailed as error:
            raise AssertionError(f"the operator does not become ready; its log ends:\n{self.logs()[-4000:]}") from error

    def logs(self, tail: int = 2000) -> str:
        return self.namespace.kubectl("logs", f"deployment/{RELEASE}", f"--tail={tail}")

    @contextlib.contextmanager
    def launching(self, image: str) -> Iterator[None]:
        """Within this, runs that are launched get another image."""
        try:
            self._replace(
                lambda: self.namespace.kubectl("set", "env", f"deployment/{RELEASE}", f"WORKFLOW_RUNNER_IMAGE={image}")
            )
            yield
        finally:
            self._replace(lambda: _upgrade(self.namespace.cluster, self.image))

    def _replace(self, change: Callable[[], object]) -> None:
        with contextlib.suppress(CommandFailed):
            evidence.keep("log of the operator: replaced", self.logs(-1))
        change()
        self.wait_ready()

    def _scale(self, replicas: int) -> None:
        self.namespace.kubectl("scale", f"deployment/{RELEASE}", f"--replicas={replicas}")

    def identity(self) -> list[tuple[str, int]]:
        """(uid, restarts of its container) of each pod: the same as before when nothing has ended."""
        return [
            (pod["metadata"]["uid"], sum(item["restartCount"] for item in pod["status"].get("containerStatuses", [])))
            for pod in self.pods()
        ]

    def pods(self) -> list[Json]:
        return self.namespace.list("pods", "-l", "app.kubernetes.io/name=workflow-runner")


def install(cluster: Cluster) -> Operator:
    """Builds and loads the image, installs the chart (or upgrades what is there), waits until it is ready."""
    image = ensure_image(cluster)
    namespace = Namespace(cluster, NAMESPACE)
    progress("installing the chart")
    if cluster.kubectl("get", "crd", "workflowexecutions.workflowrunner.stigmer.ai", "--ignore-not-found").strip():
        # A kept cluster: Helm installs CRDs but never upgrades them.
        crds = REPOSITORY / "charts" / "workflow-runner" / "crds"
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=helm", "-f", crds)
    _upgrade(cluster, image)
    operator = Operator(namespace, image)
    operator.start()
    progress("the operator is ready")
    return operator


@contextlib.contextmanager
def restored(operator: Operator) -> Iterator[None]:
    """Within this the release may be upgraded; then it is again what `install` made."""
    try:
        yield
    finally:
        with contextlib.suppress(CommandFailed):
            evidence.keep("log of the operator: before an upgrade", operator.logs(-1))
        _upgrade(operator.namespace.cluster, operator.image)
        operator.wait_ready()


def _upgrade(cluster: Cluster, image: str) -> None:
    """Makes the release what the chart says, whatever a case has changed of it."""
    repository, _, tag = image.rpartition(":")
    values = {
        "image": {"repository": repository, "tag": tag},
        "rbac": {"apiKeySecrets": [{"namespace": NAMESPACE, "name": STIGMER_SECRET}]},
    }
    command: list[str | Path] = [tool("helm"), "--kubeconfig", cluster.kubeconfig, "upgrade", "--install", RELEASE]
    command += [REPOSITORY / "charts" / "workflow-runner", "--namespace", NAMESPACE, "--create-namespace"]
    run([*command, "--force-conflicts", "--values", "-"], stdin=json.dumps(values), timeout=120)
