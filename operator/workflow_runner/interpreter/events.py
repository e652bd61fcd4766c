"""What happened in a run, as the interpreter and its hosts tell it to whoever listens.

The interpreter makes task events and the end of a workflow; a host adds its beginning and what
control did to it. `hosts.events` turns them into the runner API's messages; the command line and
the reporter of a launched pod are the listeners. Making one must stay cheap: a loop makes two a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from workflow_runner.dsl.problems import Problem
from workflow_runner.dsl.templates import Json


class EventType(StrEnum):
    """The kinds of event, by their names in the runner API (`event_type`)."""

    WORKFLOW_STARTED = "workflow_started"
    WORKFLOW_VALIDATING = "workflow_validating"
    WORKFLOW_VALIDATED = "workflow_validated"
    WORKFLOW_PAUSED = "workflow_paused"
    WORKFLOW_RESUMED = "workflow_resumed"
    WORKFLOW_COMPLETED = "workflow_completed"
    WORKFLOW_FAILED = "workflow_failed"
    WORKFLOW_CANCELLED = "workflow_cancelled"
    CORRELATION_STARTED = "workflow_correlation_started"
    CORRELATION_COMPLETED = "workflow_correlation_completed"
    TASK_STARTED = "task_started"
    TASK_COMPLETED = "task_completed"
    TASK_FAILED = "task_failed"
    TASK_RETRIED = "task_retried"
    TASK_SKIPPED = "task_skipped"
    TASK_CANCELLED = "task_cancelled"


STATUSES: dict[EventType, str] = {
    EventType.WORKFLOW_STARTED: "running",
    EventType.WORKFLOW_VALIDATING: "running",
    EventType.WORKFLOW_VALIDATED: "running",
    EventType.WORKFLOW_PAUSED: "paused",
    EventType.WORKFLOW_RESUMED: "running",
    EventType.WORKFLOW_COMPLETED: "completed",
    EventType.WORKFLOW_FAILED: "failed",
    EventType.WORKFLOW_CANCELLED: "cancelled",
    EventType.CORRELATION_STARTED: "running",
    EventType.CORRELATION_COMPLETED: "running",
    EventType.TASK_STARTED: "running",
    EventType.TASK_COMPLETED: "completed",
    EventType.TASK_FAILED: "failed",
    EventType.TASK_RETRIED: "running",
    EventType.TASK_SKIPPED: "skipped",
    EventType.TASK_CANCELLED: "cancelled",
}


ENDS = frozenset({EventType.WORKFLOW_COMPLETED, EventType.WORKFLOW_FAILED, EventType.WORKFLOW_CANCELLED})
"""After one of these a run tells nothing more."""


class Event(Struct, gc=False):
    """One step of a run's story.

    `reference` is the task's JSON pointer and `iteration` the pass of the enclosing loops, outermost
    first ("4.0"), `kind` what roles.role_of says of it; all are empty for events of the whole workflow. `progress` is the
    share of the root tasks that are done, 0 to 100, and never falls. `output` is set on workflow_completed only (and on
    workflow_correlation_completed, where it is the values of the correlations by name),
    `error` on workflow_failed, task_failed and task_retried, `code` beside it when the document was refused or
    this project failed. Treat it as immutable (freezing it
    would double the cost of making one).
    """

    type: EventType
    timestamp: datetime
    progress: int
    task_name: str = ""
    reference: str = ""
    iteration: str = ""
    message: str = ""
    error: Problem | None = None
    code: str = ""
    output: Json = None
    kind: str = ""

    @property
    def status(self) -> str:
        """The status in the runner API that goes with the type."""
        return STATUSES[self.type]


class TaskCounts(Struct):
    """How many tasks a run has begun, ended, left out and tried again; a task in a loop counts once a pass.

    A task that was broken off because its fork was decided counts as begun only.
    """

    started: int = 0
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    retried: int = 0


def reworded(problem: Problem, change: Callable[[str], str]) -> Problem:
    """The problem with each of its texts as `change` gives it."""
    texts = {name: getattr(problem, name) for name in ("type", "title", "detail", "instance")}
    return replace(problem, **{name: change(text) for name, text in texts.items() if text})


def retold(event: Event, change: Callable[[str], str]) -> Event:
    """The event with each text of its message and its error as `change` gives it."""
    error = None if event.error is None else reworded(event.error, change)
    return replace(event, message=change(event.message), error=error)
