"""Cancel wins over pause."""

from __future__ import annotations

from tests.e2e.harness.kube import Execution
from tests.e2e.harness.stigmer import Stigmer


def test_a_paused_run_is_cancelled_without_running_on(stigmer: Stigmer, applied: Execution) -> None:
    applied.wait_phase("Running")
    applied.patch(paused=True)
    applied.wait(
        lambda status: (status.get("control") or {}).get("result") in ("Accepted", "Applied"), "the pod has seen the pause"
    )
    applied.patch(cancelled=True)
    status = applied.wait_phase("Cancelled")
    assert status["control"]["desired"] == "Cancel"
    assert stigmer.wait_for(status["executionId"], "workflow_cancelled")[-1]["eventType"] == "workflow_cancelled"
    assert all(task["name"] != "more" for task in status["tasks"])
