"""Executions on Temporal, against the bare SDK doing the same commands: one worker each, the same fresh server, one run.

    .venv/bin/python -m benchmarks temporal

Each execution makes CALLS HTTP calls one after the other, each as one activity. The floor is a workflow of the SDK as whoever
writes this by hand would: its activity makes the same calls over one aiohttp session, with the same time-outs. Both workers
are processes of their own; the client is this one. The development server polls its queues 20 times a second by default, which
costs 55 ms an activity: here it may 2,000 times (history.transferProcessorMaxPollRPS), for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
from benchmarks.counter import counter
from benchmarks.memory import resident_mib
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from tests.servers.temporal import temporal_server
from tests.until import until

from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.client import connect
from workflow_runner.hosts.temporal.messages import Start, to_json
from workflow_runner.hosts.temporal.worker import RunWorker
from workflow_runner.settings.temporal import TemporalSettings

WANTED_RATE, WANTED_LATENCY = 0.7, 1.3
ROUNDS = 3
EXECUTIONS, CALLS, AT_ONCE = 200, 10, 50
LATENCIES = 50
OPEN = 1_000
QUEUE, BARE_QUEUE = "ours", "bare"


class BareCalls:
    """The floor's activity."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @activity.defn(name="count")
    async def count(self, url: str, n: int) -> dict[str, int]:
        async with self._session.get(url, params={"n": str(n)}) as response:
            response.raise_for_status()
            found: dict[str, int] = await response.json()
            return found


@workflow.defn(name="bare", sandboxed=False)
class Bare:
    """The floor's workflow."""

    @workflow.run
    async def run(self, url: str, calls: int) -> dict[str, int]:
        data = {"n": 0}
        for _ in range(calls):
            data = await workflow.execute_activity(
                "count",
                args=[url, data["n"]],
                start_to_close_timeout=timedelta(hours=1),
                heartbeat_timeout=timedelta(seconds=10),
            )
        return data


@workflow.defn(name="bare-wait", sandboxed=False)
class BareWait:
    """What is open for an hour."""

    @workflow.run
    async def run(self) -> None:
        await asyncio.sleep(3600)


def _work(address: str, told: Connection) -> None:
    async def forever() -> None:
        client = await connect(TemporalSettings(address))
        async with RunWorker(client, QUEUE, most_cached=2 * OPEN):
            await _tell_memory(told)

    asyncio.run(forever())


def _work_bare(address: str, told: Connection) -> None:
    async def forever() -> None:
        client = await Client.connect(address)
        async with (
            aiohttp.ClientSession() as session,
            Worker(
                client,
                task_queue=BARE_QUEUE,
                workflows=[Bare, BareWait],
                activities=[BareCalls(session).count],
                workflow_runner=UnsandboxedWorkflowRunner(),
                max_cached_workflows=2 * OPEN,
                max_concurrent_activities=200,
            ),
        ):
            await _tell_memory(told)

    asyncio.run(forever())


async def _tell_memory(told: Connection) -> None:
    """Answer every question with the MiB that this process has."""
    told.send(resident_mib())
    while True:
        await asyncio.to_thread(told.recv)
        told.send(resident_mib())


@contextlib.contextmanager
def _worker(work: Callable[[str, Connection], None], address: str) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(address, theirs), daemon=True)
    process.start()
    try:
        ours.recv()
        yield ours
    finally:
        process.kill()
        process.join()


Begin = Callable[[str, int], Any]
"""Starts an execution with so many calls, and gives its handle."""


def _document(url: str, calls: int) -> dict[str, Any]:
    call = {"call": "http", "with": {"method": "get", "endpoint": url, "query": {"n": "${ .n | tostring }"}}}
    return {
        "document": {"dsl": "1.0.3", "namespace": "benchmarks", "name": "temporal", "version": "1.0.0"},
        "do": [{f"call{number}": call} for number in range(calls)],
    }


def _beginning(client: Client, url: str) -> tuple[Begin, Begin]:
    """Ours and the bare one."""

    async def ours(name: str, calls: int) -> WorkflowHandle[Any, Any]:
        start = Start(execution_id=name, document=_document(url, calls), input={"n": 0})
        return await client.start_workflow(names.RUN, to_json(start), id=names.run_id(name), task_queue=QUEUE)

    async def bare(name: str, calls: int) -> WorkflowHandle[Any, Any]:
        return await client.start_workflow("bare", args=[url, calls], id=name, task_queue=BARE_QUEUE)

    return ours, bare


async def _many(begin: Begin) -> float:
    """Executions a second."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with places:
            handle = await begin(str(uuid.uuid4()), CALLS)
            assert (await handle.result())["n"] == CALLS

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(EXECUTIONS)))
    return EXECUTIONS / (time.perf_counter() - began)


async def _latency(begin: Begin) -> float:
    """The median of executions with one call, one after the other, in milliseconds."""
    times = []
    for _ in range(LATENCIES):
        began = time.perf_counter()
        handle = await begin(str(uuid.uuid4()), 1)
        await handle.result()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


async def _events(begin: Begin) -> int:
    """Events of the history of one execution."""
    handle = await begin(str(uuid.uuid4()), CALLS)
    await handle.result()
    length: int = (await handle.describe()).history_length
    return length


async def _open(client: Client, told: Connection, starting: Callable[[str], Any]) -> float:
    """How many MiB a worker grows by with OPEN executions that wait."""

    def memory() -> float:
        told.send(None)
        return float(told.recv())

    before = await asyncio.to_thread(memory)
    places = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with places:
            handle = await starting(str(uuid.uuid4()))
            # Its timer is in the history once the worker has it.
            await until(lambda: _has(handle, 5), 60)

    await asyncio.gather(*(one() for _ in range(OPEN)))
    return await asyncio.to_thread(memory) - before


async def _has(handle: WorkflowHandle[Any, Any], events: int) -> bool:
    return (await handle.describe()).history_length >= events


async def _measure(url: str) -> None:
    async with temporal_server() as address:
        with _worker(_work, address) as told, _worker(_work_bare, address) as bare_told:
            client = await connect(TemporalSettings(address))
            ours, bare = _beginning(client, url)
            for begin in (ours, bare):  # connections, caches and the server's own beginning
                await (await begin(str(uuid.uuid4()), CALLS)).result()
            rates = [(await _many(bare), await _many(ours)) for _ in range(ROUNDS)]
            floor, rate = (statistics.median(each) for each in zip(*rates, strict=True))
            print(f"bare SDK     {floor:8.1f} executions a second, {floor * CALLS:8.0f} tasks a second")
            print(f"executions   {rate:8.1f} executions a second, {rate * CALLS:8.0f} tasks a second")
            print(f"ratio        {rate / floor:8.2f} (wanted: at least {WANTED_RATE})")
            latencies = [(await _latency(bare), await _latency(ours)) for _ in range(ROUNDS)]
            floor, latency = (statistics.median(each) for each in zip(*latencies, strict=True))
            print(f"one task     {latency:8.1f} ms, bare {floor:.1f} ms")
            print(f"ratio        {latency / floor:8.2f} (wanted: at most {WANTED_LATENCY})")
            print(f"history      {await _events(ours)} events of an execution of {CALLS} calls, bare {await _events(bare)}")
            document = _document(url, 0) | {"do": [{"wait": {"wait": {"hours": 1}}}]}

            async def waiting(name: str) -> WorkflowHandle[Any, Any]:
                start = to_json(Start(execution_id=name, document=document))
                return await client.start_workflow(names.RUN, start, id=names.run_id(name), task_queue=QUEUE)

            async def bare_waiting(name: str) -> WorkflowHandle[Any, Any]:
                return await client.start_workflow("bare-wait", id=name, task_queue=BARE_QUEUE)

            grown = await _open(client, told, waiting)
            bare_grown = await _open(client, bare_told, bare_waiting)
            print(f"{OPEN} open    {grown:8.1f} MiB of the worker, bare {bare_grown:.1f} MiB")


def main() -> None:
    """Measure and print."""
    with counter() as url:
        asyncio.run(_measure(url))
