"""The keyed queue: at most one reconcile a key at a time, repeats folded, failures tried again later.

Filled by handlers, the sink and the relay through `add`; emptied by `run`. Its size is bounded by the
number of executions, since a key is in it once.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections.abc import Awaitable, Callable

import structlog

WORKERS = 32
"""A reconcile waits for the API server most of the time: one that takes 50 ms for a write lets each make five executions a
second, of four writes each."""
BACKOFF_FIRST = 0.2
BACKOFF_MOST = 60.0

log = structlog.get_logger(__name__)

Reconcile = Callable[[str], Awaitable[float | None]]
"""Looks after one key; returns in how many seconds to look again, or None."""
Reconciled = Callable[[bool, float], None]
"""(whether it went well, seconds)"""


class KeyedQueue:
    """Keys waiting for their reconcile, some of them until a later time, some until theirs at work is done."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._busy: dict[str, float] = {}
        """When each reconcile at work began."""
        self._waiting: set[str] = set()
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._moved_at = 0.0
        """When a worker last took or finished a key."""
        self.reconciled: Reconciled = lambda well, seconds: None
        """Told of every reconcile that has ended."""

    def add(self, key: str, after: float = 0.0) -> None:
        """Reconcile `key` in `after` seconds, or sooner where that is asked for already; no sooner than its last
        failure allows."""
        due = max(asyncio.get_running_loop().time() + after, self._not_before.get(key, 0.0))
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        self._wake.set()

    def __len__(self) -> int:
        return len(self._due) + len(self._busy)

    @property
    def busy(self) -> int:
        """How many keys are being reconciled."""
        return len(self._busy)

    def depth(self) -> int:
        """How many keys are due and wait for a worker, or for their own reconcile under way."""
        now = asyncio.get_running_loop().time()
        return sum(due <= now for due in self._due.values())

    def oldest(self) -> float:
        """For how many seconds the key that waits longest has been due; 0.0 where none is."""
        now = asyncio.get_running_loop().time()
        return max(0.0, now - min(self._due.values(), default=now))

    def stuck(self) -> float:
        """For how many seconds one reconcile has been at work, or keys have been due and no worker took or finished any;
        the longer of both."""
        now = asyncio.get_running_loop().time()
        at_work = max((now - begun for begun in self._busy.values()), default=0.0)
        return max(at_work, min(self.oldest(), now - self._moved_at))

    async def run(self, reconcile: Reconcile, workers: int = WORKERS) -> None:
        """Reconciles keys as they become due, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(reconcile))

    async def _work(self, reconcile: Reconcile) -> None:
        while True:
            key = await self._next()
            begun = self._busy[key] = self._moved_at = asyncio.get_running_loop().time()
            well = False
            try:
                after = await reconcile(key)
                well = True
            except Exception as error:  # noqa: BLE001 - one resource's failure must not end the others' reconciling
                after = self._backoff(key, error)
            else:
                self._failures.pop(key, None)
                self._not_before.pop(key, None)
            finally:
                self._release(key)
            self._moved_at = asyncio.get_running_loop().time()
            self.reconciled(well, self._moved_at - begun)
            if after is not None:
                self.add(key, after)

    def _backoff(self, key: str, error: Exception) -> float:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        after: float = min(BACKOFF_MOST, BACKOFF_FIRST * 2 ** min(count - 1, 16)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._not_before[key] = asyncio.get_running_loop().time() + after
        log.warning(
            "reconcile failed; it is tried again", key=key, again_in=round(after, 2), error=repr(error), exc_info=count > 2
        )
        return after

    def _release(self, key: str) -> None:
        self._busy.pop(key, None)
        if key in self._waiting:
            self._waiting.discard(key)
            self._due[key] = max(self._due[key], self._not_before.get(key, 0.0))
            heapq.heappush(self._heap, (self._due[key], key))
            self._wake.set()

    async def _next(self) -> str:
        loop = asyncio.get_running_loop()
        while True:
            while self._heap and self._heap[0][0] <= loop.time():
                due, key = heapq.heappop(self._heap)
                if self._due.get(key) != due or key in self._waiting:
                    continue
                if key in self._busy:
                    self._waiting.add(key)
                    continue
                del self._due[key]
                return key
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._heap[0][0] - loop.time()) if self._heap else None):
                    await self._wake.wait()
