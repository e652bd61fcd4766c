"""EXECUTE: the call that runs a workflow and streams its events."""

from __future__ import annotations

import asyncio

import grpc

from workflow_runner.runner_checks.caller import Streamed
from workflow_runner.runner_checks.interface import EXECUTE, GET_STATUS
from workflow_runner.runner_checks.session import OK, NotOffered, Session, Unmet

AT_ONCE = 5
_SECONDS = 1.5
"""The deadline of a run that takes longer."""


async def _streams_to_the_end(session: Session) -> None:
    ends_with(session, await session.story("succeeds"), "workflow_completed")


async def _streams_a_failure_to_the_end(session: Session) -> None:
    ends_with(session, await session.story("fails"), "workflow_failed")


def ends_with(session: Session, heard: Streamed, event_type: str) -> None:
    """Raises Unmet unless a stream ends with this event, and then with OK."""
    if not heard.events or heard.events[-1].event_type != event_type:
        raise Unmet(f"{event_type} as the last event", heard)
    session.expect(heard.answer, OK, after="after the last event")


async def _chooses_an_id(session: Session) -> None:
    heard = await session.execute(session.request(session.profile.succeeds, ""))
    ends_with(session, heard, "workflow_completed")
    ids = {event.workflow_execution_id for event in heard.events}
    if len(ids) != 1 or "" in ids:
        raise Unmet("one id in all events", sorted(ids))


async def _refuses_an_invalid_document(session: Session) -> None:
    heard = await session.execute(session.request(session.profile.invalid))
    if heard.events:
        raise Unmet("no event", heard)
    session.expect(heard.answer, grpc.StatusCode.INVALID_ARGUMENT)


async def _refuses_another_request_under_the_same_id(session: Session) -> None:
    story = await session.story("succeeds")
    if not story.events:
        raise Unmet("a run", story)
    heard = await session.execute(session.request(session.profile.fails, story.events[0].workflow_execution_id))
    if heard.events:
        raise Unmet("no event", heard)
    session.expect(heard.answer, grpc.StatusCode.ALREADY_EXISTS)


async def _does_not_mix_runs(session: Session) -> None:
    session.need(EXECUTE)
    requests = [session.request(session.profile.succeeds) for _ in range(AT_ONCE)]
    all_heard = await asyncio.gather(*(session.execute(request) for request in requests))
    for request, heard in zip(requests, all_heard, strict=True):
        if heard.answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED and not heard.events:
            continue  # it has no room for so many
        ends_with(session, heard, "workflow_completed")
        if any(event.workflow_execution_id != request.workflow_execution_id for event in heard.events):
            raise Unmet(f"events of {request.workflow_execution_id} only", heard)


async def _is_cancelled_when_the_caller_goes_away(session: Session) -> None:
    session.need(GET_STATUS)
    request = session.request(session.profile.long)
    heard = await session.execute(request, enough=lambda _: True)
    if not heard.events:
        raise Unmet("an event", heard)
    await session.until_status(request.workflow_execution_id, {"cancelled"})


async def _is_cancelled_when_the_deadline_passes(session: Session) -> None:
    session.need(GET_STATUS)
    request = session.request(session.profile.long)
    heard = await session.execute(request, seconds=_SECONDS)
    session.expect(heard.answer, grpc.StatusCode.DEADLINE_EXCEEDED)
    await session.until_status(request.workflow_execution_id, {"cancelled"})


async def _refuses_what_may_take_too_long(session: Session) -> None:
    if session.profile.overlong is None:
        raise NotOffered("the profile has no document `overlong`")
    heard = await session.execute(session.request(session.profile.overlong))
    if heard.answer.code is OK:
        raise NotOffered("the document is run: its time limit is not looked at")
    session.expect(heard.answer, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)
    if "executeasync" not in heard.answer.message.replace("_", "").lower():
        raise Unmet("a message that names ExecuteAsync", heard.answer)


CHECKS = {
    "EXECUTE-1": _streams_to_the_end,
    "EXECUTE-2": _streams_a_failure_to_the_end,
    "EXECUTE-3": _chooses_an_id,
    "EXECUTE-4": _refuses_an_invalid_document,
    "EXECUTE-5": _refuses_another_request_under_the_same_id,
    "EXECUTE-6": _does_not_mix_runs,
    "EXECUTE-7": _is_cancelled_when_the_caller_goes_away,
    "EXECUTE-8": _is_cancelled_when_the_deadline_passes,
    "EXECUTE-9": _refuses_what_may_take_too_long,
}
