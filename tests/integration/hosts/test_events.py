"""Events as messages of the runner API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf import json_format

from workflow_runner.dsl.problems import Problem
from workflow_runner.hosts.events import DEEPEST_OUTPUT, LARGEST_OUTPUT, fits, to_proto
from workflow_runner.interpreter.events import STATUSES, Event, EventType
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2

NOW = datetime(2026, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)


def message(event: Event) -> Any:
    return to_proto(event, execution_id="exec-1", workflow_name="hello", attempt=2, sequence=7)


def test_a_task_event_says_all_it_knows() -> None:
    event = Event(EventType.TASK_STARTED, NOW, 40, "greet", "/do/0/greet", "4.0")
    assert json_format.MessageToDict(message(event), preserving_proto_field_name=True) == {
        "workflow_execution_id": "exec-1",
        "event_type": "task_started",
        "workflow_name": "hello",
        "task_name": "greet",
        "status": "running",
        "message": "task 'greet' has started",
        "timestamp_ms": "1767225600123",
        "task_reference": "/do/0/greet",
        "task_iteration": "4.0",
        "sequence_number": "7",
        "task_progress": 40,
        "attempt": 2,
    }


def test_an_error_is_told_with_all_its_parts() -> None:
    problem = Problem("https://e.test/", 503, "Gone", "for good", "/do/0/a")
    event = Event(EventType.WORKFLOW_FAILED, NOW, 0, message="it broke", error=problem, code="document.bad")
    got = message(event)
    assert got.message == "the workflow has failed: it broke"
    assert json_format.MessageToDict(got.error) == {
        "code": "document.bad",
        "message": "Gone: for good",
        "type": "https://e.test/",
        "status": 503,
        "instance": "/do/0/a",
        "detail": "for good",
    }


@pytest.mark.parametrize("output", [None, 5, 1.5, "text", [], {}, [1, {"a": None, "b": []}], {"a": True, "b": {}}])
def test_a_small_output_of_the_workflow_travels(output: Any) -> None:
    got = message(Event(EventType.WORKFLOW_COMPLETED, NOW, 100, output=output))
    assert got.HasField("output")
    assert json_format.MessageToDict(got.output) == output


def test_a_large_output_does_not() -> None:
    got = message(Event(EventType.WORKFLOW_COMPLETED, NOW, 100, output="x" * LARGEST_OUTPUT))
    assert not got.HasField("output")


@pytest.mark.parametrize(("levels", "travels"), [(DEEPEST_OUTPUT, True), (DEEPEST_OUTPUT + 1, False), (250, False)])
def test_an_output_that_is_deep_does_not_make_the_event_unreadable(levels: int, travels: bool) -> None:
    output: Any = []
    for _ in range(levels - 1):
        output = {"a": output}
    event = Event(EventType.WORKFLOW_COMPLETED, NOW, 100, output=output)
    message = to_proto(event, execution_id="e", workflow_name="w", attempt=1, sequence=1)
    batch = sink_pb2.ProgressBatch(events=[message])
    read = sink_pb2.ProgressBatch.FromString(batch.SerializeToString()).events[0]
    assert read.HasField("output") is travels
    if travels:
        assert json_format.MessageToDict(read.output) == output


def test_an_output_travels_with_the_completed_workflow_only() -> None:
    assert not message(Event(EventType.TASK_COMPLETED, NOW, 10, "a", "/do/0/a", output=1)).HasField("output")


def test_size_is_counted_in_bytes() -> None:
    assert fits("é" * 10, 22) is False
    assert fits("é" * 10, 62) is True
    assert fits("x" * 10, 12) is True
    assert fits("x" * 10, 11) is False


@pytest.mark.parametrize("type_", EventType)
def test_every_type_has_a_status_and_a_sentence(type_: EventType) -> None:
    got = message(Event(type_, NOW, 0, "a"))
    assert got.status == STATUSES[type_]
    assert got.message
