"""Runs a document in this process, on asyncio: `workflow-runner run`, and what a launched pod does.

A LocalRun is one run. It is steered from the same event loop (pause, resume, cancel) and tells its
story through one callback. State is in the interpreter's frames; this module keeps only whether the
run is held, and why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from workflow_runner import __version__
from workflow_runner.dsl.model import DocumentInfo, Workflow
from workflow_runner.dsl.problems import CONFIGURATION, RUNTIME, VALIDATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.errors import Internal, InvalidDocument, WorkflowRunnerError
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.effects import LocalEffects
from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.hosts.event_bus import EventBus
from workflow_runner.hosts.hold import Hold
from workflow_runner.interpreter.events import Event, EventType, TaskCounts
from workflow_runner.interpreter.frames import WorkflowFrame
from workflow_runner.interpreter.interpret import interpret
from workflow_runner.interpreter.outcome import Cancelled, Outcome
from workflow_runner.interpreter.tasks.call_function import MOST_NESTED

if TYPE_CHECKING:
    from workflow_runner.calls.addresses import AddressRules

_logger = logging.getLogger(__name__)


class Source(Struct, frozen=True):
    """A document that has not been read yet: its text or object, and the name that messages give it.

    Without `check`, validation and jq's compiler are left out, for a document that was accepted before.
    """

    document: str | bytes | Mapping[str, Any]
    file: str
    check: bool = True

    def __repr__(self) -> str:
        """Without the document, which may have credentials in it."""
        return f"Source(file={self.file!r}, check={self.check!r})"


class LocalRun:
    """One run of one document.

    `report` takes every event, on the event loop; it must be quick, and what it raises is logged and
    changes nothing. With `start_from` (decoded, see interpreter/frame_codec.py) the run goes on where
    that state says and `input_` is not looked at.

    `checkpointed` is awaited with the root of the state before each task, and once more when a pause
    has just taken effect, before it is told: the moment to write the state down. `before_effect` is
    awaited before each call and each wait, when the state holds what they are made from. What these
    raise is a bug of the host. `timeout` limits the run besides the document's own time limits (the shorter one
    wins), measured from the run's start, paused time excluded; a run that goes on keeps its first one. `addresses` says
    where calls may go, `options` what there is besides the document; `depth` counts the runs that led to
    this one. Runs that share a `bus` hear one another's events; without one a run hears its own.
    """

    def __init__(
        self,
        workflow: Workflow | Source,
        input_: Json,
        *,
        execution_id: str,
        run_id: str,
        secrets: Mapping[str, Json],
        report: Callable[[Event], None],
        start_from: WorkflowFrame | None = None,
        checkpointed: Callable[[WorkflowFrame], Awaitable[None]] | None = None,
        before_effect: Callable[[], Awaitable[None]] | None = None,
        timeout: timedelta | None = None,
        addresses: AddressRules | None = None,
        bus: EventBus | None = None,
        options: HostOptions | None = None,
        depth: int = 0,
    ) -> None:
        self._workflow = workflow
        self._continued = start_from is not None
        self._execution_id = execution_id
        self._run_id = run_id
        self._secrets = secrets
        self._report = report
        self._frame = start_from or WorkflowFrame(raw_input=input_, started_at=datetime.now(UTC), time_limit=timeout)
        self._hold = Hold(self._tell, self._frame, checkpointed)
        self._addresses, self._bus, self._options, self._depth = addresses, bus, options, depth
        self._lingering: asyncio.Task[None] | None = None
        self._effects = LocalEffects(
            self._hold,
            self._take,
            checkpointed,
            before_effect,
            secrets=secrets,
            addresses=addresses,
            bus=bus,
            options=options,
            start=self._detached,
        )
        self._task: asyncio.Task[None] | None = None
        # Once the end is told it stands, also when a cancel comes before the task has wound up.
        self._outcome: Outcome | None = None
        self._cancel_reason: str | None = None
        self._listener_failed = False

    @property
    def paused(self) -> bool:
        """Whether a pause has taken effect: nothing of the run is going on."""
        return self._hold.held

    @property
    def counts(self) -> TaskCounts:
        """Totals so far; a live view."""
        return self._frame.counts

    @property
    def progress(self) -> int:
        """The share of the root tasks that are done, 0 to 100."""
        return self._frame.progress

    @property
    def workflow_name(self) -> str:
        """The document's name; empty until it is read."""
        return self._workflow.document.name if isinstance(self._workflow, Workflow) else ""

    @property
    def document(self) -> DocumentInfo | None:
        """What the document says of itself; None until it is read."""
        return self._workflow.document if isinstance(self._workflow, Workflow) else None

    @property
    def frame(self) -> WorkflowFrame:
        """The state of the run; between two awaits it is whole and may be written down."""
        return self._frame

    def pause(self, reason: str = "") -> None:
        """Hold before the next task, or inside a running wait; a running call finishes first."""
        self._hold.ask(reason)
        self._effects.pause(reason)

    def resume(self) -> None:
        """Go on after a pause."""
        self._hold.release()
        self._effects.resume()

    def cancel(self, reason: str = "", *, goes_on: bool = False) -> None:
        """Stop at once, paused or not: running calls are broken off and no handler of the document runs.

        The first reason stands. A run that has ended is not changed. One that `goes_on` from its state in another process
        leaves what it has others do to them.
        """
        if self._cancel_reason is None:
            if goes_on:
                self._effects.leave()
            self._cancel_reason = reason
            if self._task is not None:
                self._task.cancel()
            if self._lingering is not None:
                self._lingering.cancel()

    async def run(self) -> Outcome:
        """Read the document where that is still to be done, run it, and tell how it ended.

        Raises InvalidDocument for a document that is not valid, InvalidInput for a state of another
        document, and whatever a bug of ours raises; all of these are told as workflow_failed before.
        Call it once.
        """
        self._task = asyncio.create_task(self._story(), name=f"run {self._execution_id}")
        if self._cancel_reason is not None:
            self._task.cancel()
        try:
            await _ended(self._task)
            await self._linger()
        finally:
            if not self._task.done():
                # Our own caller was cancelled: then the run must not go on alone.
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
            await self._hold.close()
            await self._effects.close()
        if self._outcome is None:
            if not self._task.cancelled():
                self._task.result()  # raises what the story raised
            reason = self._cancel_reason or ""
            self._tell(EventType.WORKFLOW_CANCELLED, reason)
            self._outcome = Cancelled(reason)
        return self._outcome

    async def _linger(self) -> None:
        """A run that ended by itself gives what it started without waiting for it some time to end, too."""
        if self._outcome is not None and self._cancel_reason is None and self._effects.left:
            self._lingering = asyncio.create_task(self._effects.linger())
            try:
                await asyncio.wait([self._lingering])
            finally:
                self._lingering.cancel()

    def _detached(self, definition: Mapping[str, Json], input_: Json, execution_id: str) -> LocalRun:
        """A run that this one starts and does not wait for. What it tells nobody hears."""
        if self._depth >= MOST_NESTED:
            detail = f"the workflow is not run: it is the {MOST_NESTED}th that one started without waiting for it"
            raise WorkflowFault(Problem.standard(CONFIGURATION, detail))
        return LocalRun(
            Source(definition, "<workflow>", check=False),
            input_,
            execution_id=execution_id,
            run_id=self._run_id,
            secrets=self._secrets,
            report=_unheard,
            addresses=self._addresses,
            bus=self._bus,
            options=self._options,
            depth=self._depth + 1,
        )

    async def _story(self) -> None:
        try:
            workflow = await self._read()
            self._hold.begin()
            self._outcome = await interpret(
                workflow,
                self._frame,
                self._effects,
                execution_id=self._execution_id,
                run_id=self._run_id,
                secrets=self._secrets,
                version=__version__,
            )
        except InvalidDocument as error:
            self._fail(Problem.standard(VALIDATION, str(error)), error.code)
            raise
        except WorkflowRunnerError as error:
            self._fail(Problem.standard(RUNTIME, str(error)), error.code)
            raise
        except Exception as error:
            detail = f"{type(error).__name__} in the engine: this is a bug of the workflow runner"
            self._fail(Problem.standard(RUNTIME, detail), Internal.code)
            raise

    async def _read(self) -> Workflow:
        source = self._workflow
        self._tell_beginning(EventType.WORKFLOW_STARTED)
        if isinstance(source, Workflow):
            return source
        self._tell_beginning(EventType.WORKFLOW_VALIDATING)
        # Its warnings are for whoever validates documents: they change nothing about a run.
        workflow, _ = await asyncio.to_thread(read_document, source.document, source.file, check=source.check)
        self._workflow = workflow
        self._tell_beginning(EventType.WORKFLOW_VALIDATED)
        return workflow

    def _tell_beginning(self, type_: EventType) -> None:
        """A run that goes on has told its beginning already."""
        if not self._continued:
            self._tell(type_)

    def _fail(self, problem: Problem, code: str) -> None:
        event = Event(EventType.WORKFLOW_FAILED, datetime.now(UTC), self._frame.progress)
        event.message, event.error, event.code = str(problem), problem, code
        self._take(event)

    def _tell(self, type_: EventType, message: str = "") -> None:
        self._take(Event(type_, datetime.now(UTC), self._frame.progress, message=message))

    def _take(self, event: Event) -> None:
        try:
            self._report(event)
        except Exception:
            if not self._listener_failed:
                self._listener_failed = True
                _logger.exception("a listener failed at a %s event; the run goes on, later failures are not logged", event.type)


async def _ended(task: asyncio.Task[None]) -> None:
    """Return when it is done, whatever it came to; asyncio.wait is for many, and for thousands of runs too slow."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(_: asyncio.Task[None]) -> None:
        if not ended.done():
            ended.set_result(None)

    task.add_done_callback(tell)
    await ended


def _unheard(_event: Event) -> None:
    """For runs that nobody follows."""


async def run_document(
    source: str,
    file: str,
    input_: Json,
    *,
    execution_id: str,
    run_id: str,
    secrets: Mapping[str, Json],
    report: Callable[[Event], None],
) -> Outcome:
    """Read and run a document to its end, without steering it (see LocalRun, which can be steered)."""
    run = LocalRun(Source(source, file), input_, execution_id=execution_id, run_id=run_id, secrets=secrets, report=report)
    return await run.run()
