"""EVENT: what the events of runs say. All of these judge the same few runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

from google.protobuf import json_format, struct_pb2

from workflow_runner.runner_checks.caller import Streamed, as_text
from workflow_runner.runner_checks.interface import STATUS_OF, TERMINAL
from workflow_runner.runner_checks.session import NotOffered, Session, Unmet

_MILLISECONDS = range(10**12, 10**13)
"""From 2001 to 2286; seconds and nanoseconds are far outside."""


async def _stories(session: Session) -> AsyncIterator[Streamed]:
    for name in ("succeeds", "fails"):
        heard = await session.story(name)
        if not heard.events:
            raise Unmet("the events of a run", heard)
        yield heard


def _told(event: Any) -> str:
    return f"event {event.sequence_number} {event.event_type}"


async def _have_the_id(session: Session) -> None:
    async for heard in _stories(session):
        ids = {event.workflow_execution_id for event in heard.events}
        if len(ids) != 1 or not ids.pop().startswith("conformance-"):
            raise Unmet(
                "the id of the request in each event", ", ".join(repr(e.workflow_execution_id) for e in heard.events[:20])
            )


async def _are_numbered(session: Session) -> None:
    async for heard in _stories(session):
        numbers = [event.sequence_number for event in heard.events]
        if numbers[0] < 1 or any(later <= earlier for earlier, later in pairwise(numbers)):
            raise Unmet("numbers above 0 that ascend", f"{numbers[:100]}")


async def _begin_once(session: Session) -> None:
    async for heard in _stories(session):
        types = [event.event_type for event in heard.events]
        if types[0] != "workflow_started" or types.count("workflow_started") != 1:
            raise Unmet("workflow_started first, and once", heard)


async def _end_once(session: Session) -> None:
    async for heard in _stories(session):
        ends = [number for number, event in enumerate(heard.events, 1) if event.event_type in TERMINAL]
        if ends != [len(heard.events)]:
            raise Unmet("one terminal event, at the end", heard)


async def _have_the_status_of_their_type(session: Session) -> None:
    async for heard in _stories(session):
        for event in heard.events:
            if not event.event_type or event.status != STATUS_OF.get(event.event_type, event.status):
                raise Unmet(f"status {STATUS_OF.get(event.event_type)!r}", f"{_told(event)}: {event.status!r}")


async def _have_the_time(session: Session) -> None:
    async for heard in _stories(session):
        for event in heard.events:
            if event.timestamp_ms not in _MILLISECONDS:
                raise Unmet("milliseconds since 1970", f"{_told(event)}: {event.timestamp_ms}")


async def _have_progress(session: Session) -> None:
    async for heard in _stories(session):
        for event in heard.events:
            if not 0 <= event.task_progress <= 100:
                raise Unmet("task_progress from 0 to 100", f"{_told(event)}: {event.task_progress}")


async def _say_what_went_wrong(session: Session) -> None:
    heard = await session.story("fails")
    failed = [event for event in heard.events if event.event_type == "workflow_failed"]
    if not failed:
        raise Unmet("workflow_failed", heard)
    if not failed[0].error.message:
        raise Unmet("an error with a message", f"{_told(failed[0])}: {failed[0].error or 'no error'}")


async def _name_their_task(session: Session) -> None:
    tasks = [event async for heard in _stories(session) for event in heard.events if event.event_type.startswith("task_")]
    if not tasks:
        raise NotOffered("there are no events of tasks")
    for event in tasks:
        if not event.task_name:
            raise Unmet("task_name", f"{_told(event)} without one")


async def _have_input_and_output(session: Session) -> None:
    expected = session.profile.succeeds.output
    if expected is None:
        raise NotOffered("the profile says no output")
    heard = await session.story("succeeds")
    ended = [event for event in heard.events if event.event_type == "workflow_completed"]
    if not ended:
        raise Unmet("workflow_completed", heard)
    if not ended[0].HasField("output"):
        raise NotOffered("workflow_completed has no output")
    wanted = json_format.ParseDict(expected, struct_pb2.Value())
    if ended[0].output != wanted:
        raise Unmet(f"output {as_text(wanted)}", as_text(ended[0].output))


CHECKS = {
    "EVENT-1": _have_the_id,
    "EVENT-2": _are_numbered,
    "EVENT-3": _begin_once,
    "EVENT-4": _end_once,
    "EVENT-5": _have_the_status_of_their_type,
    "EVENT-6": _have_the_time,
    "EVENT-7": _have_progress,
    "EVENT-8": _say_what_went_wrong,
    "EVENT-9": _name_their_task,
    "EVENT-10": _have_input_and_output,
}
