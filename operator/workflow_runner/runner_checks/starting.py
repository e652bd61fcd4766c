"""START: the call that starts a workflow and does not wait for it."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import grpc

from workflow_runner.runner_checks.caller import Answer
from workflow_runner.runner_checks.interface import EXECUTE_ASYNC, GET_EVENTS, GET_STATUS, SUBSCRIBE, Method
from workflow_runner.runner_checks.session import OK, NotOffered, Session, Unmet

AT_ONCE = 8


async def _answers_at_once(session: Session) -> None:
    session.need(EXECUTE_ASYNC)
    request = session.request(session.profile.long)
    answer = await session.start(request)
    session.expect(answer, OK)
    if answer.value.workflow_execution_id != request.workflow_execution_id or answer.value.status != "running":
        raise Unmet(f"{request.workflow_execution_id}, running", answer)
    await session.clear(request.workflow_execution_id)


async def _chooses_an_id(session: Session) -> None:
    session.need(EXECUTE_ASYNC)
    request = session.request(session.profile.succeeds, "")
    ids = []
    for _ in range(2):
        answer = await session.start(request)
        session.expect(answer, OK)
        ids.append(answer.value.workflow_execution_id)
    if "" in ids or ids[0] == ids[1]:
        raise Unmet("two ids", ids)


async def _refuses_an_invalid_document(session: Session) -> None:
    session.expect(await _start_invalid(session), grpc.StatusCode.INVALID_ARGUMENT)


async def _says_what_is_wrong(session: Session) -> None:
    answer = await _start_invalid(session)
    session.expect(answer, grpc.StatusCode.INVALID_ARGUMENT)
    try:
        violations = answer.violations()
    except ValueError as error:
        raise Unmet("google.rpc.Status with google.rpc.BadRequest", error) from error
    if violations is None:
        raise NotOffered("the status has no google.rpc.BadRequest")
    if not violations or any(not each.partition(": ")[2] for each in violations):
        raise Unmet("violations, each with a description", violations)


async def _start_invalid(session: Session) -> Answer:
    session.need(EXECUTE_ASYNC)
    return await session.start(session.request(session.profile.invalid))


async def _answers_the_same_again(session: Session) -> None:
    for document in (session.profile.long, session.profile.succeeds):
        session.need(EXECUTE_ASYNC)
        request = session.request(document)
        first = await session.start(request)
        session.expect(first, OK)
        if document is session.profile.succeeds:
            await _ended(session, request.workflow_execution_id)
        again = await session.start(request)
        if not again.ok or again.value != first.value:
            raise Unmet(f"the same answer as before: {first}", again)
        await session.clear(request.workflow_execution_id)


async def _ended(session: Session, run: str) -> None:
    """Waits for the end of a run where that can be seen."""
    if session.has(GET_STATUS):
        await session.until_status(run, {"completed"})
    elif session.has(SUBSCRIBE):
        await session.subscribe(run)


async def _starts_nothing_again(session: Session) -> None:
    async with session.following(session.profile.long) as run:
        session.need(EXECUTE_ASYNC)
        await session.start(session.request(session.profile.long, run.id))
        session.expect(await session.cancel(run.id), OK)
        await session.until_ended(run)
        before = run.types()
        if before.count("workflow_started") != 1:
            raise Unmet("one workflow_started", run.heard)
    request = session.request(session.profile.succeeds)
    session.expect(await session.start(request), OK)
    await _ended(session, request.workflow_execution_id)
    first = await session.all_events(request.workflow_execution_id)
    await session.start(request)
    await _ended(session, request.workflow_execution_id)
    again = await session.all_events(request.workflow_execution_id)
    if list(again) != list(first):
        raise Unmet(f"the {len(first)} events that were there", f"{len(again)}, or others")


async def _refuses_another_request_under_the_same_id(session: Session) -> None:
    run = await session.started(session.profile.long)
    answer = await session.start(session.request(session.profile.succeeds, run))
    session.expect(answer, grpc.StatusCode.ALREADY_EXISTS)
    other_input = session.request(session.profile.long, run)
    other_input.workflow_input.update({"conformance": "something else"})
    session.expect(await session.start(other_input), grpc.StatusCode.ALREADY_EXISTS)
    if session.has(GET_STATUS):
        await session.until_status(run, {"running", "pending"})
    await session.clear(run)


async def _starts_once_when_asked_many_times(session: Session) -> None:
    session.need(EXECUTE_ASYNC)
    request = session.request(session.profile.succeeds)
    answers = await asyncio.gather(*(session.start(request) for _ in range(AT_ONCE)))
    for answer in answers:
        if not answer.ok or answer.value != answers[0].value:
            raise Unmet(f"the same answer {AT_ONCE} times", "; ".join(sorted({str(each) for each in answers})))
    if session.has(GET_EVENTS) or session.has(SUBSCRIBE):
        await _ended(session, request.workflow_execution_id)
        types = [event.event_type for event in await session.all_events(request.workflow_execution_id)]
        if types.count("workflow_started") != 1:
            raise Unmet("one workflow_started", f"{types[:100]}")


async def _says_where_to_ask(session: Session) -> None:
    session.need(EXECUTE_ASYNC)
    request = session.request(session.profile.succeeds)
    answer = await session.start(request)
    session.expect(answer, OK)
    urls = {"subscribe_url": answer.value.subscribe_url, "status_url": answer.value.status_url}
    if not any(urls.values()):
        raise NotOffered("the answer has none")
    for name, url in urls.items():
        if url and not _names_a_method(session, url):
            raise Unmet(f"{name} as grpc://HOST:PORT/SERVICE/METHOD, of a method that is there", url)


def _names_a_method(session: Session, url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    known: dict[str, Method] = {method.path: method for method in (SUBSCRIBE, GET_STATUS, GET_EVENTS)}
    method = known.get(parts.path)
    return parts.scheme in ("grpc", "grpcs") and bool(parts.hostname and port) and method is not None and session.has(method)


CHECKS = {
    "START-1": _answers_at_once,
    "START-2": _chooses_an_id,
    "START-3": _refuses_an_invalid_document,
    "START-4": _says_what_is_wrong,
    "START-5": _answers_the_same_again,
    "START-6": _starts_nothing_again,
    "START-7": _refuses_another_request_under_the_same_id,
    "START-8": _starts_once_when_asked_many_times,
    "START-9": _says_where_to_ask,
}
