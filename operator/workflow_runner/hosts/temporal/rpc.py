"""Calls of Temporal's server: their deadline, and how often they are made. Used by all of this package that talks to it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from temporalio.service import RPCError, RPCStatusCode

from workflow_runner import telemetry
from workflow_runner.errors import InvalidInput, PermissionDenied, Unauthenticated, Unavailable, WorkflowRunnerError

RPC_SECONDS = timedelta(seconds=10)
LATER = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.UNKNOWN,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.ABORTED,
        RPCStatusCode.CANCELLED,
    }
)
"""What a server answers, or is said for it, that may be otherwise soon."""
REFUSALS = frozenset({RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.FAILED_PRECONDITION})
"""A run that has been started goes on, also while a key is exchanged or a namespace moves: who follows it waits for that."""
MOST_PAUSE = 10.0
MISSING_SECONDS = 60.0
"""So long a run that was there may not be found before it counts as gone."""

log = logging.getLogger(__name__)
_T = TypeVar("_T")


async def persistently(
    work: Callable[[], Awaitable[_T]], what: str, later: frozenset[RPCStatusCode] = LATER, *, missing_seconds: float = 0.0
) -> _T:
    """Try until Temporal answers: a server that restarts is no end of anything. Raises RPCError for a refusal; NOT_FOUND
    is one after so many seconds: what a cluster has that takes over may be a little older."""
    pause, told, clock = 0.2, False, asyncio.get_running_loop().time
    since: float | None = None
    while True:
        began = clock()
        try:
            return await work()
        except RPCError as error:
            now = clock()
            if error.status is not RPCStatusCode.NOT_FOUND or now - began > MOST_PAUSE:
                since = None  # it was found meanwhile
            if error.status is RPCStatusCode.NOT_FOUND and since is None:
                since = now
            if error.status not in later and (since is None or now - since >= missing_seconds):
                raise
            if not told:
                log.warning("%s; it is tried again", what, extra={"error": error.message[:300]})
                told = True
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause = min(pause * 2, MOST_PAUSE)


def refusal(error: RPCError) -> WorkflowRunnerError:
    """Why Temporal does not take a run, or does not know it any more."""
    said, code = f"{error.status.name}: {telemetry.redact(error.message)[:500]}", "temporal.run-refused"
    match error.status:
        case RPCStatusCode.UNAUTHENTICATED:
            hint = "check TEMPORAL_API_KEY, or the certificate of TEMPORAL_TLS_CERTIFICATE"
            return Unauthenticated(f"Temporal does not know who calls: {said}", code="temporal.unauthenticated", hint=hint)
        case RPCStatusCode.PERMISSION_DENIED:
            message, hint = (
                f"Temporal does not let this caller run workflows: {said}",
                "check the rights of the key or certificate",
            )
            return PermissionDenied(message, code="temporal.permission-denied", hint=hint)
        case RPCStatusCode.FAILED_PRECONDITION:
            return Unavailable(f"Temporal does not take the run as things stand: {said}", code=code)
        case _:
            return InvalidInput(f"Temporal refuses the run: {said}", code=code)


async def unflagging(work: Callable[[], Awaitable[None]]) -> None:
    """Begin again until it ends by itself, whatever goes wrong: a run that nobody can steer, or hears of, would be worse."""
    while True:
        try:
            await work()
            return
        except Exception:
            log.exception("what follows a run on Temporal failed; it begins again")
        await asyncio.sleep(random.uniform(0.5, 1.0))  # noqa: S311 - jitter


async def unless_gone(work: Awaitable[_T]) -> None:
    """A run that has ended hears nothing."""
    try:
        await work
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
