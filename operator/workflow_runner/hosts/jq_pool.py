"""The children that evaluate programs (jq_worker.py), shared by all runs of a process that has many. Built by cli.serve.

A run that evaluates one thing after another has one child at most, whatever it forks; the others take turns in the order in
which they asked. Children are started when they are needed and stay for whoever comes next.
"""

from __future__ import annotations

import asyncio

from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.evaluate import JqRequest
from workflow_runner.expressions.schemas import SchemaRequest
from workflow_runner.hosts.jq_worker import JqWorker

MOST_CHILDREN = 4
"""Each may take as much memory as a worker permits."""


class JqPool:
    """At most so many children at a time. Close it when no run is left."""

    def __init__(self, most: int = MOST_CHILDREN) -> None:
        self._places = asyncio.Semaphore(most)
        self._idle: list[JqWorker] = []

    def turns(self) -> JqTurns:
        """What one run evaluates with."""
        return JqTurns(self)

    async def evaluate(self, request: JqRequest | SchemaRequest) -> Json:
        """As JqWorker.evaluate; waiting for a child does not count against its time limit."""
        async with self._places:
            worker = self._idle.pop() if self._idle else JqWorker()
            try:
                return await worker.evaluate(request)
            finally:
                self._idle.append(worker)

    async def aclose(self) -> None:
        """End the children."""
        for worker in self._idle:
            await worker.aclose()


class JqTurns:
    """One run's share of the pool: one evaluation at a time."""

    def __init__(self, pool: JqPool) -> None:
        self._pool = pool
        self._turn = asyncio.Lock()

    async def evaluate(self, request: JqRequest | SchemaRequest) -> Json:
        """As JqWorker.evaluate."""
        async with self._turn:
            return await self._pool.evaluate(request)

    async def aclose(self) -> None:
        """Nothing of the pool is this run's own."""
