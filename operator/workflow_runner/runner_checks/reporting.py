"""CALLBACK: what a runner reports by itself. It has to be told where to before it is started; see `receiver.py`."""

from __future__ import annotations

from workflow_runner.runner_checks.caller import short
from workflow_runner.runner_checks.interface import EXECUTE_ASYNC, GET_EVENTS, SUBSCRIBE, TERMINAL
from workflow_runner.runner_checks.receiver import Receiver
from workflow_runner.runner_checks.session import OK, NotOffered, Session, Unmet

FOR_EVER = 1_000_000


def _receiver(session: Session) -> Receiver:
    if session.receiver is None:
        raise NotOffered("reports are not listened for: see --callbacks")
    session.need(EXECUTE_ASYNC)
    return session.receiver


async def _reported(session: Session, *, refuse: int = 0) -> str:
    """A run whose terminal event was reported. Raises Unmet."""
    receiver = _receiver(session)
    request = session.request(session.profile.succeeds)
    run = request.workflow_execution_id
    receiver.expect(run, refuse=refuse)
    session.expect(await session.start(request), OK)
    try:
        await session.until(lambda: receiver.ended(run), "a report of the terminal event", lambda: _said(receiver, run))
    finally:
        session.note(f"waited for reports of {run}", _said(receiver, run))
    return run


def _said(receiver: Receiver, run: str) -> str:
    told = ", ".join(f"{number} {kind}" for number, kind in sorted(receiver.told(run).items()))
    return f"reports of [{short(told)}], and {len(receiver.refused[run])} others that were refused"


async def _comes_to_its_end(session: Session) -> None:
    run = await _reported(session)
    told = _receiver(session).told(run)
    if told[max(told)] not in TERMINAL or "workflow_started" not in told.values():
        raise Unmet("workflow_started, and the terminal event under the last number", _said(_receiver(session), run))


async def _says_what_queries_say(session: Session) -> None:
    receiver = _receiver(session)
    if not session.has(GET_EVENTS):
        session.need(SUBSCRIBE)
    run = await _reported(session)
    events = {event.sequence_number: event.event_type for event in await session.all_events(run)}
    if not receiver.told(run).items() <= events.items():
        raise Unmet(f"reports of these events only: {list(events.items())[:30]}", _said(receiver, run))


async def _is_repeated(session: Session) -> None:
    run = await _reported(session, refuse=2)
    receiver = _receiver(session)
    await session.until(
        lambda: receiver.refused[run] <= receiver.told(run).keys(),
        f"the refused reports {sorted(receiver.refused[run])} once more",
        lambda: _said(receiver, run),
    )


async def _changes_no_run(session: Session) -> None:
    receiver = _receiver(session)
    session.need(SUBSCRIBE)
    run = ""
    try:
        async with session.following(
            session.profile.long, before=lambda name: receiver.expect(name, refuse=FOR_EVER)
        ) as followed:
            run = followed.id
            await session.until(lambda: bool(receiver.refused[run]), "a report", lambda: _said(receiver, run))
            before = len(followed.events)
            await session.until(
                lambda: followed.types()[before:].count("task_started") > 1 or bool(TERMINAL.keys() & set(followed.types())),
                "tasks after a report was refused",
                lambda: followed.heard,
            )
            if TERMINAL.keys() & set(followed.types()):
                raise Unmet("a run that goes on", followed.heard)
    finally:
        receiver.expect(run)  # whoever still tries to report it can be done with it


CHECKS = {
    "CALLBACK-1": _comes_to_its_end,
    "CALLBACK-2": _says_what_queries_say,
    "CALLBACK-3": _is_repeated,
    "CALLBACK-4": _changes_no_run,
}
