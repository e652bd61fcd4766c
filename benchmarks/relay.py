"""Events a second by the relay, against the same calls made bare; and how long an event takes at half of that rate.

    .venv/bin/python -m benchmarks relay

The receiver is a process of its own on loopback that answers ReportProgress at once. The floor is as many coroutines as the
relay has calls under way, each making one call after the other over one channel.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import grpc.aio
from benchmarks.receiver import receiver
from pydantic import SecretStr

from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import command_pb2_grpc
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.stigmer.client import Destination
from workflow_runner.stigmer.relay import Relay

ROUNDS = 3
EXECUTIONS = 100
EVENTS = 50
AT_ONCE = 32
PACED_SECONDS = 5.0


def event(execution: int, number: int) -> WorkflowProgressEvent:
    """A small task event, made now."""
    return WorkflowProgressEvent(
        workflow_execution_id=f"execution-{execution}",
        event_type="task_failed",
        workflow_name="benchmark",
        task_name="step",
        status="failed",
        message="task 'step' has failed",
        timestamp_ms=int(time.time() * 1000),
        sequence_number=number,
        attempt=1,
    )


async def bare(port: int) -> float:
    """Seconds for all events, with nothing around the calls."""
    waiting = [event(execution, number + 1) for number in range(EVENTS) for execution in range(EXECUTIONS)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = command_pb2_grpc.WorkflowRunnerCommandControllerStub(channel)
        start = time.perf_counter()

        async def one() -> None:
            while waiting:
                await stub.ReportProgress(waiting.pop(), timeout=10, metadata=(("authorization", "Bearer key"),))

        await asyncio.gather(*(one() for _ in range(AT_ONCE)))
        return time.perf_counter() - start


async def relayed(port: int) -> float:
    """Seconds for all events, offered at once."""
    relay = Relay(changed=lambda _: None, max_concurrent=AT_ONCE)
    destination = Destination(f"127.0.0.1:{port}", SecretStr("key"), use_tls=False)
    running = asyncio.create_task(relay.run())
    start = time.perf_counter()
    for execution in range(EXECUTIONS):
        relay.track(f"execution-{execution}", destination, 0)
        for number in range(EVENTS):
            relay.offer(f"execution-{execution}", event(execution, number + 1))
    await asyncio.gather(*(relay.delivered(f"execution-{execution}", EVENTS, 60) for execution in range(EXECUTIONS)))
    seconds = time.perf_counter() - start
    await relay.close()
    await running
    return seconds


async def paced(port: int, rate: float) -> None:
    """Events at an even rate for a while."""
    relay = Relay(changed=lambda _: None, max_concurrent=AT_ONCE)
    destination = Destination(f"127.0.0.1:{port}", SecretStr("key"), use_tls=False)
    running = asyncio.create_task(relay.run())
    for execution in range(EXECUTIONS):
        relay.track(f"execution-{execution}", destination, 0)
    start, made = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < PACED_SECONDS:
        while made < rate * passed:
            relay.offer(f"execution-{made % EXECUTIONS}", event(made % EXECUTIONS, made // EXECUTIONS + 1))
            made += 1
        await asyncio.sleep(0.001)
    last = made // EXECUTIONS
    await asyncio.gather(*(relay.delivered(f"execution-{execution}", last, 60) for execution in range(EXECUTIONS)))
    await relay.close()
    await running


def main() -> None:
    """Measure and print."""
    with receiver() as there:
        floors, times = [], []
        for _ in range(ROUNDS):
            floors.append(asyncio.run(bare(there.port)))
            times.append(asyncio.run(relayed(there.port)))
        count = EXECUTIONS * EVENTS
        floor, whole = statistics.median(floors), statistics.median(times)
        print(f"bare calls   {count / floor:8,.0f} a second")
        print(f"relay        {count / whole:8,.0f} a second, {whole / floor:.2f} times the bare calls")
        rate = count / whole / 2
        there.arrivals()
        asyncio.run(paced(there.port, rate))
        ages = sorted(age for _, age in there.arrivals())
        p50, p99 = (ages[int(len(ages) * part)] for part in (0.5, 0.99))
        print(f"at {rate:,.0f} a second: an event is with the receiver after {p50:.0f} ms, p99 {p99:.0f} ms")


if __name__ == "__main__":
    main()
