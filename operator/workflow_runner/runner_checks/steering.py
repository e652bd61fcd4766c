"""CANCEL and PAUSE: what can be done to a run that goes on."""

from __future__ import annotations

import asyncio

import grpc

from workflow_runner.runner_checks.interface import CANCEL, GET_EVENTS, GET_STATUS, PAUSE, RESUME, SUBSCRIBE, TERMINAL
from workflow_runner.runner_checks.offering import NOBODY
from workflow_runner.runner_checks.session import OK, Followed, Session, Unmet

_FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
_QUIET_SECONDS = 2.0
"""How long nothing may happen in a run that does not go on; the steps of a `long` document are shorter."""


async def _ends_when_cancelled(session: Session) -> None:
    session.need(CANCEL)
    async with session.following(session.profile.long) as run:
        session.expect(await session.cancel(run.id), OK)
        await _expect_cancelled(session, run)


async def _expect_cancelled(session: Session, run: Followed) -> None:
    if await session.until_ended(run) != "workflow_cancelled":
        raise Unmet("workflow_cancelled", run.heard)


async def _is_cancelled_once(session: Session) -> None:
    session.need(CANCEL)
    async with session.following(session.profile.long) as run:
        for _ in range(2):
            session.expect(await session.cancel(run.id), OK)
        await _expect_cancelled(session, run)
        session.expect(await session.cancel(run.id), OK, after="after its end, too")
        await _quiet(run)
        types = run.types()
        if session.has(GET_EVENTS) or session.has(SUBSCRIBE):
            types = [event.event_type for event in await session.all_events(run.id)]
        if len([kind for kind in types if kind in TERMINAL]) != 1:
            raise Unmet("one terminal event", types[-20:])


async def _quiet(run: Followed) -> None:
    """Gives what shall not come the time to come, unless the stream has ended."""
    for _ in range(10):
        if run.heard.answer.code is not grpc.StatusCode.UNKNOWN:
            return
        await asyncio.sleep(_QUIET_SECONDS / 10)


async def _knows_no_stranger(session: Session) -> None:
    session.need(CANCEL)
    session.expect(await session.cancel(NOBODY), grpc.StatusCode.NOT_FOUND)


async def _leaves_what_has_completed(session: Session) -> None:
    session.need(CANCEL)
    heard = await session.story("succeeds")
    if not heard.events:
        raise Unmet("a run", heard)
    run = heard.events[0].workflow_execution_id
    session.expect(await session.cancel(run), OK, _FAILED_PRECONDITION)
    if session.has(GET_STATUS):
        await session.until_status(run, {"completed"})


async def _ends_when_forced(session: Session) -> None:
    session.need(CANCEL)
    async with session.following(session.profile.long) as run:
        session.expect(await session.cancel(run.id, force=True), OK)
        await _expect_cancelled(session, run)


async def _ends_when_cancelled_while_paused(session: Session) -> None:
    async with session.following(session.profile.long) as run:
        await _pause(session, run)
        session.expect(await session.cancel(run.id), OK)
        await _expect_cancelled(session, run)


async def _pause(session: Session, run: Followed) -> None:
    """Pauses, and waits until the run says that it is so."""
    session.need(PAUSE)
    session.expect(await session.pause(run.id), OK)

    async def paused() -> bool:
        if "workflow_paused" in run.types():
            return True
        if not session.has(GET_STATUS):
            return False
        answer = await session.get_status(run.id, telling=False)
        return answer.ok and answer.value.status == "paused"

    await session.until(paused, "workflow_paused, or status paused", lambda: run.heard)


async def _stays_cancelled(session: Session) -> None:
    session.need(PAUSE)
    async with session.following(session.profile.long) as run:
        session.expect(await session.cancel(run.id), OK)
        session.expect(await session.pause(run.id), OK, _FAILED_PRECONDITION)
        await _expect_cancelled(session, run)
    async with session.following(session.profile.long) as run:
        session.expect(await session.pause(run.id), OK)
        session.expect(await session.cancel(run.id), OK)
        await _expect_cancelled(session, run)


async def _holds_when_paused(session: Session) -> None:
    async with session.following(session.profile.long) as run:
        await _pause(session, run)
        before = run.types().count("task_started")
        await asyncio.sleep(_QUIET_SECONDS)
        if run.types().count("task_started") > before or set(run.types()) & set(TERMINAL):
            raise Unmet(f"no task to start in {_QUIET_SECONDS:g} seconds of a paused run", run.heard)


async def _is_paused_once(session: Session) -> None:
    async with session.following(session.profile.long) as run:
        await _pause(session, run)
        session.expect(await session.pause(run.id), OK)
        await _expect_goes_on(session, run)
        if run.types().count("workflow_paused") > 1:
            raise Unmet("workflow_paused once", run.heard)


async def _expect_goes_on(session: Session, run: Followed) -> None:
    """Resumes, and waits for what the run does then."""
    before = len(run.events)
    session.expect(await session.resume(run.id), OK)
    await session.until(
        lambda: any(kind.startswith("task_") for kind in run.types()[before:]),
        "events of tasks after resuming",
        lambda: run.heard,
    )


async def _goes_on_when_resumed(session: Session) -> None:
    session.need(RESUME)
    async with session.following(session.profile.long) as run:
        await _pause(session, run)
        await _expect_goes_on(session, run)
        if session.has(GET_STATUS):
            await session.until_status(run.id, {"running"})


async def _goes_on_when_resumed_for_nothing(session: Session) -> None:
    session.need(RESUME)
    async with session.following(session.profile.long) as run:
        await _expect_goes_on(session, run)
        session.expect(await session.resume(run.id), OK)
        if {"workflow_paused", "workflow_resumed"} & set(run.types()):
            raise Unmet("neither workflow_paused nor workflow_resumed", run.heard)


async def _pauses_no_stranger(session: Session) -> None:
    session.need(PAUSE, RESUME)
    session.expect(await session.pause(NOBODY), grpc.StatusCode.NOT_FOUND)
    session.expect(await session.resume(NOBODY), grpc.StatusCode.NOT_FOUND)


async def _pauses_nothing_that_has_ended(session: Session) -> None:
    session.need(PAUSE)
    heard = await session.story("succeeds")
    if not heard.events:
        raise Unmet("a run", heard)
    session.expect(await session.pause(heard.events[0].workflow_execution_id), _FAILED_PRECONDITION)


CHECKS = {
    "CANCEL-1": _ends_when_cancelled,
    "CANCEL-2": _is_cancelled_once,
    "CANCEL-3": _knows_no_stranger,
    "CANCEL-4": _leaves_what_has_completed,
    "CANCEL-5": _ends_when_forced,
    "CANCEL-6": _ends_when_cancelled_while_paused,
    "CANCEL-7": _stays_cancelled,
    "PAUSE-1": _holds_when_paused,
    "PAUSE-2": _is_paused_once,
    "PAUSE-3": _goes_on_when_resumed,
    "PAUSE-4": _goes_on_when_resumed_for_nothing,
    "PAUSE-5": _pauses_no_stranger,
    "PAUSE-6": _pauses_nothing_that_has_ended,
}
