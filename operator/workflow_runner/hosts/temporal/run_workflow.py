"""The workflow that runs one document. Registered by worker, started by run (in this package) and by others.

It closes as its document does: completed with the output, failed with the document's problem (type WorkflowFault), cancelled.
What it tells is numbered from 1, the same in every replay, and goes to whoever follows it in this process (registry), and to
the query `events`.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import msgspec
from temporalio import workflow
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from workflow_runner import telemetry
from workflow_runner.dsl.model import Workflow
from workflow_runner.dsl.problems import RUNTIME, Problem
from workflow_runner.dsl.templates import Json
from workflow_runner.errors import Internal, InvalidDocument, WorkflowRunnerError
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.buffer import Buffer, Kept
from workflow_runner.hosts.hold import Hold
from workflow_runner.hosts.snapshots import event_from_json, event_to_json
from workflow_runner.hosts.temporal import names, registry
from workflow_runner.hosts.temporal.effects import TemporalEffects
from workflow_runner.hosts.temporal.limits import size_of, too_large
from workflow_runner.hosts.temporal.messages import Carried, Control, EventPage, Start, Status, Steering, to_json
from workflow_runner.interpreter import frame_codec
from workflow_runner.interpreter.events import Event, EventType, retold, reworded
from workflow_runner.interpreter.frames import WorkflowFrame
from workflow_runner.interpreter.interpret import interpret
from workflow_runner.interpreter.outcome import Completed, Faulted
from workflow_runner.interpreter.subscriptions import all_wanted

MOST_EVENTS = 500
"""Of the newest, which `events` gives and a continued run takes along."""

_LONGEST_GRACE = 86_400.0
_MOST_CARRIED = 256 * 1024
"""Bytes of events that a continued run takes along: what is older has been heard, or can be done without."""
_REQUEST = timedelta(seconds=20)
"""So long after its signal Temporal's own request to cancel the run may come."""

_Outcome = Completed | Faulted


@workflow.defn(name=names.RUN, sandboxed=False)
class RunWorkflow:
    """One run; what it does is the interpreter's, what it is asked is answered here."""

    @workflow.init
    def __init__(self, argument: dict[str, Any]) -> None:
        self._start = start = msgspec.convert(argument, Start)
        carried = start.carried
        kept = () if carried is None else tuple(event_from_json(event) for event in carried.events)
        self._buffer = Buffer(most=MOST_EVENTS, kept=Kept(0 if carried is None else carried.last, kept))
        now = workflow.now()
        self._frame = (
            WorkflowFrame(raw_input=start.input, started_at=now, time_limit=start.time_limit)
            if carried is None
            else frame_codec.decode(carried.frame)
        )
        self._control = Control() if carried is None else carried.control
        self._hold = Hold(self._tell, self._frame, now=workflow.now)
        self._paused = carried is not None and carried.paused
        self._pause_reason = "" if carried is None else carried.pause_reason
        if self._paused:
            self._hold.ask(self._pause_reason)
        self._effects = TemporalEffects(start, self._hold, self._take, self._drained)
        self._secrets = telemetry.spellings_of(start.secrets)
        self._early: list[dict[str, Any]] | None = []
        """Events that came before the run could listen."""
        self._cancel: Steering | None = None
        self._cancel_requested = False
        """By Temporal's own request: the run is closed as cancelled, and else, by a signal alone, as failed."""
        self._is_drained = False
        self._outcome: _Outcome | None = None
        self._error: Problem | None = None
        self._ended = ""

    @workflow.run
    async def run(self, argument: dict[str, Any]) -> Json:
        """The output of the document."""
        if self._start.carried is None:
            for type_ in (EventType.WORKFLOW_STARTED, EventType.WORKFLOW_VALIDATING, EventType.WORKFLOW_VALIDATED):
                self._tell(type_)
        story = asyncio.create_task(self._story())
        while not story.done():
            try:
                await asyncio.shield(story)
            except asyncio.CancelledError:
                if not story.done():
                    # Somebody asked Temporal itself to cancel the run: at any moment, also when it winds up by a signal.
                    self._cancel_requested = True
                    self._cancel = self._cancel or Steering(reason=workflow.cancellation_reason() or "")
        return story.result()

    async def _story(self) -> Json:
        work = asyncio.create_task(self._interpreted())
        await self._settled(work)
        if self._outcome is None and self._cancel is None and not work.done():
            await self._continue_as_new()
        if self._outcome is None and self._cancel is not None:
            await self._wind_up(work, self._cancel)
            if self._cancel.request_follows:
                with contextlib.suppress(TimeoutError):
                    await workflow.wait_condition(lambda: self._cancel_requested, timeout=_REQUEST)
            self._tell(EventType.WORKFLOW_CANCELLED, self._cancel.reason)
            self._ended = "Cancelled"
            self._answer("applied")
            if self._cancel_requested:
                raise asyncio.CancelledError
            raise ApplicationError(
                self._cancel.reason or "cancelled",
                type=names.CANCELLED,
                non_retryable=True,
                category=ApplicationErrorCategory.BENIGN,
            )
        await self._hold.close()
        return self._closed(work)

    async def _settled(self, work: asyncio.Task[None]) -> None:
        """Until the document has ended, a cancel has come, or the state is to be continued in a new run."""
        await workflow.wait_condition(lambda: True)  # everything that can has taken its first steps
        for event in self._early or ():
            self._effects.bus.offer(event)
        self._early = None
        await workflow.wait_condition(lambda: work.done() or self._cancel is not None or self._is_drained)

    async def _wind_up(self, work: asyncio.Task[None], cancel: Steering) -> None:
        """Tell all that is going on to end, and give it some time where that is wanted."""
        work.cancel()
        if cancel.mode == "Graceful" and cancel.grace_seconds > 0:
            try:
                seconds = min(cancel.grace_seconds, _LONGEST_GRACE)
                await workflow.wait_condition(lambda: work.done() or self._is_forced(), timeout=timedelta(seconds=seconds))
            except TimeoutError:
                workflow.logger.info("calls did not end within the grace period of a cancel; they are left to themselves")

    def _is_forced(self) -> bool:
        """A later cancel may be more forceful."""
        return self._cancel is not None and self._cancel.mode == "Force"

    def _closed(self, work: asyncio.Task[None]) -> Json:
        if self._outcome is None:
            work.result()  # raises what the interpreter raised
        match self._outcome:
            case Completed(output):
                self._ended = "Completed"
                return output
            case Faulted(problem):
                problem = reworded(problem, self._redacted)
                self._ended, self._error = "Failed", problem
                raise ApplicationError(str(problem)[:2000], problem.to_dict(), type=names.FAULT, non_retryable=True)
            case _:
                raise AssertionError("a run that has ended has an outcome")

    async def _interpreted(self) -> None:
        try:
            document = self._document()
            self._hold.begin()
            self._outcome = await interpret(
                document,
                self._frame,
                self._effects,
                execution_id=self._start.execution_id,
                run_id=self._start.run_id,
                secrets=self._start.secrets or {},
                version=self._start.version,
            )
        except InvalidDocument as error:
            self._refuse(Problem.standard(RUNTIME, str(error)), error.code)
            raise ApplicationError(str(error)[:2000], type=names.REFUSED, non_retryable=True) from error
        except WorkflowRunnerError as error:
            self._refuse(Problem.standard(RUNTIME, str(error)), error.code)
            raise ApplicationError(str(error)[:2000], type=names.REFUSED, non_retryable=True) from error
        except ApplicationError:
            raise
        except Exception as error:
            detail = f"{type(error).__name__} in the engine: this is a bug of the workflow runner"
            workflow.logger.exception("%s", detail)
            self._refuse(Problem.standard(RUNTIME, detail), Internal.code)
            raise ApplicationError(detail, type=names.REFUSED, non_retryable=True) from error

    def _document(self) -> Workflow:
        document, _ = read_document(self._start.document, "<workflow>", check=False)
        return document

    def _refuse(self, problem: Problem, code: str) -> None:
        self._ended, self._error = "Failed", problem
        event = Event(EventType.WORKFLOW_FAILED, self._effects.now(), self._frame.progress)
        event.message, event.error, event.code = str(problem), problem, code
        self._take(event)

    async def _continue_as_new(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        before = self._start.carried
        carried = Carried(
            frame=frame_codec.encode(self._frame),
            last=self._buffer.last,
            events=_newest(self._buffer.kept),
            paused=self._paused,
            pause_reason=self._pause_reason,
            control=self._control,
            runs=1 if before is None else before.runs + 1,
        )
        start = to_json(msgspec.structs.replace(self._start, input=None, carried=carried))
        size = size_of(start)
        if size > self._start.largest_payload:
            problem = too_large("the state of the run, which is to be continued as new,", size, self._start.largest_payload)
            self._refuse(problem, "temporal.payload-too-large")
            raise ApplicationError(str(problem), problem.to_dict(), type=names.FAULT, non_retryable=True)
        workflow.continue_as_new(start)

    def _drained(self) -> None:
        self._is_drained = True

    @workflow.signal(name=names.PAUSE)
    def pause(self, argument: dict[str, Any] | None = None) -> None:
        """Hold before the next task, or inside a wait; calls that are under way end first."""
        steering = _steering(argument)
        if self._accept("Pause", steering):
            self._paused, self._pause_reason = True, steering.reason
            self._hold.ask(steering.reason)

    @workflow.signal(name=names.RESUME)
    def resume(self, argument: dict[str, Any] | None = None) -> None:
        """Go on."""
        if self._accept("Run", _steering(argument)):
            self._paused = False
            self._hold.release()
            self._answer("applied")

    @workflow.signal(name=names.CANCEL)
    def cancel(self, argument: dict[str, Any] | None = None) -> None:
        """End, paused or not. A later one may only be more forceful."""
        steering = _steering(argument)
        if self._accept("Cancel", steering) and (self._cancel is None or steering.mode == "Force"):
            reason = steering.reason if self._cancel is None else self._cancel.reason
            self._cancel = msgspec.structs.replace(steering, reason=reason)

    @workflow.signal(name=names.EVENT)
    def event(self, event: dict[str, Any]) -> None:
        """A CloudEvent: for whoever listens, or nobody."""
        if self._early is not None:
            if len(self._early) < MOST_EVENTS:
                self._early.append(event)
            return
        if self._effects.bus.offer(event).full:
            workflow.logger.warning("an event is lost: a listener has no room for it")
        self._effects.look_at_history()

    @workflow.query(name=names.STATUS)
    def status(self) -> dict[str, Any]:
        """How the run stands: a messages.Status."""
        return to_json(self._status())

    def _status(self) -> Status:
        phase = self._ended or ("Paused" if self._hold.held else "Running")
        carried = self._start.carried
        listeners = self._effects.bus.subscriptions
        error = None if self._error is None else self._error.to_dict()
        return Status(
            execution_id=self._start.execution_id,
            phase=phase,  # type: ignore[arg-type]
            progress=self._frame.progress,
            counts=self._frame.counts,
            last_sequence=self._buffer.last,
            control=self._control,
            listening=bool(listeners),
            wanted=[dict(each) for each in all_wanted(listeners)],
            continued=0 if carried is None else carried.runs,
            error=error,
        )

    @workflow.query(name=names.EVENTS)
    def events(self, after: int = 0, most: int = MOST_EVENTS) -> dict[str, Any]:
        """The newest events above a number: a messages.EventPage."""
        found = list(self._buffer.after(after))
        page = EventPage([event_to_json(number, event) for number, event in found[:most]], self._status(), len(found) > most)
        return to_json(page)

    def _accept(self, request: str, steering: Steering) -> bool:
        """Whether there is still something to be steered. The newest request is the one that is answered."""
        late = self._ended != "" or (self._cancel is not None and request != "Cancel")
        result = "refused" if late else "accepted"
        reason = "the run has ended, or is about to" if late else steering.reason
        self._control = Control(request, steering.generation, result, reason)
        return not late

    def _answer(self, result: str) -> None:
        self._control.result = result

    def _tell(self, type_: EventType, message: str = "") -> None:
        if type_ is EventType.WORKFLOW_PAUSED:
            self._answer("applied")
        self._take(Event(type_, self._effects.now(), self._frame.progress, message=message))

    def _redacted(self, text: str) -> str:
        return telemetry.redact_these(text, self._secrets)

    def _take(self, event: Event) -> None:
        if self._secrets and (event.message or event.error):
            # Here, since whoever hears of it may be a process that does not know them.
            event = retold(event, self._redacted)
        self._buffer.add(event)
        registry.tell(self._start.execution_id, self._buffer.last, event, self._frame.counts)


def _newest(kept: Kept) -> list[dict[str, Any]]:
    """As many of the newest events as a continued run takes along, in order."""
    found: list[dict[str, Any]] = []
    size = 0
    for number, event in reversed(kept.events):
        written = event_to_json(number, event)
        size += size_of(written)
        if len(found) >= MOST_EVENTS or size > _MOST_CARRIED:
            break
        found.append(written)
    return found[::-1]


def _steering(argument: dict[str, Any] | None) -> Steering:
    """What a signal says; one that cannot be understood says nothing, but is what its name is."""
    try:
        return msgspec.convert(argument or {}, Steering)
    except msgspec.ValidationError:
        return Steering()
