"""One execution of a runner's service: its run, its events, and who waits for them. Made by local_executions.py.

Everything happens in the event loop. What it tells of itself is in execution_events.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.dsl.model import Workflow
from workflow_runner.errors import WorkflowRunnerError
from workflow_runner.hosts.buffer import SKIPPED, SUPERSEDED, Kept
from workflow_runner.hosts.checkpoints import Checkpoints
from workflow_runner.hosts.execution_events import ExecutionEvents
from workflow_runner.hosts.execution_store import Accepted
from workflow_runner.hosts.executions import Stopping, WrongState
from workflow_runner.hosts.local import LocalRun
from workflow_runner.hosts.snapshots import Snapshot, Snapshots
from workflow_runner.interpreter.events import ENDS, Event, EventType
from workflow_runner.interpreter.frames import WorkflowFrame

if TYPE_CHECKING:
    from workflow_runner.calls.addresses import AddressRules
    from workflow_runner.hosts.elsewhere import HostOptions
    from workflow_runner.hosts.event_bus import EventBus

MOST_FAILURES_KEPT = 100
"""Of the tasks that failed, so many go into what is written down: a loop may catch a million."""
GRACE_SECONDS = 30.0
"""How long a cancelled run may take to wind up before it is left to itself."""
FORCE_SECONDS = 1.0
STOPPED = "the runner is stopping"

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


class LocalExecution(ExecutionEvents):
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
        name = "" if workflow is None else workflow.document.name
        kept = ended.kept if ended is not None else Kept() if snapshot is None else snapshot.kept
        super().__init__(accepted.request.execution_id, name, kept=kept, secrets=secrets)
        self.accepted = accepted
        self.writing = asyncio.Lock()
        """Held by whoever writes something of it down."""
        self._told = told
        self._owing = owing
        self._conclude = conclude
        self.document = None if workflow is None else workflow.document
        """What the document says of itself; None where there is nothing to run any more."""
        self._concluding: asyncio.Task[None] | None = None
        self._interrupted = self._frozen = False
        self._local: LocalRun | None = None
        self._checkpoints: Checkpoints | None = None
        self._forcing: asyncio.TimerHandle | None = None
        self._gone_on = accepted.begun > 1
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
        self._left = self._goes_on_elsewhere()
        self._local = self._checkpoints = None
        if self.ended:
            self._drop_request()
        self._wake()

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

    def _goes_on_elsewhere(self) -> Stopping:
        return Stopping(f"this runner is stopping: execution {self.id!r} goes on in the next process")

    def _live(self, what: str) -> LocalRun:
        if self._local is None and not self.ended:
            raise self._goes_on_elsewhere()
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
        event = self._bounded(event)
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
        self._add(event)
        self._told(self, self.last, event)
        self._wake()

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
