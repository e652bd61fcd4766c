"""WorkflowRunner resources as messages, and messages as resources."""

from __future__ import annotations

import pytest

from workflow_runner.errors import InvalidInput
from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import api_pb2
from workflow_runner.server.runners import place_of, to_manifest, to_message

RESOURCE = {
    "metadata": {
        "name": "mine",
        "namespace": "team-a",
        "resourceVersion": "12",
        "labels": {"tier": "gold"},
        "annotations": {"note": "x"},
    },
    "spec": {
        "type": "embedded",
        "launch": {"mode": "Pod", "backoffLimit": 3, "template": {"spec": {"nodeSelector": {"disk": "ssd"}}}},
        "limits": {"maxConcurrentExecutions": 7},
        "paused": True,
        "stigmer": {"endpoint": "stigmer.example.com:443", "apiKeySecretRef": {"name": "key", "key": "api-key"}},
    },
    "status": {
        "active": 2,
        "queued": 1,
        "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "it is"}],
    },
}


def test_a_resource_survives_the_way_through_a_message() -> None:
    message = api_pb2.WorkflowRunner.FromString(to_message(RESOURCE).SerializeToString())
    assert message.metadata.id == "team-a/mine"
    assert (message.status.active, message.status.queued) == (2, 1)
    assert [(each.type, each.status) for each in message.status.conditions] == [("Ready", "True")]
    manifest = to_manifest(message, "elsewhere", versioned=True)
    assert manifest["spec"] == RESOURCE["spec"], "numbers that were whole are whole"
    assert manifest["metadata"] == RESOURCE["metadata"]
    assert "resourceVersion" not in to_manifest(message, "elsewhere", versioned=False)["metadata"]


def test_what_is_not_said_is_left_to_the_service() -> None:
    message = api_pb2.WorkflowRunner()
    message.metadata.name = "mine"
    message.spec.type = "embedded"
    assert to_manifest(message, "team-a", versioned=True) == {
        "apiVersion": "workflowrunner.stigmer.ai/v1",
        "kind": "WorkflowRunner",
        "metadata": {"name": "mine", "namespace": "team-a"},
        "spec": {"type": "embedded"},
    }


def test_a_resource_without_a_status_or_with_members_of_a_newer_release_has_a_message() -> None:
    message = to_message({"metadata": {"name": "a", "namespace": "b"}, "spec": {"type": "x", "invented": {"later": 1}}})
    assert message.spec.type == "x"
    assert not message.status.conditions


@pytest.mark.parametrize(
    "message",
    [
        api_pb2.WorkflowRunner(),
        api_pb2.WorkflowRunner(kind="WorkflowExecution", metadata={"name": "a"}),
        api_pb2.WorkflowRunner(api_version="v2", metadata={"name": "a"}),
    ],
)
def test_what_is_no_runner_is_refused(message: api_pb2.WorkflowRunner) -> None:
    with pytest.raises(InvalidInput):
        to_manifest(message, "team-a", versioned=False)


def test_a_runner_is_named_with_its_namespace_or_without() -> None:
    assert place_of("team-b/mine", "team-a") == ("team-b", "mine")
    assert place_of("mine", "team-a") == ("team-a", "mine")


@pytest.mark.parametrize("resource_id", ["", "/mine", "team-a/", "a/b/c", "/"])
def test_what_is_no_id_is_refused(resource_id: str) -> None:
    with pytest.raises(InvalidInput, match="NAMESPACE/NAME"):
        place_of(resource_id, "team-a")
