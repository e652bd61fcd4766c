"""The branches of a fork on asyncio. Called by effects.

A branch that never waits needs no task of its own, which would cost as much as a whole `set`: one task takes them in turn.
As soon as one of them waits, each of those that are left gets a task, so that all are under way at the same time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from workflow_runner.hosts.waiting import all_done


async def run_together(branches: Sequence[Coroutine[Any, Any, None]], ended: Callable[[], None]) -> None:
    """Return when all have ended; `ended` is called for each of them, also for one that never began.

    The first exception of one cancels the others, and is raised when they have ended. Whoever is cancelled in here
    cancels them all, and still waits for their ends.
    """
    together = _Together(branches, ended)
    try:
        await together.all_ended()
    finally:
        together.close()
    if together.failure is not None:
        raise together.failure


class _Together:
    def __init__(self, branches: Sequence[Coroutine[Any, Any, None]], ended: Callable[[], None]) -> None:
        self.failure: Exception | None = None
        self._waiting = deque(branches)
        self._ended = ended
        self._over = False
        self._tasks = [asyncio.create_task(self._take())]
        self._left = -1
        self._look: asyncio.Handle | None = None
        self._look_whether_it_gets_on()

    async def all_ended(self) -> None:
        """Return when no branch runs any more."""
        cancelled: asyncio.CancelledError | None = None
        while running := [task for task in self._tasks if not task.done()]:
            try:
                await all_done(running)
            except asyncio.CancelledError as error:
                cancelled = cancelled or error
                self._break_off()
        if cancelled is not None:
            raise cancelled

    def close(self) -> None:
        """Nothing runs any more: end what never began."""
        self._over = True
        if self._look is not None:
            self._look.cancel()
        for branch in self._waiting:
            branch.close()
            self._ended()

    async def _take(self) -> None:
        """Run one branch after the other, as long as there are any that nobody has begun."""
        while self._waiting and not self._over:
            try:
                await self._waiting.popleft()
            except Exception as error:  # noqa: BLE001 - raised by run_together
                if not self._over:
                    self.failure = error
                    self._break_off()
            finally:
                self._ended()

    def _break_off(self) -> None:
        """Begin nothing more, and cancel what runs."""
        self._over = True
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def _look_whether_it_gets_on(self) -> None:
        """Once in each round of the event loop: when the first task does not get on, the rest is shared out.

        A branch that only lets others have their turn has gone on by the next round.
        """
        left = len(self._waiting)
        if left == 0 or self._over:
            return
        if left == self._left:
            self._tasks += [asyncio.create_task(self._take()) for _ in range(left)]
        else:
            self._left = left
            self._look = asyncio.get_running_loop().call_soon(self._look_whether_it_gets_on)
