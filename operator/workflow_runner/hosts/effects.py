"""The interpreter's effects on asyncio; `local` makes one LocalEffects a run."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from workflow_runner.calls import Calls
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.evaluate import JqRequest
from workflow_runner.expressions.schemas import SchemaRequest
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

    def __init__(
        self,
        hold: Hold,
        report: Callable[[Event], None],
        checkpointed: Callable[[WorkflowFrame], Awaitable[None]] | None = None,
        before_effect: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._hold = hold
        self._checkpointed = checkpointed
        self._before_effect = before_effect
        self._calls = Calls()
        self._worker = JqWorker()
        self._breathe_at = 0.0
        self.report = report

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)

    def clock(self) -> datetime:
        """The wall clock less the time paused."""
        return self._hold.clock()

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
        if self._checkpointed is not None:
            await self._checkpointed(frame)

    async def sleep(self, until: datetime) -> None:
        """Return when the run's clock says `until`, and not while the run is held."""
        if self._before_effect is not None and until > self.clock():
            await self._before_effect()
        while until > self.clock():
            await self._hold.sleep(until)

    async def within(self, until: datetime, work: Coroutine[Any, Any, _T]) -> _T:
        """Await `work` until then, time held apart."""
        return await self._hold.within(until, work)

    async def gather(self, branches: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Run each branch in a task of its own."""
        if not branches:
            return
        failures: list[Exception] = []
        tasks: list[asyncio.Task[None]] = []

        async def run(branch: Coroutine[Any, Any, None]) -> None:
            try:
                await branch
            except Exception as error:  # noqa: BLE001 - raised below
                if not failures:
                    failures.append(error)
                    for task in tasks:
                        if task is not asyncio.current_task():
                            task.cancel()

        remaining = len(branches)

        def ended(_task: asyncio.Task[None]) -> None:
            nonlocal remaining
            remaining -= 1
            if remaining:
                self._hold.ended()

        self._hold.forked(len(branches))
        tasks += [asyncio.create_task(run(branch)) for branch in branches]
        for task in tasks:
            task.add_done_callback(ended)
        try:
            await _all_ended(tasks)
        finally:
            for branch in branches:
                branch.close()  # only does something to those that were cancelled before they began
        if failures:
            raise failures[0]

    async def call(self, request: Call) -> Json:
        """Carry out a call in this process."""
        if self._before_effect is not None:
            await self._before_effect()
        return await self._calls.call(request.protocol, request.arguments, idempotency_key=request.idempotency_key)

    async def evaluate(self, request: JqRequest | SchemaRequest) -> Json:
        """Run a program or a schema in a child process that can be killed."""
        return await self._worker.evaluate(request)

    async def close(self) -> None:
        """Close connections and end the child process."""
        await self._calls.close()
        await self._worker.aclose()


async def _all_ended(tasks: list[asyncio.Task[None]]) -> None:
    """Return when all have ended. Whoever is cancelled in here cancels them, and still waits for them to end."""
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            if cancelled is None:
                cancelled = error
                for task in pending:
                    task.cancel()
    if cancelled is not None:
        raise cancelled
