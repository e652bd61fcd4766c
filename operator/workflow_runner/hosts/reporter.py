"""A launched pod's side of the sink protocol: events up, desired state down (docs/sink-protocol.md).

Built by cli.execute. `report` never waits and never raises: what cannot be sent is kept within a bound,
coalesced, and sent again after every reconnect until the operator says that it is safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grpc
import grpc.aio
import structlog

from workflow_runner.hosts.events import fits, to_proto
from workflow_runner.interpreter.events import Event, EventType
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2, sink_pb2_grpc

log = structlog.get_logger(__name__)

MAX_KEPT = 1000
MAX_BATCH = 200
BATCH_SECONDS = 0.1
"""How long a task event waits for company; phase changes and failures do not wait."""
BACKOFF_FIRST, BACKOFF_MOST, BACKOFF_REFUSED = 0.1, 10.0, 30.0
STREAM_SECONDS = 900.0
"""Streams are dialled again after this long, with the token as it is then."""
MAX_OUTPUT = 256 * 1024

_EXPENDABLE = frozenset({EventType.TASK_STARTED, EventType.TASK_COMPLETED, EventType.TASK_SKIPPED, EventType.TASK_RETRIED})
_STATES = {
    sink_pb2.WatchResponse.DESIRED_STATE_RUN: "Run",
    sink_pb2.WatchResponse.DESIRED_STATE_PAUSE: "Pause",
    sink_pb2.WatchResponse.DESIRED_STATE_CANCEL: "Cancel",
}
_REFUSALS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


class Counts(Protocol):
    """Totals of the run so far (interpreter.events.TaskCounts)."""

    started: int
    completed: int
    failed: int
    skipped: int
    retried: int


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What the operator wants: Run, Pause, Cancel, or Unknown for a word this runner does not know."""

    state: str
    reason: str
    generation: int


class Reporter:
    """Keeps two streams to the sink. All methods are for the event loop that called `start`."""

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
        counts: Callable[[], Counts],
        max_kept: int = MAX_KEPT,
    ) -> None:
        self._endpoint = endpoint
        self._ca_pem = ca_pem
        self._token_file = token_file
        self._run = sink_pb2.Run(execution_uid=execution_uid, execution_id=execution_id, attempt=attempt)
        self._on_desired_state = on_desired_state
        self._counts = counts
        self._max_kept = max_kept
        self._kept: list[tuple[int, Event]] = []
        self._sequence = self._recorded = self._delivered = 0
        self._workflow_name = workflow_name
        self._control: sink_pb2.ControlResult | None = None
        self._desired: DesiredState | None = None
        self._work, self._urgent, self._answered, self._watermark = (asyncio.Event() for _ in range(4))
        self._channel: grpc.aio.Channel | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins to dial; does not wait for an answer."""
        self._channel = grpc.aio.secure_channel(
            self._endpoint,
            grpc.ssl_channel_credentials(self._ca_pem),
            options=[
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.min_reconnect_backoff_ms", 100),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 5_000),
            ],
        )
        stub: Any = sink_pb2_grpc.SinkServiceStub(self._channel)
        self._tasks = [
            asyncio.create_task(self._keep(lambda: self._progress(stub)), name="sink progress"),
            asyncio.create_task(self._keep(lambda: self._watch(stub)), name="sink watch"),
        ]

    def report(self, event: Event) -> None:
        """Takes an event and gives it the next number."""
        self._sequence += 1
        self._kept.append((self._sequence, event))
        if len(self._kept) > self._max_kept:
            self._coalesce()
        if event.type not in _EXPENDABLE:
            self._urgent.set()
        self._work.set()

    def control_result(self, generation: int, result: str, reason: str = "") -> None:
        """Answers a desired state: accepted, applied or refused."""
        self._control = sink_pb2.ControlResult(generation=generation, result=result, reason=reason)
        self._wake()

    async def first_desired_state(self, seconds: float) -> DesiredState | None:
        """The operator's first answer, or None when there is none within so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._answered.wait()
        return self._desired

    async def finish(self, seconds: float) -> bool:
        """Waits until the last event is recorded in status; False when it is not within so many seconds."""
        self._wake()
        try:
            async with asyncio.timeout(seconds):
                while self._recorded < self._sequence:
                    self._watermark.clear()
                    await self._watermark.wait()
        except TimeoutError:
            log.warning("the operator did not acknowledge the last event", sequence=self._sequence, recorded=self._recorded)
            return False
        return True

    async def close(self) -> None:
        """Ends both streams."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close(grace=None)

    # the two streams

    async def _keep(self, stream: Callable[[], Awaitable[None]]) -> None:
        """Runs a stream again whenever it ends, with backoff that a stream that worked resets."""
        failures, said = 0, ""
        while True:
            recorded = self._recorded
            try:
                await stream()
                failures = 0
                continue
            except grpc.aio.AioRpcError as error:
                code, detail = error.code(), error.details() or ""
            except OSError as error:
                code, detail = None, f"the token cannot be read: {error}"
            failures = 1 if self._recorded > recorded else failures + 1
            if f"{code}{detail}" != said and code is not grpc.StatusCode.DEADLINE_EXCEEDED:
                said = f"{code}{detail}"
                log.warning("no connection to the sink; the run goes on", code=str(code), detail=detail)
            most = BACKOFF_REFUSED if code in _REFUSALS else BACKOFF_MOST
            first = most / 8 if code in _REFUSALS else BACKOFF_FIRST
            await asyncio.sleep(min(most, first * 2 ** min(failures - 1, 10)) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _progress(self, stub: Any) -> None:
        call = stub.Progress(metadata=self._metadata(), timeout=STREAM_SECONDS)
        call.add_done_callback(lambda _: self._wake())
        sent, hello = self._delivered, True
        try:
            while not call.done():
                pending = [item for item in self._kept if item[0] > sent]
                if not pending and self._control is None and not hello:
                    self._work.clear()
                    self._urgent.clear()
                    await self._work.wait()
                    await self._company()
                    continue
                chosen, control = pending[:MAX_BATCH], self._control
                with contextlib.suppress(asyncio.InvalidStateError):  # it ended meanwhile: `await call` says how
                    await call.write(self._batch(chosen, hello=hello))
                sent, hello = (chosen[-1][0] if chosen else sent), False
                if self._control is control:
                    self._control = None
            await call
        finally:
            call.cancel()

    def _wake(self) -> None:
        self._urgent.set()
        self._work.set()

    async def _company(self) -> None:
        """Lets a few more events gather, unless one of them is urgent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BATCH_SECONDS):
                await self._urgent.wait()

    def _batch(self, events: list[tuple[int, Event]], *, hello: bool) -> sink_pb2.ProgressBatch:
        counts = self._counts()
        batch = sink_pb2.ProgressBatch(
            run=self._run if hello else None,
            counts=sink_pb2.TaskCounts(
                started=counts.started,
                completed=counts.completed,
                failed=counts.failed,
                skipped=counts.skipped,
                retried=counts.retried,
            ),
            control=self._control,
        )
        for sequence, event in events:
            batch.events.append(
                to_proto(
                    event,
                    execution_id=self._run.execution_id,
                    workflow_name=self._workflow_name,
                    attempt=self._run.attempt,
                    sequence=sequence,
                )
            )
            if event.type is EventType.WORKFLOW_COMPLETED and fits(event.output, MAX_OUTPUT):
                batch.output_json = json.dumps(event.output, separators=(",", ":")).encode()
        return batch

    async def _watch(self, stub: Any) -> None:
        request = sink_pb2.WatchRequest(run=self._run)
        async for answer in stub.Watch(request, metadata=self._metadata(), timeout=STREAM_SECONDS):
            self._take(answer)

    def _take(self, answer: sink_pb2.WatchResponse) -> None:
        self._recorded = max(self._recorded, answer.recorded_sequence)
        if answer.delivered_sequence > self._delivered:
            self._delivered = answer.delivered_sequence
            self._kept = [item for item in self._kept if item[0] > self._delivered]
        self._watermark.set()
        desired = DesiredState(_STATES.get(answer.desired_state, "Unknown"), answer.reason, answer.generation)
        changed = self._desired is None or (desired.state, desired.generation) != (
            self._desired.state,
            self._desired.generation,
        )
        self._desired = desired
        self._answered.set()
        if changed:
            self._on_desired_state(desired)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """The token as it is now: projected tokens are renewed in their file."""
        return (("authorization", f"Bearer {self._token_file.read_text().strip()}"),)

    def _coalesce(self) -> None:
        """Drops the oldest quarter of what is kept, of the events whose totals tell enough; where there are
        none left, the oldest failures of tasks; never an event of the workflow itself."""
        excess = max(1, len(self._kept) - self._max_kept * 3 // 4)
        for expendable in (_EXPENDABLE, {EventType.TASK_FAILED}):
            numbers = [number for number, event in self._kept if event.type in expendable][:excess]
            dropped = set(numbers)
            self._kept = [item for item in self._kept if item[0] not in dropped]
            excess -= len(dropped)
            if excess <= 0:
                return
