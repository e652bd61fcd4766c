"""The operator's relay: brings every execution's events to Stigmer, in order and at least once.

The controller tracks executions and offers their events, already numbered towards Stigmer; the relay says
through `changed` when the watermark or the last error of one moved, and status keeps them.

Executions of one destination share a client and a lane. In a lane each execution has one event on its way
at most, and they take turns. A lane that fails is down, as a circuit breaker is open: one execution at a time tries it,
with growing pauses, so an unreachable Stigmer is asked once and not once an execution; the first answer closes it. Lanes
know nothing of each other.

A destination takes events, or states (`Destination.api`). For the latter an event is the occasion only: what is sent is the
whole run as it is at that moment, and the outbox keeps no event but the newest. All else is the same.

    failed for now            kept, and tried again for as long as the execution is tracked
    the key or address refused the same, more slowly: somebody will mend the Secret or the runner
    this event refused        tried REFUSALS times, then left out, which last_error tells; the next goes on
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from msgspec import Struct, field

from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecutionStatus
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.stigmer.client import (
    Backoff,
    CallbackClient,
    DeliveryFailed,
    DeliveryRefused,
    Destination,
    DestinationRefused,
)
from workflow_runner.stigmer.outbox import Outbox

log = logging.getLogger(__name__)

REFUSALS = 3
CHANGED_SECONDS = 0.1
"""The least time between two calls of `changed` for one execution."""
MOST_ERROR = 500


class Delivery(Struct, frozen=True):
    """How the callbacks of one execution stand.

    `delivered_sequence`: nothing up to this number is owed any more. `last_error`: what stands in the way,
    or what was left out for good; None when all is well. `pending`: how many events wait.
    """

    delivered_sequence: int
    last_error: str | None
    pending: int


class Stand(Struct, frozen=True):
    """How one destination stands. `oldest_ms`: when the oldest of the `pending` events happened, by the clock of
    whoever made it. `trouble`: why it takes nothing now; None while it does."""

    endpoint: str
    pending: int
    oldest_ms: int | None
    trouble: str | None


Reported = Callable[[str, str, float | None], None]
"""(endpoint, delivered | failed | refused | left-out | coalesced, seconds of a call or None where none was made)"""
State = Callable[[], WorkflowExecutionStatus]
"""A run as it stands now; it has seen every event that was offered (status.status_of makes it)."""


class _Execution(Struct, eq=False):
    key: str
    lane: _Lane
    outbox: Outbox
    state: State | None
    failures: int = 0
    """Rounds that failed since the last event got across."""
    refusals: int = 0
    """Refusals of the next event."""
    leaving_out: bool = False
    """The event before was left out; the next has one try only, or a wholly refused execution takes hours."""
    trouble: str | None = None
    left_out: str | None = None
    told: tuple[int, str | None] = (-1, None)
    """What `changed` was last called for."""
    waiting: bool = False
    """In the lane's `ready`."""
    task: asyncio.Task[None] | None = None
    retry: asyncio.TimerHandle | None = None
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    """Set, and replaced, when `delivered` moves or the execution is forgotten."""


class _Lane(Struct, eq=False):
    destination: Destination
    executions: set[_Execution] = field(default_factory=set)
    ready: deque[_Execution] = field(default_factory=deque)
    client: CallbackClient | None = None
    sending: int = 0
    failures: int = 0
    """Failed rounds since the destination last answered; the lane is down above 0."""
    trouble: str | None = None
    """Why the last of them failed."""
    pause: asyncio.TimerHandle | None = None
    probe: _Execution | None = None
    closing: asyncio.TimerHandle | None = None


class Relay:
    """The outboxes of all executions. Everything but `run` and `close` returns at once; one event loop only."""

    def __init__(
        self,
        *,
        connect: Callable[[Destination], CallbackClient] = CallbackClient,
        changed: Callable[[str], None],
        max_pending_per_execution: int = 1000,
        max_concurrent: int = 32,
        retry: Backoff = Backoff(first=1.0, most=30.0),  # noqa: B008 - immutable
        retry_refused_destination: Backoff = Backoff(first=5.0, most=60.0),  # noqa: B008 - immutable
        idle_seconds: float = 60.0,
    ) -> None:
        """`max_concurrent` bounds the calls under way to one destination. An unused client is closed after `idle_seconds`."""
        self._connect = connect
        self._changed = changed
        self._most_pending = max_pending_per_execution
        self._most_sending = max_concurrent
        self._retry = retry
        self._retry_refused = retry_refused_destination
        self._idle_seconds = idle_seconds
        self._executions: dict[str, _Execution] = {}
        self._lanes: dict[Destination, _Lane] = {}
        self._moved: set[str] = set()
        self._group: asyncio.TaskGroup | None = None
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()
        self.reported: Reported = lambda endpoint, result, seconds: None
        """Told of every call, and of every event that is given up."""
        self.refused: Callable[[Destination], None] = lambda destination: None
        """Told when a destination refuses everything: its key may have been replaced."""

    def stands(self) -> list[Stand]:
        """How each destination stands that has executions."""
        return [_stand(lane) for lane in self._lanes.values() if lane.executions]

    def track(self, key: str, destination: Destination, delivered_sequence: int, state: State | None = None) -> None:
        """Begin to relay an execution, everything above `delivered_sequence`; or, for one that is tracked,
        take over a new destination (a key that was changed) or a higher watermark, and keep what waits. A destination
        that takes states needs `state`."""
        execution = self._executions.get(key)
        if execution is None:
            newest_only = destination.api == "status"
            outbox = Outbox(delivered=delivered_sequence, most=self._most_pending, newest_only=newest_only)
            self._executions[key] = execution = _Execution(key, self._lane(destination), outbox, state)
            execution.lane.executions.add(execution)
            return
        execution.outbox.skip_to(delivered_sequence)
        execution.state = state or execution.state
        if execution.lane.destination != destination:
            execution.outbox.newest_only = destination.api == "status"
            self._leave(execution)
            execution.lane = self._lane(destination)
            execution.lane.executions.add(execution)
            execution.failures = execution.refusals = 0
            self._ready(execution)

    def redirect(self, old: Destination, new: Destination) -> None:
        """Take every execution of one destination to another: the same with its new key."""
        lane = self._lanes.get(old)
        if lane is not None and new != old:
            for execution in list(lane.executions):
                self.track(execution.key, new, 0)

    def offer(self, key: str, event: WorkflowProgressEvent) -> bool:
        """Take in an event, numbered towards Stigmer. False when the execution is not tracked, or the number is
        known, under way or delivered. The message belongs to the relay from here on."""
        execution = self._executions.get(key)
        if execution is None:
            return False
        coalesced = execution.outbox.coalesced
        if not execution.outbox.offer(event):
            return False
        if execution.outbox.coalesced > coalesced:
            self.reported(execution.lane.destination.endpoint, "coalesced", None)
        self._ready(execution)
        return True

    def delivery(self, key: str) -> Delivery:
        """How the callbacks of a tracked execution stand; KeyError for another."""
        execution = self._executions[key]
        outbox = execution.outbox
        return Delivery(outbox.delivered, execution.trouble or execution.left_out, len(outbox))

    async def delivered(self, key: str, sequence: int, timeout: float) -> bool:  # noqa: ASYNC109 - the answer is a bool, not a TimeoutError
        """Wait up to `timeout` seconds until nothing up to `sequence` is owed; False then, or when forgotten."""
        try:
            async with asyncio.timeout(timeout):
                while (execution := self._executions.get(key)) is not None:
                    if execution.outbox.delivered >= sequence:
                        return True
                    await execution.moved.wait()
        except TimeoutError:
            pass
        return False

    def forget(self, key: str) -> None:
        """Drop an execution and what it owes; nothing happens for one that is not tracked."""
        execution = self._executions.pop(key, None)
        if execution is None:
            return
        self._moved.discard(key)
        self._leave(execution)
        if execution.task is not None:
            execution.task.cancel()
        execution.moved.set()

    async def run(self) -> None:
        """Deliver until `close` or cancellation; events offered before wait for it. Raises only what is a bug."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for lane in list(self._lanes.values()):
                    self._advance(lane)
                try:
                    await self._stop.wait()
                finally:
                    # Also when cancelled: nothing starts any more, and what is under way ends.
                    self._stop.set()
                    for execution in self._executions.values():
                        if execution.task is not None:
                            execution.task.cancel()
        finally:
            self._group = None
            for lane in self._lanes.values():
                _cancel(lane.pause, lane.closing, *(execution.retry for execution in lane.executions))
            await asyncio.gather(*(lane.client.close() for lane in self._lanes.values() if lane.client is not None))
            self._ended.set()

    async def close(self) -> None:
        """Stop `run` and wait for its end. What was not delivered stays undelivered; status has the watermark."""
        running = self._group is not None
        self._stop.set()
        if running:
            await self._ended.wait()

    def _lane(self, destination: Destination) -> _Lane:
        lane = self._lanes.get(destination)
        if lane is None:
            lane = self._lanes[destination] = _Lane(destination)
        _cancel(lane.closing)
        lane.closing = None
        return lane

    def _leave(self, execution: _Execution) -> None:
        lane = execution.lane
        _cancel(execution.retry)
        execution.retry = None
        lane.executions.discard(execution)
        if execution.waiting:
            lane.ready.remove(execution)
            execution.waiting = False
        if not lane.executions and self._group is not None:
            self._close_later(lane)

    def _close_later(self, lane: _Lane) -> None:
        lane.closing = asyncio.get_running_loop().call_later(self._idle_seconds, self._close_lane, lane)

    def _close_lane(self, lane: _Lane) -> None:
        if self._group is None or lane.executions:
            return
        if lane.sending:
            # Its executions have gone elsewhere, but a call is under way, and a closed client would break it off.
            self._close_later(lane)
            return
        _cancel(lane.pause)
        del self._lanes[lane.destination]
        if lane.client is not None:
            self._group.create_task(lane.client.close())

    def _ready(self, execution: _Execution) -> None:
        """The execution may send its next event, when its turn comes."""
        if len(execution.outbox) and not execution.waiting and execution.task is None and execution.retry is None:
            execution.waiting = True
            execution.lane.ready.append(execution)
            self._advance(execution.lane)

    def _advance(self, lane: _Lane) -> None:
        """Start what may start: everything in turn, or one probe when the lane is down and its pause is over."""
        if self._group is None or self._stop.is_set():
            return
        if lane.failures:
            if lane.pause is None and lane.sending == 0 and lane.ready:
                # The one that failed least is the likeliest to tell whether the destination is back.
                lane.probe = min(lane.ready, key=lambda execution: execution.failures)
                lane.ready.remove(lane.probe)
                self._start(lane, lane.probe)
            return
        while lane.ready and lane.sending < self._most_sending:
            self._start(lane, lane.ready.popleft())

    def _start(self, lane: _Lane, execution: _Execution) -> None:
        assert self._group is not None  # noqa: S101 - _advance looked
        execution.waiting = False
        lane.sending += 1
        if lane.client is None:
            lane.client = self._connect(lane.destination)
        execution.task = self._group.create_task(self._send(lane, lane.client, execution))

    async def _send(self, lane: _Lane, client: CallbackClient, execution: _Execution) -> None:
        """One event, one round of attempts, and what follows from it."""
        event, begun = execution.outbox.hold(), time.monotonic()
        state = execution.state() if lane.destination.api == "status" and execution.state is not None else None
        error: DeliveryFailed | DeliveryRefused | None = None
        answered = False
        try:
            await client.report(event, state)
            answered = True
        except (DeliveryFailed, DeliveryRefused) as caught:
            error = caught
        finally:
            # While a probe is under way nothing else is.
            was_probe, lane.probe = lane.probe is execution, None
            lane.sending -= 1
            execution.task = None
            if not answered:
                execution.outbox.release()
            if error is None and not answered:
                # Cancelled by `forget`: the place is free for another one.
                self._advance(lane)
        if isinstance(error, (DeliveryFailed, DestinationRefused)):
            self._lane_failed(lane, error, was_probe)
            if isinstance(error, DestinationRefused):
                self.refused(lane.destination)
            result = "failed"
        else:
            self._lane_answered(lane)
            result = "delivered" if error is None else "refused"
        self.reported(lane.destination.endpoint, result, time.monotonic() - begun)
        self._settle(execution, lane, event, error)
        self._advance(lane)

    def _settle(
        self,
        execution: _Execution,
        lane: _Lane,
        event: WorkflowProgressEvent,
        error: DeliveryFailed | DeliveryRefused | None,
    ) -> None:
        if error is None:
            execution.outbox.done()
            execution.failures = execution.refusals = 0
            execution.leaving_out = False
            self._tell(execution, None)
            self._ready(execution)
        elif not isinstance(error, (DeliveryFailed, DestinationRefused)):
            self._refused(execution, event, error)
        elif execution.lane is not lane:
            # It has a new destination since; that one shall be asked at once.
            self._ready(execution)
        else:
            execution.failures += 1
            self._tell(execution, str(error))
            self._later(execution, self._backoff(error).seconds(execution.failures))

    def _refused(self, execution: _Execution, event: WorkflowProgressEvent, error: DeliveryRefused) -> None:
        execution.refusals += 1
        if execution.refusals < REFUSALS and not execution.leaving_out:
            self._tell(execution, str(error))
            self._later(execution, self._retry.seconds(execution.refusals))
            return
        execution.outbox.give_up(event.sequence_number)
        execution.left_out = f"left out after {execution.refusals} refusals: {error}"[:MOST_ERROR]
        execution.refusals = 0
        execution.leaving_out = True
        self.reported(execution.lane.destination.endpoint, "left-out", None)
        log.warning(
            "Stigmer refuses an event, which is left out",
            extra={"execution": execution.key, "sequence": event.sequence_number, "code": error.code, "error": str(error)},
        )
        self._tell(execution, None)
        self._ready(execution)

    def _later(self, execution: _Execution, seconds: float) -> None:
        execution.retry = asyncio.get_running_loop().call_later(seconds, self._again, execution)

    def _again(self, execution: _Execution) -> None:
        _cancel(execution.retry)
        execution.retry = None
        self._ready(execution)

    def _lane_answered(self, lane: _Lane) -> None:
        if not lane.failures:
            return
        log.info("Stigmer answers again", extra={"endpoint": lane.destination.endpoint})
        failures, lane.failures = lane.failures, 0
        lane.trouble = None
        _cancel(lane.pause)
        lane.pause = None
        # Those that failed with the lane go on now. One that failed more often has a trouble of its own,
        # and keeps its own pause, or it would take the lane down again at once.
        for execution in list(lane.executions):
            if execution.retry is not None and execution.failures <= failures:
                self._again(execution)

    def _lane_failed(self, lane: _Lane, error: DeliveryFailed | DeliveryRefused, was_probe: bool) -> None:
        if lane.failures and not was_probe:
            # Of the batch that was under way when the lane went down.
            return
        lane.failures += 1
        lane.trouble = str(error)[:MOST_ERROR]
        if lane.failures == 1:
            log.warning(
                "Stigmer does not take events; they are kept and tried again",
                extra={"endpoint": lane.destination.endpoint, "code": error.code, "error": str(error)},
            )
        seconds = self._backoff(error).seconds(lane.failures)
        lane.pause = asyncio.get_running_loop().call_later(seconds, self._pause_over, lane)

    def _pause_over(self, lane: _Lane) -> None:
        lane.pause = None
        self._advance(lane)

    def _backoff(self, error: DeliveryFailed | DeliveryRefused) -> Backoff:
        return self._retry_refused if isinstance(error, DestinationRefused) else self._retry

    def _tell(self, execution: _Execution, trouble: str | None) -> None:
        """The watermark or the error moved: wake the waiters, and say so once for many moves."""
        execution.trouble = None if trouble is None else trouble[:MOST_ERROR]
        stand = (execution.outbox.delivered, execution.trouble or execution.left_out)
        if self._executions.get(execution.key) is not execution or execution.told == stand:
            return
        execution.told = stand
        execution.moved.set()
        execution.moved = asyncio.Event()
        if not self._moved:
            asyncio.get_running_loop().call_later(CHANGED_SECONDS, self._call_changed)
        self._moved.add(execution.key)

    def _call_changed(self) -> None:
        moved, self._moved = self._moved, set()
        loop = asyncio.get_running_loop()
        for key in moved:
            # Each in its own turn of the loop: what goes wrong in one is not the others' trouble.
            loop.call_soon(self._changed, key)


def _stand(lane: _Lane) -> Stand:
    outboxes = [execution.outbox for execution in lane.executions]
    moments = [moment for outbox in outboxes if (moment := outbox.oldest_ms()) is not None]
    return Stand(lane.destination.endpoint, sum(map(len, outboxes)), min(moments, default=None), lane.trouble)


def _cancel(*timers: asyncio.TimerHandle | None) -> None:
    for timer in timers:
        if timer is not None:
            timer.cancel()
