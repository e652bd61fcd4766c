"""Runners that are wrong in one way each: variations of the DAG runner of examples/runners. Each names the check that is to
catch it; test_wrong_runners.py holds them against it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import grpc.aio
from examples.runners.dag import dag_runner
from examples.runners.dag.dag_runner import ENDS, Event, ExecutionService, QueryController, Refused, Run, Runs
from google.protobuf import empty_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from tests.integration.conformance_command.right_runners import bare_server, faces, reporting
from tests.integration.conformance_command.runners import KEY, Context

from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import io_pb2
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as older
from workflow_runner.runner_checks.interface import EXECUTION, NEWER, OLDER
from workflow_runner.runner_checks.profile import Document

Serve = Callable[[Runs], grpc.aio.Server]


@dataclass(frozen=True)
class Wrong:
    """A wrong runner, and the check that is to say so."""

    check: str
    name: str
    execution: type[ExecutionService] = ExecutionService
    query: type[QueryController] | None = QueryController
    serve: Serve | None = None
    """For what is wrong with the server itself."""
    overlong: Document | None = None
    reports: Callable[[str], type[ExecutionService]] | None = None
    """For what reports, to HOST:PORT."""
    token: str = field(default="", repr=False)

    def server(self, runs: Runs, report_to: str = "") -> grpc.aio.Server:
        """Not yet listening."""
        if self.reports is not None:
            return dag_runner.server_for(self.reports(report_to)(runs), QueryController(runs))
        if self.serve is not None:
            return self.serve(runs)
        return dag_runner.server_for(self.execution(runs), None if self.query is None else self.query(runs))


# ------------------------------------------------------------------ events


def telling(change: Callable[[Event], Sequence[Event]]) -> type[ExecutionService]:
    """A service whose Execute tells something else for each event."""

    class Telling(ExecutionService):
        async def Execute(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> AsyncIterator[Event]:
            async with contextlib.aclosing(super().Execute(request, context)) as events:  # type: ignore[type-var]
                async for event in events:
                    for told in change(event):
                        yield told

    return Telling


def but(event: Event, **changes: Any) -> list[Event]:
    """The event with other fields."""
    changed = Event()
    changed.CopyFrom(event)
    for name, value in changes.items():
        setattr(changed, name, value)
    return [changed]


def without(event: Event, *names: str) -> list[Event]:
    """The event without some fields."""
    changed = but(event)
    for name in names:
        changed[0].ClearField(name)
    return changed


def _end_twice(event: Event) -> list[Event]:
    return [event, *but(event, sequence_number=event.sequence_number + 1)] if event.event_type in ENDS else [event]


def _give_something_else(event: Event) -> list[Event]:
    changed = but(event)
    if changed[0].HasField("output"):
        changed[0].output.string_value = "something else"
    return changed


class FailsTheCall(ExecutionService):
    """Ends the call with an error when the run has failed."""

    async def Execute(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> AsyncIterator[Event]:
        async for event in super().Execute(request, context):
            yield event
            if event.event_type == "workflow_failed":
                await context.abort(grpc.StatusCode.INTERNAL, "the workflow failed")


class TellsOthers(ExecutionService):
    """Everybody hears of the run that began last."""

    async def Execute(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> AsyncIterator[Event]:
        self.last = request.workflow_execution_id
        async for event in super().Execute(request, context):
            yield but(event, workflow_execution_id=self.last)[0]


class RunsAnything(ExecutionService):
    """A document that cannot be read is a run that fails."""

    async def Execute(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> AsyncIterator[Event]:
        try:
            dag_runner.read_dag(request.workflow_yaml)
        except dag_runner.InvalidDag as error:
            yield Event(event_type="workflow_failed", status="failed", message=str(error), sequence_number=1)
            return
        async for event in super().Execute(request, context):
            yield event

    async def ExecuteAsync(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> io_pb2.WorkflowExecuteResponse:
        try:
            dag_runner.read_dag(request.workflow_yaml)
        except dag_runner.InvalidDag:
            return io_pb2.WorkflowExecuteResponse(workflow_execution_id=request.workflow_execution_id, status="running")
        return await super().ExecuteAsync(request, context)


class Forgets(ExecutionService):
    """A known id is as good as a new one."""

    async def Execute(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> AsyncIterator[Event]:
        self.runs._runs.pop(request.workflow_execution_id, None)
        async for event in super().Execute(request, context):
            yield event

    async def ExecuteAsync(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> io_pb2.WorkflowExecuteResponse:
        known = self.runs._runs.pop(request.workflow_execution_id, None)
        if known is not None and not known.ended:
            known.cancel("replaced")
        return await super().ExecuteAsync(request, context)


class StartsAgain(ExecutionService):
    """The same request twice is two runs, which tell their events as one."""

    async def ExecuteAsync(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> io_pb2.WorkflowExecuteResponse:
        known = self.runs._runs.pop(request.workflow_execution_id, None)
        answer = await super().ExecuteAsync(request, context)
        if known is not None:
            run = self.runs.find(answer.workflow_execution_id)
            run.events[:0] = known.events
        return answer


class GoesOnAlone(ExecutionService):
    """A caller that goes away leaves its run."""

    async def Execute(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> AsyncIterator[Event]:
        try:
            run, _ = self.runs.start(request)
        except Refused as refused:
            await context.abort(refused.code, refused.message)
        async for event in run.follow(0):
            yield event


class SaysNoMore(ExecutionService):
    """Refuses what may take too long, and does not say what to do."""

    async def Execute(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> AsyncIterator[Event]:
        if "overlong" in request.workflow_yaml:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        async for event in super().Execute(request, context):
            yield event


# ------------------------------------------------------------------ starting


def answering(**changes: Any) -> type[ExecutionService]:
    """A service whose ExecuteAsync answers something else."""

    class Answering(ExecutionService):
        async def ExecuteAsync(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> io_pb2.WorkflowExecuteResponse:
            answer = await super().ExecuteAsync(request, context)
            for name, value in changes.items():
                setattr(answer, name, value)
            return answer

    return Answering


class Waits(ExecutionService):
    """Answers when the run has ended."""

    async def ExecuteAsync(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> io_pb2.WorkflowExecuteResponse:
        answer = await super().ExecuteAsync(request, context)
        async for _ in self.runs.find(answer.workflow_execution_id).follow(0):
            pass
        return answer


class CallsAllTheSame(ExecutionService):
    """Chooses one id for all who have none."""

    async def ExecuteAsync(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> io_pb2.WorkflowExecuteResponse:
        request.workflow_execution_id = request.workflow_execution_id or "anonymous"
        return await super().ExecuteAsync(request, context)


class BlamesNobody(ExecutionService):
    """A BadRequest that says nothing."""

    async def ExecuteAsync(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> io_pb2.WorkflowExecuteResponse:
        try:
            dag_runner.read_dag(request.workflow_yaml)
        except dag_runner.InvalidDag:
            status = status_pb2.Status(code=3, message="no")
            status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[{"field": "workflow_yaml"}]))
            context.set_trailing_metadata(rpc_status.to_status(status).trailing_metadata)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        return await super().ExecuteAsync(request, context)


class AnswersOtherwise(ExecutionService):
    """Says that it knows the run."""

    async def ExecuteAsync(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> io_pb2.WorkflowExecuteResponse:
        known = request.workflow_execution_id in self.runs._runs
        answer = await super().ExecuteAsync(request, context)
        if known:
            answer.message = "there already"
        return answer


class Races(ExecutionService):
    """Looks whether it knows the id, and only later remembers it."""

    busy: frozenset[str] = frozenset()

    async def ExecuteAsync(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> io_pb2.WorkflowExecuteResponse:
        name = request.workflow_execution_id
        if name in self.busy:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "somebody is starting it")
        self.busy |= {name}
        await asyncio.sleep(0.1)
        self.busy -= {name}
        return await super().ExecuteAsync(request, context)


# ------------------------------------------------------------------ steering


class CancelDoesNothing(ExecutionService):
    async def CancelExecution(self, request: io_pb2.CancelExecutionRequest, context: Context) -> empty_pb2.Empty:
        return empty_pb2.Empty()


class CancelIsFailure(ExecutionService):
    """A run that was cancelled has failed."""

    async def CancelExecution(self, request: io_pb2.CancelExecutionRequest, context: Context) -> empty_pb2.Empty:
        run = self.runs.find(request.execution_id)
        run.tell("workflow_failed", "failed")
        if run.work is not None:
            run.work.cancel()
        return empty_pb2.Empty()


class CancelsOnce(ExecutionService):
    """Refuses to cancel what is cancelled."""

    async def CancelExecution(self, request: io_pb2.CancelExecutionRequest, context: Context) -> empty_pb2.Empty:
        run = self.runs.find(request.execution_id)
        if run.ended or run.reason:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "it is cancelled")
        return await super().CancelExecution(request, context)


class CancelsTwice(ExecutionService):
    """Each time that a run is cancelled, it ends."""

    async def CancelExecution(self, request: io_pb2.CancelExecutionRequest, context: Context) -> empty_pb2.Empty:
        run = self.runs.find(request.execution_id)
        if not run.ended:
            return await super().CancelExecution(request, context)
        run.events += but(run.events[-1], sequence_number=len(run.events) + 1)
        return empty_pb2.Empty()


class CancelsTheDead(ExecutionService):
    """What has completed can still be cancelled."""

    async def CancelExecution(self, request: io_pb2.CancelExecutionRequest, context: Context) -> empty_pb2.Empty:
        with contextlib.suppress(Refused):
            run = self.runs.find(request.execution_id)
            if run.status == "completed":
                run.status = "cancelled"
                return empty_pb2.Empty()
        return await super().CancelExecution(request, context)


class KnowsNoForce(ExecutionService):
    async def CancelExecution(self, request: io_pb2.CancelExecutionRequest, context: Context) -> empty_pb2.Empty:
        if request.force:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "force is not supported")
        return await super().CancelExecution(request, context)


class HangsWhilePaused(ExecutionService):
    """Cancelling a paused run waits until it is resumed."""

    async def CancelExecution(self, request: io_pb2.CancelExecutionRequest, context: Context) -> empty_pb2.Empty:
        with contextlib.suppress(Refused):
            run = self.runs.find(request.execution_id)
            while run.paused:
                await asyncio.sleep(0.05)
        return await super().CancelExecution(request, context)


class PauseWins(ExecutionService):
    """Forgets a cancel when a pause comes, and refuses to cancel a paused run."""

    async def CancelExecution(self, request: io_pb2.CancelExecutionRequest, context: Context) -> empty_pb2.Empty:
        with contextlib.suppress(Refused):
            if self.runs.find(request.execution_id).paused:
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "resume it first")
        return await super().CancelExecution(request, context)


class PausesInName(ExecutionService):
    """Says that it is paused, and goes on."""

    async def PauseExecution(self, request: io_pb2.PauseExecutionRequest, context: Context) -> empty_pb2.Empty:
        self.runs.find(request.execution_id).tell("workflow_paused", "paused")
        return empty_pb2.Empty()


class PausesOnce(ExecutionService):
    async def PauseExecution(self, request: io_pb2.PauseExecutionRequest, context: Context) -> empty_pb2.Empty:
        if self.runs.find(request.execution_id).paused:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "it is paused")
        return await super().PauseExecution(request, context)


class NeverGoesOn(ExecutionService):
    async def ResumeExecution(self, request: io_pb2.ResumeExecutionRequest, context: Context) -> empty_pb2.Empty:
        self.runs.find(request.execution_id)
        return empty_pb2.Empty()


class ResumesOnlyThePaused(ExecutionService):
    async def ResumeExecution(self, request: io_pb2.ResumeExecutionRequest, context: Context) -> empty_pb2.Empty:
        if not self.runs.find(request.execution_id).paused:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "it is not paused")
        return await super().ResumeExecution(request, context)


class PausesAnybody(ExecutionService):
    async def PauseExecution(self, request: io_pb2.PauseExecutionRequest, context: Context) -> empty_pb2.Empty:
        if request.execution_id not in self.runs._runs:
            return empty_pb2.Empty()
        return await super().PauseExecution(request, context)


class PausesTheDead(ExecutionService):
    async def PauseExecution(self, request: io_pb2.PauseExecutionRequest, context: Context) -> empty_pb2.Empty:
        known = self.runs._runs.get(request.execution_id)
        if known is not None and known.ended:
            return empty_pb2.Empty()
        return await super().PauseExecution(request, context)


class CannotResume(ExecutionService):
    async def ResumeExecution(self, request: io_pb2.ResumeExecutionRequest, context: Context) -> empty_pb2.Empty:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no")
        raise AssertionError("abort raises")


class CannotStart(ExecutionService):
    async def ExecuteAsync(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> io_pb2.WorkflowExecuteResponse:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no")
        raise AssertionError("abort raises")


# ------------------------------------------------------------------ queries


def status_with(change: Callable[[Run, older.ExecutionStatus], None]) -> type[QueryController]:
    """A controller whose GetStatus says something else."""

    class Telling(QueryController):
        async def GetStatus(self, request: older.GetExecutionStatusRequest, context: Context) -> older.ExecutionStatus:
            status = await super().GetStatus(request, context)
            change(self.runs.find(request.execution_id), status)
            return status

    return Telling


def _always_running(_: Run, status: older.ExecutionStatus) -> None:
    status.status = "running"


def _running_while_paused(_: Run, status: older.ExecutionStatus) -> None:
    if status.status == "paused":
        status.status = "running"


def _without_error(_: Run, status: older.ExecutionStatus) -> None:
    status.ClearField("error")


def _one_too_many(_: Run, status: older.ExecutionStatus) -> None:
    status.last_sequence_number += 1


def _seconds(_: Run, status: older.ExecutionStatus) -> None:
    status.completed_at_ms //= 1000


class KnowsEverybody(QueryController):
    async def GetStatus(self, request: older.GetExecutionStatusRequest, context: Context) -> older.ExecutionStatus:
        if request.execution_id not in self.runs._runs:
            return older.ExecutionStatus(workflow_execution_id=request.execution_id, status="pending")
        return await super().GetStatus(request, context)


class HearsEverybody(QueryController):
    """Subscribing to a run that is not there waits for it."""

    async def Subscribe(self, request: older.SubscribeRequest, context: Context) -> AsyncIterator[older.WorkflowProgressEvent]:
        while request.execution_id not in self.runs._runs:
            await asyncio.sleep(0.05)
        async for event in super().Subscribe(request, context):
            yield event


class NoPages(QueryController):
    async def GetEvents(self, request: older.GetExecutionEventsRequest, context: Context) -> older.ExecutionEvents:
        return await super().GetEvents(older.GetExecutionEventsRequest(execution_id=request.execution_id), context)


class OnePage(QueryController):
    """Never says that there is more."""

    async def GetEvents(self, request: older.GetExecutionEventsRequest, context: Context) -> older.ExecutionEvents:
        page = await super().GetEvents(request, context)
        page.more = False
        return page


class BeginsAgain(QueryController):
    """After the last page comes the first."""

    async def GetEvents(self, request: older.GetExecutionEventsRequest, context: Context) -> older.ExecutionEvents:
        page = await super().GetEvents(request, context)
        if page.events:
            return page
        return await super().GetEvents(older.GetExecutionEventsRequest(execution_id=request.execution_id), context)


class NeverEnds(QueryController):
    async def Subscribe(self, request: older.SubscribeRequest, context: Context) -> AsyncIterator[older.WorkflowProgressEvent]:
        async for event in super().Subscribe(request, context):
            yield event
        await asyncio.Event().wait()


class TellsAtTheEnd(QueryController):
    """Keeps the events until there are all of them."""

    async def Subscribe(self, request: older.SubscribeRequest, context: Context) -> AsyncIterator[older.WorkflowProgressEvent]:
        for event in [event async for event in super().Subscribe(request, context)]:
            yield event


class FromTheBeginning(QueryController):
    async def Subscribe(self, request: older.SubscribeRequest, context: Context) -> AsyncIterator[older.WorkflowProgressEvent]:
        async for event in super().Subscribe(older.SubscribeRequest(execution_id=request.execution_id), context):
            yield event


class ListenersMatter(QueryController):
    """A subscriber that goes away cancels the run."""

    async def Subscribe(self, request: older.SubscribeRequest, context: Context) -> AsyncIterator[older.WorkflowProgressEvent]:
        try:
            async for event in super().Subscribe(request, context):
                yield event
                await asyncio.sleep(0.05)
        finally:
            known = self.runs._runs.get(request.execution_id)
            if known is not None and not known.ended:
                known.cancel("nobody listens")


class OtherEvents(QueryController):
    """Tells the run of Execute under other numbers."""

    async def GetEvents(self, request: older.GetExecutionEventsRequest, context: Context) -> older.ExecutionEvents:
        page = await super().GetEvents(request, context)
        for event in page.events:
            event.sequence_number += 100
        return page


# ------------------------------------------------------------------ servers


def _reflects_too_little(runs: Runs) -> grpc.aio.Server:
    server = bare_server(runs)
    reflection.enable_server_reflection([dag_runner.EXECUTION, reflection.SERVICE_NAME], server)
    return server


def _is_not_serving(runs: Runs) -> grpc.aio.Server:
    class Ill(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
        async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
            return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)

    server = bare_server(runs)
    health_pb2_grpc.add_HealthServicer_to_server(Ill(), server)
    return server


def _asks_only_at_one_door(runs: Runs) -> grpc.aio.Server:
    class Doors(ExecutionService):
        async def CancelExecution(self, request: io_pb2.CancelExecutionRequest, context: Context) -> empty_pb2.Empty:
            if ("authorization", f"Bearer {KEY}") not in (context.invocation_metadata() or ()):
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
            return await super().CancelExecution(request, context)

    return dag_runner.server_for(Doors(runs), QueryController(runs))


def _takes_anything_for_a_request(runs: Runs) -> grpc.aio.Server:
    async def execute_async(request: bytes, context: Context) -> io_pb2.WorkflowExecuteResponse:
        return io_pb2.WorkflowExecuteResponse(workflow_execution_id="any", status="running")

    cancel = grpc.unary_unary_rpc_method_handler(
        ExecutionService(runs).CancelExecution,
        io_pb2.CancelExecutionRequest.FromString,
        empty_pb2.Empty.SerializeToString,
    )
    start: Any = grpc.unary_unary_rpc_method_handler(execute_async, None, io_pb2.WorkflowExecuteResponse.SerializeToString)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    methods: Any = {"ExecuteAsync": start, "CancelExecution": cancel}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(dag_runner.EXECUTION, methods),))
    return server


def _but_the_end(event: Event) -> Event | None:
    return None if event.event_type in ENDS else event


def _but_the_beginning(event: Event) -> Event | None:
    return None if event.event_type == "workflow_started" else event


def _a_hundred_more(event: Event) -> Event:
    return but(event, sequence_number=event.sequence_number + 100)[0]


OVERLONG = Document("name: overlong\ntasks: {rest: {call: sleep, with: {seconds: 0}}}\n")

WRONG = (
    Wrong("OFFER-1", "has no ExecuteAsync", CannotStart),
    Wrong("OFFER-2", "pauses and cannot resume", CannotResume),
    Wrong("OFFER-3", "reflects too little", serve=_reflects_too_little),
    Wrong("OFFER-4", "is not serving", serve=_is_not_serving),
    Wrong("OFFER-5", "asks for the token at one door only", serve=_asks_only_at_one_door, token=KEY),
    Wrong("OFFER-6", "takes anything for a request", serve=_takes_anything_for_a_request),
    Wrong("EXECUTE-1", "loses the terminal event", telling(lambda event: [] if event.event_type in ENDS else [event])),
    Wrong("EXECUTE-2", "ends the call with an error when the run fails", FailsTheCall),
    Wrong("EXECUTE-3", "chooses no id", telling(lambda event: without(event, "workflow_execution_id"))),
    Wrong("EXECUTE-4", "runs what cannot be read", RunsAnything),
    Wrong("EXECUTE-5", "runs another document under a known id", Forgets),
    Wrong("EXECUTE-6", "mixes runs up", TellsOthers),
    Wrong("EXECUTE-7", "goes on when its caller is gone", GoesOnAlone),
    Wrong("EXECUTE-8", "goes on after the deadline", GoesOnAlone),
    Wrong("EXECUTE-9", "refuses what takes long and says no more", SaysNoMore, overlong=OVERLONG),
    Wrong("EVENT-1", "gives an event another id", telling(lambda event: but(event, workflow_execution_id="another"))),
    Wrong("EVENT-2", "numbers go back", telling(lambda event: but(event, sequence_number=event.sequence_number % 5 + 1))),
    Wrong("EVENT-2", "numbers repeat", telling(lambda event: but(event, sequence_number=7))),
    Wrong("EVENT-2", "numbers begin at 0", telling(lambda event: but(event, sequence_number=event.sequence_number - 1))),
    Wrong("EVENT-3", "never begins", telling(lambda event: [] if event.event_type == "workflow_started" else [event])),
    Wrong("EVENT-4", "ends twice", telling(_end_twice)),
    Wrong("EVENT-5", "has words of its own", telling(lambda event: but(event, status="done"))),
    Wrong("EVENT-6", "counts seconds", telling(lambda event: but(event, timestamp_ms=event.timestamp_ms // 1000))),
    Wrong("EVENT-7", "does more than everything", telling(lambda event: but(event, task_progress=101))),
    Wrong("EVENT-8", "does not say what went wrong", telling(lambda event: without(event, "error"))),
    Wrong("EVENT-9", "names no task", telling(lambda event: without(event, "task_name"))),
    Wrong("EVENT-10", "gives something else", telling(_give_something_else)),
    Wrong("START-1", "answers when the run has ended", Waits),
    Wrong("START-1", "says that it is pending", answering(status="pending")),
    Wrong("START-2", "calls all runs the same", CallsAllTheSame),
    Wrong("START-3", "starts what cannot be read", RunsAnything),
    Wrong("START-4", "says nothing about what is wrong", BlamesNobody),
    Wrong("START-5", "answers otherwise the second time", AnswersOtherwise),
    Wrong("START-6", "runs the same request twice", StartsAgain),
    Wrong("START-7", "starts another document under a known id", Forgets),
    Wrong("START-8", "starts one of many", Races),
    Wrong("START-9", "names an address of the web", answering(subscribe_url="https://example.com/events")),
    Wrong("CANCEL-1", "does not cancel", CancelDoesNothing),
    Wrong("CANCEL-1", "takes cancelled for failed", CancelIsFailure),
    Wrong("CANCEL-2", "cancels once only", CancelsOnce),
    Wrong("CANCEL-2", "ends as often as it is cancelled", CancelsTwice),
    Wrong("CANCEL-3", "cancels strangers", CancelDoesNothing),
    Wrong("CANCEL-4", "cancels what has completed", CancelsTheDead),
    Wrong("CANCEL-5", "knows no force", KnowsNoForce),
    Wrong("CANCEL-6", "hangs when a paused run is cancelled", HangsWhilePaused),
    Wrong("CANCEL-7", "lets pause win", PauseWins),
    Wrong("PAUSE-1", "pauses in name only", PausesInName),
    Wrong("PAUSE-2", "pauses once only", PausesOnce),
    Wrong("PAUSE-3", "never goes on", NeverGoesOn),
    Wrong("PAUSE-4", "resumes only what is paused", ResumesOnlyThePaused),
    Wrong("PAUSE-5", "pauses strangers", PausesAnybody),
    Wrong("PAUSE-6", "pauses what has ended", PausesTheDead),
    Wrong("QUERY-1", "knows everybody", query=KnowsEverybody),
    Wrong("QUERY-1", "waits for strangers", query=HearsEverybody),
    Wrong("QUERY-2", "is always running", query=status_with(_always_running)),
    Wrong("QUERY-2", "counts the end in seconds", query=status_with(_seconds)),
    Wrong("QUERY-3", "fails without an error", query=status_with(_without_error)),
    Wrong("QUERY-4", "runs while it is paused", query=status_with(_running_while_paused)),
    Wrong("QUERY-5", "has no pages", query=NoPages),
    Wrong("QUERY-5", "has one page", query=OnePage),
    Wrong("QUERY-6", "begins again", query=BeginsAgain),
    Wrong("QUERY-7", "never ends a stream", query=NeverEnds),
    Wrong("QUERY-7", "tells at the end", query=TellsAtTheEnd),
    Wrong("QUERY-8", "tells from the beginning", query=FromTheBeginning),
    Wrong("QUERY-9", "knows a later number", query=status_with(_one_too_many)),
    Wrong("QUERY-10", "cancels when a listener leaves", query=ListenersMatter),
    Wrong("QUERY-11", "tells others numbers", query=OtherEvents),
    Wrong("CALLBACK-1", "does not report the end", reports=partial(reporting, change=_but_the_end)),
    Wrong("CALLBACK-1", "does not report the beginning", reports=partial(reporting, change=_but_the_beginning)),
    Wrong("CALLBACK-2", "reports under other numbers", reports=partial(reporting, change=_a_hundred_more)),
    Wrong("CALLBACK-3", "reports once", reports=partial(reporting, attempts=1)),
    Wrong("CALLBACK-4", "cancels what it cannot report", reports=partial(reporting, matters=True)),
    Wrong("FACE-1", "has other runs under its older name", serve=faces(EXECUTION, NEWER, OLDER, other=Runs())),
    Wrong("FACE-2", "has other runs under its newer name", serve=faces(EXECUTION, NEWER, OLDER, other=Runs())),
)
