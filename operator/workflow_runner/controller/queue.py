"""The keyed queue: at most one reconcile a key at a time, repeats folded, failures tried again later.

Filled by handlers, the sink and the relay through `add`; emptied by `run`. Its size is bounded by the
number of executions, since a key is in it once.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Awaitable, Callable

import structlog

BACKOFF_FIRST = 0.2
BACKOFF_MOST = 60.0

log = structlog.get_logger(__name__)

Reconcile = Callable[[str], Awaitable[float | None]]
"""Looks after one key; returns in how many seconds to look again, or None."""


class KeyedQueue:
    """Keys waiting for their reconcile, some of them until a later time."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._busy: set[str] = set()
        self._failures: dict[str, int] = {}
        self._wake = asyncio.Event()

    def add(self, key: str, after: float = 0.0) -> None:
        """Reconcile `key` in `after` seconds, or sooner where that is asked for already."""
        due = asyncio.get_running_loop().time() + after
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        self._wake.set()

    def __len__(self) -> int:
        return len(self._due) + len(self._busy)

    async def run(self, reconcile: Reconcile, workers: int = 8) -> None:
        """Reconciles keys as they become due, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(reconcile))

    async def _work(self, reconcile: Reconcile) -> None:
        while True:
            key = await self._next()
            self._busy.add(key)
            try:
                after = await reconcile(key)
            except Exception as error:
                count = self._failures[key] = self._failures.get(key, 0) + 1
                after = min(BACKOFF_MOST, BACKOFF_FIRST * 2 ** min(count - 1, 16)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
                log.warning(
                    "reconcile failed; it is tried again",
                    key=key,
                    again_in=round(after, 2),
                    error=repr(error),
                    exc_info=count > 2,
                )
            else:
                self._failures.pop(key, None)
            finally:
                self._busy.discard(key)
                self._wake.set()
            if after is not None:
                self.add(key, after)

    async def _next(self) -> str:
        loop = asyncio.get_running_loop()
        while True:
            held: list[tuple[float, str]] = []
            found: str | None = None
            while self._heap and self._heap[0][0] <= loop.time():
                due, key = heapq.heappop(self._heap)
                if self._due.get(key) != due:
                    continue
                if key in self._busy:
                    held.append((due, key))
                    continue
                found = key
                break
            for item in held:
                heapq.heappush(self._heap, item)
            if found is not None:
                del self._due[found]
                return found
            await self._sleep(loop, bool(held))

    async def _sleep(self, loop: asyncio.AbstractEventLoop, held: bool) -> None:
        self._wake.clear()
        upcoming = [due for due, _ in self._heap[:1] if not held]
        timeout = max(0.0, upcoming[0] - loop.time()) if upcoming else None
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return
