"""Executions that are being accepted: each once, however many ask for it. Used by local_executions and temporal.executions."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

from workflow_runner.hosts.executions import OtherContent

_T = TypeVar("_T")


class Acceptances(Generic[_T]):
    """Use it from one event loop; whoever owns it ends the `tasks` that are left."""

    def __init__(self) -> None:
        self._under_way: dict[str, tuple[str, asyncio.Task[_T]]] = {}

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._under_way)

    @property
    def tasks(self) -> list[asyncio.Task[_T]]:
        """Those that are under way."""
        return [task for _, task in self._under_way.values()]

    async def accept(self, execution_id: str, digest: str, work: Coroutine[Any, Any, _T]) -> _T:
        """Do the work, to its end: a caller that goes away must not leave an execution that is half accepted."""
        return await asyncio.shield(self.begin(execution_id, digest, work))

    def begin(self, execution_id: str, digest: str, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """The same, for nobody who waits."""
        task = asyncio.create_task(work, name=f"accept {execution_id}")
        self._under_way[execution_id] = (digest, task)
        task.add_done_callback(partial(self._done, execution_id))
        return task

    async def is_under_way(self, execution_id: str, digest: str) -> bool:
        """Whether somebody else has asked for it already; then it has been accepted when this returns. Raises OtherContent,
        and what the work raises."""
        under_way = self._under_way.get(execution_id)
        if under_way is None:
            return False
        OtherContent.check(execution_id, under_way[0], digest)
        await asyncio.shield(under_way[1])
        return True

    async def settled(self, execution_id: str) -> None:
        """Return when it is not under way any more, whatever came of it."""
        under_way = self._under_way.get(execution_id)
        if under_way is not None:
            await asyncio.wait([under_way[1]])

    def _done(self, execution_id: str, task: asyncio.Task[_T]) -> None:
        del self._under_way[execution_id]
        if not task.cancelled():
            task.exception()  # the caller has heard it, or has gone
