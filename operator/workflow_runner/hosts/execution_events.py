"""One execution of a runner's service, as it tells of itself: its events, how it stands, and who waits for more of them.

What local_execution.py and temporal/execution.py have in common. Events are kept within bounds (buffer.py): over them the
oldest that later ones make superfluous go, and whoever reads finds a gap in the numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from itertools import islice

from msgspec.structs import replace

from workflow_runner import telemetry
from workflow_runner.dsl.templates import Json
from workflow_runner.errors import WorkflowRunnerError
from workflow_runner.hosts.buffer import NOTHING_KEPT, Buffer, Kept
from workflow_runner.hosts.events import LARGEST_OUTPUT, output_value, sendable
from workflow_runner.interpreter.events import ENDS, Event, EventType, retold
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ExecutionStatus, WorkflowProgressEvent

MOST_EVENTS = 1000
LARGEST_KEPT_OUTPUT = 256 * 1024
"""The most bytes of JSON that an output may have to be told with the status; events leave out more than LARGEST_OUTPUT."""
READ_AT_ONCE = 100
"""Events that one reader holds at a time."""
EVENT_BYTES = 700
"""What an event takes here, roughly."""


class ExecutionEvents:
    """See the module's text. Use it from one event loop."""

    def __init__(
        self, execution_id: str, workflow_name: str, *, kept: Kept = NOTHING_KEPT, secrets: Mapping[str, Json] | None = None
    ) -> None:
        self.id = execution_id
        self.workflow_name = workflow_name
        """The document's; empty while it is not known."""
        self.status = "pending"
        self.delivered = 0
        """Up to here nothing is owed to anybody outside."""
        self.output_left_out = False
        """It completed with an output that is too large to be kept."""
        self._secrets = secrets or {}
        self._buffer = Buffer(most=MOST_EVENTS, kept=kept)
        self._progress = 0
        self._started = self._ended = 0
        self._end: Event | None = None
        self._readers: set[asyncio.Event] = set()
        self._left: WorkflowRunnerError | None = None
        """Why nothing more will be told here; None while that is not so."""
        for _, event in kept.events:
            self._note(event)

    @property
    def ended(self) -> bool:
        """Whether it has told its last event."""
        return self._end is not None

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._buffer.last

    @property
    def seconds(self) -> float:
        """How long it took from its start to its end; 0 for one that never started."""
        return max(0, self._ended - self._started) / 1000 if self._started and self._ended else 0.0

    @property
    def weight(self) -> int:
        """What it takes here of bytes, roughly, besides what every execution takes."""
        size = 0 if self._end is None else rough_size(self._end.output)
        return len(self._buffer) * EVENT_BYTES + (size if size > LARGEST_OUTPUT else 0)

    def shrink(self) -> None:
        """Keep of an execution that has ended how it ended, and no more."""
        assert self._end is not None  # noqa: S101 - see above
        if rough_size(self._end.output) > LARGEST_OUTPUT:
            self._end = self._without_output(self._end)
        self._buffer = Buffer(most=1, kept=Kept(self.last, ((self.last, self._end),)))

    def state(self) -> ExecutionStatus:
        """How it stands."""
        status = ExecutionStatus(
            workflow_execution_id=self.id,
            status=self.status,
            progress=self._progress,
            last_sequence_number=self._buffer.last,
            started_at_ms=self._started,
            completed_at_ms=self._ended,
        )
        if self._end is not None:
            message = self.message(self._buffer.last, self._end)
            if message.HasField("error"):
                status.error.CopyFrom(message.error)
            completed = self._end.type is EventType.WORKFLOW_COMPLETED and not self.output_left_out
            if completed and (output := output_value(self._end.output, LARGEST_KEPT_OUTPUT)) is not None:
                status.output.CopyFrom(output)
        return status

    def events(self, after: int, most: int) -> tuple[list[WorkflowProgressEvent], bool]:
        """At most so many messages above a number, and whether there are more."""
        found = list(islice(self._buffer.after(after), most + 1))
        return [self.message(number, event) for number, event in found[:most]], len(found) > most

    async def subscribe(self, after: int) -> AsyncIterator[WorkflowProgressEvent]:
        """Messages above a number, until the last one. Raises what keeps the rest of them from being told here."""
        news = asyncio.Event()
        self._readers.add(news)
        try:
            while True:
                news.clear()
                found = list(islice(self._buffer.after(after), READ_AT_ONCE))
                for number, event in found:
                    after = number
                    yield self.message(number, event)
                if self.ended and after >= self._buffer.last:
                    return
                if not found:
                    if self._left is not None:
                        raise self._left
                    await news.wait()
        finally:
            self._readers.discard(news)

    def message(self, number: int, event: Event) -> WorkflowProgressEvent:
        """An event as a message."""
        message = sendable(event, execution_id=self.id, workflow_name=self.workflow_name, attempt=1, sequence=number)
        if self.output_left_out:
            message.ClearField("output")
        return message

    def _add(self, event: Event) -> None:
        """One more event, under the next number."""
        self._buffer.add(event)
        self._note(event)

    def _wake(self) -> None:
        """There is something new for those who wait."""
        for reader in self._readers:
            reader.set()

    def _without_secrets(self, event: Event) -> Event:
        """What a task said of its failure may quote what it was given. Secrets of runs pass (telemetry.conceal): said again
        here they are known."""
        if not self._secrets or not (event.message or event.error):
            return event
        telemetry.conceal_all(self._secrets, passing=True)
        return retold(event, telemetry.redact)

    def _bounded(self, event: Event) -> Event:
        """An end, without an output that is too large to be kept."""
        if event.type is EventType.WORKFLOW_COMPLETED and rough_size(event.output) > LARGEST_KEPT_OUTPUT:
            return self._without_output(event)
        return event

    def _without_output(self, event: Event) -> Event:
        self.output_left_out = True
        return replace(event, output=None)

    def _note(self, event: Event) -> None:
        self._progress = event.progress
        moment = int(event.timestamp.timestamp() * 1000)
        match event.type:
            case EventType.WORKFLOW_STARTED:
                self._started = moment
                self.status = "running"
            case EventType.WORKFLOW_PAUSED:
                self.status = "paused"
            case EventType.WORKFLOW_RESUMED:
                self.status = "running"
            case _ if event.type in ENDS:
                self._end, self._ended = event, moment
                self.status = event.status


def rough_size(value: Json, levels: int = 200) -> int:
    """Bytes of a value as JSON, roughly; more than LARGEST_KEPT_OUTPUT for one that is larger, or nested too deeply."""
    match value:
        case str():
            return len(value) + 2
        case list() | dict():
            if not levels:
                return LARGEST_KEPT_OUTPUT + 1
            length = 2
            for item in value.values() if isinstance(value, dict) else value:
                length += rough_size(item, levels - 1) + 1
                if length > LARGEST_KEPT_OUTPUT:
                    return length
            return length + (sum(map(len, value)) + 3 * len(value) if isinstance(value, dict) else 0)
        case _:
            return 8
