"""How a run reads in Stigmer's words: phases, tasks, output, error; bounded, and never more than a receiver can read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf import json_format

from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import enum_pb2
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecutionStatus
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.command_pb2 import WorkflowExecutionUpdateStatusInput
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ErrorDetails, WorkflowProgressEvent
from workflow_runner.reconcile.live import End, LiveRun
from workflow_runner.stigmer.status import DEEPEST_OUTPUT, LARGEST_OUTPUT, status_of

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Told:
    """A run whose events are told one by one, a second apart."""

    def __init__(self) -> None:
        self.run = LiveRun(execution_id="run-1", attempt=1)
        self._number = 0

    def __call__(self, kind: str, reference: str = "", task_kind: str = "", **fields: Any) -> Told:
        self._number += 1
        event = WorkflowProgressEvent(
            event_type=kind,
            sequence_number=self._number,
            timestamp_ms=int(NOW.timestamp() * 1000) + 1000 * self._number,
            task_name=reference.rsplit("/", 1)[-1],
            task_reference=reference,
            task_kind=task_kind,
            **fields,
        )
        assert self.run.ingest(event)
        return self

    def ended(self, phase: str, **fields: Any) -> WorkflowExecutionStatus:
        self.run.conclude(End(phase, NOW, **fields))
        return self.status

    @property
    def status(self) -> WorkflowExecutionStatus:
        return status_of(self.run)


def test_phases_in_stigmers_words() -> None:
    told = Told()
    kinds = ("workflow_started", "workflow_paused", "workflow_resumed")
    phases = [told.status.phase, *(told(kind).status.phase for kind in kinds)]
    assert phases == [enum_pb2.EXECUTION_PENDING, *[enum_pb2.EXECUTION_IN_PROGRESS] * 3]
    ends = {phase: Told()("workflow_started").ended(phase).phase for phase in ("Completed", "Failed", "Cancelled")}
    assert ends == {
        "Completed": enum_pb2.EXECUTION_COMPLETED,
        "Failed": enum_pb2.EXECUTION_FAILED,
        "Cancelled": enum_pb2.EXECUTION_CANCELLED,
    }


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("call", "API_CALL"),
        ("agent", "AGENT_INVOCATION"),
        ("approval", "APPROVAL"),
        ("switch", "CONDITIONAL"),
        ("fork", "PARALLEL"),
        ("set", "TRANSFORM"),
        *((kind, "CUSTOM") for kind in ("do", "for", "listen", "emit", "raise", "run", "try", "wait", "")),
    ],
)
def test_types_of_tasks_in_stigmers_words(kind: str, expected: str) -> None:
    [task] = Told()("task_started", "/do/0/a", kind).status.tasks
    assert enum_pb2.WorkflowTaskType.Name(task.task_type) == f"WORKFLOW_TASK_{expected}"


def test_tasks_with_their_states_times_and_errors() -> None:
    error = ErrorDetails(code="http.status", message="Not found: no such page", detail="no such page", instance="/do/1/b")
    told = Told()("workflow_started")("task_started", "/do/0/a")("task_completed", "/do/0/a")("task_started", "/do/1/b")
    told("task_failed", "/do/1/b", error=error)("task_skipped", "/do/2/c")("task_started", "/do/3/d")
    told("task_started", "/do/4/e", task_iteration="4.0")("task_cancelled", "/do/4/e", task_iteration="4.0")
    status = told.status
    states = {task.task_id: enum_pb2.WorkflowTaskStatus.Name(task.status) for task in status.tasks}
    assert states == {
        "/do/0/a": "WORKFLOW_TASK_COMPLETED",
        "/do/1/b": "WORKFLOW_TASK_FAILED",
        "/do/2/c": "WORKFLOW_TASK_SKIPPED",
        "/do/3/d": "WORKFLOW_TASK_IN_PROGRESS",
        "/do/4/e#4.0": "WORKFLOW_TASK_SKIPPED",
    }
    first, failed, skipped, running, _ = status.tasks
    assert (first.task_name, first.started_at) == ("a", "2026-11-21T12:00:02.000Z")
    assert first.completed_at == "2026-11-21T12:00:03.000Z"
    assert failed.error == "Not found: no such page (at /do/1/b)"
    assert (skipped.started_at, running.completed_at) == ("", "")
    assert status.started_at == "2026-11-21T12:00:01.000Z"
    assert not status.completed_at


def test_no_task_of_an_ended_run_is_at_work() -> None:
    for phase, expected in (("Completed", "COMPLETED"), ("Failed", "FAILED"), ("Cancelled", "FAILED")):
        [task] = Told()("task_started", "/do/0/a").ended(phase).tasks
        assert enum_pb2.WorkflowTaskStatus.Name(task.status) == f"WORKFLOW_TASK_{expected}"
        assert task.completed_at == "2026-11-21T12:00:00.000Z"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({"a": [1, None, "x"]}, {"a": [1, None, "x"]}),
        ([1, 2], {"output": [1, 2]}),
        ("done", {"output": "done"}),
        (0, {"output": 0}),
        ({}, {}),
    ],
)
def test_an_output_that_is_no_object_is_the_only_field_of_one(output: Any, expected: Any) -> None:
    status = Told().ended("Completed", output=output)
    assert status.HasField("output")
    assert json_format.MessageToDict(status.output) == expected


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "output",
    [None, "x" * LARGEST_OUTPUT, nested(DEEPEST_OUTPUT + 1), {"a": float("inf")}, {"a": "\ud800"}, {"a": 10**400}],
    ids=["none", "large", "deep", "infinite", "no text", "no number"],
)
def test_an_output_that_cannot_travel_is_left_out(output: Any) -> None:
    status = Told().ended("Completed", output=output)
    assert status.phase == enum_pb2.EXECUTION_COMPLETED
    assert not status.HasField("output")


@pytest.mark.parametrize("levels", [nested(DEEPEST_OUTPUT), [nested(DEEPEST_OUTPUT - 1)]], ids=["object", "array"])
def test_the_deepest_output_can_be_read_by_a_receiver(levels: Any) -> None:
    update = WorkflowExecutionUpdateStatusInput(status=Told().ended("Completed", output=levels))
    assert update.status.HasField("output")
    assert WorkflowExecutionUpdateStatusInput.FromString(update.SerializeToString()) == update


def test_an_error_is_a_line() -> None:
    error = {"type": "https://x.test/errors/y", "status": 404, "title": "No page", "detail": "gone", "instance": "/do/0/a"}
    assert Told().ended("Failed", error=error).error == "No page: gone (at /do/0/a)"
    assert Told().ended("Failed", error={"type": "t", "status": 1}).error == "t"
    assert Told().ended("Failed").error == "the workflow failed"
    assert Told().ended("Cancelled", message="nobody wants it").error == ""


def test_a_run_of_many_tasks_shows_the_newest_and_the_failed_ones() -> None:
    told = Told()("task_started", "/do/0/first")("task_failed", "/do/0/first")
    for number in range(300):
        told("task_started", f"/do/1/loop/{number}/x")("task_completed", f"/do/1/loop/{number}/x")
    assert len(told.status.tasks) == 50
    assert told.status.tasks[0].task_id == "/do/0/first"
    assert told.status.tasks[-1].task_id == "/do/1/loop/299/x"


def test_a_run_made_again_from_status_reads_the_same() -> None:
    told = Told()("workflow_started")("task_started", "/do/0/a", "set")("task_completed", "/do/0/a", "set")
    before = told.ended("Completed", output={"a": 1})
    end = told.run.end
    assert end is not None
    status = {
        "phase": "Completed",
        "executionId": "run-1",
        "startTime": before.started_at,
        "completionTime": before.completed_at,
        "tasks": told.run.tasks.entries(),
        "output": end.output,
    }
    assert status_of(LiveRun.from_status(status)) == before


def test_the_temporal_workflow_is_named_where_it_is_known() -> None:
    assert status_of(LiveRun(execution_id="r", attempt=1), temporal_workflow_id="w").temporal_workflow_id == "w"
