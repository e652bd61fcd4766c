"""One execution of a runner's service: its run, its events, and who waits for them. Made by local_executions.py.

Everything happens in the event loop. Events are kept within bounds (buffer.py): over them the oldest that later ones make
superfluous go, and whoever reads finds a gap in the numbers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.dsl.model import Workflow
from workflow_runner.errors import WorkflowRunnerError
from workflow_runner.hosts.buffer import SKIPPED, SUPERSEDED, Buffer, Kept
from workflow_runner.hosts.checkpoints import Checkpoints
from workflow_runner.hosts.events import sendable
from workflow_runner.hosts.execution_store import Accepted
from workflow_runner.hosts.executions import WrongState
from workflow_runner.hosts.local import LocalRun
from workflow_runner.hosts.snapshots import Snapshot, Snapshots
from workflow_runner.interpreter.events import Event, EventType
from workflow_runner.interpreter.frames import WorkflowFrame
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ExecutionStatus, WorkflowProgressEvent

if TYPE_CHECKING:
    from workflow_runner.calls.addresses import AddressRules
    from workflow_runner.hosts.elsewhere import HostOptions
    from workflow_runner.hosts.event_bus import EventBus

MOST_EVENTS = 1000
MOST_FAILURES_KEPT = 100
"""Of the tasks that failed, so many go into what is written down: a loop may catch a million."""
GRACE_SECONDS = 30.0
"""How long a cancelled run may take to wind up before it is left to itself."""
FORCE_SECONDS = 1.0
READ_AT_ONCE = 100
"""Events that one reader holds at a time."""
ENDS = frozenset({EventType.WORKFLOW_COMPLETED, EventType.WORKFLOW_FAILED, EventType.WORKFLOW_CANCELLED})

log = logging.getLogger(__name__)


class Environment(Struct, frozen=True):
    """What all runs of the service share."""

    bus: EventBus
    options: HostOptions
    addresses: AddressRules | None = None


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
        ended: Kept | None = None,
    ) -> None:
        """With `ended` there is nothing to run, and no workflow is needed."""
        self.accepted = accepted
        self.id = accepted.request.execution_id
        self.status = "pending"
        self.delivered = 0
        """Up to here nothing is owed to anybody outside."""
        self._told = told
        kept = ended or (Kept() if snapshot is None else snapshot.kept)
        self._buffer = Buffer(most=MOST_EVENTS, kept=kept)
        self.document = None if workflow is None else workflow.document
        """What the document says of itself; None where there is nothing to run any more."""
        self._workflow_name = "" if workflow is None else workflow.document.name
        self._progress = 0
        self._started = self._ended = 0
        self._end: Event | None = None
        self._readers: set[asyncio.Event] = set()
        self._interrupted = False
        self._checkpoints: Checkpoints | None = None
        self._forcing: asyncio.TimerHandle | None = None
        self._gone_on = accepted.begun > 1
        for _, event in kept.events:
            self._note(event)
        if ended is not None:
            return
        assert workflow is not None  # noqa: S101 - see above
        if self._gone_on:
            # Numbers above those that an earlier process may have used after it last wrote them down.
            self._buffer.skip_to(max(kept.last + SKIPPED, (accepted.begun - 1) * SKIPPED))
        if snapshots is not None:
            self._checkpoints = Checkpoints(snapshots, lambda: self._local.frame, lambda: self.kept)
        self._local: LocalRun = LocalRun(
            workflow,
            accepted.request.input,
            execution_id=self.id,
            run_id="",
            secrets=secrets or {},
            report=self._report,
            start_from=None if snapshot is None else snapshot.frame,
            timeout=timeout,
            addresses=environment.addresses,
            options=environment.options,
            bus=environment.bus,
            checkpointed=None if snapshots is None else self._checkpointed,
            before_effect=None if snapshots is None else self._before_effect,
        )

    @property
    def ended(self) -> bool:
        """Whether it has told its last event."""
        return self._end is not None

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._buffer.last

    @property
    def size(self) -> int:
        """How many events are kept."""
        return len(self._buffer)

    @property
    def kept(self) -> Kept:
        """What is to be written down of its events: those that are owed, and of the others the run's own and the newest
        failures."""
        events, failures = [], 0
        for number, event in reversed(self._buffer.kept.events):
            if event.type is EventType.TASK_FAILED:
                failures += 1
            owed = number > self.delivered
            if owed or (
                event.type not in SUPERSEDED and (event.type is not EventType.TASK_FAILED or failures <= MOST_FAILURES_KEPT)
            ):
                events.append((number, event))
        return Kept(self._buffer.last, tuple(reversed(events)))

    async def run(self) -> None:
        """Run it to its end, or until `interrupt`. What goes wrong has been told as its last event."""
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
            if self._checkpoints is not None:
                if self._interrupted and not self.ended:
                    await self._checkpoints.save()
                else:
                    await self._checkpoints.remove()

    def cancel(self, reason: str, *, force: bool) -> None:
        """See Executions.cancel."""
        if self.ended:
            return
        self.accepted.wanted, self.accepted.reason = "Cancel", reason
        self._local.cancel(reason)
        if self._forcing is None or force:
            if self._forcing is not None:
                self._forcing.cancel()
            seconds = FORCE_SECONDS if force else GRACE_SECONDS
            self._forcing = asyncio.get_running_loop().call_later(seconds, self._abandon)

    def pause(self, reason: str) -> None:
        """See Executions.pause."""
        self._check_live("paused")
        if self.accepted.wanted == "Run":
            self.accepted.wanted, self.accepted.reason = "Pause", reason
            self._local.pause(reason)

    def resume(self) -> None:
        """See Executions.resume."""
        self._check_live("resumed")
        if self.accepted.wanted == "Pause":
            self.accepted.wanted, self.accepted.reason = "Run", ""
            self._local.resume()

    def hold(self) -> None:
        """This process is about to end: begin no further task. Nothing of this is told."""
        self._interrupted = True
        self._local.pause("the runner is stopping")

    @property
    def held(self) -> bool:
        """Whether nothing of it goes on."""
        return self.ended or self._local.paused

    def interrupt(self) -> None:
        """This process ends: the state as of now is what the next one goes on from."""
        self._interrupted = True
        if self._checkpoints is not None:
            self._checkpoints.freeze()
        self._local.cancel("the runner is stopping")

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
            if message.HasField("output"):
                status.output.CopyFrom(message.output)
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
                    await news.wait()
        finally:
            self._readers.discard(news)

    def message(self, number: int, event: Event) -> WorkflowProgressEvent:
        """An event as a message."""
        return sendable(event, execution_id=self.id, workflow_name=self._workflow_name, attempt=1, sequence=number)

    def _check_live(self, what: str) -> None:
        if self.ended or self.accepted.wanted == "Cancel":
            stands = f"has {self.status}" if self.ended else "is being cancelled"
            raise WrongState(f"execution {self.id!r} {stands}: it cannot be {what} any more")

    def _report(self, event: Event) -> None:
        if self.ended or (self._interrupted and event.type in (EventType.WORKFLOW_CANCELLED, EventType.WORKFLOW_PAUSED)):
            return
        if self._gone_on and event.type is EventType.WORKFLOW_RESUMED and self.status != "paused":
            return  # from a pause that only the former process's end made
        if self._gone_on and event.type is EventType.WORKFLOW_STARTED and self._started:
            return
        self._buffer.add(event)
        self._note(event)
        if event.type in ENDS and self._checkpoints is not None:
            self._checkpoints.told_its_end()
        self._told(self, self._buffer.last, event)
        for reader in self._readers:
            reader.set()

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
        if not self.ended:
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
