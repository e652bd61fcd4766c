"""Servers that do not behave: the checks say so, go on, and come to an end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.integration.cli.program import call
from tests.integration.conformance_command.runners import check, told

from workflow_runner.errors import Unavailable
from workflow_runner.runner_checks.interface import EXECUTION, QUERY
from workflow_runner.runner_checks.requirements import REQUIREMENTS
from workflow_runner.runner_checks.suite import Limits

IMPATIENT = Limits(answer=0.2, settle=0.25, total=60.0)

Context = grpc.aio.ServicerContext[Any, Any]


@contextlib.asynccontextmanager
async def raw(
    unary: Callable[[Context], Awaitable[bytes]], stream: Callable[[Context], AsyncIterator[bytes]]
) -> AsyncIterator[str]:
    """A server that answers every method with bytes."""

    async def answer(request: bytes, context: Context) -> bytes:
        return await unary(context)

    async def answer_all(request: bytes, context: Context) -> AsyncIterator[bytes]:
        async for content in stream(context):
            yield content

    class Anything(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> Any:
            streams = details.method.endswith(("/Execute", "/Subscribe", "/ServerReflectionInfo"))
            make: Any = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
            return make(answer_all if streams else answer)

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Anything(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def _hang(context: Context) -> bytes:
    await asyncio.Event().wait()
    return b""


async def _hang_all(context: Context) -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def _garbage(context: Context) -> bytes:
    return b"\xff\xff\xff\xff"


async def _garbage_all(context: Context) -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b"\xff\xff\xff\xff"


async def _nothing(context: Context) -> bytes:
    return b""


async def _nothing_all(context: Context) -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b""


async def _no_end(context: Context) -> AsyncIterator[bytes]:
    while True:
        yield b"\x12\x0ctask_started"


async def _break(context: Context) -> bytes:
    raise RuntimeError("a bug, \x1b[31mred\x1b[0m and all")


async def _break_all(context: Context) -> AsyncIterator[bytes]:
    yield b"\x12\x10workflow_started"
    raise RuntimeError("a bug")


@pytest.mark.parametrize(
    ("unary", "stream"),
    [(_hang, _hang_all), (_garbage, _garbage_all), (_nothing, _nothing_all), (_nothing, _no_end), (_break, _break_all)],
    ids=["hangs", "garbage", "empty", "endless", "breaks"],
)
@pytest.mark.timeout(120)
async def test_there_is_a_result_for_every_check(unary: Any, stream: Any) -> None:
    async with raw(unary, stream) as address:
        results = await check(address, limits=IMPATIENT)
    assert list(results) == list(REQUIREMENTS)
    assert {"EXECUTE-1", "START-1", "CANCEL-1", "QUERY-2"} <= set(told(results, "fail"))
    assert all("cannot be judged" not in result.came for result in results.values())
    assert all(text.isprintable() for result in results.values() for pair in result.asked for text in pair)


async def test_the_time_for_everything_is_bounded() -> None:
    async with raw(_hang, _hang_all) as address:
        results = await check(address, limits=Limits(answer=0.3, settle=0.5, total=1.0))
    assert list(results) == list(REQUIREMENTS)
    late = [result for result in results.values() if "the time for all checks is over" in result.came]
    assert len(late) > 30
    assert all(result.mark == "fail" for result in late)


@contextlib.asynccontextmanager
async def listener(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """A TCP server that speaks no gRPC."""
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("talk", [_close, _speak_http], ids=["closes", "another protocol"])
async def test_where_nobody_speaks_grpc_nothing_is_checked(talk: Any) -> None:
    async with listener(talk) as address:
        with pytest.raises(Unavailable, match=r"nobody answers gRPC there within 0\.2 seconds: "):
            await check(address, limits=IMPATIENT)


def test_the_program_says_that_nobody_is_there() -> None:
    ended = call("conformance", "grpc://127.0.0.1:1", "--timeout", "0.5")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("workflow-runner: unavailable: nobody answers gRPC there within 0.5 seconds: ")
    assert "Connection refused" in ended.err


async def test_a_server_that_goes_away_is_told_check_by_check() -> None:
    """The runner dies while its runs are followed."""
    stopped = asyncio.Event()

    async def die(context: Context) -> bytes:
        stopped.set()
        return b""

    async def one_event(context: Context) -> AsyncIterator[bytes]:
        yield b"\x12\x10workflow_started"
        await asyncio.Event().wait()

    async with raw(die, one_event) as address:
        checking = asyncio.create_task(check(address, limits=IMPATIENT, only=["CANCEL-1", "CANCEL-2", "QUERY-7"]))
        await stopped.wait()
    results = await checking
    assert told(results, "fail") == ["CANCEL-1", "CANCEL-2", "QUERY-7"]


def test_the_names_of_services_are_those_of_the_protos() -> None:
    from examples.runners.dag import dag_runner

    assert (EXECUTION, QUERY) == (dag_runner.EXECUTION, dag_runner.QUERY)
