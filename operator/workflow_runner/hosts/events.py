"""A run's events as messages of the runner API.

The launched pod's reporter and the runner's service call `sendable` for each event that they send, `run --events` calls
`to_proto` for each that it writes.
"""

from __future__ import annotations

import json
import logging
import math

from google.protobuf import struct_pb2

from workflow_runner import telemetry
from workflow_runner.dsl.problems import Problem
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.events import Event, EventType
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ErrorDetails, WorkflowProgressEvent

LARGEST_OUTPUT = 4096
"""The most bytes of JSON that an output may have to travel in an event."""

DEEPEST_OUTPUT = 16
"""The most levels that it may have: each takes three of Protocol Buffers', which read a message of at most 100."""

LARGEST_EVENT_BYTES = 512 * 1024

log = logging.getLogger(__name__)

_SENTENCES = {
    EventType.WORKFLOW_STARTED: "the workflow has started",
    EventType.WORKFLOW_VALIDATING: "the document is being checked",
    EventType.WORKFLOW_VALIDATED: "the document is valid",
    EventType.WORKFLOW_PAUSED: "the workflow is paused",
    EventType.WORKFLOW_RESUMED: "the workflow goes on",
    EventType.WORKFLOW_COMPLETED: "the workflow has completed",
    EventType.WORKFLOW_FAILED: "the workflow has failed",
    EventType.WORKFLOW_CANCELLED: "the workflow was cancelled",
    EventType.TASK_STARTED: "task {} has started",
    EventType.TASK_COMPLETED: "task {} has completed",
    EventType.TASK_FAILED: "task {} has failed",
    EventType.TASK_RETRIED: "task {} will be tried again",
    EventType.TASK_SKIPPED: "task {} was skipped: its condition does not hold",
    EventType.TASK_CANCELLED: "task {} was cancelled: its fork was decided without it",
    EventType.CORRELATION_STARTED: "task {} listens for events",
    EventType.CORRELATION_COMPLETED: "task {} has the events that it listened for",
}


def sendable(event: Event, *, execution_id: str, workflow_name: str, attempt: int, sequence: int) -> WorkflowProgressEvent:
    """The message for an event, as `to_proto` makes it, without secrets in what it says.

    What cannot be sent (half of a character, a number that is none, a message above LARGEST_EVENT_BYTES) is left out:
    there is a message for every event.
    """
    try:
        message = to_proto(event, execution_id=execution_id, workflow_name=workflow_name, attempt=attempt, sequence=sequence)
        if event.message or event.error is not None:
            _without_secrets(message)
        if message.ByteSize() <= LARGEST_EVENT_BYTES:
            return message
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        log.warning("an event holds what cannot be sent; it goes without", extra={"event_type": event.type.value})
    return WorkflowProgressEvent(
        workflow_execution_id=execution_id,
        event_type=event.type.value,
        status=event.status,
        task_name=_whole(event.task_name),
        task_reference=_whole(event.reference),
        task_iteration=event.iteration,
        message="the details of this event cannot be sent",
        timestamp_ms=int(event.timestamp.timestamp() * 1000),
        sequence_number=sequence,
        task_progress=event.progress,
        attempt=attempt,
    )


def to_proto(event: Event, *, execution_id: str, workflow_name: str, attempt: int, sequence: int) -> WorkflowProgressEvent:
    """The message for an event. `attempt` and `sequence` count from 1; a large or deep output is left out."""
    message = WorkflowProgressEvent(
        workflow_execution_id=execution_id,
        event_type=event.type.value,
        workflow_name=workflow_name,
        task_name=event.task_name,
        status=event.status,
        message=_sentence(event),
        timestamp_ms=int(event.timestamp.timestamp() * 1000),
        task_reference=event.reference,
        task_iteration=event.iteration,
        task_kind=event.kind,
        sequence_number=sequence,
        task_progress=event.progress,
        attempt=attempt,
    )
    if event.error is not None:
        message.error.CopyFrom(error_details(event.error, code=event.code))
    if event.type is EventType.WORKFLOW_COMPLETED and fits(event.output, LARGEST_OUTPUT) and _shallow(event.output):
        _put(event.output, message.output)
    return message


def output_value(output: Json, largest: int) -> struct_pb2.Value | None:
    """An output as a message; None for one that has more than so many bytes as JSON, or cannot be sent."""
    try:
        if not fits(output, largest) or not _shallow(output):
            return None
        value = struct_pb2.Value()
        _put(output, value)
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        return None
    return value


def _put(value: Json, into: struct_pb2.Value) -> None:
    """What `json_format.ParseDict` does, without an import that a short run would wait for. Raises ArithmeticError or
    ValueError for numbers that no double can be."""
    match value:
        case None:
            into.null_value = struct_pb2.NULL_VALUE
        case bool():
            into.bool_value = value
        case str():
            into.string_value = value
        case list():
            into.list_value.SetInParent()
            for item in value:
                _put(item, into.list_value.values.add())
        case dict():
            into.struct_value.SetInParent()
            for key, item in value.items():
                _put(item, into.struct_value.fields[key])
        case _:
            number = float(value)
            if not math.isfinite(number):
                raise ValueError(f"{number} is no number of JSON")
            into.number_value = number


def error_details(problem: Problem, *, code: str = "") -> ErrorDetails:
    """A problem as the runner API tells it; `code` is empty for an error that the workflow raised."""
    title = problem.title or problem.type
    return ErrorDetails(
        code=code,
        message=f"{title}: {problem.detail}" if problem.detail else title,
        type=problem.type,
        status=problem.status,
        instance=problem.instance or "",
        detail=problem.detail or "",
    )


def fits(value: Json, size: int) -> bool:
    """Whether a value has at most `size` bytes as JSON; a huge one is not written out to find out."""
    length = 0
    for part in json.JSONEncoder().iterencode(value):
        length += len(part)
        if length > size:
            return False
    return True


def _shallow(value: Json, levels: int = DEEPEST_OUTPUT) -> bool:
    """Whether a value has at most so many levels of arrays and objects."""
    if not isinstance(value, dict | list):
        return True
    parts = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_shallow(part, levels - 1) for part in parts)


def _sentence(event: Event) -> str:
    sentence = _SENTENCES[event.type].format(repr(event.task_name))
    return f"{sentence}: {event.message}" if event.message else sentence


def _without_secrets(message: WorkflowProgressEvent) -> None:
    """What a task said of its failure may quote what it was given."""
    message.message = telemetry.redact(message.message)
    if message.HasField("error"):
        error = message.error
        error.message, error.detail = telemetry.redact(error.message), telemetry.redact(error.detail)
        error.type, error.instance = telemetry.redact(error.type), telemetry.redact(error.instance)


def _whole(text: str) -> str:
    return text[:1000].encode(errors="replace").decode()
