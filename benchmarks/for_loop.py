"""What a task costs beyond its jq: a 10,000-pass `for` with one `set`, against its programs in a bare loop.

    .venv/bin/python benchmarks/for_loop.py [passes]

Both are measured in one run, in turns, and the medians compared; the ratio is to stay at 3 or less
(docs/performance.md). The workflow runs on the local host with its events told to a listener that
counts them. The bare loop binds `$item` as any program must that mentions it, and builds the same value.
Exit code 1 when the ratio is above the bound.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import jq

from workflow_runner.dsl.model import Workflow
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.local import LocalRun
from workflow_runner.interpreter.events import Event
from workflow_runner.interpreter.outcome import Completed

BOUND = 3.0
ROUNDS = 5
PROGRAMS = {"double": "$item * 2", "total": ".total + $item"}
DOCUMENT = """
document: {dsl: '1.0.3', namespace: benchmarks, name: for-loop, version: '1.0.0'}
do:
  - loop:
      for: {in: .items}
      do:
        - add:
            set:
              double: ${ $item * 2 }
              total: ${ .total + $item }
"""


def bare_loop(items: list[int]) -> tuple[float, Json]:
    """Seconds, and the last value."""
    programs = {name: jq.compile(f".[0] as $item | .[1] | ({text})") for name, text in PROGRAMS.items()}
    value: dict[str, Json] = {"total": 0}
    start = time.perf_counter()
    for item in items:
        value = {name: program.input_value([item, value]).first() for name, program in programs.items()}
    return time.perf_counter() - start, value


async def workflow_loop(workflow: Workflow, items: list[int]) -> tuple[float, Json, int]:
    """Seconds, the output, and how many events were told."""
    told = 0

    def listen(_event: Event) -> None:
        nonlocal told
        told += 1

    input_: Json = {"items": list(items), "total": 0}
    run = LocalRun(workflow, input_, execution_id="benchmark", run_id="1", secrets={}, report=listen)
    start = time.perf_counter()
    outcome = await run.run()
    seconds = time.perf_counter() - start
    if not isinstance(outcome, Completed):
        raise SystemExit(f"the workflow did not complete: {outcome}")
    return seconds, outcome.output, told


def main(passes: int = 10_000) -> None:
    """Measure and print."""
    items = list(range(passes))
    workflow, _ = read_document(DOCUMENT, "for_loop.yaml")
    bare_times, workflow_times, told = [], [], 0
    for _ in range(ROUNDS):
        seconds, expected = bare_loop(items)
        bare_times.append(seconds)
        seconds, output, told = asyncio.run(workflow_loop(workflow, items))
        workflow_times.append(seconds)
        if output != expected:
            raise SystemExit(f"the workflow gave {output}, the bare loop {expected}")
    bare, whole = statistics.median(bare_times), statistics.median(workflow_times)
    ratio = whole / bare
    print(f"bare jq loop   {bare / passes * 1e6:6.1f} µs a pass")
    print(f"workflow       {whole / passes * 1e6:6.1f} µs a pass, {told} events")
    print(f"ratio          {ratio:6.2f} (wanted: at most {BOUND})")


if __name__ == "__main__":
    main()
