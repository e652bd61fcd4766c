"""FACE: the runner's service under its other names. What is started under one is the same run under each."""

from __future__ import annotations

from workflow_runner.runner_checks.interface import CANCEL, EXECUTE_ASYNC, GET_STATUS, NEWER, OLDER, PAUSE, RESUME
from workflow_runner.runner_checks.session import OK, NotOffered, Session, Unmet


async def _older(session: Session) -> None:
    await _is_the_same(session, OLDER)


async def _newer(session: Session) -> None:
    await _is_the_same(session, NEWER)


async def _is_the_same(session: Session, service: str) -> None:
    if service == session.face:
        raise NotOffered("it is the name under which everything was checked")
    start, cancel = EXECUTE_ASYNC.under(service), CANCEL.under(service)
    if not session.has(start):
        raise NotOffered(f"UNIMPLEMENTED: {service}")
    session.need(EXECUTE_ASYNC, CANCEL, cancel)
    request = session.request(session.profile.long)
    first = await session.start(request, start)
    session.expect(first, OK)
    again = await session.start(request)
    session.expect(again, OK, after="for the same request under the other name")
    if again.value.workflow_execution_id != first.value.workflow_execution_id:
        raise Unmet(f"the same run: {first}", again)
    for method, steer in ((PAUSE, session.pause), (RESUME, session.resume)):
        if session.has(method):
            session.expect(await steer(request.workflow_execution_id, method.under(service)), OK)
    session.expect(await session.cancel(request.workflow_execution_id, method=cancel), OK)
    if session.has(GET_STATUS):
        await session.until_status(request.workflow_execution_id, {"cancelled"})


CHECKS = {"FACE-1": _older, "FACE-2": _newer}
