"""When states are written: always before something outside happens, else now and then, and never in the run's way."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from workflow_runner.errors import Temporary
from workflow_runner.hosts.buffer import Kept
from workflow_runner.hosts.checkpoints import Checkpoints
from workflow_runner.hosts.snapshots import Ended, Snapshot, Snapshots, State
from workflow_runner.interpreter.frames import ListFrame, WorkflowFrame


class Disk(Snapshots):
    """A folder whose writes can be held up, or fail."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, digest="d", execution_id="e", run_id="")
        self.written = 0
        self.full = False
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.began = threading.Event()

    def write(self, state: State) -> None:
        self.began.set()
        self.may_go_on.wait(20)
        if self.full:
            raise Temporary("no space left", code="snapshot.unwritable")
        super().write(state)
        self.written += 1


class Run:
    """A state that moves on, and what writes it down."""

    def __init__(self, folder: Path, *, write_seconds: float = 10.0) -> None:
        self.disk = Disk(folder)
        self.tasks = ListFrame(None)
        self.frame = WorkflowFrame(raw_input=None, started_at=datetime.now(UTC), tasks=self.tasks)
        self.checkpoints = Checkpoints(
            self.disk, lambda: self.frame, lambda: Kept(self.tasks.position), write_seconds=write_seconds
        )

    def on_disk(self) -> Snapshot | None:
        return Disk(self.disk._folder).read()

    def step_on_disk(self) -> int:
        snapshot = self.on_disk()
        assert snapshot is not None
        assert snapshot.frame.tasks is not None
        assert snapshot.kept.last == snapshot.frame.tasks.position
        return snapshot.frame.tasks.position


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - a thread tells
            await asyncio.sleep(0.001)


async def test_a_saved_state_is_on_disk_as_it_was_when_asked_for(run: Run) -> None:
    for step in range(1, 6):
        run.tasks.position = step
        assert await run.checkpoints.save()
        assert run.step_on_disk() == step


async def test_the_first_checkpoint_is_written_and_a_tight_loop_is_not_written_down_pass_by_pass(run: Run) -> None:
    await run.checkpoints.passed()
    await until(lambda: run.disk.written == 1)
    for step in range(10_000):
        run.tasks.position = step
        await run.checkpoints.passed()
        if step % 1000 == 0:
            await asyncio.sleep(0)
    assert run.disk.written < 100
    # And later states follow by themselves, as long as there are checkpoints.
    before = run.disk.written
    while run.disk.written == before:
        await run.checkpoints.passed()
        await asyncio.sleep(0.01)
    assert run.step_on_disk() == 9_999


async def test_a_checkpoint_never_waits_for_the_disk(run: Run) -> None:
    run.disk.may_go_on.clear()
    for _ in range(100):
        await run.checkpoints.passed()
        await asyncio.sleep(0)
    assert run.disk.written == 0
    run.disk.may_go_on.set()
    await until(lambda: run.disk.written == 1)


async def test_those_who_ask_while_a_write_is_under_way_share_the_next_one(run: Run) -> None:
    run.disk.may_go_on.clear()
    first = asyncio.create_task(run.checkpoints.save())
    await until(run.disk.began.is_set)
    run.tasks.position = 7
    others = [asyncio.create_task(run.checkpoints.save()) for _ in range(50)]
    await asyncio.sleep(0)
    run.disk.may_go_on.set()
    assert await asyncio.gather(first, *others) == [True] * 51
    assert run.disk.written == 2
    assert run.step_on_disk() == 7


async def test_whoever_gives_up_waiting_does_not_take_the_write_along(run: Run) -> None:
    run.disk.may_go_on.clear()
    save = asyncio.create_task(run.checkpoints.save())
    await until(run.disk.began.is_set)
    save.cancel()
    await asyncio.gather(save, return_exceptions=True)
    run.disk.may_go_on.set()
    await until(lambda: run.disk.written == 1)
    assert await run.checkpoints.save()


async def test_a_disk_that_is_full_is_told_once_and_not_asked_by_every_task(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert await run.checkpoints.save()
    run.disk.full = True
    run.tasks.position = 1
    assert [await run.checkpoints.save() for _ in range(100)] == [False] * 100
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.records[0].__dict__["code"] == "snapshot.unwritable"
    assert run.step_on_disk() == 0
    run.disk.full = False
    async with asyncio.timeout(20):
        while not await run.checkpoints.save():  # noqa: ASYNC110 - time passes
            await asyncio.sleep(0.01)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert run.step_on_disk() == 1


async def test_a_volume_that_hangs_holds_the_run_up_once_and_for_a_bounded_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path, write_seconds=0.05)
    run.disk.may_go_on.clear()
    async with asyncio.timeout(5):
        assert [await run.checkpoints.save() for _ in range(1000)] == [False] * 1000
    assert [record.__dict__["code"] for record in caplog.records] == ["snapshot.unwritable"]
    run.disk.may_go_on.set()
    await until(lambda: run.disk.written == 1)


async def test_a_run_that_has_not_begun_its_tasks_leaves_nothing(run: Run) -> None:
    run.frame.tasks = None
    assert not await run.checkpoints.save()
    run.checkpoints.freeze()
    assert not await run.checkpoints.save()
    assert run.on_disk() is None


async def test_what_happens_after_the_pod_was_told_to_stop_is_not_written(run: Run) -> None:
    run.tasks.position = 3
    run.checkpoints.freeze()
    run.tasks.position = 4
    run.checkpoints.freeze()
    assert await run.checkpoints.save()
    assert run.step_on_disk() == 3


async def test_the_end_is_written_with_the_word_of_how_and_nothing_in_between(run: Run) -> None:
    assert await run.checkpoints.save()
    run.checkpoints.told_its_end()
    run.tasks.position = 5
    assert not await run.checkpoints.save()
    assert run.step_on_disk() == 0
    run.checkpoints.ended(Ended(1, {"phase": "Failed"}))
    assert await run.checkpoints.save()
    snapshot = run.on_disk()
    assert snapshot is not None
    assert snapshot.ended == Ended(1, {"phase": "Failed"})


async def test_removing_waits_for_a_write_that_is_under_way(run: Run) -> None:
    run.disk.may_go_on.clear()
    await run.checkpoints.passed()
    await until(run.disk.began.is_set)
    removal = asyncio.create_task(run.checkpoints.remove())
    await asyncio.sleep(0)
    run.disk.may_go_on.set()
    await removal
    assert run.on_disk() is None
    assert not await run.checkpoints.save()
    assert run.on_disk() is None
