"""`workflow-runner serve`: a runner's gRPC service; whatever it accepts runs in this process.

Configured by environment variables (docs/serve.md) and a few options. Without keys or client certificates it listens on
loopback only.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import structlog
from cyclopts import Parameter
from msgspec import Struct
from msgspec.structs import replace

from workflow_runner import __version__, telemetry
from workflow_runner.calls.addresses import AddressRules
from workflow_runner.cli.addresses import address_rules
from workflow_runner.cli.collection import collect_seldom
from workflow_runner.cli.eventing import EventOptions, event_options, open_events
from workflow_runner.cli.host import host_options, shared_processes
from workflow_runner.cli.options import AllowAddress, DenyAddress
from workflow_runner.cli.telling import telling
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.documents import Documents
from workflow_runner.hosts.execution_store import ExecutionStore
from workflow_runner.hosts.executions import Executions
from workflow_runner.hosts.jq_pool import JqPool
from workflow_runner.hosts.kept_executions import Bounds
from workflow_runner.hosts.local_execution import Environment
from workflow_runner.hosts.local_executions import LocalExecutions
from workflow_runner.server.authentication import Authenticate, StaticKeys, anybody
from workflow_runner.server.calls import CallInterceptor
from workflow_runner.server.executions import execution_services
from workflow_runner.server.grpc_server import GrpcServer, file_credentials
from workflow_runner.server.health import serve_health
from workflow_runner.server.metrics import ServeMetrics, serve_metrics
from workflow_runner.settings import ServeSettings, serve_settings

if TYPE_CHECKING:
    from workflow_runner.hosts.elsewhere import HostOptions
    from workflow_runner.hosts.event_bus import Publish
    from workflow_runner.hosts.temporal.executions import TemporalExecutions

LAST_CALLS_SECONDS = 5.0
NOT_SERVING = "the service has not begun yet, or is stopping"

log = structlog.get_logger(__name__)


def serve(
    *,
    listen: Annotated[str | None, Parameter(help="HOST:PORT of the service; else GRPC_PORT, on loopback.")] = None,
    state_folder: Annotated[
        Path | None, Parameter(help="Where runs are kept, so that they go on after a restart; else they end with the process.")
    ] = None,
    allow_address: AllowAddress = (),
    deny_address: DenyAddress = (),
) -> int:
    """Serve WorkflowExecutionService: take workflows by gRPC and run them here.

    Stops with SIGTERM or Ctrl-C: with --state-folder what was accepted goes on in the next process, else it has some seconds
    to end.
    """
    settings = serve_settings(os.environ)
    telemetry.configure_logging(settings.log_level, json=not sys.stderr.isatty())
    # Nothing that our lines show; finding it out for each takes as long as writing it.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    state_folder = state_folder or settings.state_folder
    if state_folder is not None and settings.temporal is not None:
        raise InvalidInput(
            f"there is a state folder, {state_folder}, and the runs are in Temporal: one of the two keeps their state",
            code="settings.invalid",
            hint="leave out --state-folder and WORKFLOW_RUNNER_STATE_FOLDER, or WORKFLOW_RUNNER_ENGINE=temporal",
        )
    authenticate: Authenticate = anybody if settings.api_keys is None else StaticKeys(settings.api_keys)
    guarded = authenticate is not anybody or (settings.tls is not None and settings.tls.client_ca is not None)
    address = _address(settings, listen, guarded=guarded)
    parts = _Parts(
        address,
        CallInterceptor(authenticate),
        None if state_folder is None else ExecutionStore(state_folder),
        address_rules(allow_address, deny_address),
        event_options(),
    )
    collect_seldom()
    asyncio.run(_serve(settings, parts))
    return 0


class _Parts(Struct, frozen=True):
    address: str
    interceptor: CallInterceptor
    store: ExecutionStore | None
    addresses: AddressRules | None
    events: EventOptions


def _address(settings: ServeSettings, listen: str | None, *, guarded: bool) -> str:
    """Where to listen; raises InvalidInput where strangers would reach a service that asks nobody who they are."""
    open_to_all = guarded or settings.unguarded
    if listen is None:
        return f"[::]:{settings.grpc_port}" if open_to_all else f"127.0.0.1:{settings.grpc_port}"
    host = listen.rpartition(":")[0].strip("[]")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not (open_to_all or loopback):
        raise InvalidInput(
            f"{listen} can be reached from elsewhere, and nobody who calls is asked who they are",
            code="settings.unguarded",
            hint="set WORKFLOW_RUNNER_API_KEYS or WORKFLOW_RUNNER_TLS_CLIENT_CA, or WORKFLOW_RUNNER_AUTHENTICATION=none",
        )
    return listen


async def _serve(settings: ServeSettings, parts: _Parts) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server: GrpcServer | None = None

    def trouble() -> str | None:
        return None if server is not None and server.serving else NOT_SERVING

    def address() -> str:
        return settings.public_address or _own_address(parts.address, 0 if server is None else server.port)

    async with contextlib.AsyncExitStack() as stack:
        # First, so that whoever asks how it stands hears that it is beginning.
        health = await serve_health(settings.health_port, ready={"grpc": trouble})
        stack.push_async_callback(health.close)
        metrics = ServeMetrics()
        scraped = await serve_metrics(settings.metrics_port, metrics)
        stack.push_async_callback(scraped.cleanup)
        eventing = await stack.enter_async_context(open_events(parts.events))
        jq = JqPool()
        stack.push_async_callback(jq.aclose)
        documents = Documents()
        options = replace(shared_processes(host_options(stigmer=settings.stigmer)), jq=jq)
        executions: _Served
        if settings.temporal is None:
            executions = local = LocalExecutions(
                documents,
                Environment(eventing.bus, options, parts.addresses),
                store=parts.store,
                bounds=Bounds(live=settings.most_executions),
            )
            told = telling(local, eventing, settings.stigmer, ended=metrics.ended)
        else:
            executions = there = await _on_temporal(stack, settings, parts, options, eventing.bus.publish, documents, metrics)
            told = telling(there, eventing, settings.stigmer, ended=metrics.ended)
        relay = await stack.enter_async_context(told)
        services = execution_services(executions, address=address)
        server = GrpcServer(
            services, parts.interceptor, credentials=None if settings.tls is None else file_credentials(settings.tls)
        )
        parts.interceptor.called = metrics.calls.called
        relay.reported = metrics.callbacks.reported
        metrics.callbacks.outboxes(relay.stands)
        metrics.executions(executions.by_status)
        metrics.documents(lambda: len(documents))
        # Before the first call: an id that an earlier process accepted is known.
        gone_on = await executions.go_on()
        await server.start(parts.address)
        log.info(
            "serving",
            version=__version__,
            address=parts.address,
            port=server.port,
            health_port=health.port,
            metrics_port=scraped.addresses[0][1],
            gone_on=gone_on,
            runs=_kept(settings, parts),
        )
        # What is there now stays: the collector need not look through it again and again.
        gc.collect()
        gc.freeze()
        await stop.wait()
        log.info("stopping", running=executions.live)
        await server.drain()
        await executions.close(settings.stop_seconds)
        await server.stop(LAST_CALLS_SECONDS)


class _Served(Executions, Protocol):
    """What is served: LocalExecutions, or TemporalExecutions."""

    @property
    def live(self) -> int: ...

    def by_status(self) -> dict[str, int]: ...

    async def go_on(self) -> int: ...

    async def close(self, seconds: float) -> None: ...


async def _on_temporal(
    stack: contextlib.AsyncExitStack,
    settings: ServeSettings,
    parts: _Parts,
    options: HostOptions,
    publish: Publish | None,
    documents: Documents,
    metrics: ServeMetrics,
) -> TemporalExecutions:
    """Executions whose runs are in Temporal, and a worker for the queue that they go to."""
    # A service without Temporal does not wait for it.
    from workflow_runner.hosts.temporal.backlog import Backlog
    from workflow_runner.hosts.temporal.client import connect
    from workflow_runner.hosts.temporal.executions import TemporalExecutions
    from workflow_runner.hosts.temporal.worker import RunWorker

    temporal = settings.temporal
    assert temporal is not None  # noqa: S101 - else it is not called
    client, queue = await connect(temporal), temporal.engine_task_queue
    worker = RunWorker(client, queue, addresses=parts.addresses, options=options, publish=publish)
    await stack.enter_async_context(worker)
    backlog = Backlog(client, queue)
    metrics.backlog(lambda: backlog.known)
    stack.push_async_callback(_ended, asyncio.create_task(backlog.run(), name="backlog"))
    return TemporalExecutions(documents, client, temporal, bounds=Bounds(live=settings.most_executions))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _kept(settings: ServeSettings, parts: _Parts) -> str:
    if settings.temporal is not None:
        return f"their state is in Temporal at {settings.temporal.address}, queue {settings.temporal.engine_task_queue}"
    return "their state is kept" if parts.store is not None else "they end with this process: there is no state folder"


def _own_address(address: str, port: int) -> str:
    host = address.rpartition(":")[0]
    return f"{socket.gethostname() if host in ('[::]', '0.0.0.0') else host}:{port}"  # noqa: S104 - compared, not bound
