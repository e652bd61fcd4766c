"""Cancel ends a run for good, in the middle of what it does."""

from __future__ import annotations

from tests.e2e.harness.kube import Execution
from tests.e2e.harness.stigmer import Stigmer


def test_a_running_wait_is_cut_short_and_no_catch_sees_it(stigmer: Stigmer, applied: Execution) -> None:
    applied.wait_phase("Running")
    applied.patch(cancelled=True, cancellation={"reason": "no longer needed"})
    status = applied.wait_phase("Cancelled")
    assert "no longer needed" in applied.condition("Completed")["message"]
    assert status["control"]["desired"] == "Cancel"
    assert status["control"]["result"] == "Applied"
    assert all(task["name"] != "swallowed" for task in status["tasks"])
    assert all(task["status"] != "Running" for task in status["tasks"])
    events = stigmer.wait_for(status["executionId"], "workflow_cancelled")
    assert events[-1]["status"] == "cancelled"


def test_it_cannot_be_taken_back(stigmer: Stigmer, applied: Execution) -> None:
    applied.patch(cancelled=True)
    applied.wait_phase("Cancelled")
    assert "a cancelled run stays cancelled" in applied.namespace.refusal(
        {**_identity(applied), "spec": {"workflow": applied.resource["spec"]["workflow"], "cancelled": False}}
    )


def _identity(execution: Execution) -> dict[str, object]:
    return {
        "apiVersion": "workflowrunner.stigmer.ai/v1",
        "kind": "WorkflowExecution",
        "metadata": {"name": execution.name},
    }
