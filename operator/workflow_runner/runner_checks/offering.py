"""OFFER: which services and methods there are, who may call them, and what a call that makes no sense does.

`look` finds out what a server has by asking each method for something that does nothing; `suite.run` calls it first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1.io_pb2 import CancelExecutionRequest, WorkflowExecuteInput
from workflow_runner.runner_checks.caller import Answer, Caller
from workflow_runner.runner_checks.interface import (
    CANCEL,
    CHECK_HEALTH,
    EXECUTE,
    EXECUTE_ASYNC,
    FACES,
    GET_EVENTS,
    GET_STATUS,
    NEWER,
    OLDER,
    PAUSE,
    REFLECTION,
    RESUME,
    SUBSCRIBE,
    Method,
)
from workflow_runner.runner_checks.profile import Document
from workflow_runner.runner_checks.session import OK, NotOffered, Session, Unmet

NOBODY = "conformance-nobody-has-this-id"
STEERING = (EXECUTE_ASYNC, CANCEL, PAUSE, RESUME)
ASKED = (
    EXECUTE,
    EXECUTE.under(OLDER),
    *(method.under(face) for face in FACES for method in STEERING),
    GET_STATUS,
    GET_EVENTS,
    SUBSCRIBE,
)
_NOT_REQUEST = b"\xff\xff\xff\xff"
"""The beginning of a field that never ends."""


async def look(caller: Caller, invalid: Document) -> dict[Method, Answer]:
    """What each method answers to a request that cannot start or change anything."""
    answers = await asyncio.gather(*(_touch(caller, method, invalid) for method in ASKED))
    return dict(zip(ASKED, answers, strict=True))


async def _touch(caller: Caller, method: Method, invalid: Document) -> Answer:
    starts = method.name.lower().startswith("execute")
    request: Message = (
        WorkflowExecuteInput(workflow_yaml=invalid.text) if starts else CancelExecutionRequest(execution_id=NOBODY)
    )
    if method.streams:
        return (await caller.listen(method, request, seconds=caller.seconds, enough=lambda _: True)).answer
    return await caller.ask(method, request)


async def _has_what_every_runner_has(session: Session) -> None:
    session.need(EXECUTE_ASYNC, CANCEL)
    if session.face != NEWER:
        session.need(EXECUTE)


async def _pauses_and_resumes_or_neither(session: Session) -> None:
    if not session.has(PAUSE) and not session.has(RESUME):
        raise NotOffered("UNIMPLEMENTED: PauseExecution, ResumeExecution")
    if missing := [method.name for method in (PAUSE, RESUME) if not session.has(method)]:
        raise Unmet("both, or neither", f"UNIMPLEMENTED: {missing[0]}")


async def _reflects(session: Session) -> None:
    named = await reflected(session.caller)
    if named is None:
        raise NotOffered("there is no server reflection")
    there = sorted({method.service for method in ASKED if session.has(method)})
    if missing := [service for service in there if service not in named]:
        raise Unmet(f"{', '.join(there)} among the services", f"{', '.join(named) or 'nothing'}: {missing[0]} is missing")


async def reflected(caller: Caller) -> Sequence[str] | None:
    """The services that reflection names; None where it is not offered. Raises Unmet."""
    for method in REFLECTION:
        # One question a stream: the server may end it after the first answer.
        request = ServerReflectionRequest(list_services="")
        heard = await caller.listen(method, request, seconds=caller.seconds, enough=lambda _: True)
        if heard.events:
            return [service.name for service in heard.events[0].list_services_response.service]
        if heard.answer.code is not grpc.StatusCode.UNIMPLEMENTED:
            raise Unmet("the services, or UNIMPLEMENTED", heard)
    return None


async def _is_healthy(session: Session) -> None:
    answer = await session.caller.ask(CHECK_HEALTH, HealthCheckRequest())
    if answer.code is grpc.StatusCode.UNIMPLEMENTED:
        raise NotOffered("there is no grpc.health.v1")
    session.expect(answer, OK)
    if answer.value.status != HealthCheckResponse.SERVING:
        raise Unmet("SERVING", answer)


async def _knows_its_callers(session: Session) -> None:
    if not session.caller.metadata:
        raise NotOffered("no token was given")
    for metadata in ((), (("authorization", "Bearer not-the-token"),)):
        request = CancelExecutionRequest(execution_id=NOBODY)
        answer = await session.caller.ask(session.named(CANCEL), request, metadata=metadata)
        session.expect(answer, grpc.StatusCode.UNAUTHENTICATED)
        if session.has(EXECUTE):
            start = session.request(session.profile.succeeds)
            heard = await session.caller.listen(session.named(EXECUTE), start, seconds=session.settle, metadata=metadata)
            session.expect(heard.answer, grpc.StatusCode.UNAUTHENTICATED)


async def _survives_what_it_cannot_read(session: Session) -> None:
    session.need(EXECUTE_ASYNC)
    answer = await session.ask(EXECUTE_ASYNC, _NOT_REQUEST)
    if answer.code in (OK, grpc.StatusCode.DEADLINE_EXCEEDED):
        raise Unmet("an error: these are not the bytes of a request", answer)
    session.expect(await session.cancel(NOBODY), grpc.StatusCode.NOT_FOUND, after="as before")


async def _can_be_followed(session: Session) -> None:
    if not session.has(SUBSCRIBE) and not session.has(GET_STATUS):
        raise NotOffered("UNIMPLEMENTED: Subscribe, GetStatus; the operator cannot use such a runner")


CHECKS = {
    "OFFER-1": _has_what_every_runner_has,
    "OFFER-2": _pauses_and_resumes_or_neither,
    "OFFER-3": _reflects,
    "OFFER-4": _is_healthy,
    "OFFER-5": _knows_its_callers,
    "OFFER-6": _survives_what_it_cannot_read,
    "OFFER-7": _can_be_followed,
}
