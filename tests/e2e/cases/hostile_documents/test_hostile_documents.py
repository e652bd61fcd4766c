"""Hostile documents are refused or fault, each with its code; the operator does its work for others meanwhile."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.cases.hostile_documents.documents import FAULTED, HARMLESS, HEAD, MOST_TEXT, REFUSED
from tests.e2e.harness.api import Api
from tests.e2e.harness.fleet import runner
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import Operator

pytestmark = pytest.mark.stress

Json = dict[str, Any]

EXPRESSION = "https://serverlessworkflow.io/spec/1.0.0/errors/expression"
AT_A_TIME = 3
LARGE = 256 * 1024
"""Text above this comes from a ConfigMap, for both ways to be gone."""


@pytest.fixture
def unharmed(operator: Operator, namespace: Namespace, case: Path) -> Iterator[None]:
    """While the test does its worst and when it has ended, others' executions complete, by the same operator process."""
    before = operator.identity()
    namespace.apply(runner("few", limits={"maxConcurrentExecutions": AT_A_TIME}))
    namespace.apply(runner("default"))
    yield
    namespace.start(case / "execution.yaml").wait_phase("Completed")
    assert operator.identity() == before


def _create(namespace: Namespace, texts: dict[str, str]) -> None:
    api = Api(namespace.cluster.kubeconfig)
    for name, text in texts.items():
        workflow: Json = {"yaml": text}
        if len(text) > LARGE:
            config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"document": text}}
            api.call("POST", f"/api/v1/namespaces/{namespace.name}/configmaps", config_map)
            workflow = {"configMapKeyRef": {"name": name, "key": "document"}}
        manifest = {
            "apiVersion": "workflowrunner.stigmer.ai/v1",
            "kind": "WorkflowExecution",
            "metadata": {"name": name},
            "spec": {"runnerRef": {"name": "few"}, "workflow": workflow},
        }
        api.create_executions(namespace.name, [manifest])


@pytest.mark.usefixtures("unharmed")
def test_what_is_no_workflow_is_refused_with_its_code(namespace: Namespace, case: Path) -> None:
    _create(namespace, {name: text for name, (text, _) in REFUSED.items()})
    namespace.start(case / "execution.yaml", "meanwhile").wait_phase("Completed")
    for name, (_, code) in REFUSED.items():
        status = namespace.execution(name).wait_phase("Failed")
        assert status["error"]["code"] == code, name
        accepted = namespace.execution(name).condition("Accepted")
        assert (accepted["status"], accepted["reason"]) == ("False", "InvalidDocument"), name
        assert len(str(status)) < 20_000, name
    assert {pod["metadata"]["labels"]["workflowrunner.stigmer.ai/execution"] for pod in namespace.list("pods")} == {"meanwhile"}


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("unharmed")
def test_what_never_ends_or_grows_for_ever_faults(namespace: Namespace, case: Path) -> None:
    _create(namespace, FAULTED)
    namespace.start(case / "execution.yaml", "meanwhile").wait_phase("Completed")
    for name in FAULTED:
        status = namespace.execution(name).wait_phase("Failed", seconds=240)
        assert status["error"]["type"] == EXPRESSION, (name, status["error"])
        assert (status["error"]["status"], status["error"]["instance"]) == (400, "/do/0/evil"), name


@pytest.mark.usefixtures("unharmed")
def test_what_only_looks_dangerous_runs(namespace: Namespace) -> None:
    _create(namespace, {name: text for name, (text, _) in HARMLESS.items()})
    for name, (_, output) in HARMLESS.items():
        status = namespace.execution(name).wait_phase("Completed")
        assert status["output"] == output, name
        assert len(str(status["tasks"])) < 20_000, name


@pytest.mark.usefixtures("unharmed")
def test_bytes_that_are_no_text_are_not_read(namespace: Namespace, case: Path) -> None:
    binary = base64.b64encode(HEAD.encode() + b"do: [{a: {set: {b: '\xff\xfe\xc3'}}}]").decode()
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bytes"}, "binaryData": {"text": binary}}
    namespace.apply(config_map)
    reference = {"configMapKeyRef": {"name": "bytes", "key": "text"}}
    namespace.start(case / "execution.yaml", "document", workflow=reference)
    namespace.start(case / "execution.yaml", "input", inputFrom=reference)
    for name in ("document", "input"):
        namespace.execution(name).wait_condition("Accepted", "False", "ConfigMapKeyNotFound")
    assert namespace.list("pods") == []


def test_text_that_no_resource_can_hold_is_the_api_servers_to_refuse(namespace: Namespace, case: Path) -> None:
    manifest = {"spec": {"workflow": {"yaml": HEAD + "#" + "x" * 10 * MOST_TEXT}}}
    refused = namespace.refusal(
        {"apiVersion": "workflowrunner.stigmer.ai/v1", "kind": "WorkflowExecution", "metadata": {"name": "ten"}, **manifest}
    )
    assert any(word in refused for word in ("too large", "Too long", "limit is", "exceeds")), refused[:500]


@pytest.mark.usefixtures("unharmed")
def test_templates_and_labels_lend_nothing(namespace: Namespace, case: Path) -> None:
    victim = namespace.start(case / "execution.yaml", "victim")
    uid = victim.resource["metadata"]["uid"]
    templates: dict[str, Json] = {
        "labels-of-another": {"metadata": {"labels": {"workflowrunner.stigmer.ai/execution-uid": uid}}},
        "the-nodes-disk": {"spec": {"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}},
        "somebody-elses-secret": {"spec": {"volumes": [{"name": "key", "secret": {"secretName": "not-mine"}}]}},
        "an-account-with-rights": {"spec": {"serviceAccountName": "admin"}},
        "a-deep-affinity": {"spec": {"affinity": {"nodeAffinity": _deep(400)}}},
    }
    for name, template in templates.items():
        namespace.start(case / "execution.yaml", name, template=template)
    for name in templates:
        namespace.execution(name).wait_condition("Accepted", "False", "NotAllowed")
        assert namespace.execution(name).jobs() == [], name
    # Labels of the resource itself, and of a Job that anybody may make, are only words.
    pod = {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "impostor",
            "labels": {
                "app.kubernetes.io/managed-by": "workflow-runner",
                "workflowrunner.stigmer.ai/execution-uid": uid,
                "workflowrunner.stigmer.ai/execution": "victim",
            },
        },
        "spec": {"suspend": True, "template": {"spec": pod}},
    }
    namespace.apply(manifest)
    assert victim.wait_phase("Completed")["output"] == {"message": "Hello"}


def _deep(levels: int) -> Json:
    value: Json = {}
    for _ in range(levels):
        value = {"a": value}
    return value
