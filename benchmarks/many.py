"""1,000 executions at once in one process, each with 10 HTTP calls, against the same 10,000 calls made bare.

    .venv/bin/python -m benchmarks many

The server is a process of its own on loopback. The floor is 1,000 coroutines over one aiohttp session that make the same
calls one after the other and read the same JSON, as whoever writes this by hand would. The executions are LocalRuns, which
share the connections of their process.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import aiohttp
from benchmarks.counter import counter
from benchmarks.memory import resident_mib

from workflow_runner.cli.collection import collect_seldom
from workflow_runner.dsl.model import Workflow
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.local import LocalRun
from workflow_runner.interpreter.outcome import Completed

BOUND = 1.5
ROUNDS = 3
EXECUTIONS = 1_000
CALLS = 10
DOCUMENT = """
document: {{dsl: '1.0.3', namespace: benchmarks, name: many, version: '1.0.0'}}
do:
{steps}
"""


async def bare(url: str) -> float:
    """Seconds for all calls with nothing around them."""
    start = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=500)) as session:

        async def one() -> None:
            value = 0
            for _ in range(CALLS):
                async with session.get(url, params={"n": str(value)}) as response:
                    response.raise_for_status()
                    value = (await response.json())["n"]
            assert value == CALLS

        await asyncio.gather(*(one() for _ in range(EXECUTIONS)))
    return time.perf_counter() - start


async def executions(workflow: Workflow) -> float:
    """Seconds for all executions."""
    start = time.perf_counter()

    async def one(number: int) -> None:
        local = LocalRun(workflow, {"n": 0}, execution_id=f"e-{number}", run_id="1", secrets={}, report=lambda _: None)
        outcome = await local.run()
        assert isinstance(outcome, Completed), outcome
        assert outcome.output == {"n": CALLS}, outcome.output

    await asyncio.gather(*(one(number) for number in range(EXECUTIONS)))
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    with counter() as url:
        call = f"{{call: http, with: {{method: get, endpoint: '{url}', query: {{n: '${{ .n | tostring }}'}}}}}}"
        workflow, _ = read_document(
            DOCUMENT.format(steps="\n".join(f"  - call{number}: {call}" for number in range(CALLS))), "many.yaml"
        )
        collect_seldom()  # as the commands do that run documents; the floor has the same
        before = resident_mib()
        bare_times, times = [], []
        for _ in range(ROUNDS):
            bare_times.append(asyncio.run(bare(url)))
            times.append(asyncio.run(executions(workflow)))
    calls = EXECUTIONS * CALLS
    floor, whole = statistics.median(bare_times), statistics.median(times)
    print(f"bare calls   {calls / floor:8,.0f} a second")
    print(f"executions   {calls / whole:8,.0f} calls a second, {EXECUTIONS / whole:6,.0f} executions a second")
    print(f"ratio        {whole / floor:8.2f} (wanted: at most {BOUND}); memory grew by {resident_mib() - before:,.0f} MiB")


if __name__ == "__main__":
    main()
