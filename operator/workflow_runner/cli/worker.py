"""`workflow-runner worker`: works for Temporal in one or several roles of the topology with Stigmer's server.

    orchestrator   takes the workflow stigmer/workflow-execution/invoke, and hands executions to runners
    runner         takes the activity ExecuteWorkflow: asks Stigmer, starts and follows the run
    engine         takes the runs: the workflow language, and the calls of its tasks

Configured by environment variables (docs/temporal.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import structlog
from cyclopts import Parameter
from msgspec import Struct

from workflow_runner import __version__, telemetry
from workflow_runner.calls.addresses import AddressRules
from workflow_runner.cli.addresses import address_rules
from workflow_runner.cli.collection import collect_seldom
from workflow_runner.cli.eventing import EventOptions, event_options, open_events
from workflow_runner.cli.host import host_options, shared_processes
from workflow_runner.cli.options import AllowAddress, DenyAddress
from workflow_runner.cli.stigmer_records import NoRecords, StigmerRecords
from workflow_runner.cli.telling import telling
from workflow_runner.errors import InvalidInput, Unavailable
from workflow_runner.hosts.temporal.client import connect
from workflow_runner.hosts.temporal.orchestrator import Orchestrator
from workflow_runner.hosts.temporal.queues import Kind, nobody_polls, polled
from workflow_runner.hosts.temporal.runner import Runner
from workflow_runner.hosts.temporal.versions import make_current, no_current_version
from workflow_runner.hosts.temporal.worker import RunWorker
from workflow_runner.server.health import serve_health
from workflow_runner.server.metrics import ServeMetrics, serve_metrics
from workflow_runner.settings import WorkerSettings, worker_settings

ROLES = ("orchestrator", "runner", "engine")
NOT_WORKING = "the worker has not begun yet, or is stopping"
LOOK_SECONDS = 30.0
"""How often it is looked whether somebody polls the queues that this worker puts something into."""

log = structlog.get_logger(__name__)


def worker(
    *,
    roles: Annotated[str, Parameter(help="Any of orchestrator, runner and engine, with commas between.")] = ",".join(ROLES),
    current: Annotated[
        bool,
        Parameter(help="Make this version of the deployment the one that new runs go to.", negative="", show_default=False),
    ] = False,
    allow_address: AllowAddress = (),
    deny_address: DenyAddress = (),
) -> int:
    """Work for Temporal: carry out the executions that Stigmer's server starts there.

    Stops with SIGTERM or Ctrl-C; what is going on goes on at other workers, or when this one is back.
    """
    chosen = _roles(roles)
    settings = worker_settings(os.environ)
    telemetry.configure_logging(settings.log_level, json=not sys.stderr.isatty())
    if settings.stigmer is None and chosen != {"engine"}:
        raise InvalidInput(
            "STIGMER_SERVICE_ENDPOINT is not set: the roles orchestrator and runner read executions there, and tell of them",
            code="settings.missing",
            hint="set it to HOST:PORT, or choose --roles engine",
        )
    versioned = settings.temporal.deployment and settings.temporal.build_id
    if (settings.temporal.deployment or settings.temporal.build_id) and not versioned:
        message = "TEMPORAL_DEPLOYMENT_NAME and TEMPORAL_WORKER_BUILD_ID go together"
        raise InvalidInput(message, code="settings.missing")
    if current and not (versioned and "engine" in chosen):
        message = "--current is for the role engine, with TEMPORAL_DEPLOYMENT_NAME and TEMPORAL_WORKER_BUILD_ID"
        raise InvalidInput(message, code="input.bad-option")
    parts = _Parts(chosen, current, address_rules(allow_address, deny_address), event_options())
    collect_seldom()
    asyncio.run(_work(settings, parts))
    return 0


class _Parts(Struct, frozen=True):
    roles: frozenset[str]
    current: bool
    addresses: AddressRules | None
    events: EventOptions


def _roles(text: str) -> frozenset[str]:
    chosen = frozenset(part.strip() for part in text.split(",") if part.strip())
    if not chosen or not chosen <= set(ROLES):
        message = f"--roles {text[:80]!r} is not made of {', '.join(ROLES)}"
        raise InvalidInput(
            message, code="input.bad-option", hint="write them with commas between, such as --roles runner,engine"
        )
    return chosen


async def _work(settings: WorkerSettings, parts: _Parts) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    temporal, works = settings.temporal, False
    notes: dict[str, str] = {}

    async with contextlib.AsyncExitStack() as stack:
        # First, so that whoever asks how it stands hears that it is beginning.
        health = await serve_health(
            settings.health_port,
            ready={"worker": lambda: None if works else NOT_WORKING},
            notes={role: lambda role=role: notes.get(role) for role in ROLES},  # type: ignore[misc]
        )
        stack.push_async_callback(health.close)
        metrics = ServeMetrics()
        scraped = await serve_metrics(settings.metrics_port, metrics)
        stack.push_async_callback(scraped.cleanup)
        client = await connect(temporal)
        records: StigmerRecords | None = None
        if settings.stigmer is not None:
            telemetry.conceal(settings.stigmer.api_key)
            records = StigmerRecords(settings.stigmer)
            stack.push_async_callback(records.close)
        eventing = await stack.enter_async_context(open_events(parts.events))
        handing: list[tuple[str, Kind, str]] = []
        # Those who hand on stop first.
        if "engine" in parts.roles:
            versioned = bool(temporal.deployment)
            engine = RunWorker(
                client,
                temporal.engine_task_queue,
                addresses=parts.addresses,
                options=shared_processes(host_options(stigmer=settings.stigmer)),
                publish=eventing.bus.publish,
                secrets=None if temporal.payloads.keys is not None else (records or NoRecords()).secrets_of,
                version=(temporal.deployment, temporal.build_id) if versioned else None,
            )
            await stack.enter_async_context(engine)
            if parts.current:
                await make_current(client, temporal)
            elif versioned and await no_current_version(client, temporal):
                log.warning(
                    "no version of this deployment is current: new runs wait until one is (--current)",
                    code="temporal.no-current-version",
                    deployment=temporal.deployment,
                    build_id=temporal.build_id,
                )
        if "runner" in parts.roles and records is not None:
            runner = Runner(client, temporal, records, most=settings.most_executions)
            relay = await stack.enter_async_context(telling(runner, eventing, settings.stigmer, ended=metrics.ended))
            runner.settled = relay.delivered
            relay.reported = metrics.callbacks.reported
            metrics.callbacks.outboxes(relay.stands)
            metrics.executions(runner.by_status)
            await stack.enter_async_context(runner)
            handing.append((temporal.engine_task_queue, "workflow", "engine"))
        if "orchestrator" in parts.roles and records is not None:
            await stack.enter_async_context(Orchestrator(client, temporal, records))
            handing.append((temporal.runner_task_queue, "activity", "runner"))
        looking = asyncio.create_task(_look(lambda queue, kind: polled(client, queue, kind), handing, notes))
        works = True
        log.info(
            "working",
            version=__version__,
            roles=sorted(parts.roles),
            temporal=temporal.address,
            namespace=temporal.namespace,
            queues={
                role: queue
                for role, queue in zip(
                    ROLES,
                    (temporal.stigmer_task_queue, temporal.runner_task_queue, temporal.engine_task_queue),
                    strict=True,
                )
                if role in parts.roles
            },
            health_port=health.port,
            metrics_port=scraped.addresses[0][1],
            encrypted=temporal.payloads.keys is not None,
        )
        await stop.wait()
        works = False
        log.info("stopping")
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def _look(
    is_polled: Callable[[str, Kind], Awaitable[bool]], queues: list[tuple[str, Kind, str]], notes: dict[str, str]
) -> None:
    """Say, once each, of queues that this worker puts something into whether anybody takes it out again."""
    while True:
        await asyncio.sleep(LOOK_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        for queue, kind, role in queues:
            try:
                found = await is_polled(queue, kind)
            except Unavailable:
                continue
            if found:
                if notes.pop(role, None) is not None:
                    log.info("the queue is polled now", queue=queue)
            elif role not in notes:
                finding = nobody_polls(queue, role)
                notes[role] = str(finding)
                log.warning("%s", finding.message, code=finding.code, queue=queue)
