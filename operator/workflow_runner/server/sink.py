"""The sink: launched pods report here and learn what they shall do. Built by cli.operator.

The protocol is told in docs/sink-protocol.md. This module authenticates, checks that a caller speaks of
its own run, and passes on; what events mean is reconcile's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Protocol

import grpc
import structlog

from workflow_runner.cluster import ClusterError
from workflow_runner.errors import InvalidInput, PermissionDenied, Unauthenticated, Unavailable, WorkflowRunnerError
from workflow_runner.hosts.event_bus import Offer
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import command_pb2_grpc, io_pb2
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2, sink_pb2_grpc
from workflow_runner.reconcile.live import LiveRun
from workflow_runner.server.events import MOST_WANTED, Ear, EventHub
from workflow_runner.server.identity import Caller, Identities
from workflow_runner.server.listening import port_taken

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
KNOWN_WITHIN_SECONDS = 5.0
"""How long a caller waits for its run to be known, right after an operator's start; then it dials again."""

log = structlog.get_logger(__name__)

_STATES = {
    "Run": sink_pb2.WatchResponse.DESIRED_STATE_RUN,
    "Pause": sink_pb2.WatchResponse.DESIRED_STATE_PAUSE,
    "Cancel": sink_pb2.WatchResponse.DESIRED_STATE_CANCEL,
}

ALL_OVER = sink_pb2.WatchResponse(
    desired_state=sink_pb2.WatchResponse.DESIRED_STATE_CANCEL,
    reason="the run has ended",
    recorded_sequence=2**63 - 1,
    delivered_sequence=2**63 - 1,
)
"""What a pod hears whose run has ended in status: it may go, and need not keep anything."""

Context = grpc.aio.ServicerContext[Any, Any]

SecretsOf = Callable[[str], Awaitable[dict[str, str]]]
"""By an execution's uid. Raises Unavailable or ClusterError, which pass, or another error, which does not."""


class LiveRuns(Protocol):
    """What the sink needs of the live runs (controller.runs)."""

    published: Callable[[str], None]

    def get(self, uid: str) -> LiveRun | None: ...

    def take(self, uid: str, pod: str, created: str, batch: sink_pb2.ProgressBatch) -> int: ...

    def watermarks(self, uid: str) -> tuple[int, int]: ...

    def has_ended(self, uid: str) -> bool: ...


class SinkService(sink_pb2_grpc.SinkServiceServicer):
    """Progress up, desired state and CloudEvents down."""

    def __init__(
        self, runs: LiveRuns, identities: Identities, events: EventHub | None = None, *, secrets: SecretsOf | None = None
    ) -> None:
        """`secrets` gives the secret values of an execution's environment in Stigmer; without it there are none."""
        self._runs = runs
        self._secrets = secrets
        self.events = events or EventHub()
        """Hands CloudEvents to the pods that listen."""
        self._identities = identities
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self.listening = False
        """Set by whoever starts the server."""
        self.streams: Counter[str] = Counter()
        """How many streams are open, by method."""
        self.received: Callable[[str], None] = lambda event_type: None
        """Told of every event that a pod sent, repeats among them."""
        self.turned_away: Callable[[str], None] = lambda code: None
        """Told of every call that was refused, by its code."""
        runs.published = self._publish

    async def Progress(
        self, request_iterator: AsyncIterator[sink_pb2.ProgressBatch], context: Context
    ) -> sink_pb2.ProgressResponse:
        """Takes in batches until the pod closes the stream."""
        caller = await self._caller(context)
        received = 0
        with self._open("Progress"):
            async for batch in request_iterator:
                if batch.HasField("run"):
                    await self._check(caller, batch.run, context)
                if await self._known(caller, context) is not None:
                    received = self._take(caller, batch)
        return sink_pb2.ProgressResponse(received_sequence=received)

    def _take(self, caller: Caller, batch: sink_pb2.ProgressBatch) -> int:
        for event in batch.events:
            self.received(event.event_type)
        return self._runs.take(caller.execution_uid, caller.pod, caller.pod_created, batch)

    @contextlib.contextmanager
    def _open(self, method: str) -> Iterator[None]:
        self.streams[method] += 1
        try:
            yield
        finally:
            self.streams[method] -= 1

    async def Watch(self, request: sink_pb2.WatchRequest, context: Context) -> AsyncIterator[sink_pb2.WatchResponse]:
        """Tells the desired state and the watermarks, now and whenever they change."""
        caller = await self._caller(context)
        await self._check(caller, request.run, context)
        uid, last = caller.execution_uid, None
        if await self._known(caller, context) is None:
            yield ALL_OVER
            return
        self.events.back(uid)
        with self._open("Watch"), self._listening(uid) as changed:
            while True:
                changed.clear()
                run = self._runs.get(uid)
                if run is None or run.execution_id != caller.execution_id:
                    if run is not None or self._runs.has_ended(uid):
                        yield ALL_OVER
                    return
                recorded, delivered = self._runs.watermarks(uid)
                if not run.knows(caller.pod, continued=request.run.continued):
                    recorded = delivered = 0
                response = sink_pb2.WatchResponse(
                    desired_state=_STATES[run.desired.state],
                    reason=run.desired.reason,
                    generation=run.desired.generation,
                    recorded_sequence=recorded,
                    delivered_sequence=delivered,
                )
                if response != last:
                    last = response
                    yield response
                await changed.wait()

    async def Listen(
        self, request_iterator: AsyncIterator[sink_pb2.ListenRequest], context: Context
    ) -> AsyncIterator[sink_pb2.ListenResponse]:
        """Hands down the events that the pod's run listens for, until the pod closes the stream."""
        caller = await self._caller(context)
        first = await anext(aiter(request_iterator), None)
        if first is None:
            return
        await self._check(caller, first.run, context)
        if await self._known(caller, context) is None:
            return
        with self._open("Listen"), self.events.listening(caller.namespace, caller.execution_uid) as ear:
            _hear(ear, first)
            reading = asyncio.create_task(_read(ear, request_iterator))
            reading.add_done_callback(lambda _: ear.hang_up())
            try:
                while (sending := await ear.next()) is not None:
                    number, event = sending
                    yield sink_pb2.ListenResponse(number=number, event_json=event)
            finally:
                reading.cancel()
                run = self._runs.get(caller.execution_uid)
                if run is None or run.end is not None:
                    ear.wanted = ()  # nobody is waited for

    async def Secrets(self, request: sink_pb2.SecretsRequest, context: Context) -> sink_pb2.SecretsResponse:
        """The secret values of the caller's own run, read now."""
        caller = await self._caller(context)
        await self._check(caller, request.run, context)
        try:
            if self._secrets is None or await self._known(caller, context) is None:
                raise InvalidInput("the run has ended, or has no secrets", code="sink.no-secrets")
            return sink_pb2.SecretsResponse(values=await self._secrets(caller.execution_uid))
        except (ClusterError, Unavailable) as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"{error.code}: {error}")
        except WorkflowRunnerError as error:
            await self._refuse(context, grpc.StatusCode.FAILED_PRECONDITION, f"{error.code}: {error}")
        raise AssertionError("abort raises")

    async def report(self, event: io_pb2.WorkflowProgressEvent, context: Context) -> io_pb2.ProgressAckResponse:
        """One event by the older callback client (ReportProgress)."""
        caller = await self._caller(context)
        if await self._known(caller, context) is not None:
            self._take(caller, sink_pb2.ProgressBatch(events=[event]))
        return io_pb2.ProgressAckResponse(success=True)

    async def _caller(self, context: Context) -> Caller:
        token = ""
        for key, value in context.invocation_metadata() or ():
            if key == "authorization" and isinstance(value, str) and value.startswith("Bearer "):
                token = value.removeprefix("Bearer ").strip()
        try:
            if not token:
                raise Unauthenticated("no token: send `authorization: Bearer …`", code="sink.no-token")
            return await self._identities.caller(token)
        except Unauthenticated as error:
            await self._refuse(context, grpc.StatusCode.UNAUTHENTICATED, f"{error.code}: {error}")
        except PermissionDenied as error:
            await self._refuse(context, grpc.StatusCode.PERMISSION_DENIED, f"{error.code}: {error}")
        except (ClusterError, Unavailable) as error:
            log.info("a caller could not be checked; it dials again", error=error.message)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the caller cannot be checked now; try again")
        raise AssertionError("abort raises")

    async def _check(self, caller: Caller, run: sink_pb2.Run, context: Context) -> None:
        if run.execution_uid != caller.execution_uid or run.attempt != caller.attempt:
            await self._refuse(context, grpc.StatusCode.PERMISSION_DENIED, "sink.other-run: the token belongs to another run")

    async def _known(self, caller: Caller, context: Context) -> LiveRun | None:
        """The caller's run; None when it has ended, or given way to a run of another runId: nothing more is to be
        said of it."""
        run = self._runs.get(caller.execution_uid)
        if run is not None:
            return run if run.execution_id == caller.execution_id else None
        with self._listening(caller.execution_uid) as changed, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KNOWN_WITHIN_SECONDS):
                while True:
                    run = self._runs.get(caller.execution_uid)
                    if run is not None or self._runs.has_ended(caller.execution_uid):
                        return run if run is not None and run.execution_id == caller.execution_id else None
                    await changed.wait()
                    changed.clear()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the run is not known yet; try again")
        raise AssertionError("abort raises")

    async def _refuse(self, context: Context, code: grpc.StatusCode, message: str) -> None:
        log.warning("a call to the sink was refused", peer=context.peer(), reason=message)
        self.turned_away(message.partition(":")[0])
        await context.abort(code, message)

    def _publish(self, uid: str) -> None:
        for event in self._listeners.get(uid, ()):
            event.set()

    @contextlib.contextmanager
    def _listening(self, uid: str) -> Any:
        event = asyncio.Event()
        self._listeners.setdefault(uid, set()).add(event)
        try:
            yield event
        finally:
            listeners = self._listeners[uid]
            listeners.discard(event)
            if not listeners:
                del self._listeners[uid]


async def _read(ear: Ear, requests: AsyncIterator[sink_pb2.ListenRequest]) -> None:
    async for request in requests:
        _hear(ear, request)


def _hear(ear: Ear, request: sink_pb2.ListenRequest) -> None:
    if request.HasField("interest"):
        wanted = request.interest.wanted
        ear.wanted = [dict(each.attributes) for each in wanted] if len(wanted) <= MOST_WANTED else [{}]
    for answer in request.answers:
        ear.answered(answer.number, Offer(int(answer.taken), int(answer.full)))


class CommandService(command_pb2_grpc.WorkflowRunnerCommandControllerServicer):
    """The older API's ReportProgress, for runners with the older callback client; nothing else of it."""

    def __init__(self, sink: SinkService) -> None:
        self._sink = sink

    async def ReportProgress(self, request: io_pb2.WorkflowProgressEvent, context: Context) -> io_pb2.ProgressAckResponse:
        """See SinkService.report."""
        return await self._sink.report(request, context)


def build_server(sink: SinkService, address: str, credentials: grpc.ServerCredentials) -> tuple[grpc.aio.Server, int]:
    """A server for both services, not yet started, and its port; raises InvalidInput when the port is taken."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.so_reuseport", 0),
        ],
    )
    sink_pb2_grpc.add_SinkServiceServicer_to_server(sink, server)
    command_pb2_grpc.add_WorkflowRunnerCommandControllerServicer_to_server(CommandService(sink), server)
    try:
        return server, server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise port_taken(address, str(error)) from error
