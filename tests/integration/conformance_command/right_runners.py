"""Runners that do less than the DAG runner of examples/runners, or ask for more, and are right for all that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
from examples.runners.dag import dag_runner
from examples.runners.dag.dag_runner import Event, ExecutionService, QueryController, Refused, Run, Runs
from google.protobuf import empty_pb2
from tests.integration.conformance_command.runners import KEY, Context

from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import interface_pb2_grpc, io_pb2, service_pb2_grpc
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import command_pb2_grpc, query_pb2_grpc
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as older
from workflow_runner.runner_checks.interface import EXECUTION, NEWER, OLDER


class CannotPause(ExecutionService):
    async def PauseExecution(self, request: io_pb2.PauseExecutionRequest, context: Context) -> empty_pb2.Empty:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this runner cannot pause")
        raise AssertionError("abort raises")

    async def ResumeExecution(self, request: io_pb2.ResumeExecutionRequest, context: Context) -> empty_pb2.Empty:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this runner cannot pause")
        raise AssertionError("abort raises")


def only_what_it_must(runs: Runs) -> grpc.aio.Server:
    """Neither pauses nor answers queries."""
    return dag_runner.server_for(CannotPause(runs), None)


class PointsElsewhere(ExecutionService):
    async def Execute(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> AsyncIterator[Event]:
        if "overlong" in request.workflow_yaml:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "use execute_async")
        async for event in super().Execute(request, context):
            yield event


def looks_at_time_limits(runs: Runs) -> grpc.aio.Server:
    """Refuses what may take too long, and says what to do."""
    return dag_runner.server_for(PointsElsewhere(runs), QueryController(runs))


class BusyAtFirst(Runs):
    """Has one place, and none for who comes for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.been_here: set[str] = set()

    def start(self, request: io_pb2.WorkflowExecuteInput) -> tuple[Run, bool]:
        if (name := request.workflow_execution_id) not in self._runs:
            with contextlib.suppress(dag_runner.InvalidDag):
                dag_runner.read_dag(request.workflow_yaml)
                if name not in self.been_here or any(not run.ended for run in self._runs.values()):
                    self.been_here.add(name)
                    raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "there is no room; try again")
        return super().start(request)


def has_little_room(_: Runs) -> grpc.aio.Server:
    """Takes one run at a time, and nobody at once."""
    runs = BusyAtFirst()
    return dag_runner.server_for(ExecutionService(runs), QueryController(runs))


def asks_for_a_token(runs: Runs) -> grpc.aio.Server:
    """Knows KEY only."""

    class Doorman(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            handler = await continuation(details)
            if handler is None or ("authorization", f"Bearer {KEY}") in details.invocation_metadata:
                return handler

            async def refuse(request: object, context: Context) -> None:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"no, {details.invocation_metadata}")

            if handler.response_streaming:
                return grpc.unary_stream_rpc_method_handler(refuse, handler.request_deserializer)
            return grpc.unary_unary_rpc_method_handler(refuse, handler.request_deserializer)

    server = grpc.aio.server(interceptors=[Doorman()], options=[("grpc.so_reuseport", 0)])
    service_pb2_grpc.add_WorkflowExecutionServiceServicer_to_server(ExecutionService(runs), server)
    return server


def bare_server(runs: Runs) -> grpc.aio.Server:
    """Neither reflection nor health."""
    return faces(EXECUTION)(runs)


def faces(*names: str, other: Runs | None = None) -> Callable[[Runs], grpc.aio.Server]:
    """The runner under these names, with queries. Under the newer and the older name are the `other` runs, where given."""

    def build(runs: Runs) -> grpc.aio.Server:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        if EXECUTION in names:
            service_pb2_grpc.add_WorkflowExecutionServiceServicer_to_server(ExecutionService(runs), server)
        if NEWER in names:
            newer = _newer(ExecutionService(other or runs))
            interface_pb2_grpc.add_WorkflowRunnerServiceControllerServicer_to_server(newer, server)
        if OLDER in names:
            command_pb2_grpc.add_WorkflowRunnerCommandControllerServicer_to_server(
                _older(ExecutionService(other or runs)), server
            )
        query_pb2_grpc.add_WorkflowRunnerQueryControllerServicer_to_server(QueryController(runs), server)
        return server

    return build


def _newer(inner: ExecutionService) -> interface_pb2_grpc.WorkflowRunnerServiceControllerServicer:
    class Newer(interface_pb2_grpc.WorkflowRunnerServiceControllerServicer):
        executeAsync = inner.ExecuteAsync  # noqa: N815
        cancelExecution = inner.CancelExecution  # noqa: N815
        pauseExecution = inner.PauseExecution  # noqa: N815
        resumeExecution = inner.ResumeExecution  # noqa: N815

    return Newer()


def _older(inner: ExecutionService) -> command_pb2_grpc.WorkflowRunnerCommandControllerServicer:
    class Older(command_pb2_grpc.WorkflowRunnerCommandControllerServicer):
        async def Execute(self, request: Any, context: Context) -> AsyncIterator[older.WorkflowProgressEvent]:
            async for event in inner.Execute(io_pb2.WorkflowExecuteInput.FromString(request.SerializeToString()), context):
                yield older.WorkflowProgressEvent.FromString(event.SerializeToString())

        async def ExecuteAsync(self, request: Any, context: Context) -> older.WorkflowExecuteResponse:
            answer = await inner.ExecuteAsync(io_pb2.WorkflowExecuteInput.FromString(request.SerializeToString()), context)
            return older.WorkflowExecuteResponse.FromString(answer.SerializeToString())

        CancelExecution = inner.CancelExecution
        PauseExecution = inner.PauseExecution
        ResumeExecution = inner.ResumeExecution

    return Older()


def reporting(
    address: str, *, change: Callable[[Event], Event | None] = lambda event: event, attempts: int = 50, matters: bool = False
) -> type[ExecutionService]:
    """A service that reports its runs to HOST:PORT. It may `change` reports or leave them out, give up after so many
    attempts, and cancel a run of which a report is not taken (`matters`)."""

    class Reporting(ExecutionService):
        reports: set[asyncio.Task[None]]

        async def ExecuteAsync(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> io_pb2.WorkflowExecuteResponse:
            answer = await super().ExecuteAsync(request, context)
            task = asyncio.create_task(self._report(self.runs.find(answer.workflow_execution_id)))
            self.reports = {*getattr(self, "reports", ()), task}
            return answer

        async def _report(self, run: Run) -> None:
            async with grpc.aio.insecure_channel(address) as channel:
                call: Any = command_pb2_grpc.WorkflowRunnerCommandControllerStub(channel).ReportProgress
                async for event in run.follow(0):
                    if (told := change(event)) is not None:
                        await self._send(run, call, older.WorkflowProgressEvent.FromString(told.SerializeToString()))

        async def _send(self, run: Run, call: Any, event: older.WorkflowProgressEvent) -> None:
            for number in range(attempts):
                try:
                    await call(event, timeout=5)
                except grpc.aio.AioRpcError:
                    if matters and not run.ended:
                        run.cancel("nobody took a report")
                    await asyncio.sleep(0.02 * number)
                else:
                    return

    return Reporting
