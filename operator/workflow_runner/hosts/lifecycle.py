"""Lifecycle events: what runs do, as CloudEvents by the names and shapes of the DSL reference, to a sink.

Derived from a run's events (interpreter/events.py), beside the run: telling them never waits and never fails. What
cannot be kept or delivered is left out, first of all events of tasks, and that is logged once.
The optional `status-changed` events are not told; of outputs, only that of the workflow is.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime

from workflow_runner import telemetry
from workflow_runner.dsl.model import DocumentInfo
from workflow_runner.dsl.problems import Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.hosts.event_bus import CloudEvent
from workflow_runner.hosts.event_sink import EventSink
from workflow_runner.interpreter.events import Event, EventType

MOST_WAITING = 1000
LARGEST_OUTPUT = 256 * 1024
LONGEST_TEXT = 4096
"""Characters of what an error says: so many of them may wait."""
FINISH_SECONDS = 5.0
_PREFIX = "io.serverlessworkflow."

_WORKFLOW: dict[EventType, tuple[str, str]] = {
    EventType.WORKFLOW_STARTED: ("started", "startedAt"),
    EventType.WORKFLOW_PAUSED: ("suspended", "suspendedAt"),
    EventType.WORKFLOW_RESUMED: ("resumed", "resumedAt"),
    EventType.CORRELATION_STARTED: ("correlation-started", "startedAt"),
    EventType.CORRELATION_COMPLETED: ("correlation-completed", "completedAt"),
    EventType.WORKFLOW_CANCELLED: ("cancelled", "cancelledAt"),
    EventType.WORKFLOW_FAILED: ("faulted", "faultedAt"),
    EventType.WORKFLOW_COMPLETED: ("completed", "completedAt"),
}
_TASK: dict[EventType, tuple[tuple[str, str], ...]] = {
    EventType.TASK_STARTED: (("created", "createdAt"), ("started", "startedAt")),
    EventType.TASK_RETRIED: (("retried", "retriedAt"),),
    EventType.TASK_CANCELLED: (("cancelled", "cancelledAt"),),
    EventType.TASK_FAILED: (("faulted", "faultedAt"),),
    EventType.TASK_COMPLETED: (("completed", "completedAt"),),
}
_OPEN_TASKS: dict[EventType, tuple[str, str]] = {
    EventType.WORKFLOW_PAUSED: ("suspended", "suspendedAt"),
    EventType.WORKFLOW_RESUMED: ("resumed", "resumedAt"),
    EventType.WORKFLOW_CANCELLED: ("cancelled", "cancelledAt"),
}
"""What happens to the tasks that are open when it happens to the workflow."""
_NEVER_LEFT_OUT = _WORKFLOW.keys() - {EventType.CORRELATION_STARTED, EventType.CORRELATION_COMPLETED}
"""Of these a run has few: they find room in a queue that is full, too."""

log = logging.getLogger(__name__)


class Lifecycle:
    """The events of one run: what is a CloudEvent in each of them. Without side effects."""

    def __init__(self, document: DocumentInfo, execution_id: str, prefix: str) -> None:
        """`prefix` is what the ids of these events begin with, and of no others."""
        self._document = document
        self._name = f"{document.name}-{execution_id}.{document.namespace}"
        self._source = f"/{document.namespace}/{document.name}/{execution_id}"
        self._prefix = prefix
        self._number = 0
        self._open: dict[tuple[str, str], None] = {}

    def events(self, event: Event) -> Iterator[CloudEvent]:
        """What is to be told about an event, in order."""
        if event.type in _TASK:
            yield from self._of_a_task(event)
        elif event.type in _WORKFLOW:
            kind, moment = _WORKFLOW[event.type]
            data: dict[str, Json] = {"name": self._name}
            if event.type is EventType.WORKFLOW_STARTED:
                document = self._document
                data["definition"] = {
                    "name": document.name,
                    "namespace": document.namespace,
                    "version": document.version,
                }
            data[moment] = _moment(event.timestamp)
            if event.error is not None:
                data["error"] = _error(event.error)
            if event.type is EventType.WORKFLOW_COMPLETED and _fits(event.output):
                data["output"] = redacted(event.output)
            if event.type is EventType.CORRELATION_COMPLETED and event.output and _fits(event.output):
                data["correlationKeys"] = redacted(event.output)
            if event.type is EventType.WORKFLOW_CANCELLED:
                yield from self._of_open_tasks(event)
            yield self._event(f"workflow.{kind}", event, data)
            if event.type in _OPEN_TASKS and event.type is not EventType.WORKFLOW_CANCELLED:
                yield from self._of_open_tasks(event)

    def _of_a_task(self, event: Event) -> Iterator[CloudEvent]:
        task = (event.reference, event.iteration)
        if event.type is EventType.TASK_STARTED:
            self._open[task] = None
        elif event.type is not EventType.TASK_RETRIED:
            self._open.pop(task, None)
        for kind, moment in _TASK[event.type]:
            data: dict[str, Json] = {"workflow": self._name, "task": event.reference, moment: _moment(event.timestamp)}
            if event.type is EventType.TASK_FAILED and event.error is not None:
                data["error"] = _error(event.error)
            yield self._event(f"task.{kind}", event, data)

    def _of_open_tasks(self, event: Event) -> Iterator[CloudEvent]:
        kind, moment = _OPEN_TASKS[event.type]
        for reference, _ in list(self._open):
            data: dict[str, Json] = {"workflow": self._name, "task": reference, moment: _moment(event.timestamp)}
            yield self._event(f"task.{kind}", event, data)

    def _event(self, kind: str, event: Event, data: Json) -> CloudEvent:
        self._number += 1
        return {
            "specversion": "1.0",
            "id": f"{self._prefix}-{self._number}",
            "source": self._source,
            "type": f"{_PREFIX}{kind}.v1",
            "time": _moment(event.timestamp),
            "datacontenttype": "application/json",
            "data": data,
        }


class LifecycleReporter:
    """Tells a run's lifecycle to a sink, one event after the other. `report` takes every event of the run.

    `document` gives what the document says of itself, and None as long as it has not been read: then events wait.
    Use it from one event loop.
    """

    def __init__(self, sink: EventSink, document: Callable[[], DocumentInfo | None], execution_id: str) -> None:
        self._sink = sink
        self._document = document
        self._execution_id = execution_id
        self._lifecycle: Lifecycle | None = None
        self._early: list[Event] = []
        self._waiting: deque[CloudEvent] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._left_out = False

    def report(self, event: Event) -> None:
        """Take an event. Never waits, never fails."""
        try:
            self._take(event)
        except Exception:
            if not self._left_out:
                self._left_out = True
                log.exception("a lifecycle event could not be made: this is a bug of the workflow runner")

    async def finish(self, seconds: float = FINISH_SECONDS) -> None:
        """The run has ended: deliver what waits, for so long at most."""
        if self._worker is not None and not self._worker.done():
            await asyncio.wait([self._worker], timeout=seconds)
            if not self._worker.done():
                self._lost(f"{len(self._waiting) + 1} were not taken within {seconds:g} s of the run's end")
                self._worker.cancel()
                await asyncio.wait([self._worker])

    def _take(self, event: Event) -> None:
        if self._lifecycle is None:
            document = self._document()
            if document is None:
                self._early.append(event)
                return
            # A run that goes on in another process has told events before.
            prefix = f"{self._execution_id}-{secrets.token_hex(4)}"
            self._lifecycle = Lifecycle(document, self._execution_id, prefix)
            for early in self._early:
                self._put(self._lifecycle, early)
            self._early.clear()
        self._put(self._lifecycle, event)

    def _put(self, lifecycle: Lifecycle, event: Event) -> None:
        for told in lifecycle.events(event):
            if len(self._waiting) >= MOST_WAITING and event.type not in _NEVER_LEFT_OUT:
                self._lost("the sink is too slow for them")
                continue
            self._waiting.append(told)
        if self._waiting and (self._worker is None or self._worker.done()):
            self._worker = asyncio.create_task(self._work(), name="lifecycle events")

    async def _work(self) -> None:
        while self._waiting:
            try:
                await self._sink.send(self._waiting[0])
            except WorkflowFault as fault:
                self._lost(fault.problem.detail or str(fault))
            except Exception:
                self._lost("a bug of the workflow runner")
                log.exception("a lifecycle event could not be sent")
            self._waiting.popleft()

    def _lost(self, why: str) -> None:
        if not self._left_out:
            self._left_out = True
            log.warning("lifecycle events are left out; the run goes on", extra={"reason": why})


def _error(problem: Problem) -> Json:
    """An error without secrets and not longer than is worth telling."""
    members = redacted(problem.to_dict())
    assert isinstance(members, dict)  # noqa: S101 - as it was
    return {
        name: f"{value[:LONGEST_TEXT]}…" if isinstance(value, str) and len(value) > LONGEST_TEXT else value
        for name, value in members.items()
    }


def redacted(value: Json) -> Json:
    """A value without secrets in its strings."""
    match value:
        case str():
            return telemetry.redact(value)
        case list():
            return [redacted(item) for item in value]
        case dict():
            return {name: redacted(item) for name, item in value.items()}
        case _:
            return value


def _fits(output: Json) -> bool:
    try:
        return len(json.dumps(output)) <= LARGEST_OUTPUT
    except (ValueError, TypeError, RecursionError):
        return False


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
