"""Runs the checks, one after the other, and says what came of each. Called by cli.conformance.

Whatever a runner does, there is a result for every check, in bounded time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Literal

import grpc
from msgspec import Struct

from workflow_runner.errors import Unauthenticated, Unavailable
from workflow_runner.runner_checks import executing, faces, offering, querying, reporting, starting, steering, telling
from workflow_runner.runner_checks.caller import Caller, short
from workflow_runner.runner_checks.profile import Profile
from workflow_runner.runner_checks.receiver import Receiver
from workflow_runner.runner_checks.requirements import REQUIREMENTS, Requirement
from workflow_runner.runner_checks.session import NotOffered, Session, Unmet

Mark = Literal["pass", "fail", "not offered"]
Check = Callable[[Session], Awaitable[None]]

CHECKS: Mapping[str, Check] = (
    offering.CHECKS
    | executing.CHECKS
    | telling.CHECKS
    | starting.CHECKS
    | steering.CHECKS
    | querying.CHECKS
    | reporting.CHECKS
    | faces.CHECKS
)
"""A check for each requirement, by its id."""


class Result(Struct, frozen=True):
    """What came of a check. `asked` are its calls, each with what came back."""

    number: int
    requirement: Requirement
    mark: Mark
    expected: str
    came: str
    asked: Sequence[tuple[str, str]]
    seconds: float


class Limits(Struct, frozen=True):
    """In seconds: for one answer, for a run to get where it was told to, and for everything."""

    answer: float = 10.0
    settle: float = 40.0
    total: float = 900.0


async def run(
    caller: Caller,
    profile: Profile,
    limits: Limits,
    *,
    only: Collection[str],
    tell: Callable[[Result], None],
    receiver: Receiver | None = None,
) -> list[Result]:
    """The results of all checks, or of those whose ids are in `only`; `tell` hears each when it is there.

    `receiver` is what the runner reports to, where it does.

    Raises Unavailable where nobody speaks gRPC, and Unauthenticated where the caller is not known.
    """
    if reason := await caller.unreachable():
        raise Unavailable(f"nobody answers gRPC there within {limits.answer:g} seconds: {short(reason)}")
    answers = await offering.look(caller, profile.invalid)
    if refused := [answer for answer in answers.values() if answer.code is grpc.StatusCode.UNAUTHENTICATED]:
        hint = "name a file with its token: --token @FILE" if not caller.metadata else "check the token"
        raise Unauthenticated(f"the runner does not know its caller: {refused[0]}", hint=hint)
    there = [method for method, answer in answers.items() if answer.code is not grpc.StatusCode.UNIMPLEMENTED]
    session = Session(caller, profile, there, settle=limits.settle, receiver=receiver)
    deadline = time.monotonic() + limits.total
    results = []
    try:
        for number, (name, check) in enumerate(CHECKS.items(), 1):
            if name in only or not only:
                results.append(await _judge(number, REQUIREMENTS[name], check, session, deadline))
                tell(results[-1])
    finally:
        await session.clear_all()
    return results


async def _judge(number: int, requirement: Requirement, check: Check, session: Session, deadline: float) -> Result:
    began = time.monotonic()
    mark, expected, came = await _call(check, session, deadline - began, requirement)
    asked = [*session.take_asked()]
    return Result(number, requirement, mark, expected, short(came), asked, round(time.monotonic() - began, 3))


async def _call(check: Check, session: Session, seconds: float, requirement: Requirement) -> tuple[Mark, str, str]:
    if seconds <= 0:
        return "fail", requirement.text, "not asked: the time for all checks is over"
    try:
        async with asyncio.timeout(seconds):
            await check(session)
    except Unmet as unmet:
        return "fail", short(unmet.expected), unmet.came
    except NotOffered as reason:
        return ("fail" if requirement.id == "OFFER-1" else "not offered"), requirement.text, str(reason)
    except TimeoutError:
        return "fail", requirement.text, "no end: the time for all checks is over"
    except Exception as error:  # noqa: BLE001 - an answer that no check foresaw is still a result
        return "fail", requirement.text, f"an answer that cannot be judged: {type(error).__name__}: {error}"
    return "pass", requirement.text, "as expected"


def select(words: Sequence[str]) -> list[str]:
    """The ids that words stand for: an id, or the beginning of some (`CANCEL`). Raises ValueError with a word that is none."""
    found = []
    for word in words:
        upper = word.upper()
        ids = [name for name in CHECKS if name == upper or name.partition("-")[0] == upper.removesuffix("-")]
        if not ids:
            raise ValueError(word)
        found += ids
    return found
