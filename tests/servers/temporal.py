"""Temporal's development server, for every test that needs one: a real server with its own database, started in a moment."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryFile

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError
from tests.until import until

PROGRAM = Path(sys.executable).parent / "temporal"
STARTS = 3


@contextlib.asynccontextmanager
async def temporal_server(*arguments: str, port: int | None = None, database: Path | None = None) -> AsyncIterator[str]:
    """The server's HOST:PORT; it has the namespace `default`.

    With a `database` what it holds outlives it: give the next one the same file, and the same port where clients are to find
    it again. More `arguments` are those of `temporal server start-dev`.
    """
    for attempt in range(STARTS):
        chosen = port or free_port()
        with TemporaryFile() as output:
            process = await asyncio.create_subprocess_exec(
                PROGRAM,
                *_arguments(chosen),
                *(() if database is None else ("--db-filename", str(database))),
                *arguments,
                stdout=output,
                stderr=output,
            )
            try:
                if await _serves(process, f"127.0.0.1:{chosen}"):
                    yield f"127.0.0.1:{chosen}"
                    return
            finally:
                await _end(process, keeps_nothing=database is None)
            output.seek(0)
            said = output.read().decode(errors="replace")
        # Somebody else may have taken the port meanwhile.
        if port is not None or attempt + 1 == STARTS:
            raise RuntimeError(f"the development server ended at once: {said[-2000:]}")


SHORT_HISTORIES = ("--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=8")
"""The server suggests to continue as new after eight events: every run that does something does so, again and again."""

_shared: dict[tuple[str, ...], str] = {}


async def shared_temporal_server(*arguments: str) -> str:
    """The HOST:PORT of one server for all tests of this process that want these arguments; it ends with the process."""
    if arguments not in _shared:
        port = free_port()
        process = subprocess.Popen(  # noqa: ASYNC220 - outlives the loop
            (PROGRAM, *_arguments(port), *arguments),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        atexit.register(_end_now, process)
        _shared[arguments] = f"127.0.0.1:{port}"
    await until(lambda: _answers(_shared[arguments]), 60)
    return _shared[arguments]


def _end_now(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _arguments(port: int) -> tuple[str, ...]:
    return (
        *("server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port), "--log-level", "error"),
        *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000"),
    )


_ports = itertools.count(os.getpid() * 97)


def free_port() -> int:
    """A port that nobody listens on now, and that nobody gets by chance: below those that the kernel hands out, and elsewhere
    in each process that tests."""
    while True:
        port = 10_000 + next(_ports) % 22_000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


async def _serves(process: asyncio.subprocess.Process, address: str) -> bool:
    """Waits until it answers for its namespace; False where it has ended instead."""

    async def ended_or_answers() -> bool:
        return process.returncode is not None or await _answers(address)

    await until(ended_or_answers, 60)
    return process.returncode is None


async def _answers(address: str) -> bool:
    try:
        client = await Client.connect(address)
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    except (RuntimeError, RPCError):
        return False
    return True


async def _end(process: asyncio.subprocess.Process, *, keeps_nothing: bool) -> None:
    if process.returncode is None:
        if keeps_nothing:  # nothing to put in order, which takes a second
            process.kill()
        else:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()
