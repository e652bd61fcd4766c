"""The type and the data of each lifecycle event, as the DSL reference names them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from workflow_runner.dsl.model import DocumentInfo
from workflow_runner.dsl.problems import Problem
from workflow_runner.hosts.lifecycle import Lifecycle
from workflow_runner.interpreter.events import Event, EventType

NAME = "orders-e1.shop"
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
TIME = "2026-01-02T03:04:05.678Z"
ERROR = Problem(type="https://example.com/e", status=500)
TASK: dict[str, Any] = {"workflow": NAME, "task": "/do/0/pay"}


def told(*events: Event) -> list[dict[str, Any]]:
    lifecycle = Lifecycle(DocumentInfo(dsl="1.0.0", namespace="shop", name="orders", version="1.0.0"), "e1", "p")
    return [dict(each) for event in events for each in lifecycle.events(event)]


def event(type_: EventType, **fields: Any) -> Event:
    return Event(type_, WHEN, 0, **fields)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [each["type"].removeprefix("io.serverlessworkflow.").removesuffix(".v1") for each in events]


@pytest.mark.parametrize(
    ("type_", "fields", "kind", "data"),
    [
        (
            EventType.WORKFLOW_STARTED,
            {},
            "workflow.started",
            {"definition": {"name": "orders", "namespace": "shop", "version": "1.0.0"}, "startedAt": TIME},
        ),
        (EventType.WORKFLOW_PAUSED, {}, "workflow.suspended", {"suspendedAt": TIME}),
        (EventType.WORKFLOW_RESUMED, {}, "workflow.resumed", {"resumedAt": TIME}),
        (EventType.CORRELATION_STARTED, {}, "workflow.correlation-started", {"startedAt": TIME}),
        (
            EventType.CORRELATION_COMPLETED,
            {"output": {"order": 7}},
            "workflow.correlation-completed",
            {"completedAt": TIME, "correlationKeys": {"order": 7}},
        ),
        (EventType.WORKFLOW_CANCELLED, {}, "workflow.cancelled", {"cancelledAt": TIME}),
        (EventType.WORKFLOW_FAILED, {"error": ERROR}, "workflow.faulted", {"faultedAt": TIME, "error": ERROR.to_dict()}),
        (EventType.WORKFLOW_COMPLETED, {"output": [1]}, "workflow.completed", {"completedAt": TIME, "output": [1]}),
    ],
)
def test_what_a_workflow_does(type_: EventType, fields: dict[str, Any], kind: str, data: dict[str, Any]) -> None:
    [found] = told(event(type_, **fields))
    assert found == {
        "specversion": "1.0",
        "id": "p-1",
        "source": "/shop/orders/e1",
        "type": f"io.serverlessworkflow.{kind}.v1",
        "time": TIME,
        "datacontenttype": "application/json",
        "data": {"name": NAME, **data},
    }


@pytest.mark.parametrize(
    ("type_", "fields", "expected"),
    [
        (EventType.TASK_STARTED, {}, [("task.created", {"createdAt": TIME}), ("task.started", {"startedAt": TIME})]),
        (EventType.TASK_RETRIED, {}, [("task.retried", {"retriedAt": TIME})]),
        (EventType.TASK_CANCELLED, {}, [("task.cancelled", {"cancelledAt": TIME})]),
        (EventType.TASK_FAILED, {"error": ERROR}, [("task.faulted", {"faultedAt": TIME, "error": ERROR.to_dict()})]),
        (EventType.TASK_COMPLETED, {}, [("task.completed", {"completedAt": TIME})]),
        (EventType.TASK_SKIPPED, {}, []),
    ],
)
def test_what_a_task_does(type_: EventType, fields: dict[str, Any], expected: list[tuple[str, dict[str, Any]]]) -> None:
    found = told(event(type_, task_name="pay", reference="/do/0/pay", **fields))
    assert list(zip(kinds(found), (each["data"] for each in found), strict=True)) == [
        (kind, {**TASK, **data}) for kind, data in expected
    ]


def test_open_tasks_are_suspended_resumed_and_cancelled_with_their_workflow() -> None:
    found = told(
        event(EventType.TASK_STARTED, task_name="done", reference="/do/0/done"),
        event(EventType.TASK_COMPLETED, task_name="done", reference="/do/0/done"),
        event(EventType.TASK_STARTED, task_name="open", reference="/do/1/open"),
        event(EventType.WORKFLOW_PAUSED),
        event(EventType.WORKFLOW_RESUMED),
        event(EventType.WORKFLOW_CANCELLED),
    )
    later = found[5:]
    assert kinds(later) == [
        "workflow.suspended",
        "task.suspended",
        "workflow.resumed",
        "task.resumed",
        "task.cancelled",
        "workflow.cancelled",
    ]
    assert {each["data"]["task"] for each in later if "task" in each["data"]} == {"/do/1/open"}
    assert [each["id"] for each in found] == [f"p-{number}" for number in range(1, len(found) + 1)]


def test_an_output_that_is_large_is_left_out() -> None:
    [found] = told(event(EventType.WORKFLOW_COMPLETED, output="x" * 300_000))
    assert found["data"] == {"name": NAME, "completedAt": TIME}
