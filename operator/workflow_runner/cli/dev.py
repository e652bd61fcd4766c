"""`workflow-runner dev`: Temporal's development server with its web interface, and a worker, for trying things out.

Both end with Ctrl-C, and when one of them ends so does the other.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from workflow_runner import telemetry
from workflow_runner.cli.host import host_options
from workflow_runner.errors import WorkflowRunnerError
from workflow_runner.settings import log_level

if TYPE_CHECKING:  # its libraries take half a second, which nobody waits for who asks for help
    from workflow_runner.hosts.temporal.dev_server import DevServer, DevServerOptions
    from workflow_runner.settings.temporal import TemporalSettings

FAULTED = 1
_PORT = Number(gte=1, lte=65535)

Work = Callable[["TemporalSettings", asyncio.Event], Awaitable[None]]
"""What is done beside the server, until the event is set."""


def dev(
    *,
    port: Annotated[int, Parameter(help="The server's port.", validator=_PORT)] = 7233,
    ui_port: Annotated[int, Parameter(help="The port of its web interface.", validator=_PORT)] = 8233,
    host: Annotated[str, Parameter(help="The address that both listen on; nobody who comes there is asked who they are.")] = (
        "127.0.0.1"
    ),
    namespace: Annotated[str, Parameter(help="A namespace, made where it is missing.")] = "default",
    state_folder: Annotated[
        Path | None,
        Parameter(help="Where the server keeps what it holds, with a key that encrypts it; else all is gone when it ends."),
    ] = None,
    server_only: Annotated[bool, Parameter(help="Start no worker.", negative="")] = False,
) -> int:
    """Start Temporal's development server, and a worker. Not for production.

    Ends with Ctrl-C or SIGTERM, and takes the server with it.
    """
    from workflow_runner.hosts.temporal.dev_server import DevServerOptions

    telemetry.configure_logging(log_level(), json=not sys.stderr.isatty())
    folder = None if state_folder is None else Path(os.path.abspath(state_folder))
    options = DevServerOptions(port, ui_port, host, namespace, folder)
    return asyncio.run(run_beside(options, _until_stopped if server_only else work))


async def work(settings: TemporalSettings, stop: asyncio.Event) -> None:
    """The worker: takes the runs of the queue `workflow_execution`, until it is told to stop."""
    from workflow_runner.hosts.temporal.client import connect
    from workflow_runner.hosts.temporal.worker import RunWorker

    async with RunWorker(await connect(settings), settings.engine_task_queue, options=host_options()):
        await stop.wait()


async def run_beside(options: DevServerOptions, work: Work) -> int:
    """Runs `work` beside a server; the exit code. Raises WorkflowRunnerError where the server cannot be started, and what
    `work` raises."""
    from workflow_runner.hosts.temporal.dev_server import dev_server

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with dev_server(options, stop) as server:
        if not stop.is_set():
            print(_where(options), flush=True)
        trouble = await _work_while_it_runs(server, work(options.settings, stop), stop)
    if trouble is not None:
        print(f"workflow-runner: {trouble.code}: {trouble}", file=sys.stderr)
        return FAULTED
    return 0


async def _work_while_it_runs(server: DevServer, work: Awaitable[None], stop: asyncio.Event) -> WorkflowRunnerError | None:
    """None once the work is done; what became of the server, if it ended first: then the work is broken off."""
    working, died = asyncio.ensure_future(work), asyncio.ensure_future(server.died())
    try:
        await asyncio.wait({working, died}, return_when=asyncio.FIRST_COMPLETED)
        if died.done() and not stop.is_set():
            return died.result()
        await working
        return None
    finally:
        for task in (working, died):
            task.cancel()
        await asyncio.gather(working, died, return_exceptions=True)


async def _until_stopped(settings: TemporalSettings, stop: asyncio.Event) -> None:
    await stop.wait()


def _where(options: DevServerOptions) -> str:
    variables = [f"TEMPORAL_SERVICE_ADDRESS={options.address}"]
    if options.namespace != "default":
        variables.append(f"TEMPORAL_NAMESPACE={options.namespace}")
    if options.keys is not None:
        variables.append(f"TEMPORAL_PAYLOAD_KEYS={shlex.quote(str(options.keys))}")
    lines = [
        ("Temporal", f"{options.address}, namespace {options.namespace}; for development only"),
        ("Web", options.ui),
        ("Database", "in memory: gone when this ends" if options.database is None else str(options.database)),
        ("Keys", "none: data are plain (--state-folder makes one)" if options.keys is None else str(options.keys)),
        ("For others", f"export {' '.join(variables)}"),
        ("", "Ctrl-C ends it."),
    ]
    return "\n".join(f"{name:<12}{text}".rstrip() for name, text in lines)
