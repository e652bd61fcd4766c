"""A fault stands in status and at Stigmer with its type, its words and its place."""

from __future__ import annotations

from tests.e2e.harness.kube import Execution
from tests.e2e.harness.stigmer import Stigmer


def test_the_error_is_told_with_its_pointer(stigmer: Stigmer, applied: Execution) -> None:
    status = applied.wait_phase("Failed")
    error = status["error"]
    assert (error["type"], error["status"]) == ("https://example.com/errors/out-of-stock", 409)
    assert error["instance"] == "/do/1/group/do/0/broken"
    assert error["detail"] == "only 1 left"
    assert applied.condition("Accepted")["status"] == "True"
    message = applied.condition("Completed")["message"]
    assert "Out of stock" in message
    assert "/do/1/group/do/0/broken" in message
    failed = {task["name"]: task["error"]["instance"] for task in status["tasks"] if task["status"] == "Failed"}
    assert failed["broken"] == "/do/1/group/do/0/broken"

    events = stigmer.wait_for(status["executionId"], "workflow_failed")
    assert [event["eventType"] for event in events][-1] == "workflow_failed"
    assert events[-1]["error"]["instance"] == "/do/1/group/do/0/broken"
    assert events[-1]["error"]["status"] == 409
    assert events[-1]["status"] == "failed"
    assert any(event["eventType"] == "task_failed" and event["status"] == "failed" for event in events)
