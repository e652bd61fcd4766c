"""The services by which executions are started, steered and followed: three faces of one hosts.executions.Executions.

    ai.stigmer.agentic.workflowrunner.v1.WorkflowExecutionService         Execute, ExecuteAsync, Cancel-, Pause-, Resume…
    ai.stigmer.agentic.workflowrunner.v1.WorkflowRunnerServiceController  all but Execute, as Stigmer spells them now
    ai.stigmer.workflow.runner.v1.WorkflowRunnerCommandController         all by their older names, and ReportProgress
    ai.stigmer.workflow.runner.v1.WorkflowRunnerQueryController           GetStatus, GetEvents, Subscribe

Their messages agree number by number, so one is made from another by its bytes. Built by cli.serve and cli.operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty

from workflow_runner.dsl.templates import Json
from workflow_runner.errors import InvalidInput, Unavailable, WorkflowRunnerError
from workflow_runner.hosts.executions import AWAITED, Executions, OutOfTime, Started, StartRequest
from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import (
    interface_pb2,
    interface_pb2_grpc,
    io_pb2,
    service_pb2,
    service_pb2_grpc,
)
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import command_pb2, command_pb2_grpc, query_pb2, query_pb2_grpc
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as older
from workflow_runner.server.calls import caller

# The stubs do not import these files; reflection finds what is imported.
EXECUTION = service_pb2.DESCRIPTOR.services_by_name["WorkflowExecutionService"].full_name
CONTROLLER = interface_pb2.DESCRIPTOR.services_by_name["WorkflowRunnerServiceController"].full_name
COMMAND = command_pb2.DESCRIPTOR.services_by_name["WorkflowRunnerCommandController"].full_name
QUERY = query_pb2.DESCRIPTOR.services_by_name["WorkflowRunnerQueryController"].full_name
MOST_EVENTS_BYTES = 3 * 1024 * 1024
"""Of one page of events: a client takes messages of 4 MiB unless it is told otherwise."""
STARTED = "Workflow execution started in background"
GONE = "the caller that waited for the execution went away"
LATE = "the caller had waited for it as long as it may"

Context = grpc.aio.ServicerContext[Any, Any]
Take = Callable[[older.WorkflowProgressEvent, Context], Awaitable[older.ProgressAckResponse]]


class ExecutionCalls:
    """What all the faces do. `address` gives the HOST:PORT of the answer's URLs, or nothing where there are none."""

    def __init__(self, executions: Executions, address: Callable[[], str], *, awaited: timedelta = AWAITED) -> None:
        """`awaited` is how long Execute waits."""
        self._executions = executions
        self._address = address
        self._awaited = awaited
        self._ending: set[asyncio.Task[None]] = set()

    async def execute(self, request: Any) -> AsyncIterator[older.WorkflowProgressEvent]:
        """Start, and tell until the end; a caller that goes away takes its run with it, one that another began it leaves.

        A runner that stops leaves it, too: the call ends with UNAVAILABLE, and is made again.
        """
        who = caller()
        deadline = asyncio.get_running_loop().time() + self._awaited.total_seconds()
        started = await self._started(_start_request(request, awaited=True))
        # Beside the stream: a reader that reads nothing must not let the run go on.
        limit = asyncio.create_task(self._out_of_time(started, deadline), name=f"limit of {started.execution_id}")
        done, reason = False, GONE
        try:
            async with contextlib.aclosing(self._executions.subscribe(started.execution_id, 0, who)) as events:  # type: ignore[type-var]
                while True:
                    async with asyncio.timeout_at(deadline):
                        event = await anext(events, None)
                    if event is None:
                        done = True
                        if limit.done():
                            raise TimeoutError  # the end is that one
                        return
                    yield event
        except TimeoutError:
            reason = LATE
            what = "it was cancelled" if started.begun else "it goes on, since another call began it"
            raise OutOfTime(
                f"execution {started.execution_id!r} has not ended within {self._awaited}: {what}",
                hint="start it with ExecuteAsync, and follow it with Subscribe or GetStatus",
            ) from None
        except Unavailable:  # it goes on, and can be asked after again
            done = True
            raise
        finally:
            limit.cancel()
            if started.begun and not done:
                await asyncio.shield(self._give_up(started.execution_id, reason))

    async def _started(self, request: StartRequest) -> Started:
        """Start; a caller that goes away meanwhile has gone away from what is started then, too."""
        starting = asyncio.create_task(self._executions.start(request, caller()))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            task = asyncio.create_task(self._end_when_started(starting), name=f"end {request.execution_id}")
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            raise

    async def _end_when_started(self, starting: asyncio.Task[Started]) -> None:
        with contextlib.suppress(WorkflowRunnerError):
            started = await starting
            if started.begun:
                await self._give_up(started.execution_id, GONE)

    async def _out_of_time(self, started: Started, deadline: float) -> None:
        await asyncio.sleep(deadline - asyncio.get_running_loop().time())
        if started.begun:
            await self._give_up(started.execution_id, LATE)

    async def execute_async(self, request: Any) -> io_pb2.WorkflowExecuteResponse:
        """Start."""
        started = await self._executions.start(_start_request(request, awaited=False), caller())
        address = self._address()
        base = f"grpc://{address}/{QUERY}" if address else ""
        return io_pb2.WorkflowExecuteResponse(
            workflow_execution_id=started.execution_id,
            status="running",
            message=STARTED,
            temporal_workflow_id=started.temporal_workflow_id,
            subscribe_url=f"{base}/Subscribe" if base else "",
            status_url=f"{base}/GetStatus" if base else "",
        )

    async def cancel(self, request: Any) -> Empty:
        """End a run."""
        await self._executions.cancel(_id(request), request.reason, caller(), force=request.force)
        return Empty()

    async def pause(self, request: Any) -> Empty:
        """Hold a run."""
        await self._executions.pause(_id(request), request.reason, caller())
        return Empty()

    async def resume(self, request: Any) -> Empty:
        """Let it go on."""
        await self._executions.resume(_id(request), request.reason, caller())
        return Empty()

    async def _give_up(self, execution_id: str, reason: str) -> None:
        with contextlib.suppress(WorkflowRunnerError):
            await self._executions.cancel(execution_id, reason, caller(), force=False)


class ExecutionService(service_pb2_grpc.WorkflowExecutionServiceServicer):
    """The interface that every runner implements."""

    def __init__(self, calls: ExecutionCalls) -> None:
        self._calls = calls

    async def Execute(self, request: Any, context: Context) -> AsyncIterator[io_pb2.WorkflowProgressEvent]:
        """See ExecutionCalls.execute."""
        async for event in self._calls.execute(request):
            yield io_pb2.WorkflowProgressEvent.FromString(event.SerializeToString())

    async def ExecuteAsync(self, request: Any, context: Context) -> io_pb2.WorkflowExecuteResponse:
        """See ExecutionCalls.execute_async."""
        return await self._calls.execute_async(request)

    async def CancelExecution(self, request: Any, context: Context) -> Empty:
        """See ExecutionCalls.cancel."""
        return await self._calls.cancel(request)

    async def PauseExecution(self, request: Any, context: Context) -> Empty:
        """See ExecutionCalls.pause."""
        return await self._calls.pause(request)

    async def ResumeExecution(self, request: Any, context: Context) -> Empty:
        """See ExecutionCalls.resume."""
        return await self._calls.resume(request)


class ServiceController(interface_pb2_grpc.WorkflowRunnerServiceControllerServicer):
    """Stigmer's present spelling."""

    def __init__(self, calls: ExecutionCalls) -> None:
        self._calls = calls

    async def executeAsync(self, request: Any, context: Context) -> io_pb2.WorkflowExecuteResponse:
        """See ExecutionCalls.execute_async."""
        return await self._calls.execute_async(request)

    async def cancelExecution(self, request: Any, context: Context) -> Empty:
        """See ExecutionCalls.cancel."""
        return await self._calls.cancel(request)

    async def pauseExecution(self, request: Any, context: Context) -> Empty:
        """See ExecutionCalls.pause."""
        return await self._calls.pause(request)

    async def resumeExecution(self, request: Any, context: Context) -> Empty:
        """See ExecutionCalls.resume."""
        return await self._calls.resume(request)


class CommandController(command_pb2_grpc.WorkflowRunnerCommandControllerServicer):
    """The older spelling. `take` is what becomes of ReportProgress where that is served."""

    def __init__(self, calls: ExecutionCalls, take: Take | None = None) -> None:
        self._calls = calls
        self._take = take

    async def Execute(self, request: Any, context: Context) -> AsyncIterator[older.WorkflowProgressEvent]:
        """See ExecutionCalls.execute."""
        async for event in self._calls.execute(request):
            yield event

    async def ExecuteAsync(self, request: Any, context: Context) -> older.WorkflowExecuteResponse:
        """See ExecutionCalls.execute_async; three fields are all that there are."""
        answer = await self._calls.execute_async(request)
        return older.WorkflowExecuteResponse(
            workflow_execution_id=answer.workflow_execution_id, status=answer.status, message=answer.message
        )

    async def CancelExecution(self, request: Any, context: Context) -> Empty:
        """See ExecutionCalls.cancel."""
        return await self._calls.cancel(request)

    async def PauseExecution(self, request: Any, context: Context) -> Empty:
        """See ExecutionCalls.pause."""
        return await self._calls.pause(request)

    async def ResumeExecution(self, request: Any, context: Context) -> Empty:
        """See ExecutionCalls.resume."""
        return await self._calls.resume(request)

    async def ReportProgress(self, request: older.WorkflowProgressEvent, context: Context) -> older.ProgressAckResponse:
        """For runners that report here."""
        if self._take is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this runner takes no reports: Stigmer and the operator do")
            raise AssertionError("abort raises")
        return await self._take(request, context)


class QueryController(query_pb2_grpc.WorkflowRunnerQueryControllerServicer):
    """How executions stand, and what happened in them."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions

    async def GetStatus(self, request: older.GetExecutionStatusRequest, context: Context) -> older.ExecutionStatus:
        """How one stands."""
        return await self._executions.status(_id(request), caller())

    async def GetEvents(self, request: older.GetExecutionEventsRequest, context: Context) -> older.ExecutionEvents:
        """One page: `more` says that there is another, above the last number of this one."""
        if request.page_size < 0 or request.after_sequence_number < 0:
            raise InvalidInput("page_size and after_sequence_number are not below 0", code="input.invalid")
        events, more = await self._executions.events(_id(request), request.after_sequence_number, request.page_size, caller())
        page, size = older.ExecutionEvents(more=more), 0
        for event in events:
            size += event.ByteSize()
            if page.events and size > MOST_EVENTS_BYTES:
                page.more = True
                break
            page.events.append(event)
        return page

    async def Subscribe(self, request: older.SubscribeRequest, context: Context) -> AsyncIterator[older.WorkflowProgressEvent]:
        """From a number on, until the last one."""
        async for event in self._executions.subscribe(_id(request), request.after_sequence_number, caller()):
            yield event


def execution_services(
    executions: Executions, *, address: Callable[[], str] = str, take: Take | None = None
) -> list[tuple[str, Callable[[Any], None]]]:
    """The four services by their full names, and what adds each to a server."""
    calls = ExecutionCalls(executions, address)
    added: list[tuple[str, Callable[[Any, Any], None], Any]] = [
        (EXECUTION, service_pb2_grpc.add_WorkflowExecutionServiceServicer_to_server, ExecutionService(calls)),
        (CONTROLLER, interface_pb2_grpc.add_WorkflowRunnerServiceControllerServicer_to_server, ServiceController(calls)),
        (COMMAND, command_pb2_grpc.add_WorkflowRunnerCommandControllerServicer_to_server, CommandController(calls, take)),
        (QUERY, query_pb2_grpc.add_WorkflowRunnerQueryControllerServicer_to_server, QueryController(executions)),
    ]
    return [(name, partial(add, servicer)) for name, add, servicer in added]


def _id(request: Any) -> str:
    if not request.execution_id:
        raise InvalidInput("execution_id is empty: name the execution", code="execution.bad-id")
    return str(request.execution_id)


def _start_request(request: Any, *, awaited: bool) -> StartRequest:
    metadata = request.metadata
    labels = {"name": metadata.name, "version": metadata.version, "namespace": metadata.namespace}
    return StartRequest(
        execution_id=request.workflow_execution_id,
        document=request.workflow_yaml,
        input=object_of(request.workflow_input),
        environment=dict(request.env_vars),
        labels={name: value for name, value in labels.items() if value},
        config=dict(request.config),
        awaited=awaited,
    )


def object_of(struct: Any) -> dict[str, Json]:
    """A google.protobuf.Struct as JSON. Raises InvalidInput for numbers that JSON does not have."""
    return {name: _json(value) for name, value in struct.fields.items()}


def _json(value: Any) -> Json:
    """A google.protobuf.Value, which has doubles only: those that are whole numbers were so when somebody wrote them."""
    match value.WhichOneof("kind"):
        case "number_value":
            number: float = value.number_value
            if not math.isfinite(number):
                raise InvalidInput(f"workflow_input has the number {number}, which JSON does not have")
            return int(number) if number.is_integer() and abs(number) <= 2**53 else number
        case "string_value":
            return str(value.string_value)
        case "bool_value":
            return bool(value.bool_value)
        case "struct_value":
            return object_of(value.struct_value)
        case "list_value":
            return [_json(item) for item in value.list_value.values]
        case _:
            return None
