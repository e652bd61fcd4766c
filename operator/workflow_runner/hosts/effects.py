"""The interpreter's effects on asyncio; `local` makes one LocalEffects a run."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from workflow_runner.calls import Calls
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.evaluate import JqRequest
from workflow_runner.hosts.hold import Hold
from workflow_runner.hosts.jq_worker import JqWorker
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.events import Event
from workflow_runner.interpreter.frames import WorkflowFrame

_T = TypeVar("_T")
_CHANCE = random.SystemRandom()

_BREATH_SECONDS = 0.005
"""How long tasks that never wait may keep the event loop to themselves."""


class LocalEffects:
    """Implements interpreter.effects.Effects."""

    def __init__(self, hold: Hold, report: Callable[[Event], None]) -> None:
        self._hold = hold
        self._calls = Calls()
        self._worker = JqWorker()
        self._breathe_at = 0.0
        self.report = report

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)

    def random(self) -> float:
        """A number in [0, 1)."""
        return _CHANCE.random()

    async def checkpoint(self, frame: WorkflowFrame) -> None:
        """Stand still while paused; now and then let others use the event loop."""
        if self._hold.asked:
            await self._hold.stand()
        elif (now := time.monotonic()) >= self._breathe_at:
            await asyncio.sleep(0)
            self._breathe_at = now + _BREATH_SECONDS

    async def sleep(self, until: datetime) -> None:
        """Return at `until`, or when a pause that lasts longer is over."""
        while (remaining := (until - self.now()).total_seconds()) > 0:
            await self._hold.sleep(remaining)

    async def within(self, until: datetime, work: Awaitable[_T]) -> _T:
        """Await `work` until then, time held apart."""
        return await self._hold.within((until - self.now()).total_seconds(), work)

    async def call(self, request: Call) -> Json:
        """Carry out a call in this process."""
        return await self._calls.call(request.protocol, request.arguments, idempotency_key=request.idempotency_key)

    async def evaluate(self, request: JqRequest) -> Json:
        """Evaluate a program in a child process that can be killed."""
        return await self._worker.evaluate(request)

    async def close(self) -> None:
        """Close connections and end the child process."""
        await self._calls.close()
        await self._worker.aclose()
