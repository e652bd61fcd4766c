"""The bounded list of tasks that a status shows: the newest, and the failed ones. Called by live.py."""

from __future__ import annotations

from typing import Any

from workflow_runner.crd.execution import MAX_TASKS
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2
from workflow_runner.reconcile.bounds import (
    MAX_DETAIL,
    MAX_ITERATION,
    MAX_KIND,
    MAX_NAME,
    MAX_REFERENCE,
    MAX_TASK_DETAIL,
    bounded_error,
)
from workflow_runner.reconcile.timestamps import from_milliseconds, to_text

MAX_FAILED = 20
"""So many failed tasks are kept however old they are; the rest of MAX_TASKS shows the newest."""

_STATUS = {
    "task_started": "Running",
    "task_retried": "Running",
    "task_completed": "Completed",
    "task_failed": "Failed",
    "task_skipped": "Skipped",
    "task_cancelled": "Cancelled",
}

Key = tuple[str, str]


class TaskBook:
    """Tasks by (reference, iteration), oldest start first, as entries of status.tasks."""

    def __init__(self, entries: list[dict[str, Any]] | None = None) -> None:
        self._entries: dict[Key, dict[str, Any]] = {
            (entry["reference"], entry.get("iteration", "")): dict(entry) for entry in entries or []
        }

    def record(self, event: io_pb2.WorkflowProgressEvent) -> None:
        """Takes in one task event; events of other kinds are not for here."""
        status = _STATUS.get(event.event_type)
        if status is None:
            return
        key = (event.task_reference, event.task_iteration)
        moment = to_text(from_milliseconds(event.timestamp_ms))
        entry = self._entries.get(key)
        if entry is None or (event.event_type == "task_started" and entry["status"] != "Running"):
            self._entries.pop(key, None)
            entry = {"name": event.task_name[:MAX_NAME], "reference": event.task_reference[:MAX_REFERENCE], "status": status}
            if event.task_iteration:
                entry["iteration"] = event.task_iteration[:MAX_ITERATION]
            if event.task_kind:
                entry["kind"] = event.task_kind[:MAX_KIND]
            if status != "Skipped":
                entry["startTime"] = moment
            self._entries[key] = entry
        entry["status"] = status
        if event.event_type == "task_retried":
            entry["retries"] = entry.get("retries", 0) + 1
        if status in ("Completed", "Failed", "Skipped", "Cancelled"):
            entry["completionTime"] = moment
        if status == "Failed" and event.HasField("error"):
            entry["error"] = error_to_status(event.error, detail=MAX_TASK_DETAIL)
        if len(self._entries) > 2 * MAX_TASKS:
            self._shrink()

    def _shrink(self) -> None:
        kept = {id(entry) for entry in self.entries()}
        self._entries = {key: entry for key, entry in self._entries.items() if id(entry) in kept}

    def entries(self) -> list[dict[str, Any]]:
        """At most MAX_TASKS entries in order of start."""
        everything = list(self._entries.values())
        if len(everything) <= MAX_TASKS:
            return everything
        failed = [entry for entry in everything if entry["status"] == "Failed"][-MAX_FAILED:]
        failed_ids = {id(entry) for entry in failed}
        newest = [entry for entry in everything if id(entry) not in failed_ids][-(MAX_TASKS - len(failed)) :]
        chosen = failed_ids | {id(entry) for entry in newest}
        return [entry for entry in everything if id(entry) in chosen]


def error_to_status(error: io_pb2.ErrorDetails, *, detail: int = MAX_DETAIL) -> dict[str, Any]:
    """An event's error as status shows it, with at most `detail` characters of detail."""
    return bounded_error(
        {
            "type": error.type,
            "status": error.status,
            "title": error.message.removesuffix(f": {error.detail}"),
            "detail": error.detail,
            "instance": error.instance,
            "code": error.code,
        },
        detail=detail,
    )
