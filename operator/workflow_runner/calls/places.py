"""How many calls may be under way at a time. Used by `connections`, for all runs of a process together."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TypeAlias

SWEEP_SECONDS = 0.25
"""How late somebody may hear that it has waited too long: one timer for all is cheap, one for each of thousands is not."""


_Waiting: TypeAlias = "tuple[float, asyncio.Future[None]]"
"""Until when by the loop's clock, and what is set when the turn has come."""


class Places:
    """A number of places, first come, first served: nobody who comes later gets one before. Use it from one event loop."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._line: deque[_Waiting] = deque()
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def free(self) -> int:
        """How many places nobody has."""
        return self._free

    def take(self) -> bool:
        """Take a place, if there is one; then `leave` it."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def wait(self, seconds: float) -> None:
        """Wait for a place and take it. Raises TimeoutError when there is none for so long."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._line.append((loop.time() + seconds, turn))
        if self._sweeping is None:
            self._sweeping = loop.call_later(SWEEP_SECONDS, self._sweep)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()  # it came at the same moment
            raise

    def leave(self) -> None:
        """Give a place back: whoever has waited longest has it now."""
        while self._line:
            _, turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for due, turn in self._line:
            if due <= now and not turn.done():
                turn.set_exception(TimeoutError())
        self._line = deque(waiting for waiting in self._line if not waiting[1].done())
        self._sweeping = loop.call_later(SWEEP_SECONDS, self._sweep) if self._line else None
