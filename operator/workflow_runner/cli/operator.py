"""`workflow-runner operator`: builds the operator from its parts and runs them until told to stop.

This is the operator's composition root: settings are read here, and nowhere below.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

import structlog

from workflow_runner import telemetry
from workflow_runner.cluster import Cluster, Conflict, NotFound, own_namespace
from workflow_runner.controller.observer import Observer
from workflow_runner.controller.queue import KeyedQueue
from workflow_runner.controller.reconciler import Reconciler
from workflow_runner.controller.resync import Resync
from workflow_runner.controller.runs import Runs
from workflow_runner.controller.stigmer import Destinations
from workflow_runner.controller.store import Store
from workflow_runner.controller.validation import Validator
from workflow_runner.controller.watches import Watches
from workflow_runner.errors import Internal, WorkflowRunnerError
from workflow_runner.launchers.job import LaunchSettings, SinkAddress
from workflow_runner.server.health import serve_health
from workflow_runner.server.identity import Identities
from workflow_runner.server.sink import SinkService, build_server
from workflow_runner.server.tls import Authority, new_authority, server_credentials
from workflow_runner.settings import OperatorSettings, operator_settings
from workflow_runner.stigmer.relay import Relay

CA_CERTIFICATE, CA_KEY = "ca.crt", "ca.key"
STOP_SECONDS = 5.0

log = structlog.get_logger(__name__)


def operator() -> int:
    """Run the operator: watch WorkflowExecutions and carry them out.

    Configured by environment variables; the Helm chart sets them.
    """
    try:
        settings = operator_settings(os.environ)
        telemetry.configure_logging(settings.log_level, json=not sys.stderr.isatty())
        asyncio.run(_run(settings))
    except WorkflowRunnerError as error:
        print(f"workflow-runner: {error.code}: {error}", file=sys.stderr)
        return 2
    return 0


async def _run(settings: OperatorSettings) -> None:
    cluster = await Cluster.connect()
    try:
        await _serve(settings, cluster)
    finally:
        await cluster.close()


async def _serve(settings: OperatorSettings, cluster: Cluster) -> None:
    namespace = settings.namespace or own_namespace()
    authority = await _authority(cluster, namespace, settings.ca_secret)
    host = f"{settings.sink_service}.{namespace}.svc"
    endpoint = settings.sink_endpoint or f"{host}:{settings.grpc_port}"
    names = [host, f"{host}.cluster.local", "localhost", endpoint.rsplit(":", 1)[0]]

    queue, store, validator = KeyedQueue(), Store(), Validator()
    relay = Relay(changed=queue.add)
    runs = Runs(relay, queue.add, store.has_ended, store.newest_pod_of)
    identities = Identities(cluster, known_pod=store.known_pod, known_job=store.known_job, namespace_of=store.namespace_of)
    sink = SinkService(runs, identities)
    server, _ = build_server(sink, f"0.0.0.0:{settings.grpc_port}", server_credentials(authority, list(dict.fromkeys(names))))
    destinations = Destinations(cluster)
    observer = Observer(
        cluster=cluster,
        store=store,
        runs=runs,
        validator=validator,
        launch=_launch(settings, SinkAddress(endpoint, authority.certificate.decode())),
        namespace=namespace,
        again=queue.add,
    )
    reconciler = Reconciler(
        cluster=cluster, store=store, runs=runs, observer=observer, destinations=destinations, again=queue.add
    )
    resync = Resync(cluster, store, queue)
    watches = Watches(store, queue)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    health = await serve_health(
        "0.0.0.0",  # noqa: S104 - probes come from the node
        settings.health_port,
        ready={
            "resources": lambda: None if resync.done else "the cluster's resources have not been listed",
            "watches": lambda: None if watches.ready else "the watches have not started",
        },
    )
    await server.start()
    await validator.warm()
    try:
        await resync.first()
        log.info("operator started", namespace=namespace, sink=endpoint, image=settings.image)
        parts = {
            "watches": watches.run(),
            "resync": resync.run(),
            "queue": queue.run(reconciler.reconcile),
            "relay": relay.run(),
        }
        await _until_stopped(stop, parts)
    finally:
        log.info("operator stopping")
        await observer.close()
        await server.stop(grace=STOP_SECONDS)
        await health.cleanup()
        await asyncio.to_thread(validator.close)


def _launch(settings: OperatorSettings, sink: SinkAddress) -> LaunchSettings:
    return LaunchSettings(
        image=settings.image, image_pull_policy=settings.image_pull_policy, sink=sink, log_level=settings.job_log_level
    )


async def _until_stopped(stop: asyncio.Event, parts: dict[str, Coroutine[Any, Any, None]]) -> None:
    """Runs the parts until `stop` is set. A part that ends before that takes the operator down: the pod is
    restarted, which is better than an operator that looks alive and does half of its work."""
    tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
    waiting = asyncio.create_task(stop.wait(), name="stop")
    try:
        done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            task.result()
            raise Internal(f"the operator's {task.get_name()} ended by itself; see the log above it")
    finally:
        for task in (*tasks, waiting):
            task.cancel()
        await asyncio.gather(*tasks, waiting, return_exceptions=True)


async def _authority(cluster: Cluster, namespace: str, secret: str) -> Authority:
    """The sink's CA, kept in a Secret; made when there is none yet."""
    while True:
        with contextlib.suppress(NotFound):
            data = await cluster.get_secret(namespace, secret)
            if CA_CERTIFICATE not in data or CA_KEY not in data:
                raise WorkflowRunnerError(
                    f"the Secret {namespace}/{secret} has no {CA_CERTIFICATE} and {CA_KEY}",
                    code="settings.invalid",
                    hint="remove it, and the operator makes a new one",
                )
            return Authority(data[CA_CERTIFICATE], data[CA_KEY])
        authority = new_authority()
        with contextlib.suppress(Conflict):
            await cluster.create_secret(namespace, secret, {CA_CERTIFICATE: authority.certificate, CA_KEY: authority.key})
            return authority
