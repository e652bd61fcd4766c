"""Small workflows and activities that data go through, for the tests of payloads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

QUEUE = "payloads"
ONCE = RetryPolicy(maximum_attempts=1)


@activity.defn(name="turn")
async def turn(value: Any) -> Any:
    """The value, with its text reversed."""
    return {"turned": value["text"][::-1]}


@activity.defn(name="blow-up")
async def blow_up(size: int) -> str:
    """So much text."""
    return "x" * size


@activity.defn(name="fail")
async def fail(value: Any) -> None:
    """Fails with the text in its message."""
    raise ValueError(value["text"])


@workflow.defn(name="there-and-back", sandboxed=False)
class ThereAndBack:
    """Passes its input to an activity, and gives what that gives."""

    @workflow.run
    async def run(self, value: Any) -> Any:
        return await workflow.execute_activity(turn, value, start_to_close_timeout=timedelta(seconds=60), retry_policy=ONCE)


@workflow.defn(name="large-result", sandboxed=False)
class LargeResult:
    """Asks an activity for much text."""

    @workflow.run
    async def run(self, size: int) -> int:
        # More attempts than one: what is too large is not tried again.
        text = await workflow.execute_activity(blow_up, size, start_to_close_timeout=timedelta(seconds=60))
        return len(text)


@workflow.defn(name="large-argument", sandboxed=False)
class LargeArgument:
    """Hands much text to an activity."""

    @workflow.run
    async def run(self, size: int) -> Any:
        return await workflow.execute_activity(turn, {"text": "x" * size}, start_to_close_timeout=timedelta(seconds=60))


@workflow.defn(name="failing", sandboxed=False)
class Failing:
    """Fails with what it was given."""

    @workflow.run
    async def run(self, value: Any) -> None:
        await workflow.execute_activity(fail, value, start_to_close_timeout=timedelta(seconds=60), retry_policy=ONCE)


WORKFLOWS = [ThereAndBack, LargeResult, LargeArgument, Failing]
ACTIVITIES = [turn, blow_up, fail]
