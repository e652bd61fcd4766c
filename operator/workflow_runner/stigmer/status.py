"""A run as Stigmer's `updateStatus` takes it: phase, tasks, output and error, whole. Pure; called by whoever feeds relay.py.

What Stigmer has no word for: a task whose fork was decided without it is SKIPPED; Paused is IN_PROGRESS; an output that is
no object is the only field, `output`, of one. A run of any number of tasks has at most `MAX_TASKS` of them here: the
newest, and the failed ones first of all.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import api_pb2, enum_pb2
from workflow_runner.reconcile.bounds import representable, size
from workflow_runner.reconcile.live import End, LiveRun
from workflow_runner.reconcile.timestamps import to_text

Json = dict[str, Any]

LARGEST_OUTPUT = 256 * 1024
"""Bytes of JSON, as much as the resource's status may hold; a larger output is left out."""
DEEPEST_OUTPUT = 30
"""Levels of arrays and objects: each takes three of Protocol Buffers', which read a message of at most 100."""
LONGEST_ERROR = 8192

_PHASES = {
    "Completed": enum_pb2.EXECUTION_COMPLETED,
    "Failed": enum_pb2.EXECUTION_FAILED,
    "Cancelled": enum_pb2.EXECUTION_CANCELLED,
}
_TASK_STATUSES = {
    "Running": enum_pb2.WORKFLOW_TASK_IN_PROGRESS,
    "Completed": enum_pb2.WORKFLOW_TASK_COMPLETED,
    "Failed": enum_pb2.WORKFLOW_TASK_FAILED,
    "Skipped": enum_pb2.WORKFLOW_TASK_SKIPPED,
    "Cancelled": enum_pb2.WORKFLOW_TASK_SKIPPED,
}
_TASK_TYPES = {
    "call": enum_pb2.WORKFLOW_TASK_API_CALL,
    "agent": enum_pb2.WORKFLOW_TASK_AGENT_INVOCATION,
    "approval": enum_pb2.WORKFLOW_TASK_APPROVAL,
    "switch": enum_pb2.WORKFLOW_TASK_CONDITIONAL,
    "fork": enum_pb2.WORKFLOW_TASK_PARALLEL,
    "set": enum_pb2.WORKFLOW_TASK_TRANSFORM,
}
"""By the kinds of status.tasks; every other one is CUSTOM."""


def status_of(run: LiveRun, *, temporal_workflow_id: str = "") -> api_pb2.WorkflowExecutionStatus:
    """The run as it stands now."""
    end = run.end
    status = api_pb2.WorkflowExecutionStatus(
        phase=_phase(run),
        tasks=[_task(entry, end) for entry in run.tasks.entries()],
        started_at="" if run.start is None else to_text(run.start),
        temporal_workflow_id=temporal_workflow_id,
    )
    if end is not None:
        status.completed_at = to_text(end.time)
        if end.phase == "Failed":
            status.error = error_line(end.error) if end.error else end.message[:LONGEST_ERROR] or "the workflow failed"
        elif end.phase == "Completed" and end.output_known:
            _put_output(status, end.output)
    return status


def _phase(run: LiveRun) -> enum_pb2.ExecutionPhase:
    if run.end is not None:
        return _PHASES[run.end.phase]
    return enum_pb2.EXECUTION_PENDING if run.start is None else enum_pb2.EXECUTION_IN_PROGRESS


def _task(entry: Json, end: End | None) -> api_pb2.WorkflowTask:
    iteration, state = entry.get("iteration", ""), entry["status"]
    task = api_pb2.WorkflowTask(
        task_id=f"{entry['reference']}#{iteration}" if iteration else entry["reference"],
        task_name=entry["name"],
        task_type=_TASK_TYPES.get(entry.get("kind", ""), enum_pb2.WORKFLOW_TASK_CUSTOM),
        status=_TASK_STATUSES.get(state, enum_pb2.WORKFLOW_TASK_STATUS_UNSPECIFIED),
        started_at=entry.get("startTime", ""),
        completed_at=entry.get("completionTime", "") if state != "Running" else "",
        error=error_line(entry["error"]) if entry.get("error") else "",
    )
    if end is not None and state == "Running":
        # What the end of the run interrupted ended with it.
        completed = end.phase == "Completed"
        task.status = enum_pb2.WORKFLOW_TASK_COMPLETED if completed else enum_pb2.WORKFLOW_TASK_FAILED
        task.completed_at = to_text(end.time)
    return task


def error_line(error: Json) -> str:
    """An error of status (RFC 7807) as one line: what it is, what happened, and the task it happened in."""
    parts = [error.get("title") or error.get("type") or "error", error.get("detail")]
    line = ": ".join(part for part in parts if part)
    return (f"{line} (at {error['instance']})" if error.get("instance") else line)[:LONGEST_ERROR]


def _put_output(status: api_pb2.WorkflowExecutionStatus, output: Any) -> None:
    """Sets `output` unless there is none, it is too large or too deep, or Protocol Buffers cannot hold it."""
    if output is None or not _shallow(output, DEEPEST_OUTPUT) or not representable(output) or size(output) > LARGEST_OUTPUT:
        return
    try:
        json_format.ParseDict(output if isinstance(output, dict) else {"output": output}, status.output)
    except (json_format.Error, ValueError, ArithmeticError):
        status.ClearField("output")


def _shallow(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    parts = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_shallow(part, levels - 1) for part in parts)
