"""When the runs of a schedule begin: in virtual time, with clocks that are put forward and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from workflow_runner.dsl.model import Schedule
from workflow_runner.dsl.templates import Json
from workflow_runner.hosts.scheduler import Scheduler, local_zone, next_occurrence

START = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


class Clock:
    """Time goes on when everybody sleeps, to the one who wakes first; `slept_through` more at the next time."""

    def __init__(self) -> None:
        self.time = START
        self.slept_through = timedelta(0)
        self.waits = 0
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []
        self._driver: asyncio.Task[None] | None = None

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.waits += 1
        awake = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + timedelta(seconds=seconds), awake))
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())
        await awake

    async def _drive(self) -> None:
        while self._sleepers:
            for _ in range(10):  # whoever is awake comes to its next sleep
                await asyncio.sleep(0)
            self._sleepers.sort(key=lambda sleeper: sleeper[0])
            until, awake = self._sleepers.pop(0)
            if not awake.done():
                self.time = max(self.time, until) + self.slept_through
                self.slept_through = timedelta(0)
                awake.set_result(None)


async def starts(
    schedule: Schedule,
    wanted: int,
    *,
    takes: float = 0.0,
    most: int = 100,
    each: Callable[[Clock], Awaitable[None]] | None = None,
) -> list[float]:
    """The seconds from START at which the first runs begin; each takes that long."""
    clock, begun, enough = Clock(), list[float](), asyncio.Event()

    async def run(_: Json) -> None:
        begun.append((clock.time - START).total_seconds())
        if each is not None:
            await each(clock)
        if len(begun) >= wanted:
            enough.set()
        if takes:
            await clock.sleep(takes)

    scheduler = Scheduler(run, now=clock.now, sleep=clock.sleep, most_at_once=most)
    task = asyncio.create_task(scheduler.by_time(schedule, None))
    async with asyncio.timeout(10):
        await enough.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    return begun[:wanted]


async def test_every_begins_at_once_and_then_at_each_interval() -> None:
    assert await starts(Schedule(every=timedelta(seconds=90)), 4) == [0, 90, 180, 270]


async def test_every_does_not_wait_for_the_run_before() -> None:
    assert await starts(Schedule(every=timedelta(seconds=10)), 4, takes=25) == [0, 10, 20, 30]


async def test_beyond_the_most_at_once_a_time_is_left_out() -> None:
    assert await starts(Schedule(every=timedelta(seconds=10)), 4, takes=25, most=2) == [0, 10, 30, 40]


async def test_after_begins_when_the_run_before_has_ended_for_so_long() -> None:
    assert await starts(Schedule(after=timedelta(seconds=10)), 4, takes=25) == [0, 35, 70, 105]


async def test_cron_begins_at_its_times_in_whole_minutes() -> None:
    assert await starts(Schedule(cron="*/2 * * * *"), 3, takes=500) == [90, 210, 330]


@pytest.mark.parametrize("schedule", [Schedule(every=timedelta(seconds=10)), Schedule(cron="* * * * *")])
async def test_times_that_were_slept_through_are_made_up_for_by_one_run(schedule: Schedule) -> None:
    async def sleep_through(clock: Clock) -> None:
        if clock.time < START + timedelta(hours=1):
            clock.slept_through = timedelta(hours=2)

    begun = await starts(schedule, 4, each=sleep_through)
    assert begun[1] - begun[0] >= 7200
    assert begun[3] - begun[2] <= 60


async def test_a_clock_is_looked_at_again_while_a_time_is_far_away() -> None:
    waits: list[int] = []

    async def note(clock: Clock) -> None:
        waits.append(clock.waits)

    assert await starts(Schedule(cron="0 1 * * *"), 1, each=note) == [3570]
    assert 100 < waits[0] < 200


@pytest.mark.parametrize(
    ("cron", "day", "times"),
    [
        # 29 March 2026, 2:00 becomes 3:00.
        ("30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=UTC), ["03-29 01:00", "03-30 00:30"]),
        ("30 * * * *", datetime(2026, 3, 29, 0, 0, tzinfo=UTC), ["03-29 00:30", "03-29 01:30", "03-29 02:30"]),
        # 25 October 2026, 3:00 becomes 2:00.
        ("30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=UTC), ["10-25 00:30", "10-26 01:30"]),
        ("30 * * * *", datetime(2026, 10, 24, 23, 45, tzinfo=UTC), ["10-25 00:30", "10-25 01:30", "10-25 02:30"]),
        ("0 9 * * MON", datetime(2026, 10, 20, tzinfo=UTC), ["10-26 08:00", "11-02 08:00"]),
    ],
)
def test_cron_goes_by_the_local_time_of_day_when_clocks_change(cron: str, day: datetime, times: list[str]) -> None:
    found = []
    for _ in times:
        moment = next_occurrence(cron, day, BERLIN)
        assert moment is not None
        found.append(moment.strftime("%m-%d %H:%M"))
        day = moment
    assert found == times


@pytest.mark.parametrize(
    ("environment", "zone"),
    [({"TZ": "Europe/Berlin"}, "Europe/Berlin"), ({"TZ": ":Asia/Tokyo"}, "Asia/Tokyo"), ({"TZ": "No/Such"}, "UTC")],
)
def test_the_time_zone_is_that_of_the_environment(environment: dict[str, str], zone: str) -> None:
    assert str(local_zone(environment)) == zone


def test_without_any_time_zone_it_is_utc(tmp_path: Path) -> None:
    assert local_zone({}, tmp_path / "none") is UTC


async def test_whoever_stops_it_waits_for_the_runs_that_it_cancels() -> None:
    ended: list[str] = []
    going = asyncio.Event()

    async def run(_: Any) -> None:
        going.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("ended")

    task = asyncio.create_task(Scheduler(run).by_time(Schedule(every=timedelta(hours=1)), None))
    await going.wait()
    task.cancel()
    await asyncio.wait([task])
    assert ended == ["ended"]
