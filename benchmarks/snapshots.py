"""What it costs to write a run's state down: the 10,000-pass loop of for_loop.py with and without a folder for snapshots.

    .venv/bin/python -m benchmarks snapshots

Both are measured in one run, in turns, and the medians compared; the loop with snapshots is to take at most a tenth
more (docs/performance.md). Then, how long a task with an effect outside waits for its state to be on disk: beside a
bare write of as many bytes with fsync, which is what the disk takes. Exit code 1 when the loop is above its bound.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.tasks import looped

from workflow_runner.dsl.model import Workflow
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.buffer import Buffer
from workflow_runner.hosts.checkpoints import Checkpoints
from workflow_runner.hosts.local import LocalRun
from workflow_runner.hosts.snapshots import Snapshots, State
from workflow_runner.interpreter.frames import ListFrame, WorkflowFrame
from workflow_runner.interpreter.outcome import Completed

BOUND = 1.1
ROUNDS = 7
PASSES = 10_000
WRITES = 50
SIZES = (1_000, 100_000, 1_000_000)


def store(folder: Path) -> Snapshots:
    """A store of a run's own, in a folder on the disk that is measured."""
    return Snapshots(folder, digest="sha256:benchmark", execution_id="benchmark", run_id="")


async def loop(workflow: Workflow, folder: Path | None) -> tuple[float, int]:
    """Seconds, and how often the state was written. Its events are kept as a pod keeps them, with nobody to take them."""
    buffer = Buffer(most=1000)
    written = 0

    class Counting(Snapshots):
        def write(self, state: State) -> None:
            nonlocal written
            written += 1
            super().write(state)

    checkpoints = None
    if folder is not None:
        counting = Counting(folder, digest="sha256:benchmark", execution_id="benchmark", run_id="")
        checkpoints = Checkpoints(counting, lambda: run.frame, lambda: buffer.kept)

    async def passed(_frame: WorkflowFrame) -> None:
        if checkpoints is not None:
            await checkpoints.passed()

    input_: Json = {"items": list(range(PASSES)), "total": 0}
    run = LocalRun(
        workflow,
        input_,
        execution_id="benchmark",
        run_id="1",
        secrets={},
        report=buffer.add,
        checkpointed=None if checkpoints is None else passed,
    )
    began = time.perf_counter()
    outcome = await run.run()
    seconds = time.perf_counter() - began
    if not isinstance(outcome, Completed):
        raise SystemExit(f"the workflow did not complete: {outcome}")
    if checkpoints is not None:
        await checkpoints.remove()
    return seconds, written


async def saves(folder: Path, size: int) -> float:
    """The median time of a save of a state with so much data, in seconds."""
    frame = WorkflowFrame(raw_input="x" * size, started_at=datetime.now(UTC), tasks=ListFrame(None))
    checkpoints = Checkpoints(store(folder), lambda: frame, lambda: Buffer(most=1).kept)
    times = []
    for _ in range(WRITES):
        began = time.perf_counter()
        if not await checkpoints.save():
            raise SystemExit("a state could not be written")
        times.append(time.perf_counter() - began)
    await checkpoints.remove()
    return statistics.median(times)


def bare_writes(folder: Path, size: int) -> float:
    """The same of a file written, synced and renamed."""
    data, times = b"x" * size, []
    for _ in range(WRITES):
        began = time.perf_counter()
        with (folder / "new").open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        (folder / "new").rename(folder / "old")
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    workflow, _ = read_document(looped(PASSES).text, "for_loop.yaml")
    without, with_, writes = [], [], 0
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        for _ in range(ROUNDS):
            without.append(asyncio.run(loop(workflow, None))[0])
            seconds, writes = asyncio.run(loop(workflow, folder / "loop"))
            with_.append(seconds)
        ratio = statistics.median(with_) / statistics.median(without)
        print(f"loop without snapshots {statistics.median(without) / PASSES * 1e6:8.1f} µs a pass")
        print(f"loop with snapshots    {statistics.median(with_) / PASSES * 1e6:8.1f} µs a pass, {writes} written")
        print(f"ratio                  {ratio:8.2f} (wanted: at most {BOUND})")
        for size in SIZES:
            bare, whole = bare_writes(folder, size), asyncio.run(saves(folder / "saves", size))
            print(
                f"a state of {size:>9,} bytes: {whole * 1e3:6.2f} ms until it is on disk, {bare * 1e3:6.2f} ms for a bare file"
            )
    if ratio > BOUND:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
