"""A `for` of 1,000,000 items: whether memory and rate stay what they are while it goes on.

    .venv/bin/python -m benchmarks million [items]

It runs in a process of its own, so that nothing else is in the figures; the floor is that process with the list of the
items and nothing running.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from multiprocessing.connection import Connection

from benchmarks.memory import resident_mib

from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.local import LocalRun
from workflow_runner.interpreter.events import Event, EventType
from workflow_runner.interpreter.outcome import Completed

DOCUMENT = """
document: {dsl: '1.0.3', namespace: benchmarks, name: million, version: '1.0.0'}
do:
  - loop:
      for: {in: .items}
      do:
        - add: {set: {items: null, total: '${ .total + $item }'}}
"""


def _run(items: int, told: Connection) -> None:
    workflow, _ = read_document(DOCUMENT, "million.yaml")
    input_: Json = {"items": [*range(items)], "total": 0}
    told.send((0, 0.0, resident_mib()))
    begun = 0
    start = time.perf_counter()

    def listen(event: Event) -> None:
        nonlocal begun
        if event.type is EventType.TASK_STARTED:
            begun += 1
            if begun % (items // 10) == 0:
                told.send((begun, time.perf_counter() - start, resident_mib()))

    local = LocalRun(workflow, input_, execution_id="benchmark", run_id="1", secrets={}, report=listen)
    outcome = asyncio.run(local.run())
    assert isinstance(outcome, Completed), outcome
    assert outcome.output == {"items": None, "total": items * (items - 1) // 2}, outcome


def main(items: int = 1_000_000) -> None:
    """Measure and print."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(items, theirs))
    process.start()
    theirs.close()
    before, rates, memory = 0.0, [], []
    try:
        while True:
            begun, seconds, mib = ours.recv()
            memory.append(mib)
            if begun:
                rates.append(items / 10 / (seconds - before))
                before = seconds
                print(f"{begun / items:5.0%}  {rates[-1]:8,.0f} passes a second  {mib:6.0f} MiB")
            else:
                print(f"   0%  (the list of items, nothing running)  {mib:6.0f} MiB")
    except EOFError:
        process.join()
    if process.exitcode:
        raise SystemExit(f"the run's process ended with {process.exitcode}")
    print(f"rate of the last tenth against the first {rates[-1] / rates[0]:5.2f}")
    print(f"memory at the end against that after the first tenth {memory[-1] / memory[1]:5.2f}")


if __name__ == "__main__":
    main()
