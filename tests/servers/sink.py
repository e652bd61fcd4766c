"""A small sink for tests of the pod's side: the real protocol over TLS on loopback, with every kind of bad day on request."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2, sink_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
Watch = sink_pb2.WatchResponse
UNSET = grpc.StatusCode.OK


@dataclass
class Sink(sink_pb2_grpc.SinkServiceServicer):
    """Takes in batches and tells `answer`; the attributes below make it misbehave from the next call or batch on."""

    tls: tuple[bytes, bytes]
    listen: str = "localhost:0"
    batches: list[sink_pb2.ProgressBatch] = field(default_factory=list)
    streams: list[list[sink_pb2.ProgressBatch]] = field(default_factory=list)
    """The batches by Progress stream."""
    tokens: list[str] = field(default_factory=list)
    """What each call came with, both kinds."""
    watches: list[sink_pb2.WatchRequest] = field(default_factory=list)
    ended: int = 0
    """Progress streams that the pod closed in good order."""
    answer: Watch = field(default_factory=lambda: Watch(desired_state=Watch.DESIRED_STATE_RUN, generation=1))
    acknowledge: bool = True
    """Whether events that are taken in count as recorded and delivered."""
    refuse: grpc.StatusCode = UNSET
    deaf: bool = False
    """Progress streams are opened and never read."""
    break_after: int = 0
    """After this many batches of a stream it is broken off, without an answer; the last one is lost."""
    mute: bool = False
    """Watch streams are opened and never answered."""
    secrets: dict[str, str] | None = None
    """What a run has in Stigmer; without it the operator says no."""
    asked: list[sink_pb2.SecretsRequest] = field(default_factory=list)
    """For secrets."""
    _server: grpc.aio.Server | None = None
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def port(self) -> int:
        return int(self.listen.rsplit(":", 1)[1])

    @property
    def events(self) -> list[WorkflowProgressEvent]:
        return [event for batch in self.batches for event in batch.events]

    @property
    def numbers(self) -> list[int]:
        return [event.sequence_number for event in self.events]

    async def up(self) -> None:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.http2.min_ping_interval_without_data_ms", 5_000)])
        sink_pb2_grpc.add_SinkServiceServicer_to_server(self, server)
        port = server.add_secure_port(self.listen, grpc.ssl_server_credentials([self.tls]))
        self.listen = f"localhost:{port}"
        await server.start()
        self._server = server

    async def down(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(grace=None)

    async def tell(self, **fields: Any) -> None:
        """Change the answer of the Watch streams, now."""
        self.answer = Watch()
        self.answer.MergeFrom(Watch(**fields))
        await self._notify()

    async def until(self, holds: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something holds that changes with calls and batches."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(holds)

    async def Progress(
        self, request_iterator: AsyncIterator[sink_pb2.ProgressBatch], context: Context
    ) -> sink_pb2.ProgressResponse:
        await self._enter(context)
        stream: list[sink_pb2.ProgressBatch] = []
        self.streams.append(stream)
        await self._notify()
        if self.deaf:
            await asyncio.Event().wait()
        received = 0
        async for batch in request_iterator:
            if self.break_after and len(stream) + 1 >= self.break_after:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "told to break off")
            stream.append(batch)
            self.batches.append(batch)
            received = max([received, *(event.sequence_number for event in batch.events)])
            if self.acknowledge and batch.events:
                self.answer = Watch(
                    desired_state=self.answer.desired_state,
                    reason=self.answer.reason,
                    generation=self.answer.generation,
                    recorded_sequence=max(received, self.answer.recorded_sequence),
                    delivered_sequence=max(received, self.answer.delivered_sequence),
                )
            await self._notify()
        self.ended += 1
        await self._notify()
        return sink_pb2.ProgressResponse(received_sequence=received)

    async def Secrets(self, request: sink_pb2.SecretsRequest, context: Context) -> sink_pb2.SecretsResponse:
        self.asked.append(request)
        await self._notify()
        await self._enter(context)
        if self.secrets is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "stigmer.refused: no such workflow")
        return sink_pb2.SecretsResponse(values=self.secrets)

    async def Watch(self, request: sink_pb2.WatchRequest, context: Context) -> AsyncIterator[Watch]:
        await self._enter(context)
        self.watches.append(request)
        await self._notify()
        if self.mute:
            await asyncio.Event().wait()
        last = None
        while True:
            answer = self.answer
            yield answer
            last = answer
            async with self._changed:
                await self._changed.wait_for(functools.partial(self._is_new, last))

    def _is_new(self, last: object) -> bool:
        return self.answer is not last

    async def _enter(self, context: Context) -> None:
        self.tokens.append(str(dict(context.invocation_metadata() or ()).get("authorization")))
        await self._notify()
        if self.refuse is not UNSET:
            await context.abort(self.refuse, "told to refuse")

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
