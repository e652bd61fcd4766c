"""CloudEvents from the operator for a launched pod's run: the Listen stream of the sink. Owned by reporter.py.

Opened when the run first listens for something. The pod says what, again after every change, and answers each event with
what became of it on the run's bus; the operator tells that to whoever sent the event.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable

import grpc
import grpc.aio
from msgspec import Struct, field

from workflow_runner.hosts.event_bus import EventBus, Offer
from workflow_runner.interpreter.subscriptions import all_wanted
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2

LISTEN = "/ai.stigmer.workflowrunner.sink.v1.SinkService/Listen"

log = logging.getLogger(__name__)


class _Stream(Struct):
    """What is to be said on one stream."""

    news: asyncio.Event = field(default_factory=asyncio.Event)
    answers: list[sink_pb2.EventAnswer] = field(default_factory=list)
    ended: bool = False


class SinkEvents:
    """What a run listens for, told to the operator, and the events that come from there."""

    def __init__(self, bus: EventBus, run: sink_pb2.Run) -> None:
        self._bus = bus
        bus.changed = self.changed
        self._run = run
        self._changed = asyncio.Event()
        self._stream = _Stream()

    def changed(self) -> None:
        """Somebody begins or ends to listen."""
        self._changed.set()
        self._stream.news.set()

    async def wanted(self) -> None:
        """Return when the run listens for something."""
        while not self._bus.subscriptions:
            self._changed.clear()
            await self._changed.wait()

    async def stream(
        self, channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...], seconds: float, works: Callable[[], None]
    ) -> None:
        """One stream, from its dial to its end. `works` is told of each event."""
        stream = self._stream = _Stream()
        call = channel.stream_stream(
            LISTEN,
            request_serializer=sink_pb2.ListenRequest.SerializeToString,
            response_deserializer=sink_pb2.ListenResponse.FromString,
        )(self._requests(stream), metadata=metadata, timeout=seconds)
        try:
            async for response in call:
                works()
                offer = self._offer(response.event_json)
                answer = sink_pb2.EventAnswer(number=response.number, taken=offer.taken > 0, full=offer.full > 0)
                stream.answers.append(answer)
                stream.news.set()
        finally:
            # gRPC goes on asking for requests where it was the other side that ended the stream.
            stream.ended = True
            stream.news.set()
            call.cancel()

    async def _requests(self, stream: _Stream) -> AsyncIterator[sink_pb2.ListenRequest]:
        """What the pod says on a stream, for as long as it is open."""
        request, told = sink_pb2.ListenRequest(run=self._run), None
        while not stream.ended:
            stream.news.clear()
            interest = self._interest()
            if interest != told:
                request.interest.CopyFrom(interest)
                told = interest
            answers, stream.answers = stream.answers, []
            request.answers.extend(answers)
            if request.ByteSize():
                yield request
            request = sink_pb2.ListenRequest()
            if not stream.answers and not stream.ended:
                await stream.news.wait()

    def _interest(self) -> sink_pb2.Interest:
        wanted = all_wanted(self._bus.subscriptions)
        return sink_pb2.Interest(wanted=[sink_pb2.WantedEvent(attributes=dict(each)) for each in wanted])

    def _offer(self, text: bytes) -> Offer:
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            log.warning("the operator sent what is no event")
            return Offer(0, 0)
        return self._bus.offer(event)
