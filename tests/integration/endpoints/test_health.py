"""What a WorkflowRunner's status says of its endpoint."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from tests.integration.endpoints.operators import RUNNER, Operator, operator
from tests.integration.endpoints.proxy import proxy
from tests.integration.serve.served import Served
from tests.until import until

from workflow_runner.controller.runners import key_of

Json = dict[str, Any]

HELLO = "do: [{step: {set: {message: hello}}}]"
EXECUTION = "ai.stigmer.agentic.workflowrunner.v1.WorkflowExecutionService"


async def seen(made: Operator, holds: Callable[[Json], bool]) -> Json:
    """The runner's newest status, once this holds for its conditions by type."""
    made.queue.add(key_of(RUNNER))
    await until(lambda: bool(made.server.runner_writes) and holds(conditions(made.server.runner_writes[-1])), 40)
    return made.server.runner_writes[-1]


def conditions(status: Json) -> Json:
    return {item["type"]: item for item in status["conditions"]}


def reachable(status: str) -> Callable[[Json], bool]:
    return lambda found: bool(found["Reachable"]["status"] == status)


async def test_a_good_endpoint_is_ready_and_says_what_it_has(served: Served) -> None:
    async with operator(HELLO, served.address) as made:
        status = await seen(made, reachable("True"))
    assert conditions(status)["Ready"]["status"] == "True"
    assert status["mode"] == "Endpoint"
    assert "image" not in status
    assert status["latencyMilliseconds"] > 0
    assert {f"{EXECUTION}/PauseExecution", f"{EXECUTION}/ExecuteAsync"} <= set(status["capabilities"])
    assert "ai.stigmer.workflow.runner.v1.WorkflowRunnerQueryController/Subscribe" in status["capabilities"]


async def test_without_reflection_and_health_it_is_found_out_by_asking(served: Served) -> None:
    async with (
        proxy(
            served.address,
            ServerReflectionInfo=grpc.StatusCode.UNIMPLEMENTED,
            Check=grpc.StatusCode.UNIMPLEMENTED,
            PauseExecution=grpc.StatusCode.UNIMPLEMENTED,
        ) as before,
        operator(HELLO, before.address) as made,
    ):
        status = await seen(made, reachable("True"))
        assert before.calls["Execute"] == 0
    assert conditions(status)["Ready"]["status"] == "True"
    assert f"{EXECUTION}/CancelExecution" in status["capabilities"]
    assert f"{EXECUTION}/PauseExecution" not in status["capabilities"]


async def test_an_endpoint_that_goes_and_comes_is_told_of(served: Served) -> None:
    async with operator(HELLO, served.address) as made:
        await seen(made, reachable("True"))
        await served.kill()
        status = await seen(made, reachable("False"))
        found = conditions(status)
        assert (found["Ready"]["status"], found["Ready"]["reason"]) == ("False", "EndpointUnreachable")
        assert served.address in found["Reachable"]["message"]
        await served.start()
        await seen(made, reachable("True"))


async def test_one_that_does_not_serve_is_reachable_and_not_ready(served: Served) -> None:
    async with (
        proxy(served.address, ExecuteAsync=grpc.StatusCode.UNIMPLEMENTED) as before,
        operator(HELLO, before.address) as made,
    ):
        before.answers["/GetStatus"] = grpc.StatusCode.UNAUTHENTICATED
        status = await seen(made, lambda found: bool(found["Ready"]["reason"] == "EndpointRefusesKey"))
        assert conditions(status)["Reachable"]["status"] == "True"


async def test_an_endpoint_that_is_no_runner_is_not_ready(served: Served) -> None:
    """Every service is UNIMPLEMENTED, as on any other gRPC server."""
    async with proxy(served.address) as before, operator(HELLO, before.address) as made:
        before.answers[""] = grpc.StatusCode.UNIMPLEMENTED
        status = await seen(made, lambda found: bool(found["Ready"]["reason"] == "EndpointNotARunner"))
        assert conditions(status)["Reachable"]["status"] == "True"


@contextlib.asynccontextmanager
async def way_to(targets: list[str]) -> AsyncIterator[str]:
    """An address that leads to the last of the targets; a connection once made leads to where it led."""
    tasks: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = targets[-1].rpartition(":")
        there = await asyncio.open_connection(host, int(port))
        tasks.update(asyncio.create_task(pipe(*way)) for way in ((reader, there[1]), (there[0], writer)))

    server = await asyncio.start_server(lead, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_is_no_runner_is_dialled_again_for_the_runner_may_have_come(served: Served) -> None:
    targets: list[str] = []
    async with proxy(served.address) as other:
        other.answers[""] = grpc.StatusCode.UNIMPLEMENTED
        targets.append(other.address)
        async with way_to(targets) as address, operator(HELLO, address) as made:
            await seen(made, lambda found: bool(found["Ready"]["reason"] == "EndpointNotARunner"))
            targets.append(served.address)
            await seen(made, lambda found: bool(found["Ready"]["status"] == "True"))
