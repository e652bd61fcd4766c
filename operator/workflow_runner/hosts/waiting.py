"""Waiting for several things at once, in an order that is always the same. Used by hold and branches.

asyncio.wait keeps what it waits for in a set, whose order differs from process to process: a host that replays its runs
may not depend on it, and its event loop has nothing but futures, callbacks and timers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any


async def all_done(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Return when none runs any more, however they ended. Does not cancel them when the caller is cancelled."""
    await _until(tasks, len(tasks))


async def first_done(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Return when one of them has ended, however it did."""
    await _until(tasks, 1)


async def _until(tasks: Sequence[asyncio.Future[Any]], count: int) -> None:
    left = count - sum(task.done() for task in tasks)
    if left <= 0:
        return
    reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(_: asyncio.Future[Any]) -> None:
        nonlocal left
        left -= 1
        if left <= 0 and not reached.done():
            reached.set_result(None)

    running = [task for task in tasks if not task.done()]
    for task in running:
        task.add_done_callback(ended)
    try:
        await reached
    finally:
        for task in running:
            task.remove_done_callback(ended)
