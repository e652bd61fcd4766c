"""One run on Temporal, seen from the process that started it, or that goes on with it: what hosts.local.LocalRun is there.

`workflow-runner run`, a launched pod and a runner's service use it. The run itself is the workflow's (run_workflow): this
object starts it, or attaches to the one that is there, hands on what is asked of it until Temporal has it, and tells what the
workflow tells. It may go away at any moment: the run stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from temporalio import exceptions
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from workflow_runner import __version__
from workflow_runner.dsl.diagnostics import place_in
from workflow_runner.dsl.model import DocumentInfo, Workflow
from workflow_runner.dsl.problems import RUNTIME, TIMEOUT, VALIDATION, Problem
from workflow_runner.dsl.templates import Json
from workflow_runner.errors import InvalidDocument, InvalidInput, Unavailable
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.event_bus import EventBus
from workflow_runner.hosts.local import Source
from workflow_runner.hosts.snapshots import event_from_json
from workflow_runner.hosts.temporal import names, registry
from workflow_runner.hosts.temporal.limits import LARGEST_PLAIN, needing_encryption, size_of, too_large
from workflow_runner.hosts.temporal.listening import Listening, Status
from workflow_runner.hosts.temporal.messages import Start, Steering, to_json
from workflow_runner.hosts.temporal.rpc import (
    LATER,
    MISSING_SECONDS,
    MOST_PAUSE,
    REFUSALS,
    RPC_SECONDS,
    persistently,
    refusal,
    unflagging,
)
from workflow_runner.hosts.temporal.search_attributes import search_attributes
from workflow_runner.hosts.temporal.signals import Signals, send_event
from workflow_runner.interpreter.events import ENDS, Event, EventType, TaskCounts
from workflow_runner.interpreter.outcome import Cancelled, Completed, Faulted, Outcome

QUERY_SECONDS = timedelta(seconds=15)
EXECUTION_SECONDS = timedelta(days=366)
"""Temporal ends a run after that, whatever it does; its document's limits come before."""
TASK_SECONDS = timedelta(seconds=5)
"""A worker that dies while it computes the next step of a run holds the run up for so long. None takes a tenth of it."""
END_SECONDS = 2.0
"""So long the end of a run may be known before its last event is."""
LOOK_SECONDS, MOST_LOOK_SECONDS, PAUSED_LOOK_SECONDS = 1.0, 10.0, 60.0
"""How often a run is asked for its events that no worker of this process tells of."""
SOON_SECONDS = 0.2
_UNANSWERED = (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError)
_ENDS = {
    Completed: EventType.WORKFLOW_COMPLETED,
    Faulted: EventType.WORKFLOW_FAILED,
    Cancelled: EventType.WORKFLOW_CANCELLED,
}
log = logging.getLogger(__name__)


class TemporalRun:
    """One run of one document. `report` takes every event with its number, on the event loop, those above `after` only.

    A worker has to poll `task_queue`, in this process (its events come at once) or elsewhere (they are asked for when the run
    has ended). Where payloads are `encrypted` the secrets go along with the run; else they stay in this process, for the calls
    that it makes, and a document that puts them into its data is refused: except for those in `plain`, which are secrets by
    name only and go along in any case. Without a `workflow` this attaches to a run that is there, and starts none.
    `environment` is what its processes see besides. With `asking` the run is asked again and again for what it tells, for
    workers that are in other processes.
    `caught_up` is called when what was told before this process came is known. The other arguments are those of LocalRun.
    """

    def __init__(
        self,
        client: Client,
        workflow: Workflow | Source | None,
        input_: Json,
        *,
        task_queue: str,
        execution_id: str,
        run_id: str,
        secrets: Mapping[str, Json],
        report: Callable[[int, Event], None],
        after: int = 0,
        plain: Mapping[str, Json] | None = None,
        encrypted: bool = False,
        largest_payload: int = LARGEST_PLAIN,
        timeout: timedelta | None = None,
        heartbeat_seconds: float = 10.0,
        activity_queue: str = "",
        bus: EventBus | None = None,
        memo: Mapping[str, Json] | None = None,
        asking: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._workflow = workflow
        self._input = input_
        self._queue = task_queue
        self._execution_id = execution_id
        self._run_id = run_id
        self._secrets = secrets
        self._plain = plain
        self._encrypted = encrypted
        self._largest_payload = largest_payload
        self.caught_up: Callable[[], None] = lambda: None
        self._report = report
        self._timeout = timeout
        self._heartbeat_seconds = heartbeat_seconds
        self._activity_queue = activity_queue
        self._memo = memo or {}
        self._asking = asking
        self._environment = environment or {}
        self._missed = asyncio.Event()
        """Another process's worker has told something that is not known here."""
        self._follower = registry.Follower(self._hear, after=after, missed=self._missed.set if asking else None)
        self._begun: tuple[WorkflowHandle[Any, Any], bool] | None = None
        """How it is reached, and whether it was there before."""
        self._signals = Signals(shared=asking)
        self._left = asyncio.Event()
        self._left_why = ""
        self._told_end = asyncio.Event()
        self._knows_all = False
        """What was told before this process came is known."""
        self._end: tuple[int, Event] | None = None
        self._progress = 0
        self._listening = None if bus is None else Listening(bus)
        self._listeners: set[tuple[str, str]] = set()
        self.paused = False
        """Whether a pause has taken effect: nothing of the run is going on."""

    @property
    def counts(self) -> TaskCounts:
        """Totals as of the newest event."""
        return self._follower.counts

    @property
    def progress(self) -> int:
        """The share of the root tasks that are done, 0 to 100."""
        return self._progress

    @property
    def last_sequence(self) -> int:
        """The number of the newest event."""
        return self._follower.last

    @property
    def workflow_name(self) -> str:
        """The document's name; empty until it is read."""
        return "" if self.document is None else self.document.name

    @property
    def document(self) -> DocumentInfo | None:
        """What the document says of itself; None until it is read."""
        return self._workflow.document if isinstance(self._workflow, Workflow) else None

    def skip_to(self, number: int) -> None:
        """Events up to this number have been told before, by another process. Before `run`."""
        self._follower.last = max(self._follower.last, number)

    def pause(self, reason: str = "") -> None:
        """Hold before the next task, or inside a running wait; a running call finishes first."""
        self._hold(True, reason)

    def resume(self) -> None:
        """Go on after a pause."""
        self._hold(False)

    def _hold(self, paused: bool, reason: str = "") -> None:
        if self._signals.hold(paused, reason):
            self.look()  # something is about to happen

    def cancel(self, reason: str = "", *, goes_on: bool = False, force: bool = False, grace_seconds: float = 30.0) -> None:
        """Stop the run, paused or not. With `goes_on` only this process leaves it: it stays as it is, for others."""
        if goes_on:
            self._left_why = reason
            self._left.set()
            return
        mode: Literal["Force", "Graceful"] = "Force" if force else "Graceful"
        if self._signals.cancel(Steering(reason, mode=mode, grace_seconds=grace_seconds, request_follows=True)):
            self.look()

    def look(self) -> None:
        """Somebody wants to know how the run stands: with `asking` it is asked soon."""
        self._missed.set()

    async def handed_on(self) -> None:
        """Until Temporal has what was last wanted of the run."""
        await self._signals.handed_on()

    async def begin(self) -> bool:
        """Start the run before `run` does, trying once; whether it is this call that did. Raises what `run` raises, and
        RPCError for whatever Temporal answers."""
        await self._read()
        self._check()
        registry.follow(self._execution_id, self._follower)
        try:
            self._begun = await self._started()
        except BaseException:
            registry.forget(self._execution_id)
            raise
        return not self._begun[1]

    def give_up(self) -> None:
        """After `begin`, instead of `run`: it is another run."""
        registry.forget(self._execution_id)

    async def memo(self) -> Mapping[str, Any]:
        """What was noted of the run when it was started. After `begin`; raises RPCError."""
        assert self._begun is not None  # noqa: S101 - says so
        return await (await self._begun[0].describe(rpc_timeout=RPC_SECONDS)).memo()

    async def run(self) -> Outcome:
        """Start the run, or attach to it, and tell how it ended. Call it once. Raises InvalidDocument, which is told before;
        InvalidInput for a document that needs encryption; and what `rpc.refusal` gives for what Temporal refuses."""
        if self._begun is None:
            await self._read()
            self._check()
        work = asyncio.create_task(self._followed(), name=f"run {self._execution_id}")
        left = asyncio.create_task(self._left.wait())
        registry.follow(self._execution_id, self._follower)
        if not self._encrypted and self._secrets:
            registry.entrust(self._execution_id, self._secrets)
        try:
            await asyncio.wait([work, left], return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else Cancelled(self._left_why)
        except RPCError as error:
            raise refusal(error) from error
        finally:
            for task in (work, left):
                task.cancel()
            await asyncio.gather(work, left, return_exceptions=True)
            registry.forget(self._execution_id)

    async def _read(self) -> None:
        source = self._workflow
        if source is None or isinstance(source, Workflow):
            return
        try:
            self._workflow, _ = await asyncio.to_thread(read_document, source.document, source.file, check=source.check)
        except InvalidDocument as error:
            now = datetime.now(UTC)
            event = Event(EventType.WORKFLOW_FAILED, now, 0)
            event.error, event.code = Problem.standard(VALIDATION, str(error)), error.code
            event.message = str(event.error)
            beginning = (Event(EventType.WORKFLOW_STARTED, now, 0), Event(EventType.WORKFLOW_VALIDATING, now, 0))
            for number, one in enumerate((*beginning, event), 1):
                self._tell(number, one)
            raise

    def _check(self) -> None:
        workflow = self._workflow
        if workflow is None:
            return
        assert isinstance(workflow, Workflow)  # noqa: S101 - it was read before
        if not self._encrypted and (open_ := needing_encryption(workflow, self._no_secrets(workflow))):
            where = place_in(workflow.file, open_.position, open_.pointer)
            raise InvalidInput(
                f"{where}: a value made from secrets would be in Temporal's history, which is not encrypted",
                code="temporal.secrets-unencrypted",
                hint="give the runner encryption keys (docs/temporal.md), or use the secret in an authentication policy only",
            )
        size = size_of(to_json(self._start()))
        if size > self._largest_payload:
            message = str(too_large("the document with its input", size, self._largest_payload).detail)
            raise InvalidInput(message.partition(": ")[2], code="temporal.payload-too-large")

    def _no_secrets(self, workflow: Workflow) -> frozenset[str]:
        """Names that the document calls secrets, and that stand for none: for plain values, or nothing at all."""
        if self._plain is None:
            return frozenset()
        used = {name for expression in workflow.expressions for name in expression.secrets}
        return frozenset(name for name in used if name in self._plain or name not in self._secrets)

    async def _followed(self) -> Outcome:
        if self._begun is None:
            self._begun = await persistently(self._started, "the run cannot be started")
        handle, attached = self._begun
        works = [partial(self._signals.send, handle, attached=attached)]
        if self._listening is not None:
            works += [
                partial(self._wanted_asked, handle, self._listening),
                partial(self._listening.hand_on, partial(send_event, handle)),
            ]
        if attached or self._asking:
            works.append(partial(self._asked, handle, attached))
        tasks = [asyncio.create_task(unflagging(work), name=f"{work.func.__name__} {self._execution_id}") for work in works]
        try:
            outcome = await persistently(
                lambda: self._ended(handle), "the run cannot be followed", LATER | REFUSALS, missing_seconds=MISSING_SECONDS
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        number, event = await self._last_event(handle, outcome, attached=attached)
        self._tell(number, event)
        # Why it was cancelled the run says in its own words: Temporal's failure has none.
        return Cancelled(event.message) if isinstance(outcome, Cancelled) else outcome

    async def _started(self) -> tuple[WorkflowHandle[Any, Any], bool]:
        id_ = names.run_id(self._execution_id)
        if self._workflow is None:
            return self._client.get_workflow_handle(id_), True
        try:
            await self._client.start_workflow(
                names.RUN,
                to_json(self._start()),
                id=id_,
                task_queue=self._queue,
                execution_timeout=EXECUTION_SECONDS,
                task_timeout=TASK_SECONDS,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                memo=dict(self._memo) | {"executionId": self._execution_id, "workflow": self._named()},
                search_attributes=await search_attributes(self._client, self._execution_id, self._named()),
                static_summary=self._named()[:200],
                rpc_timeout=RPC_SECONDS,
            )
        except WorkflowAlreadyStartedError:
            return self._client.get_workflow_handle(id_), True
        # Not what starting gives: that begins to ask at the run's first part, which may be gone before the last one ends.
        return self._client.get_workflow_handle(id_), False

    def _named(self) -> str:
        document = self.document
        return "" if document is None else f"{document.namespace}/{document.name}:{document.version}"

    def _start(self) -> Start:
        workflow = self._workflow
        assert isinstance(workflow, Workflow)  # noqa: S101 - it was read before
        return Start(
            execution_id=self._execution_id,
            document=dict(workflow.definition),
            input=self._input,
            run_id=self._run_id,
            version=__version__,
            secrets=dict(self._secrets) if self._encrypted else None if self._plain is None else dict(self._plain),
            largest_payload=self._largest_payload,
            environment=dict(self._environment),
            timeout_seconds=None if self._timeout is None else self._timeout.total_seconds(),
            heartbeat_seconds=self._heartbeat_seconds,
            activity_queue=self._activity_queue,
        )

    async def _ended(self, handle: WorkflowHandle[Any, Any]) -> Outcome:
        try:
            return Completed(await handle.result())
        except WorkflowFailureError as failure:
            return _outcome(failure.cause)

    async def _wanted_asked(self, handle: WorkflowHandle[Any, Any], listening: Listening) -> None:
        async def status() -> Status | None:
            try:
                found: Status = await handle.query(names.STATUS, rpc_timeout=QUERY_SECONDS)
            except _UNANSWERED as error:
                log.info("what a run on Temporal listens for is not known yet", extra={"error": str(error)[:300]})
                return None
            return found

        await listening.ask(status)

    async def _asked(self, handle: WorkflowHandle[Any, Any], attached: bool) -> None:
        """Ask what the run has told: what it told before this process came, and with `asking` from then on, too, the more
        seldom the less happens."""
        failures = 0
        while attached and not await self._catch_up(handle):
            # No worker can be asked yet: the run is followed from here on, and what it told before comes later.
            failures += 1
            await asyncio.sleep(min(MOST_PAUSE, LOOK_SECONDS * 2**failures) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        self._knows_all = True
        self.caught_up()
        pause, known = LOOK_SECONDS, self.last_sequence
        while self._asking:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause * random.uniform(0.8, 1.0)):  # noqa: S311 - jitter
                    await self._missed.wait()
            soon = self._missed.is_set()
            if soon:
                await asyncio.sleep(SOON_SECONDS)
            self._missed.clear()
            if soon or self.last_sequence == known:
                await self._catch_up(handle)
            most = PAUSED_LOOK_SECONDS if self.paused else MOST_LOOK_SECONDS
            pause = LOOK_SECONDS if soon or self.last_sequence != known else min(pause * 1.5, most)
            known = self.last_sequence

    async def _catch_up(self, handle: WorkflowHandle[Any, Any]) -> bool:
        """Hear what is not known of what was told. False where no worker can be asked."""
        more = True
        while more:
            changes = 0 if self._listening is None else self._listening.changes
            try:
                # The question has a worker replay the run; one in this process tells what it told before by that alone.
                page = await handle.query(names.EVENTS, self._follower.last, rpc_timeout=QUERY_SECONDS)
            except _UNANSWERED as error:
                log.info("what a run on Temporal has told is not known yet", extra={"error": str(error)[:300]})
                return False
            await asyncio.sleep(0)  # what the worker told meanwhile comes first
            before = self._follower.last
            for written in page["events"]:
                self._follower.bring(*event_from_json(written))
            more = page["more"] and self._follower.last > before
        status = page["status"]
        self._follower.counts, self._progress = TaskCounts(**status["counts"]), status["progress"]
        self.paused = status["phase"] == "Paused"
        if self._listening is not None:
            self._listening.stands(status, as_of=changes)
        return True

    async def _last_event(self, handle: WorkflowHandle[Any, Any], outcome: Outcome, *, attached: bool) -> tuple[int, Event]:
        """The end is told in any case: by the workflow, and where that was in another process, by what we know of it."""
        if not self._told_end.is_set() and (self._asking or (attached and not self._knows_all)):
            await self._catch_up(handle)
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._told_end.wait()
        except TimeoutError:
            await self._catch_up(handle)
        return self._end or self._made_up(outcome)

    def _made_up(self, outcome: Outcome) -> tuple[int, Event]:
        event = Event(_ENDS[type(outcome)], datetime.now(UTC), self._progress)
        match outcome:
            case Completed(output):
                event.output, event.progress = output, 100
            case Faulted(problem):
                event.error, event.message = problem, str(problem)
            case Cancelled(reason):
                event.message = reason if self._signals.cancelled is None else self._signals.cancelled.reason
        return self._follower.last + 1, event

    def _hear(self, number: int, event: Event) -> None:
        self._progress = event.progress
        key = (event.reference, event.iteration)
        match event.type:
            case EventType.WORKFLOW_PAUSED:
                self.paused = True
            case EventType.WORKFLOW_RESUMED:
                self.paused = False
            case EventType.CORRELATION_STARTED:
                self._listeners.add(key)
                if self._listening is not None:
                    self._listening.begins()
            case EventType.TASK_COMPLETED | EventType.TASK_FAILED | EventType.TASK_CANCELLED if key in self._listeners:
                self._listeners.discard(key)
                if self._listening is not None:
                    self._listening.ends()
        if event.type in ENDS:
            self._end = (number, event)
            self._told_end.set()
        else:
            self._tell(number, event)

    def _tell(self, number: int, event: Event) -> None:
        try:
            self._report(number, event)
        except Exception:
            log.exception("a listener failed at a %s event; the run goes on", event.type)


def _outcome(cause: BaseException) -> Outcome:
    """What a closed workflow's failure says."""
    match cause:
        case ApplicationError(type=names.FAULT, details=[problem, *_]):
            return Faulted(Problem.from_dict(problem))
        case ApplicationError(type=names.CANCELLED):
            return Cancelled(cause.message)
        case ApplicationError():
            return Faulted(Problem.standard(RUNTIME, cause.message))
        case CancelledError():
            return Cancelled(cause.message)
        case TerminatedError():
            return Cancelled(f"terminated in Temporal: {cause.message}")
        case exceptions.TimeoutError():
            return Faulted(Problem.standard(TIMEOUT, "Temporal ended the run: its execution time-out has passed", instance="/"))
        case _:
            return Faulted(Problem.standard(RUNTIME, f"the run failed in Temporal: {cause}"[:2000]))


async def terminated(client: Client, execution_id: str, reason: str) -> bool:
    """End a run at once, though no worker is there that it could be asked by; False where none was open. Raises Unavailable."""
    try:
        await client.get_workflow_handle(names.run_id(execution_id)).terminate(reason=reason, rpc_timeout=RPC_SECONDS)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise Unavailable(f"Temporal does not end the run: {error.message}", code="temporal.unavailable") from error
    return True
