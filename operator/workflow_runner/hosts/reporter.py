"""A launched pod's side of the sink protocol (docs/sink-protocol.md). Built by cli.execute.

Events go up on the Progress stream, the desired state and the watermarks come down on the Watch stream. Both
are dialled again for ever, and whatever the operator does, the run does not notice: `report` only puts an
event into a bounded buffer, and messages are made for events that are sent.

Kept light on purpose: every launched pod imports it before it runs anything.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable
from pathlib import Path

import grpc
import grpc.aio
from msgspec import Struct

from workflow_runner import telemetry
from workflow_runner.hosts.buffer import SKIPPED, SUPERSEDED, Buffer, Kept
from workflow_runner.hosts.dialling import Dialling
from workflow_runner.hosts.event_bus import EventBus
from workflow_runner.hosts.events import fits, sendable
from workflow_runner.hosts.sink_events import SinkEvents
from workflow_runner.interpreter.events import Event, EventType, TaskCounts
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2

log = logging.getLogger(__name__)

PROGRESS = "/ai.stigmer.workflowrunner.sink.v1.SinkService/Progress"
WATCH = "/ai.stigmer.workflowrunner.sink.v1.SinkService/Watch"

BATCH_EVENTS = 100
BATCH_BYTES = 1024 * 1024
"""A batch ends with the event that takes it above this; the sink takes messages of 4 MiB."""
LARGEST_OUTPUT_BYTES = 256 * 1024
BATCH_SECONDS = 0.1
"""How long a task event waits for company; events of the workflow and answers do not wait."""
STREAM_SECONDS = 900.0
"""Streams are dialled again at this age, give or take: with the token as it is then, to whoever is the operator then."""
FIRST_ANSWER_SECONDS = 15.0
MOST_TOKEN = 64 * 1024
WRITE_SECONDS = 15.0
"""How long the sink may leave a batch untaken before it is dialled again."""
STALE_SECONDS = 30.0
"""How long sent events may stay unrecorded, with no word of progress, before they are sent again."""
GOODBYE_SECONDS = 0.5
MOST_RECORDED_BEYOND = 10**9

_STATES = {
    sink_pb2.WatchResponse.DESIRED_STATE_RUN: "Run",
    sink_pb2.WatchResponse.DESIRED_STATE_PAUSE: "Pause",
    sink_pb2.WatchResponse.DESIRED_STATE_CANCEL: "Cancel",
}
_NO_NEWS = frozenset({EventType.CORRELATION_STARTED, EventType.CORRELATION_COMPLETED})
_BATCHED = SUPERSEDED | {EventType.TASK_FAILED}
_OPTIONS: list[tuple[str, int]] = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Streams are kept open without data; the sink allows these pings.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A CloudEvent of 1 MiB (hosts/cloud_events.py) may be six times as long when its characters are escaped.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # A proxy in the environment is for the workflow's own calls; the sink is in the cluster.
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
]


class DesiredState(Struct, frozen=True):
    """What the operator wants of the run: `state` is Run, Pause, Cancel, or Unknown (a word of a newer
    operator, and to be refused); `generation` is what `control_result` answers."""

    state: str
    reason: str
    generation: int


class Reporter:
    """Reports one run to the sink and hears what is wanted of it. Use it from one event loop."""

    def __init__(
        self,
        endpoint: str,
        *,
        ca_pem: bytes,
        token_file: Path,
        execution_uid: str,
        execution_id: str,
        attempt: int,
        workflow_name: str,
        on_desired_state: Callable[[DesiredState], None],
        counts: Callable[[], TaskCounts],
        max_buffered: int = 1000,
        batch_seconds: float = BATCH_SECONDS,
        goes_on_from: Kept | None = None,
        bus: EventBus | None = None,
    ) -> None:
        """`endpoint` is HOST:PORT, spoken to over TLS with `ca_pem` as the only root. The token file is read again
        at every dial. `on_desired_state` is called in the event loop for every state that differs from the one
        before; `counts` gives the totals as of now. `goes_on_from` is what an earlier pod of this attempt kept: it is
        sent again, and the operator hears that this pod goes on. To the `bus` come the events that the operator has for
        the run."""
        self._run = sink_pb2.Run(
            execution_uid=execution_uid, execution_id=execution_id, attempt=attempt, continued=goes_on_from is not None
        )
        self._token_file = token_file
        self._on_desired_state = on_desired_state
        self._counts = counts
        self._workflow_name = workflow_name
        self._buffer = Buffer(most=max_buffered, kept=goes_on_from or Kept())
        self._batch_seconds = batch_seconds
        self._recorded = self._delivered = 0
        self._control: sink_pb2.ControlResult | None = None
        self._control_sent = True
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._desired: DesiredState | None = None
        self._told = asyncio.Event()
        """Set, and replaced, with every message of the Watch stream."""
        self._tasks: list[asyncio.Task[None]] = []
        self._streaming = self._finishing = self._leaving = False
        credentials = grpc.ssl_channel_credentials(root_certificates=ca_pem)
        self._channel: grpc.aio.Channel = grpc.aio.secure_channel(endpoint, credentials, options=_OPTIONS)
        self._dial_progress = Dialling("reporting", endpoint)
        self._dial_watch = Dialling("listening", endpoint)
        self._dial_events = Dialling("hearing events", endpoint)
        self._events = None if bus is None else SinkEvents(bus, self._run)
        self._loop: asyncio.AbstractEventLoop | None = None

    def report(self, event: Event, number: int = 0) -> None:
        """Take an event for the operator; numbered from 1, unless it has a `number` of its own, above all before. Never
        waits, never fails; costs a microsecond or two.

        That a task listens is no news for it.
        """
        if event.type in _NO_NEWS:
            return
        self._buffer.skip_to(number - 1)
        self._buffer.add(event)
        if event.type not in _BATCHED or self._buffer.unsent >= BATCH_EVENTS:
            self._wake.set()
        elif self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(self._batch_seconds, self._time_to_send)

    @property
    def last_sequence(self) -> int:
        """The number of the newest event, sent or not."""
        return self._buffer.last

    @property
    def delivered_sequence(self) -> int:
        """Up to this number everybody has everything, by what the operator has said; also of events of an earlier pod."""
        return self._delivered

    @property
    def kept(self) -> Kept:
        """What another pod needs to go on from here: events that are not known to have reached everybody, and numbers."""
        return self._buffer.kept

    def skip_used_numbers(self) -> None:
        """Leave out the numbers that the earlier pod may have used since it wrote its state down: events from here on
        are this pod's own."""
        last = self._buffer.last
        # A run that has ended is answered with a number beyond all numbers.
        recorded = self._recorded if self._recorded < last + MOST_RECORDED_BEYOND else 0
        self._buffer.skip_to(max(last, recorded) + SKIPPED)

    def control_result(self, generation: int, result: str, reason: str = "", *, suspendable: bool = False) -> None:
        """Answer a desired state: `result` is accepted, applied or refused; `suspendable` says that the pod may be ended
        and the run goes on elsewhere. The newest answer is told at once."""
        self._control = sink_pb2.ControlResult(generation=generation, result=result, reason=reason, suspendable=suspendable)
        self._control_sent = False
        self._wake.set()

    async def start(self) -> None:
        """Begin to dial; returns at once."""
        self._loop = asyncio.get_running_loop()
        self._tasks = [
            asyncio.create_task(self._dial_progress.again_and_again(self._progress)),
            asyncio.create_task(self._dial_watch.again_and_again(self._watch)),
        ]
        if self._events is not None:
            self._tasks.append(asyncio.create_task(self._dial_events.again_and_again(self._hear_events)))

    async def first_desired_state(self, timeout: float) -> DesiredState | None:  # noqa: ASYNC109 - None is an answer
        """The first thing that the operator says, or None when it says nothing within `timeout` seconds."""
        await self._until(lambda: self._desired is not None, timeout)
        return self._desired

    async def finish(self, timeout: float) -> bool:  # noqa: ASYNC109 - False is an answer
        """Wait until status contains every event and the last control result was sent; False after `timeout` seconds."""
        self._finishing = True
        self._wake.set()
        return await self._until(lambda: self._recorded >= self._buffer.last and self._control_sent, timeout)

    async def close(self) -> None:
        """Hang up. Events that were not taken are lost; `finish` first."""
        self._leaving = self._dial_progress.leaving = self._dial_watch.leaving = self._dial_events.leaving = True
        self._wake.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._streaming:
            # The Progress stream says goodbye by itself, if the sink lets it.
            await self._until(lambda: not self._streaming, GOODBYE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._channel.close()

    async def _progress(self) -> None:
        """One Progress stream, from its dial to its end."""
        call = self._channel.stream_unary(
            PROGRESS,
            request_serializer=sink_pb2.ProgressBatch.SerializeToString,
            response_deserializer=sink_pb2.ProgressResponse.FromString,
        )(metadata=self._metadata(), timeout=_lifetime())
        call.add_done_callback(lambda _: self._wake.set())
        self._buffer.rewind()
        self._control_sent = self._control is None
        self._streaming, fresh = True, True
        try:
            while not call.done():
                self._wake.clear()
                # What is made from here on waits for company, or sets `_wake`.
                last = self._buffer.last
                while fresh or self._buffer.sent < last or not self._control_sent:
                    batch = self._next_batch(fresh)
                    async with asyncio.timeout(WRITE_SECONDS):
                        await call.write(batch)
                    fresh = False
                    self._control_sent = self._control is None or batch.control == self._control
                    self._changed()
                if self._leaving:
                    await call.done_writing()
                    break
                await self._woken()
            await call
        except asyncio.InvalidStateError:
            # Written to a call that had ended in the meantime: what it ended with is the news.
            await call
        finally:
            self._streaming = False
            self._changed()
            call.cancel()

    async def _woken(self) -> None:
        """Wait for something to send. TimeoutError when what was sent stays unrecorded, as on a connection that is
        dead without knowing it: then it is sent again."""
        before = self._recorded
        unrecorded = self._buffer.sent > before
        seconds = STALE_SECONDS / 3 if self._finishing else STALE_SECONDS
        try:
            async with asyncio.timeout(seconds if unrecorded else None):
                await self._wake.wait()
        except TimeoutError:
            if self._recorded == before:
                raise

    def _next_batch(self, fresh: bool) -> sink_pb2.ProgressBatch:
        """What is to be sent now; the first batch of a stream says whose it is, and comes even when empty."""
        batch = sink_pb2.ProgressBatch()
        size = 0
        for number, event in self._buffer.unsent_events():
            message = self._message(number, event)
            size += message.ByteSize()
            batch.events.append(message)
            self._buffer.sent = number
            if event.type is EventType.WORKFLOW_COMPLETED:
                batch.output_too_large = not _is_sendable(event)
                batch.output_json = b"" if batch.output_too_large else _exact(event)
            if len(batch.events) >= BATCH_EVENTS or size >= BATCH_BYTES:
                break
        else:
            self._buffer.sent = self._buffer.last
        if fresh:
            batch.run.CopyFrom(self._run)
        if self._control is not None and not self._control_sent:
            batch.control.CopyFrom(self._control)
        counts = self._counts()
        batch.counts.started, batch.counts.completed, batch.counts.failed = counts.started, counts.completed, counts.failed
        batch.counts.skipped, batch.counts.retried = counts.skipped, counts.retried
        return batch

    def _message(self, number: int, event: Event) -> WorkflowProgressEvent:
        run = self._run
        return sendable(
            event, execution_id=run.execution_id, workflow_name=self._workflow_name, attempt=run.attempt, sequence=number
        )

    async def _watch(self) -> None:
        """One Watch stream, from its dial to its end."""
        call = self._channel.unary_stream(
            WATCH,
            request_serializer=sink_pb2.WatchRequest.SerializeToString,
            response_deserializer=sink_pb2.WatchResponse.FromString,
        )(sink_pb2.WatchRequest(run=self._run), metadata=self._metadata(), timeout=_lifetime())
        seconds: float | None = FIRST_ANSWER_SECONDS
        try:
            while True:
                async with asyncio.timeout(seconds):
                    response = await call.read()
                if not isinstance(response, sink_pb2.WatchResponse):
                    return
                seconds = None
                self._hear(response)
        finally:
            call.cancel()

    async def _hear_events(self) -> None:
        """One Listen stream, from its dial to its end; there is none before the run listens."""
        assert self._events is not None  # noqa: S101 - else it is not dialled
        await self._events.wanted()
        await self._events.stream(self._channel, self._metadata(), _lifetime(), self._dial_events.works)

    def _hear(self, response: sink_pb2.WatchResponse) -> None:
        self._dial_watch.works()
        if response.recorded_sequence > self._recorded:
            self._recorded = response.recorded_sequence
            self._dial_progress.works()
        self._delivered = max(self._delivered, response.delivered_sequence)
        self._buffer.forget(response.delivered_sequence)
        state = _STATES.get(response.desired_state, "Unknown")
        desired = DesiredState(state, response.reason, response.generation)
        if desired != self._desired:
            self._desired = desired
            # In its own turn of the loop: what goes wrong in there is not the stream's trouble.
            asyncio.get_running_loop().call_soon(self._on_desired_state, desired)
        self._changed()

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """The token as it is now: projected tokens rotate. A few hundred bytes from memory-backed files."""
        with self._token_file.open() as file:
            token = file.read(MOST_TOKEN).strip()
        telemetry.conceal(token)
        return (("authorization", f"Bearer {token}"),)

    def _time_to_send(self) -> None:
        self._timer = None
        self._wake.set()

    def _changed(self) -> None:
        self._told.set()
        self._told = asyncio.Event()

    async def _until(self, holds: Callable[[], bool], seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await self._told.wait()
        except TimeoutError:
            return False
        return True


def _lifetime() -> float:
    """Drawn, so that the pods of an operator that has restarted do not all come back together for ever."""
    return STREAM_SECONDS * random.uniform(0.8, 1.0)  # noqa: S311 - jitter


def _is_sendable(event: Event) -> bool:
    """Whether the output is no larger than status holds."""
    try:
        return fits(event.output, LARGEST_OUTPUT_BYTES)
    except (ValueError, TypeError, RecursionError):
        return True  # it is not its size that stands in the way


def _exact(event: Event) -> bytes:
    """The output as JSON text, for the event's own is in doubles."""
    try:
        return json.dumps(event.output, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError):
        log.warning("the output of the workflow cannot be written as JSON; it goes without")
        return b""
