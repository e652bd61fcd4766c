"""Tasks a second, against their jq programs alone: chains of `set`, `for`, `switch`, a fork of 1,000.

    .venv/bin/python -m benchmarks tasks

Workflow and floor are measured in turns, in processor time, since nothing here waits, and the medians compared; the ratio
is to stay at 2.5 or less (docs/performance.md). The workflows run on the local host with their events told to a listener
that counts them. The floor is a loop over the same programs, compiled beforehand, that builds the same values: what the
language cannot do without. It binds `$item` as any program must that mentions it.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable

import jq
from msgspec import Struct

from workflow_runner.dsl.model import Workflow
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.local import LocalRun
from workflow_runner.interpreter.events import Event, EventType
from workflow_runner.interpreter.outcome import Completed

BOUND = 2.5
WANTED_PER_SECOND = 10_000
ROUNDS = 5
_HEADER = "document: {dsl: '1.0.3', namespace: benchmarks, name: tasks, version: '1.0.0'}\n"


class Case(Struct):
    """A document, its input, and the bare programs; `bare` gives what the workflow gives."""

    name: str
    text: str
    input: Json
    bare: Callable[[], Json]


def one_by_one(tasks: int) -> Case:
    """A list of `set` tasks in a `do`."""
    steps = "".join(f"        - step{number}: {{set: {{n: '${{ .n + 1 }}'}}}}\n" for number in range(tasks))
    program = jq.compile(".n + 1")

    def bare() -> Json:
        value: Json = {"n": 0}
        for _ in range(tasks):
            value = {"n": program.input_value(value).first()}
        return value

    return Case("do, set", f"{_HEADER}do:\n  - all:\n      do:\n{steps}", {"n": 0}, bare)


def looped(passes: int) -> Case:
    """A `for` with one `set` of two programs."""
    double = jq.compile(".[0] as $item | .[1] | ($item * 2)")
    total = jq.compile(".[0] as $item | .[1] | (.total + $item)")
    items: list[Json] = [*range(passes)]

    def bare() -> Json:
        value: Json = {"total": 0}
        for item in items:
            given = [item, value]
            value = {"double": double.input_value(given).first(), "total": total.input_value(given).first()}
        return value

    text = """
do:
  - loop:
      for: {in: .items}
      do:
        - add: {set: {double: '${ $item * 2 }', total: '${ .total + $item }'}}
"""
    return Case("for", _HEADER + text, {"items": items, "total": 0}, bare)


def switched(passes: int) -> Case:
    """A `for` whose body leaves out a `set` every other time."""
    odd = jq.compile(".[0] as $item | .[1] | ($item % 2 == 1)")
    plus = jq.compile(".n + 1")
    items: list[Json] = [*range(passes)]

    def bare() -> Json:
        value: Json = {"n": 0}
        for item in items:
            if not odd.input_value([item, value]).first():
                value = {"n": plus.input_value(value).first()}
            value = {"n": plus.input_value(value).first()}
        return value

    text = """
do:
  - loop:
      for: {in: .items}
      do:
        - which: {switch: [{odd: {when: '$item % 2 == 1', then: last}}]}
        - first: {set: {n: '${ .n + 1 }'}}
        - last: {set: {n: '${ .n + 1 }'}}
"""
    return Case("switch", _HEADER + text, {"items": items, "n": 0}, bare)


def forked(branches: int) -> Case:
    """One fork with a `set` in each branch."""
    steps = "".join(f"          - b{number}: {{set: '${{ .n * {number} }}'}}\n" for number in range(branches))
    programs = [jq.compile(f".n * {number}") for number in range(branches)]

    def bare() -> Json:
        return [program.input_value({"n": 3}).first() for program in programs]

    return Case(f"fork of {branches:,}", f"{_HEADER}do:\n  - wide:\n      fork:\n        branches:\n{steps}", {"n": 3}, bare)


async def run(workflow: Workflow, input_: Json) -> tuple[float, Json, int]:
    """Seconds of processor time, the output, and how many tasks began."""
    told = 0

    def listen(event: Event) -> None:
        nonlocal told
        told += event.type is EventType.TASK_STARTED

    local = LocalRun(workflow, input_, execution_id="benchmark", run_id="1", secrets={}, report=listen)
    start = time.process_time()
    outcome = await local.run()
    seconds = time.process_time() - start
    if not isinstance(outcome, Completed):
        raise SystemExit(f"the workflow did not complete: {outcome}")
    return seconds, outcome.output, told


def measure(case: Case) -> tuple[float, float, int]:
    """Medians of seconds: the programs alone, and the workflow; and how many tasks began."""
    workflow, _ = read_document(case.text, "tasks.yaml")
    bare_times, times, tasks = [], [], 0
    for _ in range(ROUNDS):
        start = time.process_time()
        expected = case.bare()
        bare_times.append(time.process_time() - start)
        seconds, output, tasks = asyncio.run(run(workflow, json.loads(json.dumps(case.input))))
        times.append(seconds)
        if output != expected:
            raise SystemExit(f"{case.name}: the workflow gave {output}, the programs {expected}")
    return statistics.median(bare_times), statistics.median(times), tasks


def main() -> None:
    """Measure and print."""
    for case in (one_by_one(1_000), looped(10_000), switched(5_000), forked(1_000)):
        bare, whole, tasks = measure(case)
        print(
            f"{case.name:14} {tasks:6,} tasks  {tasks / whole:8,.0f} a second"
            f"  {whole / tasks * 1e6:6.1f} µs each, the programs alone {bare / tasks * 1e6:6.1f}: {whole / bare:5.2f}"
        )
    print(f"wanted: at most {BOUND} times the programs alone, and more than {WANTED_PER_SECOND:,} tasks a second")


if __name__ == "__main__":
    main()
