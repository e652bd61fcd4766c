"""The events that are kept for those who ask: ascending, bounded, and heard of at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from workflow_runner.controller.event_logs import EventLogs
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent


def event(number: int) -> WorkflowProgressEvent:
    return WorkflowProgressEvent(sequence_number=number, event_type="task_started")


def numbers(logs: EventLogs, uid: str, after: int = 0) -> list[int]:
    return [each.sequence_number for each in logs.after(uid, after)]


def test_only_executions_that_were_opened_are_kept() -> None:
    logs = EventLogs()
    logs.told("a", event(1))
    logs.open("a")
    for number in (1, 2, 2, 1, 3):
        logs.told("a", event(number))
    assert numbers(logs, "a") == [1, 2, 3], "what comes again is not told again"
    assert numbers(logs, "a", after=2) == [3]
    logs.open("a")
    assert numbers(logs, "a") == [1, 2, 3], "to open it again changes nothing"


def test_over_the_bounds_the_oldest_go() -> None:
    logs = EventLogs(most_events=2, most_executions=2)
    for uid in ("a", "b"):
        logs.open(uid)
        for number in (1, 2, 3):
            logs.told(uid, event(number))
    assert numbers(logs, "a") == [2, 3]
    logs.open("a")
    logs.open("c")
    logs.told("b", event(4))
    assert numbers(logs, "b") == [], "it was the one that nobody had asked for longest"
    assert numbers(logs, "a") == [2, 3]


def test_a_kept_event_is_its_own() -> None:
    logs = EventLogs()
    logs.open("a")
    told = event(1)
    logs.told("a", told)
    told.message = "changed later"
    assert [each.message for each in logs.after("a", 0)] == [""]


async def test_whoever_waits_hears_of_events_and_of_the_end() -> None:
    logs = EventLogs()
    logs.open("a")
    causes: list[Callable[[], None]] = [
        lambda: logs.told("a", event(1)),
        lambda: logs.moved("a"),
        lambda: logs.forget("a"),
    ]
    for cause in causes:
        waiting = [asyncio.create_task(logs.news("a")) for _ in range(2)]
        await asyncio.sleep(0)
        cause()
        async with asyncio.timeout(5):
            await asyncio.gather(*waiting)
