"""One runner at an endpoint: what can be asked of it, each call with a deadline. Made by endpoints.py.

A runner offers WorkflowExecutionService under one of three names, and may offer the queries of the older API. Every call
goes over one connection, with the key as a Bearer token; so many calls at a time, and so many open streams. What goes wrong is

    EndpointError    has gRPC's status, a `reason` for conditions, and `retry_after` where the runner names a time

and neither it nor what it was raised from holds the key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from grpc_status import rpc_status
from msgspec import Struct
from pydantic import SecretStr

from workflow_runner import telemetry
from workflow_runner.errors import WorkflowRunnerError
from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import interface_pb2, io_pb2, service_pb2
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import command_pb2, query_pb2
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as older
from workflow_runner.reconcile.runner import Health

EXECUTION = service_pb2.DESCRIPTOR.services_by_name["WorkflowExecutionService"].full_name
COMMAND = command_pb2.DESCRIPTOR.services_by_name["WorkflowRunnerCommandController"].full_name
CONTROLLER = interface_pb2.DESCRIPTOR.services_by_name["WorkflowRunnerServiceController"].full_name
QUERY = query_pb2.DESCRIPTOR.services_by_name["WorkflowRunnerQueryController"].full_name
FACES = (EXECUTION, COMMAND, CONTROLLER)
"""The names under which a runner may take commands, the first first; the last one spells methods in lowerCamelCase."""

CALL_SECONDS = 10.0
START_SECONDS = 20.0
LOOK_SECONDS = 5.0
STREAM_SECONDS = 3600.0
MOST_CALLS = 32
CAPABILITY_SECONDS = 600.0
MOST_DETAIL = 500
PROBE = "workflow-runner-probe"
"""The id of an execution that nobody has: what a runner answers tells whether it has the method."""

_OPTIONS: list[tuple[str, int]] = [
    # Servers tolerate a ping each five minutes by default and answer more with GOAWAY. Setting it also makes Linux give a
    # connection up when sent bytes stay unacknowledged for the time-out.
    ("grpc.keepalive_time_ms", 300_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
]
_HEALTH = f"/{health_pb2.DESCRIPTOR.services_by_name['Health'].full_name}/Check"
_REFLECTION = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
UNREACHABLE, REFUSES_KEY = "EndpointUnreachable", "EndpointRefusesKey"
_OF_SERVERS = frozenset({"x-request-id", "grpc-status-details-bin"})
"""Trailers of servers that explain themselves."""
_REASONS = {
    grpc.StatusCode.UNAVAILABLE: UNREACHABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: UNREACHABLE,
    grpc.StatusCode.CANCELLED: UNREACHABLE,
    grpc.StatusCode.UNAUTHENTICATED: REFUSES_KEY,
    grpc.StatusCode.PERMISSION_DENIED: REFUSES_KEY,
    grpc.StatusCode.RESOURCE_EXHAUSTED: "EndpointBusy",
    grpc.StatusCode.UNIMPLEMENTED: "EndpointNotARunner",
}


class EndpointError(WorkflowRunnerError):
    """A call to an endpoint did not succeed."""

    code = "endpoint.failed"

    def __init__(self, message: str, *, status: grpc.StatusCode, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = _REASONS.get(status, "EndpointFails")
        self.retry_after = retry_after


class Target(Struct, frozen=True):
    """Where an endpoint is, and as whom it is called. Equal targets share one connection.

    `address` is HOST:PORT. An empty key sends no `authorization`. `ca_pem` replaces the roots that everybody trusts;
    `certificate` is (certificate, key), PEM both.
    """

    address: str
    use_tls: bool
    api_key: SecretStr
    ca_pem: bytes | None = None
    certificate: tuple[bytes, bytes] | None = None
    server_name: str = ""
    """What the server's certificate is for, where that is not its address."""


class EndpointClient:
    """The calls. Use it from one event loop; close it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        key = target.api_key.get_secret_value()
        telemetry.conceal(key)
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._channel = _open(target)
        self._calls = asyncio.Semaphore(MOST_CALLS)
        self._face: str | None = None
        self._capabilities: tuple[float, tuple[str, ...]] | None = None
        self.streams = 0
        """How many Subscribe are open."""
        self.heard_at = time.monotonic()
        """When it last answered something, whoever asked, or when this was made."""
        self.followable = False
        """Whether runs that are started there can be followed; False before anybody has tried."""
        self.missing: set[str] = set()
        """Queries that the runner answered with UNIMPLEMENTED."""

    async def close(self) -> None:
        """End the connection and what goes on over it."""
        await self._channel.close()

    # Commands

    async def start(self, request: io_pb2.WorkflowExecuteInput) -> None:
        """ExecuteAsync."""
        await self._command("ExecuteAsync", request, io_pb2.WorkflowExecuteResponse, START_SECONDS)

    async def cancel(self, execution_id: str, reason: str, *, force: bool) -> None:
        """CancelExecution."""
        request = io_pb2.CancelExecutionRequest(execution_id=execution_id, reason=reason, force=force)
        await self._command("CancelExecution", request, Empty)

    async def pause(self, execution_id: str, reason: str) -> None:
        """PauseExecution."""
        await self._command("PauseExecution", io_pb2.PauseExecutionRequest(execution_id=execution_id, reason=reason), Empty)

    async def resume(self, execution_id: str, reason: str) -> None:
        """ResumeExecution."""
        await self._command("ResumeExecution", io_pb2.ResumeExecutionRequest(execution_id=execution_id, reason=reason), Empty)

    async def _command(self, method: str, request: Message, answer: type[Message], seconds: float = CALL_SECONDS) -> None:
        for face in FACES if self._face is None else (self._face,):
            name = method if face != CONTROLLER else method[0].lower() + method[1:]
            try:
                async with self._calls:
                    await self._ask(f"/{face}/{name}", request, answer, seconds)
            except EndpointError as error:
                if error.status is grpc.StatusCode.UNIMPLEMENTED and face != FACES[-1] and self._face is None:
                    continue
                raise
            self._face = face
            return

    # Queries

    async def state(self, execution_id: str) -> older.ExecutionStatus:
        """GetStatus."""
        request = older.GetExecutionStatusRequest(execution_id=execution_id)
        state: older.ExecutionStatus = await self._query("GetStatus", request, older.ExecutionStatus)
        return state

    async def events(self, execution_id: str, after: int) -> older.ExecutionEvents:
        """GetEvents: one page above a number."""
        request = older.GetExecutionEventsRequest(execution_id=execution_id, after_sequence_number=after)
        page: older.ExecutionEvents = await self._query("GetEvents", request, older.ExecutionEvents)
        return page

    async def subscribe(self, execution_id: str, after: int) -> AsyncIterator[older.WorkflowProgressEvent]:
        """Subscribe: events above a number until the run's last, or for an hour. Close the iterator."""
        call = self._channel.unary_stream(
            f"/{QUERY}/Subscribe",
            request_serializer=older.SubscribeRequest.SerializeToString,
            response_deserializer=older.WorkflowProgressEvent.FromString,
        )(
            older.SubscribeRequest(execution_id=execution_id, after_sequence_number=after),
            metadata=self._metadata,
            timeout=STREAM_SECONDS,
        )
        self.streams += 1
        began = time.monotonic()
        try:
            async for event in call:
                self.heard_at = time.monotonic()
                yield event
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() - began >= STREAM_SECONDS - 1:
                return
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                self.missing.add("Subscribe")
            raise self._said("Subscribe", error) from None
        finally:
            self.streams -= 1
            call.cancel()

    async def _query(self, method: str, request: Message, answer: Any) -> Any:
        try:
            async with self._calls:
                return await self._ask(f"/{QUERY}/{method}", request, answer, CALL_SECONDS)
        except EndpointError as error:
            if error.status is grpc.StatusCode.UNIMPLEMENTED:
                self.missing.add(method)
            raise

    # Health

    async def look(self) -> Health:
        """Whether it is there and works, how fast it answers, and what it has."""
        try:
            serving = await self._serving()
            began = time.monotonic()
            await self._knock()
            milliseconds = (time.monotonic() - began) * 1000
            capabilities = await self._known_capabilities()
        except EndpointError as error:
            reachable = error.reason != UNREACHABLE
            return Health(reachable=reachable, serving=False, reason=error.reason, message=error.message)
        if not serving:
            message = f"{self.target.address} says of itself that it does not serve (grpc.health.v1)"
            return Health(True, False, "EndpointNotServing", message, milliseconds, capabilities)
        if not _is_a_runner(capabilities):
            await self._dial_again()
            message = f"{self.target.address} has no ExecuteAsync under any of these names: {', '.join(FACES)}"
            return Health(True, False, "EndpointNotARunner", message, milliseconds, capabilities)
        return Health(True, True, "", "", milliseconds, capabilities)

    async def _dial_again(self) -> None:
        """Whoever answers is no runner. That may be what stands where the runner will be, and a connection once made is kept
        for as long as the other side likes: the next call makes its own."""
        former, self._channel = self._channel, _open(self.target)
        await former.close()

    async def _serving(self) -> bool:
        """What grpc.health.v1 says; a server without it serves if it answers."""
        request = health_pb2.HealthCheckRequest()
        try:
            answer = await self._ask(_HEALTH, request, health_pb2.HealthCheckResponse, LOOK_SECONDS)
        except EndpointError as error:
            if error.status in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND):
                return True
            raise
        return bool(answer.status != health_pb2.HealthCheckResponse.NOT_SERVING)

    async def _known_capabilities(self) -> tuple[str, ...]:
        if self._capabilities is not None and time.monotonic() - self._capabilities[0] < CAPABILITY_SECONDS:
            return self._capabilities[1]
        found = await self._reflected()
        if found is None:
            found = await self._probed()
        # What is no runner may be one soon: something else may answer where a Service is being made.
        self._capabilities = (time.monotonic(), found) if _is_a_runner(found) else None
        return found

    async def _reflected(self) -> tuple[str, ...] | None:
        """By reflection; None where there is none."""
        for path in _REFLECTION:
            found: list[str] = []
            try:
                answer = await self._reflect(path, ServerReflectionRequest(list_services=""))
                offered = {service.name for service in answer.list_services_response.service}
                for service in (*FACES, QUERY):
                    if service in offered:
                        answer = await self._reflect(path, ServerReflectionRequest(file_containing_symbol=service))
                        found += _methods(answer, service)
            except EndpointError as error:
                if error.status is grpc.StatusCode.UNIMPLEMENTED:
                    continue
                if error.reason != UNREACHABLE:
                    return None
                raise
            return tuple(found)
        return None

    async def _reflect(self, path: str, request: ServerReflectionRequest) -> ServerReflectionResponse:
        # One question a call: a stream that is refused while something is written to it fails with anything.
        call = self._channel.unary_stream(
            path,
            request_serializer=ServerReflectionRequest.SerializeToString,
            response_deserializer=ServerReflectionResponse.FromString,
        )(request, metadata=self._metadata, timeout=LOOK_SECONDS)
        try:
            async for answer in call:
                return answer
        except grpc.aio.AioRpcError as error:
            raise self._said("ServerReflectionInfo", error) from None
        finally:
            call.cancel()
        return ServerReflectionResponse()

    async def _probed(self) -> tuple[str, ...]:
        """By asking for an execution that nobody has. ExecuteAsync is not tried out: somebody might run something."""
        found: list[str] = []
        probes: list[tuple[str, str, Message, Any]] = [
            (QUERY, "GetStatus", older.GetExecutionStatusRequest(execution_id=PROBE), older.ExecutionStatus),
            (QUERY, "GetEvents", older.GetExecutionEventsRequest(execution_id=PROBE), older.ExecutionEvents),
        ]
        commands: list[tuple[str, Message]] = [
            ("CancelExecution", io_pb2.CancelExecutionRequest(execution_id=PROBE)),
            ("PauseExecution", io_pb2.PauseExecutionRequest(execution_id=PROBE)),
            ("ResumeExecution", io_pb2.ResumeExecutionRequest(execution_id=PROBE)),
        ]
        for face in FACES:
            for method, request in commands:
                name = method if face != CONTROLLER else method[0].lower() + method[1:]
                probes.append((face, name, request, Empty))
        for service, method, request, answer in probes:
            try:
                await self._ask(f"/{service}/{method}", request, answer, LOOK_SECONDS)
            except EndpointError as error:
                if error.status is grpc.StatusCode.UNIMPLEMENTED:
                    continue
                if error.reason == UNREACHABLE:
                    raise
            found.append(f"{service}/{method}")
        for face in FACES:
            if any(entry.startswith(f"{face}/") for entry in found):
                found.append(f"{face}/{'e' if face == CONTROLLER else 'E'}xecuteAsync")
        return tuple(found)

    async def _knock(self) -> None:
        """One question: raises EndpointError where nobody answers, or not us."""
        request = older.GetExecutionStatusRequest(execution_id=PROBE)
        try:
            await self._ask(f"/{QUERY}/GetStatus", request, older.ExecutionStatus, LOOK_SECONDS)
        except EndpointError as error:
            if error.reason in (UNREACHABLE, REFUSES_KEY):
                raise

    async def _ask(self, path: str, request: Message, answer: Any, seconds: float) -> Any:
        call: Any = self._channel.unary_unary(
            path, request_serializer=lambda message: message.SerializeToString(), response_deserializer=answer.FromString
        )
        try:
            found = await call(request, metadata=self._metadata, timeout=seconds)
        except grpc.aio.AioRpcError as error:
            raise self._said(path.rpartition("/")[2], error) from None
        self.heard_at = time.monotonic()
        return found

    def _said(self, method: str, error: grpc.aio.AioRpcError) -> EndpointError:
        """The error in our words. Not chained: what it comes from holds the call's metadata."""
        if _is_an_answer(error):
            self.heard_at = time.monotonic()
        key, details = self.target.api_key.get_secret_value(), error.details() or "no details"
        details = telemetry.redact(details.replace(key, telemetry.REDACTED) if key else details)[:MOST_DETAIL]
        text = f"{method} of {self.target.address}: {error.code().name}: {details}"
        return EndpointError(text, status=error.code(), retry_after=_retry_after(error))


def _is_an_answer(error: grpc.aio.AioRpcError) -> bool:
    """Whether the server said so, and not the channel for one that says nothing."""
    if _REASONS.get(error.code()) != UNREACHABLE:
        return True
    return any(name in _OF_SERVERS for name, _ in error.trailing_metadata() or ())


def _open(target: Target) -> grpc.aio.Channel:
    if target.use_tls:
        key_pem, certificate = (target.certificate[1], target.certificate[0]) if target.certificate else (None, None)
        credentials = grpc.ssl_channel_credentials(target.ca_pem, key_pem, certificate)
        named = [("grpc.ssl_target_name_override", target.server_name)] if target.server_name else []
        return grpc.aio.secure_channel(target.address, credentials, options=[*_OPTIONS, *named])
    return grpc.aio.insecure_channel(target.address, options=_OPTIONS)


def _is_a_runner(capabilities: tuple[str, ...]) -> bool:
    return any(f"{face}/{'e' if face == CONTROLLER else 'E'}xecuteAsync" in capabilities for face in FACES)


def _methods(answer: ServerReflectionResponse, service: str) -> list[str]:
    for content in answer.file_descriptor_response.file_descriptor_proto:
        try:
            file = FileDescriptorProto.FromString(content)
        except DecodeError:
            continue
        for described in file.service:
            if f"{file.package}.{described.name}" == service:
                return [f"{service}/{method.name}" for method in described.method]
    return []


def _retry_after(error: grpc.aio.AioRpcError) -> float | None:
    """The time that the runner names (google.rpc.RetryInfo)."""
    try:
        status: Any = rpc_status.from_call(error)
    except ValueError:
        return None
    for detail in () if status is None else status.details:
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return None
