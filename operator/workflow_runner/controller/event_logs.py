"""The newest events of executions that were started by gRPC, for those who ask for them. Fed by runs.py, read by executions.py.

In memory, and bounded: what an operator before this one was told is told again by the runs that go on, and of the others
their status has the end.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator

from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent

MOST_EVENTS = 500
MOST_EXECUTIONS = 2000


class EventLogs:
    """By the execution's uid. Over the bounds the oldest events go, and the executions that nobody has asked for longest."""

    def __init__(self, *, most_events: int = MOST_EVENTS, most_executions: int = MOST_EXECUTIONS) -> None:
        self._most_events, self._most_executions = most_events, most_executions
        self._logs: OrderedDict[str, deque[WorkflowProgressEvent]] = OrderedDict()
        self._news: dict[str, asyncio.Event] = {}

    def open(self, uid: str) -> None:
        """Keep this execution's events from now on."""
        self._logs.setdefault(uid, deque(maxlen=self._most_events))
        self._logs.move_to_end(uid)
        while len(self._logs) > self._most_executions:
            oldest, _ = self._logs.popitem(last=False)
            self.moved(oldest)

    def told(self, uid: str, event: WorkflowProgressEvent) -> None:
        """One event, if this execution's are kept; one that is there already changes nothing."""
        log = self._logs.get(uid)
        if log is None or (log and event.sequence_number <= log[-1].sequence_number):
            return
        kept = WorkflowProgressEvent()
        kept.CopyFrom(event)
        log.append(kept)
        self.moved(uid)

    def after(self, uid: str, number: int) -> Iterator[WorkflowProgressEvent]:
        """The events above a number, ascending, as of now."""
        return iter([event for event in self._logs.get(uid, ()) if event.sequence_number > number])

    def moved(self, uid: str) -> None:
        """Something about the execution is new: whoever waits looks again."""
        news = self._news.pop(uid, None)
        if news is not None:
            news.set()

    async def news(self, uid: str) -> None:
        """Return when something is new."""
        await self._news.setdefault(uid, asyncio.Event()).wait()

    def forget(self, uid: str) -> None:
        """The execution is gone."""
        self._logs.pop(uid, None)
        self.moved(uid)
