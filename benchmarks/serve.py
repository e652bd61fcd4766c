"""ExecuteAsync against a bare grpc.aio unary echo: calls a second, and how long a call takes.

    .venv/bin/python -m benchmarks serve

Both servers are processes of their own, both answer the same message with a message of the same size, and one client makes the
same calls to each in turns, so many at a time. `workflow-runner serve` reads the same document every time, a single `set`, and
runs it to its end beside the calls; it keeps nothing on disk. The client shares the machine with them, and is as much of the
floor as of what is measured; the processor time is the servers' own.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio

from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import io_pb2, service_pb2_grpc
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as older
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import query_pb2_grpc

CALLS = 2_000
AT_ONCE = 50
ROUNDS = 3
SHARE = 0.5
METHOD = "/ai.stigmer.agentic.workflowrunner.v1.WorkflowExecutionService/ExecuteAsync"
DOCUMENT = """\
document: {dsl: '1.0.3', namespace: benchmarks, name: one, version: '1.0.0'}
do:
  - step: {set: {message: Hello}}
"""

Call = Callable[[io_pb2.WorkflowExecuteInput], Awaitable[io_pb2.WorkflowExecuteResponse]]


async def echo() -> None:
    """The floor: serve until standard input closes."""

    async def answer(request: io_pb2.WorkflowExecuteInput, _: object) -> io_pb2.WorkflowExecuteResponse:
        return io_pb2.WorkflowExecuteResponse(
            workflow_execution_id=request.workflow_execution_id,
            status="running",
            message="Workflow execution started in background",
            subscribe_url="grpc://127.0.0.1:50000/ai.stigmer.workflow.runner.v1.WorkflowRunnerQueryController/Subscribe",
            status_url="grpc://127.0.0.1:50000/ai.stigmer.workflow.runner.v1.WorkflowRunnerQueryController/GetStatus",
        )

    handler = grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=io_pb2.WorkflowExecuteInput.FromString,
        response_serializer=io_pb2.WorkflowExecuteResponse.SerializeToString,
    )
    service, method = METHOD.strip("/").split("/")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    print(json.dumps({"event": "serving", "port": server.add_insecure_port("127.0.0.1:0")}), file=sys.stderr, flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


async def started(*command: str) -> tuple[asyncio.subprocess.Process, int]:
    """A process that says where it serves, and its port."""
    variables = {"GRPC_PORT": "0", "HEALTH_PORT": "0", "METRICS_PORT": "0", "LOG_LEVEL": "info"}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stderr=pipe, env={**os.environ, **variables})
    assert process.stderr is not None
    async for line in process.stderr:
        if b'"serving"' in line:
            asyncio.get_running_loop().create_task(_drained(process.stderr))
            return process, int(json.loads(line)["port"])
    raise SystemExit(f"{command} does not serve")


async def _drained(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass


async def measure(call: Call, name: str) -> tuple[float, list[float]]:
    """Calls a second, and the seconds of each."""
    times: list[float] = []
    numbers = iter(range(CALLS))

    async def caller() -> None:
        for number in numbers:
            began = time.perf_counter()
            await call(io_pb2.WorkflowExecuteInput(workflow_execution_id=f"{name}-{number}", workflow_yaml=DOCUMENT))
            times.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return CALLS / (time.perf_counter() - began), times


def busy(pid: int) -> float:
    """Seconds of processor time that a process has taken, of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def compare() -> None:
    """Measure both in turns, and print."""
    program = Path(sys.executable).parent / "workflow-runner"
    processes = [await started(str(program), "serve"), await started(sys.executable, "-m", "benchmarks.serve")]
    rates: list[list[float]] = [[], []]
    times: list[list[float]] = [[], []]
    try:
        channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}") for _, port in processes]
        stubs = [service_pb2_grpc.WorkflowExecutionServiceStub(channel) for channel in channels]
        for stub in stubs:
            await measure(stub.ExecuteAsync, "warm")
        before = [busy(process.pid) for process, _ in processes]
        for round_ in range(ROUNDS):
            for which, stub in enumerate(stubs):
                rate, took = await measure(stub.ExecuteAsync, f"round-{round_}")
                rates[which].append(rate)
                times[which].extend(took)
        cost = [(busy(process.pid) - each) / (ROUNDS * CALLS) for (process, _), each in zip(processes, before, strict=True)]
        query = query_pb2_grpc.WorkflowRunnerQueryControllerStub(channels[0])
        story = [event async for event in query.Subscribe(older.SubscribeRequest(execution_id=f"round-0-{CALLS - 1}"))]
        if story[-1].event_type != "workflow_completed":
            raise SystemExit(f"a run ended with {story[-1].event_type}")
        for channel in channels:
            await channel.close()
    finally:
        for process, _ in processes:
            process.terminate()
            await process.wait()
    for name, each, took, spent in zip(("ExecuteAsync", "a bare echo"), rates, times, cost, strict=True):
        cuts = statistics.quantiles(took, n=100)
        rate_text = f"{statistics.median(each):7,.0f} calls a second"
        times_text = f"p50 {cuts[49] * 1e3:6.1f} ms  p99 {cuts[98] * 1e3:6.1f} ms"
        print(f"{name:14} {rate_text}  {times_text}  {spent * 1e6:5.0f} µs of processor each")
    share = statistics.median(rates[0]) / statistics.median(rates[1])
    print(f"{share:.2f} of the echo's rate, {AT_ONCE} calls at a time; wanted: at least {SHARE}")


def main() -> None:
    """Measure and print."""
    asyncio.run(compare())


if __name__ == "__main__":
    asyncio.run(echo())
