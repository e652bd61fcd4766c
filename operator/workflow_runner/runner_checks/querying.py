"""QUERY: how a run that was started asynchronously is followed."""

from __future__ import annotations

from typing import Any

import grpc

from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import SubscribeRequest
from workflow_runner.runner_checks.interface import (
    CANCEL,
    EXECUTE_ASYNC,
    GET_EVENTS,
    GET_STATUS,
    PAUSE,
    SUBSCRIBE,
    TERMINAL,
)
from workflow_runner.runner_checks.offering import NOBODY
from workflow_runner.runner_checks.session import OK, Session, Unmet

PAGE = 2


async def _know_no_stranger(session: Session) -> None:
    offered = [method for method in (GET_STATUS, GET_EVENTS, SUBSCRIBE) if session.has(method)]
    if not offered:
        session.need(GET_STATUS, GET_EVENTS, SUBSCRIBE)
    if GET_STATUS in offered:
        session.expect(await session.get_status(NOBODY), grpc.StatusCode.NOT_FOUND)
    if GET_EVENTS in offered:
        session.expect(await session.get_events(NOBODY), grpc.StatusCode.NOT_FOUND)
    if SUBSCRIBE in offered:
        session.expect((await session.subscribe(NOBODY)).answer, grpc.StatusCode.NOT_FOUND)


async def _status_follows_the_run(session: Session) -> None:
    session.need(GET_STATUS)
    run = await session.started(session.profile.long)
    found = await session.until_status(run, {"running"})
    if found.workflow_execution_id != run or found.completed_at_ms or not 0 <= found.progress <= 100:
        raise Unmet(f"{run}, no completed_at_ms, and progress from 0 to 100", found)
    await session.clear(run)
    run = await session.started(session.profile.succeeds)
    found = await session.until_status(run, {"completed"})
    if not 0 < found.started_at_ms <= found.completed_at_ms:
        raise Unmet("started_at_ms, and completed_at_ms after it", found)


async def _status_tells_other_ends(session: Session) -> None:
    session.need(GET_STATUS)
    run = await session.started(session.profile.fails)
    found = await session.until_status(run, {"failed"})
    if not found.error.message:
        raise Unmet("an error with a message", found)
    session.need(CANCEL)
    run = await session.started(session.profile.long)
    session.expect(await session.cancel(run), OK)
    await session.until_status(run, {"cancelled"})


async def _status_tells_a_pause(session: Session) -> None:
    session.need(GET_STATUS, PAUSE)
    run = await session.started(session.profile.long)
    session.expect(await session.pause(run), OK)
    await session.until_status(run, {"paused"})
    await session.clear(run)


async def _ended_run(session: Session) -> str:
    """A run that has completed. Raises Unmet or NotOffered."""
    run = await session.started(session.profile.succeeds)
    if session.has(GET_STATUS):
        await session.until_status(run, {"completed"})
        return run
    session.need(SUBSCRIBE)
    session.expect((await session.subscribe(run)).answer, OK)
    return run


async def _events_come_in_pages(session: Session) -> None:
    session.need(GET_EVENTS)
    run = await _ended_run(session)
    whole = [event.sequence_number for event in await session.all_events(run)]
    if not whole:
        raise Unmet("the events of a run", "none")
    numbers: list[int] = []
    while True:
        answer = await session.get_events(run, numbers[-1] if numbers else 0, PAGE)
        session.expect(answer, OK)
        page = [event.sequence_number for event in answer.value.events]
        numbers += page
        if not 0 < len(page) <= PAGE:
            raise Unmet(f"1 to {PAGE} events", answer)
        if numbers != whole[: len(numbers)] or answer.value.more != (len(numbers) < len(whole)):
            raise Unmet(f"pages of {whole[:100]}, with `more` but on the last", f"{numbers[:100]}, more: {answer.value.more}")
        if not answer.value.more:
            return


async def _events_end(session: Session) -> None:
    session.need(GET_EVENTS)
    run = await _ended_run(session)
    events = await session.all_events(run)
    answer = await session.get_events(run, events[-1].sequence_number if events else 0)
    session.expect(answer, OK)
    if answer.value.events or answer.value.more:
        raise Unmet("no events, and no more", answer)


async def _subscription_goes_with_the_run(session: Session) -> None:
    session.need(SUBSCRIBE, EXECUTE_ASYNC, CANCEL)
    async with session.following(session.profile.long) as run:
        if set(run.types()) & set(TERMINAL):
            raise Unmet("events while the run goes on", run.heard)
        session.expect(await session.cancel(run.id), OK)
        await session.until_ended(run)
        await session.until(
            lambda: run.heard.answer.code is not grpc.StatusCode.UNKNOWN, "the end of the stream", lambda: run.heard
        )
        session.expect(run.heard.answer, OK, after="after the terminal event")


async def _subscription_begins_after_a_number(session: Session) -> None:
    session.need(SUBSCRIBE)
    run = await _ended_run(session)
    whole = (await session.subscribe(run)).events
    if len(whole) < 2:
        raise Unmet("the events of a run", f"{len(whole)}")
    middle, last = whole[len(whole) // 2].sequence_number, whole[-1].sequence_number
    for after in (middle, last):
        heard = await session.subscribe(run, after)
        session.expect(heard.answer, OK)
        expected = [event.sequence_number for event in whole if event.sequence_number > after]
        if [event.sequence_number for event in heard.events] != expected:
            raise Unmet(f"events {expected} after {after}", heard)


async def _queries_agree(session: Session) -> None:
    session.need(GET_STATUS)
    run = await _ended_run(session)
    events = await session.all_events(run)
    if session.has(SUBSCRIBE):
        heard = await session.subscribe(run)
        _expect_same(events, heard.events)
    status = await session.until_status(run, {"completed"})
    last = events[-1].sequence_number if events else 0
    if status.last_sequence_number != last:
        raise Unmet(f"last_sequence_number {last}", status.last_sequence_number)
    if not events or events[-1].event_type != "workflow_completed":
        raise Unmet("workflow_completed as the last event", [event.event_type for event in events[-20:]])


def _expect_same(one: Any, other: Any) -> None:
    told = [[(event.sequence_number, event.event_type, event.task_name) for event in events] for events in (one, other)]
    if told[0] != told[1]:
        raise Unmet(f"the same events: {told[0][:30]}", told[1][:30])


async def _subscribers_leave_no_trace(session: Session) -> None:
    session.need(SUBSCRIBE)
    run = await session.started(session.profile.long)
    heard = await session.subscribe(run, enough=lambda _: True)
    if not heard.events:
        raise Unmet("an event", heard)
    for _ in range(2):  # what goes wrong may take until the next task
        last = heard.events[-1].sequence_number
        heard = await session.subscribe(run, last, enough=lambda event: event.event_type.startswith("task_"))
        if not heard.left:
            raise Unmet("events of tasks after it", heard)
    await session.clear(run)


async def _runs_of_execute_are_there(session: Session) -> None:
    if not session.has(GET_EVENTS):
        session.need(SUBSCRIBE)
    heard = await session.story("succeeds")
    if not heard.events:
        raise Unmet("a run", heard)
    run = heard.events[0].workflow_execution_id
    request = SubscribeRequest(execution_id=run)
    if session.has(SUBSCRIBE):
        _expect_same(heard.events, (await session.caller.listen(SUBSCRIBE, request, seconds=session.settle)).events)
    if session.has(GET_EVENTS):
        _expect_same(heard.events, await session.all_events(run))


CHECKS = {
    "QUERY-1": _know_no_stranger,
    "QUERY-2": _status_follows_the_run,
    "QUERY-3": _status_tells_other_ends,
    "QUERY-4": _status_tells_a_pause,
    "QUERY-5": _events_come_in_pages,
    "QUERY-6": _events_end,
    "QUERY-7": _subscription_goes_with_the_run,
    "QUERY-8": _subscription_begins_after_a_number,
    "QUERY-9": _queries_agree,
    "QUERY-10": _subscribers_leave_no_trace,
    "QUERY-11": _runs_of_execute_are_there,
}
