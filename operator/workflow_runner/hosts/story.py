"""A run's events as lines of its process's log: what `kubectl logs` tells about a run. Called by cli.execute and cli.telling.

At the level info stand the run's own events and the failed and repeated tasks, at debug every task.
"""

from __future__ import annotations

import logging

from workflow_runner.interpreter.events import Event, EventType

log = logging.getLogger(__name__)

_BY_THE_WAY = frozenset(
    {
        EventType.WORKFLOW_VALIDATING,
        EventType.WORKFLOW_VALIDATED,
        EventType.CORRELATION_STARTED,
        EventType.CORRELATION_COMPLETED,
        EventType.TASK_STARTED,
        EventType.TASK_COMPLETED,
        EventType.TASK_SKIPPED,
        EventType.TASK_CANCELLED,
    }
)


def log_event(event: Event, execution_id: str = "") -> None:
    """One line, without data of the workflow other than an error's words; with an id where there are other executions:
    of these the beginning is told at debug only."""
    by_the_way = event.type in _BY_THE_WAY or (bool(execution_id) and event.type is EventType.WORKFLOW_STARTED)
    level = logging.DEBUG if by_the_way else logging.INFO
    if not log.isEnabledFor(level):
        return
    told = {"execution": execution_id, "task": event.reference, "iteration": event.iteration, "reason": event.message}
    if event.error is not None:
        told |= {"reason": "", "error": str(event.error)}
    log.log(level, "%s", event.type.value.replace("_", " "), extra={name: value for name, value in told.items() if value})
