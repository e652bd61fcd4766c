"""The callback client: reports progress to Stigmer. Called by relay.py, which decides what comes next.

Stigmer has two ways of taking progress, and a destination says which one it wants (`Destination.api`):

    progress   `ReportProgress` of `ai.stigmer.workflow.runner.v1.WorkflowRunnerCommandController`: every event
    status     `updateStatus` of `ai.stigmer.agentic.workflowexecution.v1.WorkflowExecutionCommandController`: the
               whole run as of an event

Either goes with the API key as a Bearer token, over TLS unless a destination says otherwise. There is no way to switch
verification off.

    DeliveryFailed (Temporary)   not taken for now: unreachable, overloaded, out of time; try again
    DeliveryRefused              answered and not taken: this event will be refused again
    └── DestinationRefused       nothing would be taken: a wrong key, or no such service at this address

Neither these errors, nor what they were raised from, nor a log line holds the key: not even when the
server quotes it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Literal, TypeAlias

import grpc
import grpc.aio
from msgspec import Struct
from pydantic import SecretStr

from workflow_runner import telemetry
from workflow_runner.errors import Temporary, WorkflowRunnerError
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecution, WorkflowExecutionStatus
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.command_pb2 import WorkflowExecutionUpdateStatusInput
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ProgressAckResponse, WorkflowProgressEvent

log = logging.getLogger(__name__)

Api: TypeAlias = Literal["progress", "status"]
Message: TypeAlias = WorkflowProgressEvent | WorkflowExecutionUpdateStatusInput
Answer: TypeAlias = ProgressAckResponse | WorkflowExecution

REPORT_PROGRESS = "/ai.stigmer.workflow.runner.v1.WorkflowRunnerCommandController/ReportProgress"
UPDATE_STATUS = "/ai.stigmer.agentic.workflowexecution.v1.WorkflowExecutionCommandController/updateStatus"
_METHODS: dict[Api, tuple[str, type[Answer]]] = {
    "progress": (REPORT_PROGRESS, ProgressAckResponse),
    "status": (UPDATE_STATUS, WorkflowExecution),
}

# gRPC servers take messages up to 4 MiB unless told otherwise; headroom for framing and metadata.
LARGEST_EVENT_BYTES = 4 * 1024 * 1024 - 16 * 1024
MOST_DETAIL = 500

RETRYABLE = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        # From a server or a proxy on the way that gave up; our own cancellation is no status.
        grpc.StatusCode.CANCELLED,
    }
)
REFUSES_ALL = {
    grpc.StatusCode.UNAUTHENTICATED: "stigmer.unauthenticated",
    grpc.StatusCode.PERMISSION_DENIED: "stigmer.permission-denied",
    grpc.StatusCode.UNIMPLEMENTED: "stigmer.unimplemented",
}
_HINTS = {
    grpc.StatusCode.UNAUTHENTICATED: "check the API key: STIGMER_SERVICE_API_KEY, or the Secret that spec.stigmer names",
    grpc.StatusCode.PERMISSION_DENIED: "check what the API key may do",
    grpc.StatusCode.UNIMPLEMENTED: "check the endpoint: no progress service answers there",
}
_OPTIONS: list[tuple[str, int]] = [
    # Servers tolerate a ping each five minutes by default and answer more with GOAWAY. Setting it
    # also makes Linux give a connection up when sent bytes stay unacknowledged for the time-out.
    ("grpc.keepalive_time_ms", 300_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # The relay owns one client a destination; a connection shared behind its back would keep a
    # closed client's failures.
    ("grpc.use_local_subchannel_pool", 1),
    # Attempts are counted here, not by gRPC's own transparent policy.
    ("grpc.enable_retries", 0),
]


class DeliveryFailed(Temporary):
    """No attempt got the event across; the next round may. `status` is gRPC's name for the last reason."""

    code = "stigmer.unavailable"

    def __init__(self, message: str, *, status: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class DeliveryRefused(WorkflowRunnerError):
    """Stigmer answered and did not take the event. `status` is gRPC's name, or "OK" for `success: false`."""

    code = "stigmer.refused"

    def __init__(self, message: str, *, status: str, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status


class DestinationRefused(DeliveryRefused):
    """Stigmer takes nothing from us, whatever the event: the key, or the address, has to be mended first."""


class Destination(Struct, frozen=True):
    """Where events go, and as whom. Equal destinations share one client.

    `endpoint` is HOST:PORT. An empty key sends no `authorization`. `ca_pem` (PEM) replaces the system's
    roots and goes with TLS only. `api` is how progress is told there.
    """

    endpoint: str
    api_key: SecretStr
    use_tls: bool = True
    ca_pem: bytes | None = None
    api: Api = "progress"


class Backoff(Struct, frozen=True):
    """Full jitter: before try n+1 a time drawn evenly from 0 to `first` · 2ⁿ⁻¹ seconds, never above `most`."""

    first: float
    most: float

    def seconds(self, failures: int) -> float:
        """How long to wait after this many failures in a row (from 1)."""
        return random.uniform(0, min(self.most, self.first * 2.0 ** min(failures - 1, 30)))  # noqa: S311 - jitter, not a secret


BETWEEN_ATTEMPTS = Backoff(first=0.25, most=5.0)


class CallbackClient:
    """Reports events to one destination over one connection; use it from one event loop, and close it."""

    def __init__(
        self,
        destination: Destination,
        *,
        attempts: int = 3,
        deadline_seconds: float = 10.0,
        backoff: Backoff = BETWEEN_ATTEMPTS,
    ) -> None:
        """`deadline_seconds` is for one attempt; connecting counts."""
        self.destination = destination
        self._attempts = attempts
        self._deadline = deadline_seconds
        self._backoff = backoff
        telemetry.conceal(destination.api_key.get_secret_value())
        self._channel = open_channel(destination)
        method, answer = _METHODS[destination.api]
        self._call: grpc.aio.UnaryUnaryMultiCallable[Message, Answer] = self._channel.unary_unary(
            method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )

    async def report(self, event: WorkflowProgressEvent, state: WorkflowExecutionStatus | None = None) -> None:
        """Deliver one event, in up to `attempts` attempts with backoff and jitter between them; where the destination
        takes states, `state` instead: the run as of this event, or of a later one.

        Returns when Stigmer has taken it (or says that it has it already). Raises DeliveryFailed,
        DeliveryRefused or DestinationRefused.
        """
        message: Message = event
        if self.destination.api == "status":
            message = WorkflowExecutionUpdateStatusInput(execution_id=event.workflow_execution_id, status=state)
        if (size := message.ByteSize()) > LARGEST_EVENT_BYTES:
            raise DeliveryRefused(
                f"{self._told(event)} has {size} bytes, above {LARGEST_EVENT_BYTES}",
                status="RESOURCE_EXHAUSTED",
                code="stigmer.event-too-large",
            )
        for attempt in range(1, self._attempts + 1):
            answer = await self._attempt(message)
            if isinstance(answer, ProgressAckResponse) and not answer.success:
                raise self._refused(event, answer.message)
            if not isinstance(answer, grpc.aio.AioRpcError):
                return
            if answer.code() is grpc.StatusCode.ALREADY_EXISTS:
                return
            if attempt == self._attempts or answer.code() not in RETRYABLE:
                raise self._translated(event, answer, attempt) from answer
            log.debug("attempt %d of %d to reach Stigmer failed: %s", attempt, self._attempts, answer.code().name)
            await asyncio.sleep(self._backoff.seconds(attempt))

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        await self._channel.close()

    async def _attempt(self, message: Message) -> Answer | grpc.aio.AioRpcError:
        """One call, and what came of it without the key. An error is returned and not raised, so that nothing raised
        later carries the original, whose frames hold the metadata, as its context."""
        try:
            answer = await self._call(message, timeout=self._deadline, metadata=metadata_of(self.destination))
        except grpc.aio.AioRpcError as error:
            return without_key(error, self.destination)
        except Exception as error:  # noqa: BLE001 - such as a key that no header can hold: this destination's trouble only
            return cannot_be_made(error)
        if isinstance(answer, ProgressAckResponse):
            return ProgressAckResponse(success=answer.success, message=redacted(answer.message, self.destination))
        return answer

    def _refused(self, event: WorkflowProgressEvent, message: str) -> DeliveryRefused:
        said = message[:MOST_DETAIL] or "it gave no reason"
        return DeliveryRefused(f"{self._told(event)} was refused (success: false): {said}", status="OK")

    def _translated(self, event: WorkflowProgressEvent, error: grpc.aio.AioRpcError, attempts: int) -> WorkflowRunnerError:
        status, hint = error.code(), _HINTS.get(error.code())
        said = f"{status.name}: {(error.details() or 'no details')[:MOST_DETAIL]}"
        if status in REFUSES_ALL:
            text = f"{self.destination.endpoint} refuses our events: {said}"
            return DestinationRefused(text, status=status.name, code=REFUSES_ALL[status], hint=hint)
        if status in RETRYABLE:
            text = f"{self._told(event)} was not delivered in {attempts} attempts: {said}"
            return DeliveryFailed(text, status=status.name, hint=_tls_hint(error, self.destination))
        return DeliveryRefused(f"{self._told(event)} was refused: {said}", status=status.name)

    def _told(self, event: WorkflowProgressEvent) -> str:
        what = f"event {event.sequence_number} ({event.event_type})"
        return f"{what if self.destination.api == 'progress' else f'the state as of {what}'} for {self.destination.endpoint}"


def open_channel(destination: Destination) -> grpc.aio.Channel:
    """A connection to a destination, made at its first call."""
    if not destination.use_tls:
        return grpc.aio.insecure_channel(destination.endpoint, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(root_certificates=destination.ca_pem)
    return grpc.aio.secure_channel(destination.endpoint, credentials, options=_OPTIONS)


def metadata_of(destination: Destination) -> tuple[tuple[str, str], ...]:
    """What goes with every call: the key."""
    value = destination.api_key.get_secret_value()
    return (("authorization", f"Bearer {value}"),) if value else ()


def without_key(error: grpc.aio.AioRpcError, destination: Destination) -> grpc.aio.AioRpcError:
    """The error without the server's metadata, and without the key should the server have quoted it."""
    empty = grpc.aio.Metadata()
    details, debug = redacted(error.details(), destination), redacted(error.debug_error_string(), destination)
    return grpc.aio.AioRpcError(error.code(), empty, empty, details, debug)


def cannot_be_made(error: Exception) -> grpc.aio.AioRpcError:
    """What stands for a call that our own side refuses, such as one with a key that no header can hold."""
    empty, text = grpc.aio.Metadata(), f"the call cannot be made: {type(error).__name__}"
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAUTHENTICATED, empty, empty, text, "")


def redacted(text: str | None, destination: Destination) -> str:
    """A text of the server without the key."""
    key = destination.api_key.get_secret_value()
    text = text or ""
    return telemetry.redact(text.replace(key, telemetry.REDACTED) if key else text)


def _tls_hint(error: grpc.aio.AioRpcError, destination: Destination) -> str | None:
    text = (error.details() or "").lower()
    if destination.use_tls and any(word in text for word in ("certificate", "ssl", "handshake", "verification")):
        return "the server's certificate was not accepted, or it does not speak TLS: check caBundle and useTLS"
    return None
