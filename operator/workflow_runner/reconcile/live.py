"""One run as its events tell it: a fold, kept in memory while the run is live.

The sink feeds it (`ingest`), reconcile reads it. After an operator restart it is made again from status
(`from_status`) and the pod sends what is missing. Numbers: docs/sink-protocol.md.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal

from google.protobuf import json_format
from msgspec import Struct

from workflow_runner.crd.execution import TERMINAL_PHASES
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2
from workflow_runner.reconcile.bounds import MAX_DETAIL, MAX_ITERATION, MAX_NAME, MAX_REFERENCE, MAX_TASK_DETAIL, size
from workflow_runner.reconcile.taskbook import TaskBook, error_to_status
from workflow_runner.reconcile.timestamps import from_milliseconds, from_text, to_text

MAX_OWED = 50
"""So many events that Stigmer must have, and has not, survive an operator restart in status."""

MAX_EVENT_OUTPUT = 4096
"""Bytes of JSON; a larger output is in the resource's status only."""

MAX_JUMP = 10**9
UNWRITTEN = 10_000_000
"""Further than numbers get between two status writes: pods that go on for each other leave out a million at a time."""
_OWED_TASK_EVENT = "task_failed"
_BEGINNING = (
    ("workflow_started", "the workflow has started"),
    ("workflow_validating", "the document is being checked"),
    ("workflow_validated", "the document is valid"),
)
"""A pod's first events, with the numbers 1 to 3."""
_ENDS = {"workflow_completed": "Completed", "workflow_failed": "Failed", "workflow_cancelled": "Cancelled"}


class End(Struct, frozen=True):
    """How a run ended. `output_known` is False when the run gave an output that did not reach us."""

    phase: str
    time: datetime
    message: str = ""
    error: dict[str, Any] | None = None
    output: Any = None
    output_known: bool = True
    told: bool = False
    """It is the run's own word, left by its pod; not what somebody else found."""
    left_open: bool = False
    """The workflow that the run is in Temporal may still be open."""
    output_too_large: bool = False
    """The run kept its output for itself, since it is larger than status may hold."""
    sequence: int = 0
    """The number that the pod gave its last event, where its termination message tells; else 0."""
    start: datetime | None = None
    """When the pod began, where its container tells."""


class Desired(Struct, frozen=True):
    """What the run shall do, and which generation of the resource says so."""

    state: Literal["Run", "Pause", "Cancel"] = "Run"
    reason: str = ""
    generation: int = 0


class ControlAnswer(Struct, frozen=True):
    """What the pod said of a desired state: Accepted, Applied or Refused. `suspendable` comes with an applied pause
    whose state is on the run's volume: the pod may be ended."""

    generation: int
    result: str
    reason: str = ""
    suspendable: bool = False


class LiveRun:
    """The state of one attempt, changed by events. Not shared between threads."""

    def __init__(self, *, execution_id: str, attempt: int, base_sequence: int = 0, source_sequence: int = 0) -> None:
        self.execution_id = execution_id
        self.told_as = execution_id
        """The id under which Stigmer hears of the run; another one where Stigmer has an execution of its own for it."""
        self.attempt = attempt
        self.base_sequence = base_sequence
        self.source_sequence = source_sequence
        self.recorded_sequence = source_sequence
        self.counts: dict[str, int] = {}
        self.progress = 0
        self.tasks = TaskBook()
        self.start: datetime | None = None
        self.paused = False
        self.paused_since: datetime | None = None
        self.paused_seconds = 0.0
        """Spent paused, up to the last resume."""
        self.end: End | None = None
        self.workflow_name = ""
        self.pod_name = ""
        self._replaced: set[str] = set()
        self._restored = False
        """Made from status: a former operator may have told Stigmer more than status says."""
        self.desired = Desired()
        self.answer: ControlAnswer | None = None
        self.urgent = False
        """Something happened that status shows at once: a phase change or a control answer."""
        self.owed: dict[int, dict[str, Any]] = {}
        """Events that Stigmer must have, by outward number, until they are delivered."""

    @classmethod
    def from_status(cls, status: dict[str, Any]) -> LiveRun:
        """The run as the last written status tells it."""
        callback = status.get("callback") or {}
        run = cls(
            execution_id=status.get("executionId", ""),
            attempt=status.get("attempt", 0),
            base_sequence=callback.get("baseSequence", 0),
            source_sequence=callback.get("sourceSequence", 0),
        )
        run._restored = True
        run.pod_name = status.get("podName", "")
        run.counts = dict(status.get("taskCounts") or {})
        run.progress = status.get("progress") or 0
        run.tasks = TaskBook(status.get("tasks"))
        run.paused = status.get("phase") == "Paused"
        run.paused_seconds = float(status.get("pausedSeconds") or 0)
        if status.get("pausedSince"):
            run.paused_since = from_text(status["pausedSince"])
        if status.get("startTime"):
            run.start = from_text(status["startTime"])
        run.owed = {event["sequence"]: dict(event) for event in callback.get("owed") or []}
        if status.get("phase") in TERMINAL_PHASES:
            run.end = End(
                phase=status["phase"],
                # Absent from a status that somebody wrote by hand.
                time=from_text(status["completionTime"]) if status.get("completionTime") else from_milliseconds(0),
                error=status.get("error"),
                output=status.get("output"),
                output_known="output" in status,
            )
        return run

    def ingest(self, event: io_pb2.WorkflowProgressEvent, output_json: bytes = b"", *, too_large: bool = False) -> bool:
        """Takes in one event of the pod; False when it is known already or comes after the end.

        `output_json` is what came with the batch, `too_large` that it was left out; read on workflow_completed only.
        """
        if event.sequence_number <= self.source_sequence or self.end is not None:
            return False
        if event.sequence_number > self.source_sequence + MAX_JUMP:
            return False  # no run coalesces that much away: whoever counts so is no runner of ours
        self.source_sequence = event.sequence_number
        self.progress = max(self.progress, min(event.task_progress, 100))
        self.tasks.record(event)
        if event.event_type.startswith("workflow_"):
            self._phase_event(event, output_json, too_large)
        elif self.paused and event.event_type == "task_started":
            # Whoever paused is gone, and the pod that went on from an older state knows of no pause.
            self.urgent = True
            self._go_on(from_milliseconds(event.timestamp_ms))
        if event.event_type.startswith("workflow_") or event.event_type == _OWED_TASK_EVENT:
            self._owe(event)
        return True

    def _phase_event(self, event: io_pb2.WorkflowProgressEvent, output_json: bytes, too_large: bool) -> None:
        self.urgent = True
        moment = from_milliseconds(event.timestamp_ms)
        self.workflow_name = event.workflow_name or self.workflow_name
        if event.event_type == "workflow_started" and self.start is None:
            self.start = moment
        elif event.event_type == "workflow_paused":
            self.paused = True
            self.paused_since = self.paused_since or moment
        elif event.event_type == "workflow_resumed":
            self._go_on(moment)
        elif event.event_type in _ENDS:
            self._go_on(moment)
            output_known, output = _output(output_json)
            self.end = End(
                phase=_ENDS[event.event_type],
                time=moment,
                message=event.message,
                error=error_to_status(event.error) if event.HasField("error") else None,
                output=output,
                output_known=output_known or event.event_type != "workflow_completed",
                output_too_large=too_large,
            )

    def _go_on(self, moment: datetime) -> None:
        self.paused = False
        if self.paused_since is not None:
            self.paused_seconds += max(0.0, (moment - self.paused_since).total_seconds())
            self.paused_since = None

    def untold_beginning(self, end: End) -> list[io_pb2.WorkflowProgressEvent]:
        """The pod's first events, made again from the end, as far as they have not reached status: the pod ran while there
        was no operator. The number of its last event tells which of them there were."""
        self.start = self.start or (end.start if end.sequence else None)
        events = [
            io_pb2.WorkflowProgressEvent(
                event_type=kind,
                workflow_name=self.workflow_name,
                status="running",
                message=message,
                timestamp_ms=int((end.start or end.time).timestamp() * 1000),
                sequence_number=number,
            )
            for number, (kind, message) in enumerate(_BEGINNING, 1)
            if self.source_sequence < number < end.sequence
        ]
        for event in events:
            self._owe(event)
        return events

    def conclude(self, end: End) -> io_pb2.WorkflowProgressEvent:
        """Ends the run by the operator's own finding; the event that says so, not yet numbered outward."""
        # The pod's own number where it is known, for the pod may have told the same end; else one that is free.
        self.source_sequence = end.sequence if end.sequence > self.source_sequence else self._free_sequence()
        self.end = end
        self.urgent = True
        event = io_pb2.WorkflowProgressEvent(
            workflow_execution_id=self.execution_id,
            event_type={phase: kind for kind, phase in _ENDS.items()}[end.phase],
            workflow_name=self.workflow_name,
            status=end.phase.lower(),
            message=end.message,
            timestamp_ms=int(end.time.timestamp() * 1000),
            sequence_number=self.source_sequence,
            task_progress=self.progress,
            attempt=self.attempt,
        )
        if end.error:
            event.error.CopyFrom(error_from_status(end.error))
        if end.phase == "Completed" and end.output_known:
            set_output(event, end.output)
        self._owe(event)
        return event

    def _free_sequence(self) -> int:
        """A number that has been used for nothing: not even by an operator that was killed before it wrote down how
        far it had come."""
        return self.source_sequence + (UNWRITTEN if self._restored else 1)

    def _owe(self, event: io_pb2.WorkflowProgressEvent) -> None:
        owed: dict[str, Any] = {
            "sequence": self.base_sequence + event.sequence_number,
            "type": event.event_type[:64],
            "time": to_text(from_milliseconds(event.timestamp_ms)),
        }
        if event.event_type == _OWED_TASK_EVENT:
            owed |= {"name": event.task_name[:MAX_NAME], "reference": event.task_reference[:MAX_REFERENCE]}
            if event.task_iteration:
                owed["iteration"] = event.task_iteration[:MAX_ITERATION]
            if event.HasField("error"):
                owed["error"] = error_to_status(event.error, detail=MAX_TASK_DETAIL // 2)
        self.owed[owed["sequence"]] = owed
        if len(self.owed) > MAX_OWED:
            expendable = [number for number, item in self.owed.items() if item["type"] == _OWED_TASK_EVENT]
            del self.owed[(expendable or list(self.owed))[0]]

    def pod_is(self, name: str, *, continued: bool = False) -> bool:
        """A pod of this run speaks. Another one than before (its node went away, its Job was suspended) either goes on
        where that one stopped, which changes nothing here, or starts the workflow over: a new attempt, whose
        numbers begin at 1 and go on outward where the former ones ended. False for a pod that has been replaced: it is
        not listened to any more."""
        if name in self._replaced:
            return False
        if self.pod_name and name != self.pod_name:
            self._replaced.add(self.pod_name)
            self.answer = None
            self.urgent = True
            if not continued:
                self.start_over()
        self.pod_name = name
        return True

    @property
    def next_base(self) -> int:
        """What is added to the numbers of a run that starts over now."""
        return self.base_sequence + self._free_sequence() - 1

    def start_over(self) -> None:
        """The workflow begins anew: another attempt, whose numbers begin at 1 and go on outward where these end."""
        self.base_sequence = self.next_base
        self.source_sequence = self.recorded_sequence = 0
        self.attempt += 1
        self.tasks = TaskBook()
        self.counts = {}
        self.progress = 0
        self.paused = False
        self.paused_since = None

    def knows(self, pod: str, *, continued: bool) -> bool:
        """Whether the watermarks are those of this pod's numbers: false for one that starts over, until it has spoken,
        and for one that has been replaced."""
        return pod not in self._replaced and (continued or self.pod_name in ("", pod))

    def forget_delivered(self, delivered: int) -> None:
        """Stigmer has everything up to `delivered` (an outward number)."""
        for number in [number for number in self.owed if number <= delivered]:
            del self.owed[number]

    def outward(self, event: io_pb2.WorkflowProgressEvent) -> io_pb2.WorkflowProgressEvent:
        """The event as Stigmer gets it: with its outward number and the run's id."""
        copy = io_pb2.WorkflowProgressEvent()
        copy.CopyFrom(event)
        copy.workflow_execution_id = self.told_as
        copy.sequence_number = self.base_sequence + event.sequence_number
        copy.attempt = self.attempt
        copy.message = copy.message[:MAX_DETAIL]
        if copy.HasField("error"):
            copy.error.message, copy.error.detail = copy.error.message[:MAX_DETAIL], copy.error.detail[:MAX_DETAIL]
        return copy

    def owed_events(self) -> list[io_pb2.WorkflowProgressEvent]:
        """The owed events made again, outward numbers and all, in order; for after an operator restart."""
        return [self._owed_event(self.owed[number]) for number in sorted(self.owed)]

    def _owed_event(self, owed: dict[str, Any]) -> io_pb2.WorkflowProgressEvent:
        kind = owed["type"]
        event = io_pb2.WorkflowProgressEvent(
            workflow_execution_id=self.told_as,
            event_type=kind,
            workflow_name=self.workflow_name,
            task_name=owed.get("name", ""),
            task_reference=owed.get("reference", ""),
            task_iteration=owed.get("iteration", ""),
            status=_EVENT_STATUS.get(kind, "running"),
            message="told again after the operator restarted",
            timestamp_ms=int(from_text(owed["time"]).timestamp() * 1000),
            sequence_number=owed["sequence"],
            task_progress=self.progress,
            attempt=self.attempt,
        )
        error = owed.get("error") or (self.end.error if self.end and kind == "workflow_failed" else None)
        if error:
            event.error.CopyFrom(error_from_status(error))
        if kind == "workflow_completed" and self.end is not None and self.end.output_known:
            set_output(event, self.end.output)
        return event


_EVENT_STATUS = {
    "workflow_completed": "completed",
    "workflow_failed": "failed",
    "workflow_cancelled": "cancelled",
    "workflow_paused": "paused",
    "task_failed": "failed",
}


def error_from_status(error: dict[str, Any]) -> io_pb2.ErrorDetails:
    """The reverse of taskbook.error_to_status."""
    title, detail = error.get("title", ""), error.get("detail", "")
    return io_pb2.ErrorDetails(
        code=error.get("code", ""),
        message=f"{title}: {detail}" if title and detail else title or detail,
        type=error.get("type", ""),
        status=error.get("status", 0),
        instance=error.get("instance", ""),
        detail=detail,
    )


def _output(output_json: bytes) -> tuple[bool, Any]:
    try:
        return True, json.loads(output_json)
    except (ValueError, RecursionError):
        return False, None


def set_output(event: io_pb2.WorkflowProgressEvent, output: Any) -> None:
    """Puts a small output into an event for Stigmer; a larger one, or one protobuf cannot hold, stays out."""
    try:
        if size(output) <= MAX_EVENT_OUTPUT:
            json_format.ParseDict(output, event.output)
    except (json_format.Error, ValueError, ArithmeticError, RecursionError):
        event.ClearField("output")
