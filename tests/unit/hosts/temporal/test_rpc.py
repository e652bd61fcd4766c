"""How often Temporal is asked, and when an answer counts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from temporalio.service import RPCError, RPCStatusCode

from workflow_runner.hosts.temporal import rpc
from workflow_runner.hosts.temporal.rpc import persistently

NOT_FOUND, UNAVAILABLE, REFUSED = RPCStatusCode.NOT_FOUND, RPCStatusCode.UNAVAILABLE, RPCStatusCode.INVALID_ARGUMENT


class Answers:
    """Of one question after the other: a status, seconds that the next one takes, or at last a text."""

    def __init__(self, *answers: RPCStatusCode | float | str) -> None:
        self._answers: Iterator[RPCStatusCode | float | str] = iter(answers)

    async def __call__(self) -> str:
        answer = next(self._answers)
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            answer = next(self._answers)
        if isinstance(answer, RPCStatusCode):
            raise RPCError("said so", answer, b"")
        return str(answer)


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "MOST_PAUSE", 0.05)


async def test_what_may_be_otherwise_soon_is_asked_again() -> None:
    assert await persistently(Answers(UNAVAILABLE, UNAVAILABLE, "there"), "a test") == "there"


@pytest.mark.parametrize("status", [REFUSED, NOT_FOUND])
async def test_a_refusal_is_one(status: RPCStatusCode) -> None:
    with pytest.raises(RPCError) as refused:
        await persistently(Answers(UNAVAILABLE, status), "a test")
    assert refused.value.status is status


async def test_what_is_missing_for_a_moment_may_come() -> None:
    assert await persistently(Answers(NOT_FOUND, UNAVAILABLE, NOT_FOUND, "there"), "a test", missing_seconds=60) == "there"


async def test_what_is_missing_for_longer_is_gone() -> None:
    with pytest.raises(RPCError):
        await persistently(Answers(*[NOT_FOUND] * 1000), "a test", missing_seconds=0.2)


async def test_what_was_found_meanwhile_is_missing_anew() -> None:
    """A question may last for days: the second time that a cluster takes over is not the end of the first one."""
    again = Answers(NOT_FOUND, 0.3, NOT_FOUND, 0.3, NOT_FOUND, "there")
    assert await persistently(again, "a test", missing_seconds=0.25) == "there"
