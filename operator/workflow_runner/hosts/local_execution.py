"""One execution of a runner's service: its run, its events, and who waits for them. Made by local_executions.py.

Everything happens in the event loop. Events are kept within bounds (buffer.py): over them the oldest that later ones make
superfluous go, and whoever reads finds a gap in the numbers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from workflow_runner import telemetry
from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.dsl.model import Workflow
from workflow_runner.dsl.templates import Json
from workflow_runner.errors import WorkflowRunnerError
from workflow_runner.hosts.buffer import SKIPPED, SUPERSEDED, Buffer, Kept
from workflow_runner.hosts.checkpoints import Checkpoints
from workflow_runner.hosts.events import LARGEST_OUTPUT, output_value, sendable
from workflow_runner.hosts.execution_store import Accepted
from workflow_runner.hosts.executions import Stopping, WrongState
from workflow_runner.hosts.local import LocalRun
from workflow_runner.hosts.snapshots import Snapshot, Snapshots
from workflow_runner.interpreter.events import ENDS, Event, EventType
from workflow_runner.interpreter.frames import WorkflowFrame
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ExecutionStatus, WorkflowProgressEvent

if TYPE_CHECKING:
    from workflow_runner.calls.addresses import AddressRules
    from workflow_runner.hosts.elsewhere import HostOptions
    from workflow_runner.hosts.event_bus import EventBus

MOST_EVENTS = 1000
MOST_FAILURES_KEPT = 100
"""Of the tasks that failed, so many go into what is written down: a loop may catch a million."""
LARGEST_KEPT_OUTPUT = 256 * 1024
"""The most bytes of JSON that an output may have to be told with the status; events leave out more than LARGEST_OUTPUT."""
GRACE_SECONDS = 30.0
"""How long a cancelled run may take to wind up before it is left to itself."""
FORCE_SECONDS = 1.0
READ_AT_ONCE = 100
"""Events that one reader holds at a time."""
STOPPED = "the runner is stopping"
EVENT_BYTES = 700
"""What an event takes here, roughly."""

log = logging.getLogger(__name__)


class Environment(Struct, frozen=True):
    """What all runs of the service share."""

    bus: EventBus
    options: HostOptions
    addresses: AddressRules | None = None


class Ended(Struct, frozen=True):
    """What is known of an execution that ended in an earlier process."""

    kept: Kept
    output_left_out: bool = False


Conclude = Callable[["LocalExecution", Kept], Awaitable[None]]


class LocalExecution:
    """See the module's text. `told` takes every event, with its number."""

    def __init__(
        self,
        accepted: Accepted,
        workflow: Workflow | None,
        environment: Environment,
        told: Callable[[LocalExecution, int, Event], None],
        *,
        timeout: timedelta | None = None,
        secrets: dict[str, Any] | None = None,
        snapshots: Snapshots | None = None,
        snapshot: Snapshot | None = None,
        ended: Ended | None = None,
        owing: bool = False,
        conclude: Conclude | None = None,
    ) -> None:
        """With `ended` there is nothing to run, and no workflow is needed. `owing`: events are owed to somebody outside until
        `delivered` says otherwise. `conclude` is awaited with the last event among what is kept, before anybody hears of it."""
        self.accepted = accepted
        self.id = accepted.request.execution_id
        self.status = "pending"
        self.delivered = 0
        """Up to here nothing is owed to anybody outside."""
        self.writing = asyncio.Lock()
        """Held by whoever writes something of it down."""
        self.output_left_out = False
        """It completed with an output that is too large to be kept."""
        self._told = told
        self._owing = owing
        self._conclude = conclude
        self._secrets = secrets or {}
        kept = ended.kept if ended is not None else Kept() if snapshot is None else snapshot.kept
        self._buffer = Buffer(most=MOST_EVENTS, kept=kept)
        self.document = None if workflow is None else workflow.document
        """What the document says of itself; None where there is nothing to run any more."""
        self._workflow_name = "" if workflow is None else workflow.document.name
        self._progress = 0
        self._started = self._ended = 0
        self._end: Event | None = None
        self._concluding: asyncio.Task[None] | None = None
        self._readers: set[asyncio.Event] = set()
        self._interrupted = self._frozen = self._left = False
        self._local: LocalRun | None = None
        self._checkpoints: Checkpoints | None = None
        self._forcing: asyncio.TimerHandle | None = None
        self._gone_on = accepted.begun > 1
        for _, event in kept.events:
            self._note(event)
        if ended is not None:
            self.output_left_out = ended.output_left_out
            self._drop_request()
            return
        assert workflow is not None  # noqa: S101 - see above
        if self._gone_on:
            # Numbers above those that an earlier process may have used after it last wrote them down.
            self._buffer.skip_to(max(kept.last + SKIPPED, (accepted.begun - 1) * SKIPPED))
        self._local = local = LocalRun(
            workflow,
            accepted.request.input,
            execution_id=self.id,
            run_id="",
            secrets=self._secrets,
            report=self._report,
            start_from=None if snapshot is None else snapshot.frame,
            timeout=timeout,
            addresses=environment.addresses,
            options=_with_environment(environment.options, accepted.request.environment),
            bus=environment.bus,
            checkpointed=None if snapshots is None else self._checkpointed,
            before_effect=None if snapshots is None else self._before_effect,
        )
        if snapshots is not None:
            self._checkpoints = Checkpoints(snapshots, lambda: local.frame, lambda: self.kept)

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
        size = 0 if self._end is None else _size(self._end.output)
        return len(self._buffer) * EVENT_BYTES + (size if size > LARGEST_OUTPUT else 0)

    def shrink(self) -> None:
        """Keep of an execution that has ended how it ended, and no more."""
        assert self._end is not None  # noqa: S101 - see above
        if _size(self._end.output) > LARGEST_OUTPUT:
            self._end = self._without_output(self._end)
        self._buffer = Buffer(most=1, kept=Kept(self.last, ((self.last, self._end),)))

    @property
    def kept(self) -> Kept:
        """What is to be written down of its events: those that are owed, and of the others the run's own and the newest
        failures."""
        events, failures = [], 0
        for number, event in reversed(self._buffer.kept.events):
            if event.type is EventType.TASK_FAILED:
                failures += 1
            owed = self._owing and number > self.delivered
            if owed or (
                event.type not in SUPERSEDED and (event.type is not EventType.TASK_FAILED or failures <= MOST_FAILURES_KEPT)
            ):
                events.append((number, event))
        return Kept(self._buffer.last, tuple(reversed(events)))

    async def run(self) -> None:
        """Run it to its end, or until `interrupt`. What goes wrong has been told as its last event."""
        assert self._local is not None  # noqa: S101 - it has not ended
        if self.accepted.wanted == "Cancel":
            self._local.cancel(self.accepted.reason)
        elif self.accepted.wanted == "Pause":
            self._local.pause(self.accepted.reason)
        try:
            await self._local.run()
        except (DocumentErrors, WorkflowRunnerError) as error:
            log.info("an execution could not be run", extra={"execution": self.id, "code": error.code})
        except Exception:
            log.exception("an execution ended by a bug of the workflow runner", extra={"execution": self.id})
        finally:
            if self._forcing is not None:
                self._forcing.cancel()
            if self._concluding is not None:
                await self._concluding
            if self._checkpoints is not None:
                if self.ended:
                    await self._checkpoints.remove()
                else:
                    await self._checkpoints.save()
            self._leave()

    def _leave(self) -> None:
        """There is nothing left to run here."""
        self._left = True
        self._local = self._checkpoints = None
        if self.ended:
            self._drop_request()
        for reader in self._readers:
            reader.set()

    def _drop_request(self) -> None:
        """Its digest is enough to know it again."""
        self.accepted.request = replace(self.accepted.request, document="", input=None, environment={})

    def cancel(self, reason: str, *, force: bool) -> None:
        """See Executions.cancel."""
        if self.ended or self._local is None:
            return
        if self.accepted.wanted != "Cancel":
            self.accepted.wanted, self.accepted.reason = "Cancel", reason
        if not self._frozen:
            self._interrupted = False
        self._local.cancel(reason)
        if self._forcing is None or force:
            if self._forcing is not None:
                self._forcing.cancel()
            seconds = FORCE_SECONDS if force else GRACE_SECONDS
            self._forcing = asyncio.get_running_loop().call_later(seconds, self._abandon)

    def pause(self, reason: str) -> None:
        """See Executions.pause."""
        local = self._live("paused")
        if self.accepted.wanted == "Run":
            self.accepted.wanted, self.accepted.reason = "Pause", reason
            local.pause(reason)

    def resume(self) -> None:
        """See Executions.resume."""
        local = self._live("resumed")
        if self.accepted.wanted == "Pause":
            self.accepted.wanted, self.accepted.reason = "Run", ""
            held = local.paused
            local.resume()
            if self.status == "paused" and not held:
                # It was told in an earlier process, and has not come to it again in this one, which tells nothing then.
                self._report(Event(EventType.WORKFLOW_RESUMED, datetime.now(UTC), self._progress))

    def hold(self) -> None:
        """This process is about to end: begin no further task. Nothing of this is told."""
        if self._local is not None:
            self._interrupted = True
            self._local.pause(STOPPED)

    @property
    def held(self) -> bool:
        """Whether nothing of it goes on."""
        return self._local is None or self._local.paused

    def interrupt(self) -> None:
        """This process ends: the state as of now is what the next one goes on from."""
        if self._local is None:
            return
        self._interrupted = self._frozen = True
        if self._checkpoints is not None:
            self._checkpoints.freeze()
        self._local.cancel(STOPPED, goes_on=True)

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
        """Messages above a number, until the last one."""
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
                    if self._left:
                        raise Stopping(f"this runner is stopping: execution {self.id!r} goes on in the next process")
                    await news.wait()
        finally:
            self._readers.discard(news)

    def message(self, number: int, event: Event) -> WorkflowProgressEvent:
        """An event as a message."""
        message = sendable(event, execution_id=self.id, workflow_name=self._workflow_name, attempt=1, sequence=number)
        if self.output_left_out:
            message.ClearField("output")
        return message

    def _live(self, what: str) -> LocalRun:
        if self._local is None and not self.ended:
            raise Stopping(f"this runner is stopping: execution {self.id!r} goes on in the next process")
        if self._local is None or self.ended or self._concluding is not None or self.accepted.wanted == "Cancel":
            stands = f"has ended ({self.status})" if self.ended else "is about to end"
            raise WrongState(f"execution {self.id!r} {stands}: it cannot be {what} any more")
        return self._local

    def _report(self, event: Event) -> None:
        if self.ended or self._concluding is not None:
            return
        if self._interrupted and event.type in (EventType.WORKFLOW_CANCELLED, EventType.WORKFLOW_PAUSED):
            return
        if self._gone_on and event.type is EventType.WORKFLOW_RESUMED and self.status != "paused":
            return  # from a pause that only the former process's end made
        if self._gone_on and event.type is EventType.WORKFLOW_STARTED and self._started:
            return
        event = self._without_secrets(event)
        if event.type not in ENDS:
            self._tell(event)
            return
        if event.type is EventType.WORKFLOW_COMPLETED and _size(event.output) > LARGEST_KEPT_OUTPUT:
            event = self._without_output(event)
        if self._checkpoints is not None:
            self._checkpoints.told_its_end()
        if self._conclude is None:
            self._tell(event)
        else:
            self._concluding = asyncio.create_task(self._told_when_kept(event, self._conclude), name=f"end of {self.id}")

    async def _told_when_kept(self, event: Event, conclude: Conclude) -> None:
        """Whoever hears of an end can rely on it: no other process begins the execution again."""
        await conclude(self, Kept(self.last + 1, (*self.kept.events, (self.last + 1, event))))
        self._tell(event)

    def _tell(self, event: Event) -> None:
        self._buffer.add(event)
        self._note(event)
        self._told(self, self.last, event)
        for reader in self._readers:
            reader.set()

    def _without_secrets(self, event: Event) -> Event:
        """What a task said of its failure may quote what it was given. Secrets of runs pass (telemetry.conceal): said again
        here they are known."""
        if not self._secrets or not (event.message or event.error):
            return event
        telemetry.conceal_all(self._secrets, passing=True)
        error = event.error
        if error is not None:
            texts = {name: getattr(error, name) for name in ("type", "title", "detail", "instance")}
            error = replace(error, **{name: telemetry.redact(text) for name, text in texts.items() if text})
        return replace(event, message=telemetry.redact(event.message), error=error)

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

    def _abandon(self) -> None:
        """A run that does not wind up is cancelled all the same; what is left of it ends with this process."""
        if not self.ended and self._concluding is None:
            log.error("a cancelled run does not end; it is left to itself", extra={"execution": self.id})
            self._report(Event(EventType.WORKFLOW_CANCELLED, datetime.now(UTC), self._progress, message=self.accepted.reason))

    async def _checkpointed(self, frame: WorkflowFrame) -> None:
        assert self._checkpoints is not None  # noqa: S101 - else it is not called
        with suppress(WorkflowRunnerError):
            if frame.paused_since is not None:
                await self._checkpoints.save()
            else:
                await self._checkpoints.passed()

    async def _before_effect(self) -> None:
        assert self._checkpoints is not None  # noqa: S101 - else it is not called
        await self._checkpoints.save()


def _with_environment(options: HostOptions, environment: Mapping[str, str]) -> HostOptions:
    """What one run has: its processes see its environment."""
    if not environment:
        return options
    from workflow_runner.calls.process import ProcessRules

    return replace(options, processes=replace(options.processes or ProcessRules(), environment=dict(environment)))


def _size(value: Json, levels: int = 200) -> int:
    """Bytes of a value as JSON, roughly; more than LARGEST_KEPT_OUTPUT for one that is larger, or nested too deeply."""
    match value:
        case str():
            return len(value) + 2
        case list() | dict():
            if not levels:
                return LARGEST_KEPT_OUTPUT + 1
            length = 2
            for item in value.values() if isinstance(value, dict) else value:
                length += _size(item, levels - 1) + 1
                if length > LARGEST_KEPT_OUTPUT:
                    return length
            return length + (sum(map(len, value)) + 3 * len(value) if isinstance(value, dict) else 0)
        case _:
            return 8
