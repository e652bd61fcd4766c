"""Starts the runs of a document with a `schedule`: `workflow-runner run --scheduled`.

`every` begins at once and then at each multiple of its interval, `cron` at each time that it names, both whether
or not an earlier run goes on; `after` begins at once and then so long after each end. With `on` a run begins whenever
the events that it names have come; they are its input. Times that were slept through (a suspended machine) are not made
up for: what is due starts once. However a run ends, the next one follows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from workflow_runner import __version__
from workflow_runner.dsl.model import EventStrategy, ListenTask, Schedule, Workflow
from workflow_runner.dsl.problems import WorkflowFault
from workflow_runner.dsl.templates import NOWHERE, Json
from workflow_runner.hosts.effects import LocalEffects
from workflow_runner.hosts.event_bus import EventBus
from workflow_runner.hosts.hold import Hold
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.frames import Listen, WorkflowFrame
from workflow_runner.interpreter.run import Run
from workflow_runner.interpreter.subscriptions import Subscription, wanted_by
from workflow_runner.interpreter.tasks.listen import hear

MOST_AT_ONCE = 100
"""Runs that go on at the same time. A time that comes meanwhile is left out; events wait."""
_LONGEST_SLEEP_SECONDS = 30.0
"""Clocks are set, and machines sleep: the time is looked at again."""

log = logging.getLogger(__name__)

Start = Callable[[Json], Awaitable[None]]
"""Runs the document once with this input, and tells how it ended; raises nothing but a cancellation."""


class Scheduler:
    """Starts runs until it is cancelled; then those that go on are cancelled, and awaited."""

    def __init__(
        self,
        start: Start,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        most_at_once: int = MOST_AT_ONCE,
    ) -> None:
        self._start = start
        self._now = now
        self._sleep = sleep
        self._most = most_at_once
        self._running: set[asyncio.Task[None]] = set()

    async def by_time(self, schedule: Schedule, input_: Json, zone: tzinfo = UTC) -> None:
        """Start runs as `every`, `cron` or `after` says; times of day are those of `zone`."""
        try:
            if schedule.after is not None:
                while True:
                    await self._start(input_)
                    await self._until(self._now() + schedule.after)
            for moment in self._moments(schedule, zone):
                await self._until(moment)
                if len(self._running) < self._most:
                    self._begin(input_)
                else:
                    log.warning("a scheduled run is left out: too many go on", extra={"time": moment.isoformat()})
            log.warning("the schedule has come to its end")
            await self._all_ended()
        finally:
            await self._stop()

    async def by_events(self, triggers: Triggers) -> None:
        """Start a run for each set of events that a strategy consumes."""
        try:
            while True:
                events = await triggers.next()
                while len(self._running) >= self._most:
                    await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                self._begin(events)
        finally:
            await self._stop()

    def _moments(self, schedule: Schedule, zone: tzinfo) -> Iterator[datetime]:
        """When runs are due; one that is past by the time it is asked for the next is followed by one to come."""
        if schedule.every is not None:
            first = moment = self._now()
            while True:
                yield moment
                moment = first + ((self._now() - first) // schedule.every + 1) * schedule.every
        elif schedule.cron is not None:
            moment = self._now()
            while (found := next_occurrence(schedule.cron, max(moment, self._now()), zone)) is not None:
                moment = found
                yield moment

    async def _until(self, moment: datetime) -> None:
        while (seconds := (moment - self._now()).total_seconds()) > 0:
            await self._sleep(min(seconds, _LONGEST_SLEEP_SECONDS))

    def _begin(self, input_: Json) -> None:
        task = asyncio.ensure_future(self._start(input_))
        assert isinstance(task, asyncio.Task)  # noqa: S101 - what a coroutine becomes
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _all_ended(self) -> None:
        while self._running:
            await asyncio.wait(self._running)

    async def _stop(self) -> None:
        for task in self._running:
            task.cancel()
        await self._all_ended()


def next_occurrence(cron: str, after: datetime, zone: tzinfo) -> datetime | None:
    """The first time after a moment that a cron expression names, in UTC; None when there is none in the next decades.

    Where clocks are put forward, what falls into the gap comes right after it; where they are put back, a time of day
    comes once.
    """
    from cronsim import CronSim

    found = next(CronSim(cron, after.astimezone(zone)), None)
    return None if found is None else found.astimezone(UTC)


def local_zone(environment: Mapping[str, str] = os.environ, file: Path = Path("/etc/localtime")) -> tzinfo:
    """The machine's time zone with its changes of clocks: TZ, else what the system says, else UTC."""
    name = environment.get("TZ", "").removeprefix(":")
    if name:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            log.warning("TZ names no time zone that is known here; schedules go by UTC", extra={"zone": name})
            return UTC
    try:
        with file.open("rb") as opened:
            return ZoneInfo.from_file(opened)
    except (OSError, ValueError):
        return UTC


class Triggers:
    """Listens for the events that start runs, from `open` to the end of the context, without a gap."""

    def __init__(self, workflow: Workflow, strategy: EventStrategy, bus: EventBus, secrets: Mapping[str, Json]) -> None:
        frame = WorkflowFrame(raw_input=None, started_at=datetime.now(UTC))
        self._effects = LocalEffects(Hold(lambda *_: None, frame), lambda _: None, secrets=secrets, bus=bus)
        run = Run(workflow, frame, self._effects, execution_id="", run_id="", secrets=secrets, version=__version__)
        self._scope = Scope(run)
        self._task = ListenTask(
            name="on", reference="/schedule/on", position=NOWHERE, definition={}, to=strategy, read="envelope"
        )
        self._waiting: list[Json] = []
        self._subscription = Subscription(wanted_by(strategy), self._waiting)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen."""
        self._effects.subscribe(self._subscription)
        try:
            yield
        finally:
            self._effects.unsubscribe(self._subscription)
            await self._effects.close()

    async def next(self) -> list[Json]:
        """The next events that start a run, in the order in which they came.

        What a condition cannot decide about starts nothing: that is logged, and the events before it are forgotten.
        """
        while True:
            listen = Listen(waiting=self._waiting)
            try:
                while not listen.over:
                    await hear(self._effects, self._task, None, listen, self._subscription, self._scope)
            except WorkflowFault as fault:
                log.warning("events start no run", extra={"error": str(fault)})
                continue
            return listen.consumed
