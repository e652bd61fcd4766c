"""Progress that grows in status while the run runs, and a complete and ordered story at Stigmer."""

from __future__ import annotations

import re

from tests.e2e.harness.kube import Execution
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.stigmer import API_KEY, Stigmer


def test_progress_and_tasks_grow_and_stigmer_hears_it_all(stigmer: Stigmer, applied: Execution, operator: Operator) -> None:
    early = applied.wait(lambda status: status.get("tasks") and status["progress"] < 50, "some tasks, not half of them")
    assert early["phase"] == "Running"
    later = applied.wait(
        lambda status: status["progress"] > early["progress"] and status["phase"] == "Running", "more progress"
    )
    assert len(later["tasks"]) > len(early["tasks"])
    assert later["taskCounts"]["completed"] > early["taskCounts"]["completed"]

    status = applied.wait_phase("Completed")
    assert status["output"] == {"n": 15}
    assert (status["progress"], status["taskCounts"]["completed"], len(status["tasks"])) == (100, 30, 30)

    events = stigmer.wait_for(status["executionId"], "workflow_completed")
    kinds = [event["eventType"] for event in events]
    assert kinds == [
        "workflow_started",
        "workflow_validating",
        "workflow_validated",
        *["task_started", "task_completed"] * 30,
        "workflow_completed",
    ]
    assert [int(event["sequenceNumber"]) for event in events] == list(range(1, len(events) + 1))
    assert {event["status"] for event in events if event["eventType"] == "task_started"} == {"running"}
    assert events[-1]["status"] == "completed"
    assert {event["workflowName"] for event in events} == {"thirty-steps"}
    references = [event["taskReference"] for event in events if event["eventType"] == "task_started"]
    assert references[:2] == ["/do/0/wait1", "/do/1/set1"]
    progress = [int(event.get("taskProgress", 0)) for event in events]
    assert progress == sorted(progress)

    delivered = applied.wait(lambda status: status["callback"].get("deliveredSequence") == len(events), "the watermark")
    assert "owed" not in delivered["callback"]
    assert not re.search(API_KEY, operator.logs())
