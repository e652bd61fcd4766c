"""What a runner allows, a run's pod has; what it does not allow keeps the run from starting; secrets stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import canaries
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.waiting import wait_for

REFUSED = [
    "spec.env[1].valueFrom.secretKeyRef.name is 'wf-token'",
    "spec.secrets.token.secretKeyRef.name is 'wf-token'",
    "spec.template.metadata.labels needs 'metadata.labels'",
    "spec.template.spec.nodeSelector needs 'nodeSelector'",
    "spec.template.spec.serviceAccountName is 'worker'",
    "spec.template.spec.containers[0].env needs 'env'",
]


@pytest.fixture
def token() -> str:
    return canaries.WORKFLOW_SECRET


@pytest.fixture
def prepared(namespace: Namespace, case: Path, token: str) -> Namespace:
    namespace.apply(case / "runners.yaml")
    namespace.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wf-token"}, "stringData": {"token": token}},
    )
    return namespace


def test_the_pod_has_what_the_runner_allows(prepared: Namespace, case: Path, token: str) -> None:
    execution = prepared.start(case / "execution.yaml")
    status = execution.wait_phase("Completed")
    assert status["output"] == {"length": len(token)}
    [pod] = execution.pods()
    [container] = pod["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": "20m", "memory": "100Mi"}, "limits": {"memory": "300Mi"}}
    assert (pod["spec"]["nodeSelector"], pod["spec"]["serviceAccountName"]) == ({"kubernetes.io/os": "linux"}, "worker")
    assert pod["metadata"]["labels"]["team"] == "blue"
    variables = {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}
    assert (variables["REGION"], variables["STAGE"]) == ("north", "test")
    assert variables["TOKEN"] == {"secretKeyRef": {"name": "wf-token", "key": "token"}}
    assert variables["WORKFLOW_RUNNER_EXECUTION_ID"] == status["executionId"]
    assert pod["spec"]["automountServiceAccountToken"] is False, "whatever the service account, its token is not there"


def test_what_is_not_allowed_waits_until_it_is(prepared: Namespace, case: Path) -> None:
    execution = prepared.start(case / "execution.yaml", runnerRef={"name": "closed"})
    accepted = execution.wait_condition("Accepted", "False", "NotAllowed")
    for refusal in REFUSED:
        assert refusal in accepted["message"]
    assert f"WorkflowRunner {prepared.name}/closed allows" in accepted["message"]
    stalled = execution.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "NotAllowed")
    assert (execution.jobs(), execution.pods()) == ([], [])

    prepared.patch("wfr", "closed", {"allow": prepared.get("wfr", "default")["spec"]["allow"]})
    execution.wait_phase("Completed")
    assert execution.condition("Accepted")["status"] == "True"
    assert execution.condition("Stalled")["status"] == "False"


@pytest.mark.parametrize("how", ["used-well", "in-an-expression-that-fails"])
def test_the_value_is_told_to_nobody(prepared: Namespace, operator: Operator, case: Path, token: str, how: str) -> None:
    execution = _started(prepared, case, fails=how != "used-well")
    status = execution.wait_phase("Failed" if how != "used-well" else "Completed")
    assert how == "used-well" or status["error"]["instance"] == "/do/0/measure"
    wait_for(execution.pods, lambda pods: pods[0]["status"]["phase"] in ("Succeeded", "Failed"), what="the kubelet knows")
    seen = {
        "resources": prepared.kubectl("get", "wfe,wfr,jobs,pods,configmaps,events", "-o", "yaml"),
        "pod": prepared.kubectl("logs", execution.pods()[0]["metadata"]["name"]),
        "operator": operator.logs(),
    }
    assert [place for place, text in seen.items() if token in text] == []


def _started(namespace: Namespace, case: Path, *, fails: bool) -> Execution:
    if not fails:
        return namespace.start(case / "execution.yaml")
    workflow = {
        "yaml": """
document: {dsl: 1.0.0, namespace: e2e, name: template-and-secrets, version: 0.1.0}
use: {secrets: [token]}
do:
  - measure: {set: {length: "${ $secrets.token + 1 }"}}
"""
    }
    return namespace.start(case / "execution.yaml", workflow=workflow)
