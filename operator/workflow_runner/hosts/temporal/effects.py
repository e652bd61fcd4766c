"""The interpreter's effects in a Temporal workflow; run_workflow makes one TemporalEffects a run.

All of it is deterministic: time is the workflow's, chance is drawn from the workflow's own generator, and what it does is
bounded by counting, never by a clock. A workflow task may not take longer than two seconds, so whoever has computed for long
hands the rest to a local activity (`here`), or ends the task (`checkpoint`), so that signals and queries get their turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import msgspec
from temporalio import exceptions, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, ChildWorkflowError

from workflow_runner.dsl.problems import CONFIGURATION, RUNTIME, TIMEOUT, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.evaluate import JqRequest
from workflow_runner.expressions.programs import EvaluationFailed
from workflow_runner.expressions.schemas import SchemaRequest
from workflow_runner.hosts.event_bus import CloudEvent, EventBus
from workflow_runner.hosts.hold import Hold
from workflow_runner.hosts.temporal import names, registry
from workflow_runner.hosts.temporal.limits import size_of, too_large
from workflow_runner.hosts.temporal.messages import CallRequest, Start, to_json
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.events import Event
from workflow_runner.interpreter.frames import WorkflowFrame
from workflow_runner.interpreter.subscriptions import Subscription
from workflow_runner.interpreter.tasks.call_function import MOST_NESTED

_T = TypeVar("_T")

TASK_WORK, EVALUATION_WORK = 1_500, 500
"""What a task costs, and an evaluation besides its program's (bounds.work). A unit of work is about 40 ns of a processor."""
BREATH_WORK = 7_500_000
"""After so much a workflow task ends: 0.3 s."""
MOST_WORK = 20_000_000
"""Beyond that no expression is evaluated in the workflow before something was waited for."""
CONTINUE_WORK = 250_000_000
"""A replay computes everything again that the history stands for: after 10 s of it the run is continued as new."""
MOST_HISTORY = 20_000
"""Events of a history, of which a server permits 51,200: from here on branches wait for one another to continue as new."""
MOST_ACTIVITY_TIME = timedelta(days=3650)
"""A call ends by the document's own limits; Temporal wants to know one in any case."""
MOST_HISTORY_BYTES = 20 * 1024 * 1024
"""The same by size, of which a server permits 50 MiB: answers may be large."""

_CALLS = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=60))
"""Of workers that are lost; what goes wrong outside is a fault, and is retried as the document says."""
_EVALUATIONS = RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_attempts=5)
_Failure = ActivityError | ChildWorkflowError


class TemporalEffects:
    """Implements interpreter.effects.Effects."""

    def __init__(
        self,
        start: Start,
        hold: Hold,
        report: Callable[[Event], None],
        drained: Callable[[], None],
    ) -> None:
        self._start = start
        self._hold = hold
        self._drained = drained
        self.bus = EventBus()
        self.report = report
        self.calling = 0
        """Calls under way."""
        self._work = self._all_work = 0
        self._evaluations = 0

    def now(self) -> datetime:
        """When the workflow task began."""
        return workflow.now().astimezone(UTC)

    def clock(self) -> datetime:
        """The same, less the time paused."""
        return self._hold.clock()

    def random(self) -> float:
        """Drawn from what Temporal gave the run."""
        return workflow.random().random()

    def uuid(self) -> str:
        """Likewise."""
        return str(workflow.uuid4())

    def subscribe(self, subscription: Subscription) -> None:
        """Listen for signals, and for what the run emits itself."""
        self.bus.subscribe(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Listen no more."""
        self.bus.unsubscribe(subscription)

    async def arrival(self, subscription: Subscription) -> None:
        """Return when there is an event, and not while the run is held."""
        while not subscription.waiting or self._hold.asked:
            await self._hold.wait_for(self.bus.arrived(subscription))
        self._rested()

    async def checkpoint(self, frame: WorkflowFrame) -> None:
        """Stand still while paused; let others have their turn; continue as new when the history has become long."""
        self._work += TASK_WORK
        if self._work >= BREATH_WORK:
            await self._breathe()
        self.look_at_history()
        if self._hold.asked:
            await self._hold.stand()

    def look_at_history(self) -> None:
        """Continue as new when the history has become long: before a task, and for a run that only listens, with each event."""
        if self._is_long():
            self._hold.drain(self._drained)

    async def _breathe(self) -> None:
        """End the workflow task: an activity that does nothing is back in milliseconds, a timer in up to a second."""
        try:
            await workflow.execute_activity(names.BREATHE, start_to_close_timeout=timedelta(seconds=5))
        except ActivityError as error:
            raise _told(error, "a pause between two tasks") from error
        self._rested()
        _unless_cancelled()

    def _is_long(self) -> bool:
        info = workflow.info()
        if not (info.is_continue_as_new_suggested() or self._all_work >= CONTINUE_WORK):
            return False
        # A call under way would have all others wait for it: that is put off as long as there is room.
        if self.calling == 0 or info.get_current_history_length() >= MOST_HISTORY:
            return True
        return info.get_current_history_size() >= MOST_HISTORY_BYTES

    async def sleep(self, until: datetime) -> None:
        """A durable timer; none while the run is held."""
        while until > self.clock():
            await self._hold.sleep(until)
        self._rested()

    async def within(self, until: datetime, work: Coroutine[Any, Any, _T]) -> _T:
        """Await `work` until then, time held apart."""
        return await self._hold.within(until, work)

    async def gather(self, branches: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Run the branches at the same time."""
        await self._hold.gather(branches)

    async def call(self, request: Call) -> Json:
        """Have a worker carry it out."""
        self.calling += 1
        try:
            answer = await self._call(request)
        finally:
            self.calling -= 1
            self._rested()
        _unless_cancelled()
        return answer

    async def _call(self, request: Call) -> Json:
        match request.protocol:
            case "activity":
                return await self._activity(request)
            case "workflow" if "start" in request.arguments:
                return await self._detached(request)
            case "emit":
                await self._carried_out(request)
                await self.bus.emit(cast("CloudEvent", request.arguments["event"]))
                return None
            case _:
                return await self._carried_out(request)

    async def _carried_out(self, request: Call) -> Json:
        arguments = dict(request.arguments)
        if request.protocol == "process" and self._start.environment:
            arguments["environment"] = {**self._start.environment, **cast("dict[str, Json]", arguments["environment"])}
        message = CallRequest(
            execution_id=self._start.execution_id,
            protocol=request.protocol,
            arguments=arguments,
            idempotency_key=request.idempotency_key,
            reference=request.reference,
            authentication=_plain(request.authentication),
            resource_authentication=_plain(request.resource_authentication),
            largest_payload=self._start.largest_payload,
        )
        if self._start.secrets is not None and (request.authentication or request.resource_authentication):
            message.secrets = self._start.secrets
        argument = to_json(message)
        self._check_size(f"what the call of {request.reference} is given", argument)
        try:
            answer: Json = await workflow.execute_activity(
                names.CALL,
                argument,
                start_to_close_timeout=MOST_ACTIVITY_TIME,
                heartbeat_timeout=timedelta(seconds=self._start.heartbeat_seconds),
                retry_policy=_CALLS,
                summary=f"{request.protocol} {request.reference}"[:200],
            )
        except ActivityError as error:
            raise _told(error, f"the call of {request.reference}") from error
        return answer

    async def _activity(self, request: Call) -> Json:
        """An activity of somebody else's worker."""
        arguments = cast("dict[str, Any]", request.arguments)
        seconds = arguments.get("seconds")
        self._check_size(f"what the activity {arguments['activity']!r:.100} is given", arguments["input"])
        limit = MOST_ACTIVITY_TIME if seconds is None else timedelta(seconds=max(0.001, seconds))
        try:
            answer: Json = await workflow.execute_activity(
                arguments["activity"],
                arguments["input"],
                task_queue=self._start.activity_queue or None,
                schedule_to_close_timeout=limit,
                retry_policy=RetryPolicy(maximum_attempts=1),  # trying again is the document's, as for every call
                summary=request.reference[:200],
            )
        except ActivityError as error:
            raise _told(error, f"the activity {arguments['activity']!r:.100}") from error
        return answer

    async def _detached(self, request: Call) -> Json:
        """A run of its own, which goes on whatever becomes of this one."""
        arguments = cast("dict[str, Any]", request.arguments)
        wanted = {name: value for name, value in arguments.items() if name != "start"}
        definition = await self._carried_out(
            Call("workflow", wanted, request.idempotency_key, request.reference, request.authentication)
        )
        if self._start.depth >= MOST_NESTED:
            detail = f"the workflow is not run: it is the {MOST_NESTED}th that one started without waiting for it"
            raise WorkflowFault(Problem.standard(CONFIGURATION, detail))
        execution_id = request.idempotency_key[:32]
        start = Start(
            execution_id=execution_id,
            document=cast("dict[str, Any]", definition),
            input=arguments["start"]["input"],
            run_id=self._start.run_id,
            version=self._start.version,
            secrets=self._start.secrets,
            heartbeat_seconds=self._start.heartbeat_seconds,
            activity_queue=self._start.activity_queue,
            largest_payload=self._start.largest_payload,
            depth=self._start.depth + 1,
        )
        argument = to_json(start)
        self._check_size(f"what the workflow of {request.reference} is given", argument)
        try:
            await workflow.start_child_workflow(
                names.RUN,
                argument,
                id=names.run_id(execution_id),
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                task_timeout=workflow.info().task_timeout,
            )
        except ChildWorkflowError as error:
            raise _told(error, f"the workflow of {request.reference}") from error
        return None

    def _check_size(self, what: str, argument: Json) -> None:
        size, largest = size_of(argument), self._start.largest_payload
        if size > largest:
            raise WorkflowFault(too_large(what, size, largest))

    def here(self, work: int) -> bool:
        """Whether there is time left in this workflow task for an expression that costs so much."""
        self._work += EVALUATION_WORK + work
        return self._work <= MOST_WORK

    async def evaluate(self, request: JqRequest | SchemaRequest) -> Json:
        """In a child process of the worker that can be killed; what came of it is in the history."""
        self._evaluations += 1
        key = f"{workflow.info().run_id}/{self._evaluations}"
        registry.put_request(key, request)
        try:
            answer = await workflow.execute_local_activity(
                names.EVALUATE,
                args=[key, self._start.largest_payload],
                start_to_close_timeout=timedelta(seconds=60),
                retry_policy=_EVALUATIONS,
            )
        except ActivityError as error:
            raise _told(error, "an expression") from error
        finally:
            registry.drop_request(key)
            self._rested()
        _unless_cancelled()
        if "error" in answer:
            raise EvaluationFailed(answer["error"])
        return cast("Json", answer["value"])

    def _rested(self) -> None:
        """Something was waited for: this is another workflow task, or a new part of one."""
        self._all_work += self._work
        self._work = 0


def _unless_cancelled() -> None:
    """An activity that had ended when it was to be cancelled gives its result, and the cancellation is lost with it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _plain(policy: Mapping[str, Json] | None) -> dict[str, Any] | None:
    return None if policy is None else msgspec.to_builtins(policy)


def _told(error: _Failure, what: str) -> BaseException:
    """A failure of an activity as the interpreter knows it: cancellation, a fault, or a time limit."""
    cause = error.cause
    if isinstance(cause, CancelledError):
        return asyncio.CancelledError()
    if isinstance(cause, ApplicationError) and cause.type == names.FAULT:
        return WorkflowFault(Problem.from_dict(cause.details[0]))
    if isinstance(cause, exceptions.TimeoutError):
        return WorkflowFault(Problem.standard(TIMEOUT, f"{what} took longer than it may"))
    said = cause.message if isinstance(cause, ApplicationError) else type(cause).__name__
    return WorkflowFault(Problem.standard(RUNTIME, f"{what} failed: {said}"[:2000]))
