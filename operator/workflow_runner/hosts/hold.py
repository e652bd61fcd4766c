"""Holding a run: what pause and resume mean on asyncio. `local` has one Hold a run.

A pause is asked for at any moment and takes effect where the run can stand still: before a task, or
inside a wait. Only then is it told, and time limits stop running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from workflow_runner.interpreter.effects import DeadlinePassed
from workflow_runner.interpreter.events import EventType

_T = TypeVar("_T")


class Hold:
    """Whether a run is to be held, and whether it is. `tell` hears when it is held and when it goes on."""

    def __init__(self, tell: Callable[[EventType, str], None]) -> None:
        self._tell = tell
        self._asked = asyncio.Event()
        self._released = asyncio.Event()
        self._released.set()
        self._reason = ""
        self._limits: list[asyncio.Timeout] = []
        self.held = False

    @property
    def asked(self) -> bool:
        """Whether a pause has been asked for and not been taken back."""
        return self._asked.is_set()

    def ask(self, reason: str) -> None:
        """Hold as soon as possible. The reason of the first of several requests stands."""
        if not self._asked.is_set():
            self._reason = reason
            self._asked.set()
            self._released.clear()

    def release(self) -> None:
        """Go on; a pause that has not taken effect yet is forgotten."""
        self._asked.clear()
        self._released.set()

    async def stand(self) -> None:
        """Stand still while a pause is asked for."""
        if self._asked.is_set() and not self.held:
            await self._stand()

    async def _stand(self) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        limits = [(limit, when) for limit in self._limits if (when := limit.when()) is not None]
        for limit, _ in limits:
            limit.reschedule(None)
        self.held = True
        self._tell(EventType.WORKFLOW_PAUSED, self._reason)
        try:
            while self._asked.is_set():
                await self._released.wait()
        finally:
            self.held = False
        for limit, when in limits:
            limit.reschedule(when + (loop.time() - since))
        self._tell(EventType.WORKFLOW_RESUMED, "")

    async def sleep(self, seconds: float) -> None:
        """Sleep that long, or stand still for as long as a pause lasts: whichever comes first."""
        try:
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return
        await self.stand()

    async def within(self, seconds: float, work: Awaitable[_T]) -> _T:
        """Await `work` for that long, time held apart; then cancel it and raise DeadlinePassed."""
        limit = asyncio.timeout(max(0.0, seconds))
        try:
            async with limit:
                self._limits.append(limit)
                try:
                    return await work
                finally:
                    self._limits.remove(limit)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlinePassed from error
