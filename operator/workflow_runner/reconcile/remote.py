"""A run at its runner's endpoint, as that tells it: events made from a state, and the run's end. Pure.

The first way home of a terminal state is the run's last event; the runner's GetStatus is the second. Called by following.py
and by controller.endpoint_runs, which asks.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from google.protobuf import json_format

from workflow_runner.dsl.problems import RUNTIME
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2
from workflow_runner.reconcile.bounds import bounded_error
from workflow_runner.reconcile.live import MAX_JUMP, End, LiveRun
from workflow_runner.reconcile.observed import Remote
from workflow_runner.reconcile.run_end import Lost
from workflow_runner.reconcile.timestamps import from_milliseconds

Json = dict[str, Any]

FORGOTTEN = "run.forgotten"
ENDED = {"completed": "Completed", "failed": "Failed", "cancelled": "Cancelled"}
"""The phase of each state of GetStatus that is final."""
_END_EVENTS = {"completed": "workflow_completed", "failed": "workflow_failed", "cancelled": "workflow_cancelled"}
_MOST_EXACT = 2**53


def remote_end(remote: Remote | None, now: datetime) -> End | Lost | None:
    """The end that the endpoint shows, or None while the run may go on."""
    if remote is None:
        return None
    if remote.end is not None:
        return remote.end
    if not remote.forgotten:
        return None
    detail = "its endpoint is there, and knows no execution of this id: it was restarted, or another one answers there now"
    return Lost(_failed(now, "The runner has forgotten the run", detail, FORGOTTEN))


def replica_lost(now: datetime) -> Lost:
    """What a run is whose replica is gone."""
    detail = "the pod of the pool that had it was removed, or its node went away"
    return Lost(_failed(now, "The run's replica is gone", detail, "run.replica-lost"))


def refused_by_runner(
    message: str, now: datetime, *, code: str = "endpoint.refused", title: str = "The run cannot be handed to its runner"
) -> End:
    """The end of a run that its runner does not take, or does not go on with, whatever is tried."""
    return _failed(now, title, message, code)


def events_of_state(live: LiveRun, state: io_pb2.ExecutionStatus, now: datetime) -> list[io_pb2.WorkflowProgressEvent]:
    """The events that a run's state tells of and that are not known yet, numbered above those that are; for runners that
    give no events."""
    found: list[io_pb2.WorkflowProgressEvent] = []

    def add(kind: str, status: str, moment_ms: int = 0) -> io_pb2.WorkflowProgressEvent:
        event = io_pb2.WorkflowProgressEvent(
            workflow_execution_id=state.workflow_execution_id,
            event_type=kind,
            workflow_name=live.workflow_name,
            status=status,
            timestamp_ms=moment_ms or int(now.timestamp() * 1000),
            sequence_number=live.source_sequence + len(found) + 1,
            task_progress=max(0, min(state.progress, 100)),
        )
        found.append(event)
        return event

    if live.source_sequence == 0 and state.status != "pending":
        add("workflow_started", "running", state.started_at_ms)
    if state.status == "paused" and not live.paused:
        add("workflow_paused", "paused")
    if state.status == "running" and live.paused:
        add("workflow_resumed", "running")
    if state.status in _END_EVENTS:
        last = add(_END_EVENTS[state.status], state.status, state.completed_at_ms)
        if state.HasField("error"):
            last.error.CopyFrom(state.error)
        if state.HasField("output"):
            last.output.CopyFrom(state.output)
    return found


def end_of_state(state: io_pb2.ExecutionStatus, now: datetime) -> End | None:
    """The end that a run's state tells, None while it goes on."""
    phase = ENDED.get(state.status)
    if phase is None:
        return None
    output = output_json(state)
    error = None
    if phase == "Failed":
        given = state.error if state.HasField("error") else io_pb2.ErrorDetails(message="the runner gave no reason")
        error = bounded_error(
            {
                "type": given.type or RUNTIME,
                "status": given.status or 500,
                "title": given.message.removesuffix(f": {given.detail}"),
                "detail": given.detail,
                "instance": given.instance,
                "code": given.code,
            }
        )
    return End(
        phase=phase,
        time=from_milliseconds(state.completed_at_ms) if state.completed_at_ms > 0 else now,
        error=error,
        output=json.loads(output) if output else None,
        output_known=phase != "Completed" or bool(output),
        sequence=state.last_sequence_number if 0 < state.last_sequence_number < MAX_JUMP else 0,
        start=from_milliseconds(state.started_at_ms) if state.started_at_ms > 0 else None,
    )


def output_json(message: io_pb2.WorkflowProgressEvent | io_pb2.ExecutionStatus) -> bytes:
    """The output that a message holds, as JSON; empty where it holds none. Whole numbers that came as doubles are whole
    again."""
    if not message.HasField("output"):
        return b""
    try:
        return json.dumps(_whole(json_format.MessageToDict(message.output))).encode()
    except (json_format.Error, ValueError, RecursionError):
        return b""


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _MOST_EXACT:
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


def _failed(time: datetime, title: str, detail: str, code: str) -> End:
    error = bounded_error({"type": RUNTIME, "status": 500, "title": title, "detail": detail, "code": code})
    return End("Failed", time, message=f"{title}: {detail}", error=error)
