"""Looking at documents in a child process that can be killed: they are hostile.

The operator's validator and the runner's service (documents.py) each have one pool of such children.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import TimeoutError as PoolTimeout
from pathlib import Path
from typing import TypeVar

from pebble import ProcessExpired, ProcessPool

from workflow_runner.errors import Internal, InvalidDocument

SECONDS = 10.0
TRIES = 2
"""The machine may have been busy with something else."""
MEMORY_BYTES = 256 * 1024**2
"""On top of what the child needs before it has looked at anything."""
WORKERS = 1
CHECKS_PER_WORKER = 1000
TOO_COSTLY = "document.too-costly"

_A = TypeVar("_A")
_R = TypeVar("_R")


class TooCostly(InvalidDocument):
    """A child twice took too long, or too much memory, to look at a document."""

    code = TOO_COSTLY


class Checks:
    """A small pool of children. Close it when done."""

    def __init__(self) -> None:
        self._pool = _new_pool()

    async def call(self, check: Callable[[_A], _R], argument: _A) -> _R:
        """What `check`, a function of a module, gives in a child. Raises TooCostly, what the check itself raises, and Internal
        where there is no child to look at anything: that says nothing about the document."""
        why = ""
        for _ in range(TRIES):
            try:
                future = self._pool.schedule(check, args=(argument,), timeout=SECONDS)
            except RuntimeError as error:
                self._pool.stop()
                self._pool = _new_pool()
                raise Internal(f"no child can be started that looks at documents: {error}") from error
            try:
                return await asyncio.wrap_future(future)
            except (PoolTimeout, TimeoutError):
                why = f"checking it took longer than {SECONDS:.0f} s"
            except (ProcessExpired, MemoryError):
                why = "checking it took more memory than is allowed"
        raise TooCostly(why)

    def close(self) -> None:
        """End the children, at work or not."""
        self._pool.stop()
        self._pool.join()


def _new_pool() -> ProcessPool:
    return ProcessPool(
        max_workers=WORKERS,
        max_tasks=CHECKS_PER_WORKER,
        initializer=_limit,
        context=multiprocessing.get_context("forkserver"),
    )


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
