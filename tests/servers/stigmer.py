"""Stigmer for tests: a real gRPC server that takes progress, by both of its APIs, answers queries, and misbehaves when
told to.

In a test's own process: `async with StigmerServer(...) as stigmer`. As a process of its own:

    python -m tests.servers.stigmer --listen HOST:PORT --api-key KEY --events FILE
        [--states FILE] [--resources FILE] [--tls-cert FILE --tls-key FILE] [--control FILE] [--mode MODE] [--seconds N]

It prints "listening HOST:PORT" when it is ready. Events, and what updateStatus brings, are appended to their files in
order of arrival, one proto3 JSON object a line. The file of resources is a JSON object of lists, in proto3 JSON:
workflows, instances, environments, executions. The control file holds a Behaviour as JSON ({"mode": "hang"}), is looked
at every 50 ms, and may come and change at any time; {"mode": "down"} closes the port until another mode comes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf import json_format

from workflow_runner.proto.ai.stigmer.agentic.environment.v1 import query_pb2_grpc as environment_query
from workflow_runner.proto.ai.stigmer.agentic.environment.v1.api_pb2 import Environment
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1 import query_pb2_grpc as workflow_query
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.api_pb2 import Workflow
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.io_pb2 import WorkflowId
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import command_pb2_grpc as execution_command
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import query_pb2_grpc as execution_query
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecution, WorkflowExecutionStatus
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.command_pb2 import WorkflowExecutionUpdateStatusInput
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.io_pb2 import WorkflowExecutionId
from workflow_runner.proto.ai.stigmer.agentic.workflowinstance.v1 import query_pb2_grpc as instance_query
from workflow_runner.proto.ai.stigmer.agentic.workflowinstance.v1.api_pb2 import WorkflowInstance
from workflow_runner.proto.ai.stigmer.agentic.workflowinstance.v1.io_pb2 import WorkflowInstanceId
from workflow_runner.proto.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceId, ApiResourceReference
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import command_pb2_grpc
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ProgressAckResponse, WorkflowProgressEvent

MODES = ("take", "refuse", "status", "hang", "drop", "down")


@dataclass(frozen=True)
class Behaviour:
    """What happens to a call.

    take: taken, or answered. refuse: answered `success: false`, or FAILED_PRECONDITION where an answer cannot say that.
    status: fails with the gRPC status `code`. hang: never answered. drop: recorded, but the connections break before the
    answer. down: nobody listens.
    `seconds` delays whatever happens; `only` restricts a misbehaviour to one execution, `sequence` to one event,
    `method` to one method. `api_key` is the key that is taken from now on.
    """

    mode: str = "take"
    seconds: float = 0.0
    code: str = "UNAVAILABLE"
    message: str = "told to"
    only: str | None = None
    sequence: int | None = None
    method: str | None = None
    api_key: str | None = None

    def concerns(self, method: str, subject: str, sequence: int) -> bool:
        """Whether this call is treated so; others are taken."""
        return self.only in (None, subject) and self.sequence in (None, sequence) and self.method in (None, method)


Kept = Workflow | WorkflowInstance | Environment | WorkflowExecution


@dataclass
class Resources:
    """What queries find, by id; a reference is looked up by its slug."""

    workflows: dict[str, Workflow] = field(default_factory=dict)
    instances: dict[str, WorkflowInstance] = field(default_factory=dict)
    environments: dict[str, Environment] = field(default_factory=dict)
    executions: dict[str, WorkflowExecution] = field(default_factory=dict)

    def add(self, *resources: Kept) -> None:
        """Keep resources under the ids in their metadata."""
        for resource in resources:
            match resource:
                case Workflow():
                    self.workflows[resource.metadata.id] = resource
                case WorkflowInstance():
                    self.instances[resource.metadata.id] = resource
                case Environment():
                    self.environments[resource.metadata.id] = resource
                case WorkflowExecution():
                    self.executions[resource.metadata.id] = resource

    @classmethod
    def read(cls, text: str) -> Resources:
        """The resources of a file; see the module's docstring."""
        kinds: dict[str, type[Kept]] = {"workflows": Workflow, "instances": WorkflowInstance}
        kinds |= {"environments": Environment, "executions": WorkflowExecution}
        found = cls()
        for name, items in json.loads(text).items():
            for item in items:
                resource = kinds[name]()
                json_format.ParseDict(item, resource)
                found.add(resource)
        return found


@dataclass
class StigmerServer(command_pb2_grpc.WorkflowRunnerCommandControllerServicer):
    """The server. `behaviour` may be set at any time; calls under way keep the one they came under."""

    api_key: str = field(repr=False)
    listen: str = "127.0.0.1:0"
    tls: tuple[bytes, bytes] | None = None
    """Private key and certificate chain, PEM; plaintext without."""
    events_file: Path | None = None
    states_file: Path | None = None
    resources: Resources = field(default_factory=Resources)
    behaviour: Behaviour = field(default_factory=Behaviour)
    arrived: list[WorkflowProgressEvent] = field(default_factory=list)
    """Every event that was recorded, repeats too, in order of arrival."""
    calls: list[tuple[str, int]] = field(default_factory=list)
    """(execution id, sequence number) of every report that came, whatever became of it; 0 for a whole state."""
    states: list[tuple[str, WorkflowExecutionStatus]] = field(default_factory=list)
    """(execution id, status) of every updateStatus that was recorded, repeats too, in order of arrival."""
    queries: list[tuple[str, str]] = field(default_factory=list)
    """(service and method, id or slug) of every query that came."""
    unauthenticated: int = 0
    _server: grpc.aio.Server | None = None
    _cut: asyncio.Task[None] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def port(self) -> int:
        """The port, once it has listened."""
        return int(self.listen.rsplit(":", 1)[1])

    async def up(self) -> None:
        """Listen; on the same port as before."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        command_pb2_grpc.add_WorkflowRunnerCommandControllerServicer_to_server(self, server)
        execution_command.add_WorkflowExecutionCommandControllerServicer_to_server(_ExecutionCommands(self), server)
        execution_query.add_WorkflowExecutionQueryControllerServicer_to_server(_Executions(self), server)
        instance_query.add_WorkflowInstanceQueryControllerServicer_to_server(_Instances(self), server)
        workflow_query.add_WorkflowQueryControllerServicer_to_server(_Workflows(self), server)
        environment_query.add_EnvironmentQueryControllerServicer_to_server(_Environments(self), server)
        if self.tls is None:
            port = server.add_insecure_port(self.listen)
        else:
            port = server.add_secure_port(self.listen, grpc.ssl_server_credentials([self.tls]))
        self.listen = f"{self.listen.rsplit(':', 1)[0]}:{port}"
        await server.start()
        self._server = server

    async def down(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(grace=None)

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._cut is not None:
            await self._cut
        await self.down()

    async def ReportProgress(
        self, request: WorkflowProgressEvent, context: grpc.aio.ServicerContext[Any, Any]
    ) -> ProgressAckResponse:
        """See Behaviour."""
        execution, number = request.workflow_execution_id, request.sequence_number
        self.calls.append((execution, number))
        behaviour = await self.behave("ReportProgress", execution, context, number)
        if behaviour.mode == "refuse":
            return ProgressAckResponse(success=False, message=f"{behaviour.message}, {_authorization(context)}")
        self.arrived.append(request)
        self._write(self.events_file, request)
        await self.drop(behaviour)
        return ProgressAckResponse(success=True)

    async def behave(
        self, method: str, subject: str, context: grpc.aio.ServicerContext[Any, Any], sequence: int = 0
    ) -> Behaviour:
        """Do to a call what is to be done before it is taken; what is left are refuse and drop."""
        behaviour = self.behaviour if self.behaviour.concerns(method, subject, sequence) else Behaviour()
        self._notify()
        authorization = _authorization(context)
        if authorization != f"Bearer {self.behaviour.api_key or self.api_key}":
            self.unauthenticated += 1
            self._notify()
            # It quotes what it was given, as careless servers do.
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"bad credentials: {authorization}")
        if behaviour.seconds:
            await asyncio.sleep(behaviour.seconds)
        if behaviour.mode == "hang":
            await asyncio.Event().wait()
        if behaviour.mode == "status":
            await context.abort(grpc.StatusCode[behaviour.code], f"{behaviour.message}, {authorization}")
        return behaviour

    async def drop(self, behaviour: Behaviour) -> None:
        """Break the connections, where the call came under that behaviour."""
        if behaviour.mode == "drop":
            if self._cut is None or self._cut.done():
                self._cut = asyncio.create_task(self._cut_connections())
            await asyncio.Event().wait()

    async def update(
        self, request: WorkflowExecutionUpdateStatusInput, context: grpc.aio.ServicerContext[Any, Any]
    ) -> WorkflowExecution:
        """updateStatus."""
        execution = request.execution_id
        self.calls.append((execution, 0))
        behaviour = await self.behave("updateStatus", execution, context)
        if behaviour.mode == "refuse":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{behaviour.message}, {_authorization(context)}")
        self.states.append((execution, request.status))
        self._write(self.states_file, request)
        await self.drop(behaviour)
        kept = self.resources.executions.setdefault(execution, WorkflowExecution(kind="WorkflowExecution"))
        kept.status.CopyFrom(request.status)
        return kept

    async def find(self, kind: str, kept: dict[str, Any], wanted: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """A query: by id, or by a reference's slug."""
        by_reference = isinstance(wanted, ApiResourceReference)
        subject = wanted.slug if by_reference else wanted.value
        self.queries.append((f"{kind}/{'getByReference' if by_reference else 'get'}", subject))
        await self.drop(await self.behave(kind, subject, context))
        if not by_reference:
            found = kept.get(subject)
        else:
            found = next((item for item in kept.values() if item.metadata.slug == subject), None)
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no {kind} {subject}, {_authorization(context)}")
        return found

    def states_of(self, execution_id: str) -> list[WorkflowExecutionStatus]:
        """What updateStatus brought of one execution, in order of arrival."""
        return [status for execution, status in self.states if execution == execution_id]

    def events(self, execution_id: str | None = None) -> list[WorkflowProgressEvent]:
        """What was recorded, of one execution or of all, in order of arrival."""
        return [event for event in self.arrived if execution_id in (None, event.workflow_execution_id)]

    def numbers(self, execution_id: str) -> list[int]:
        """The sequence numbers of one execution, in order of arrival."""
        return [event.sequence_number for event in self.events(execution_id)]

    async def until(self, holds: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something holds that changes with calls and events; TimeoutError otherwise."""
        async with asyncio.timeout(seconds):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    def _write(self, path: Path | None, message: WorkflowProgressEvent | WorkflowExecutionUpdateStatusInput) -> None:
        if path is not None:
            with path.open("a") as file:
                file.write(json.dumps(json_format.MessageToDict(message)) + "\n")
        self._notify()

    def _notify(self) -> None:
        self._changed.set()

    async def _cut_connections(self) -> None:
        await self.down()
        await self.up()


def _authorization(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    return str(dict(context.invocation_metadata() or ()).get("authorization"))


Context = grpc.aio.ServicerContext[Any, Any]


class _ExecutionCommands(execution_command.WorkflowExecutionCommandControllerServicer):
    def __init__(self, server: StigmerServer) -> None:
        self._server = server

    async def updateStatus(self, request: WorkflowExecutionUpdateStatusInput, context: Context) -> WorkflowExecution:
        return await self._server.update(request, context)


class _Executions(execution_query.WorkflowExecutionQueryControllerServicer):
    def __init__(self, server: StigmerServer) -> None:
        self._server = server

    async def get(self, request: WorkflowExecutionId, context: Context) -> WorkflowExecution:
        found: WorkflowExecution = await self._server.find("execution", self._server.resources.executions, request, context)
        return found


class _Instances(instance_query.WorkflowInstanceQueryControllerServicer):
    def __init__(self, server: StigmerServer) -> None:
        self._server = server

    async def get(self, request: WorkflowInstanceId | ApiResourceReference, context: Context) -> WorkflowInstance:
        found: WorkflowInstance = await self._server.find("instance", self._server.resources.instances, request, context)
        return found

    getByReference = get  # noqa: N815 - named by the proto


class _Workflows(workflow_query.WorkflowQueryControllerServicer):
    def __init__(self, server: StigmerServer) -> None:
        self._server = server

    async def get(self, request: WorkflowId | ApiResourceReference, context: Context) -> Workflow:
        found: Workflow = await self._server.find("workflow", self._server.resources.workflows, request, context)
        return found

    getByReference = get  # noqa: N815 - named by the proto


class _Environments(environment_query.EnvironmentQueryControllerServicer):
    def __init__(self, server: StigmerServer) -> None:
        self._server = server

    async def get(self, request: ApiResourceId | ApiResourceReference, context: Context) -> Environment:
        found: Environment = await self._server.find("environment", self._server.resources.environments, request, context)
        return found

    getByReference = get  # noqa: N815 - named by the proto


async def obey(server: StigmerServer, control: Path) -> None:
    """Follow the control file for ever."""
    seen = ""
    while True:
        text = _text(control)
        if text != seen:
            try:
                behaviour = Behaviour(**json.loads(text)) if text else Behaviour()
            except (ValueError, TypeError):
                # Half written; the next look sees the whole.
                await asyncio.sleep(0.05)
                continue
            seen = text
            if behaviour.mode == "down":
                await server.down()
            elif server.behaviour.mode == "down":
                await server.up()
            server.behaviour = behaviour
        await asyncio.sleep(0.05)


def _text(control: Path) -> str:
    return control.read_text() if control.exists() else ""


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    tls = (options.tls_key.read_bytes(), options.tls_cert.read_bytes()) if options.tls_cert else None
    server = StigmerServer(
        api_key=options.api_key,
        listen=options.listen,
        tls=tls,
        events_file=options.events,
        states_file=options.states,
        resources=Resources.read(options.resources.read_text()) if options.resources else Resources(),
        behaviour=Behaviour(options.mode, options.seconds),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server:
        print(f"listening {server.listen}", flush=True)
        obeying = asyncio.create_task(obey(server, options.control)) if options.control else None
        await stop.wait()
        if obeying is not None:
            obeying.cancel()


def main(arguments: list[str]) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.stigmer")
    parser.add_argument("--listen", required=True)
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--states", type=Path)
    parser.add_argument("--resources", type=Path)
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--control", type=Path)
    parser.add_argument("--mode", choices=MODES, default="take")
    parser.add_argument("--seconds", type=float, default=0.0)
    asyncio.run(serve(parser.parse_args(arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
