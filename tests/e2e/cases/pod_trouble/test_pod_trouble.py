"""A pod that cannot start: status says why, the run starts when the reason goes, and can be cancelled before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.cluster import Cluster, CommandFailed
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.waiting import wait_for

MODES = pytest.mark.parametrize("mode", ["Job", "Pod"])


def test_an_image_that_cannot_be_pulled(operator: Operator, namespace: Namespace, case: Path) -> None:
    image = "localhost/no-such-image:1"
    with operator.launching(image):
        execution = namespace.start(case / "execution.yaml")
        stalled = execution.wait_condition("Stalled", "True", ("ErrImagePull", "ImagePullBackOff"))
        assert image in stalled["message"]
        assert execution.status["phase"] == "Pending"
        execution.patch(cancelled=True)
        execution.wait_phase("Cancelled")
        wait_for(lambda: (execution.jobs(), execution.pods()), lambda found: found == ([], []), what="Job and pod are gone")


@MODES
def test_a_quota(namespace: Namespace, case: Path, mode: str) -> None:
    namespace.apply(case / "quota.yaml")
    namespace.kubectl("wait", "quota/no-pods", "--for=jsonpath={.status.hard}", "--timeout=30s")
    execution = _started(namespace, case, mode)
    told = execution.wait_condition("Completed", "False", "QuotaExceeded")
    assert "exceeded quota: no-pods" in told["message"]
    assert execution.condition("Stalled")["status"] == "False", "others may leave, and then there is room"
    namespace.kubectl("delete", "quota", "no-pods")
    execution.wait_phase("Completed", seconds=90)


@pytest.fixture
def denied(cluster: Cluster, namespace: Namespace, case: Path) -> Iterator[Namespace]:
    """A namespace in which a policy denies every pod."""
    policies = (case / "admission.yaml").read_text().replace("NAMESPACE", namespace.name)
    try:
        namespace.apply(policies)
        wait_for(lambda: _denies(namespace), bool, what="the policy is in force")
        yield namespace
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=policies)


@MODES
def test_admission(cluster: Cluster, denied: Namespace, case: Path, mode: str) -> None:
    execution = _started(denied, case, mode)
    stalled = execution.wait_condition("Stalled", "True", "AdmissionDenied")
    assert "no pods on Sundays" in stalled["message"]
    assert execution.pods() == []
    cluster.kubectl("delete", "validatingadmissionpolicybinding", denied.name)
    execution.wait_phase("Completed", seconds=90)
    assert execution.condition("Stalled")["status"] == "False"


def test_no_node_for_it(namespace: Namespace, case: Path) -> None:
    _runner(namespace, {"template": {"spec": {"nodeSelector": {"e2e.example.com/none": "here"}}}})
    execution = namespace.start(case / "execution.yaml")
    told = execution.wait_condition("Completed", "False", "Unschedulable")
    assert "The pod has no node yet" in told["message"]
    assert execution.condition("Stalled")["status"] == "False", "a node may come"
    execution.patch(cancelled=True)
    execution.wait_phase("Cancelled")
    wait_for(lambda: (execution.jobs(), execution.pods()), lambda found: found == ([], []), what="Job and pod are gone")


def _started(namespace: Namespace, case: Path, mode: str) -> Execution:
    _runner(namespace, {"mode": mode})
    return namespace.start(case / "execution.yaml")


def _runner(namespace: Namespace, launch: dict[str, object]) -> None:
    resource = {"apiVersion": "workflowrunner.stigmer.ai/v1", "kind": "WorkflowRunner", "metadata": {"name": "default"}}
    namespace.apply({**resource, "spec": {"launch": launch}})


def _denies(namespace: Namespace) -> bool:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe"},
        "spec": {"containers": [{"name": "probe", "image": "localhost/none:1"}]},
    }
    try:
        namespace.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    except CommandFailed as error:
        return "no pods on Sundays" in str(error)
    return False
