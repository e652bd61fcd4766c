"""`workflow-runner operator`: builds the operator from its parts and runs them until told to stop.

This is the operator's composition root: settings are read here, and nowhere below.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
from collections.abc import Coroutine
from functools import partial
from typing import Any

import structlog

from workflow_runner import telemetry
from workflow_runner.cli import observing
from workflow_runner.cli.addresses import address_rules
from workflow_runner.cli.control import control_services
from workflow_runner.cluster import Cluster, Conflict, NotFound, own_namespace
from workflow_runner.controller.bootstrap import apply_default_runner
from workflow_runner.controller.endpoints import Endpoints
from workflow_runner.controller.observer import Observer
from workflow_runner.controller.pools import Issued, Pools
from workflow_runner.controller.queue import KeyedQueue
from workflow_runner.controller.reachability import Reachability
from workflow_runner.controller.reconciler import Reconciler
from workflow_runner.controller.resync import Resync
from workflow_runner.controller.runners import RunnerReconciler, is_runner, key_of
from workflow_runner.controller.runs import Runs
from workflow_runner.controller.slots import Slots
from workflow_runner.controller.stigmer import Destinations
from workflow_runner.controller.stigmer_workflows import StigmerWorkflows
from workflow_runner.controller.store import Store
from workflow_runner.controller.validation import Validator
from workflow_runner.controller.watches import Watches
from workflow_runner.errors import Internal, InvalidInput, WorkflowRunnerError
from workflow_runner.hosts.event_endpoint import EventEndpoint, serve_events
from workflow_runner.launchers.run import LaunchSettings, SinkAddress
from workflow_runner.server.events import AWAY_SECONDS, NamespaceTokens
from workflow_runner.server.health import serve_health
from workflow_runner.server.identity import Identities
from workflow_runner.server.listening import listen
from workflow_runner.server.metrics import Metrics, serve_metrics
from workflow_runner.server.sink import SinkService, build_server
from workflow_runner.server.tls import CA_LIFETIME, Authority, new_authority, pool_key, server_credentials, serving_certificate
from workflow_runner.server.tokens import IssuerKeys, TokenReviews
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
        address_rules(settings.allow_addresses, settings.deny_addresses, {})  # the pods would refuse to start with wrong ones
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
    watched = _watched(settings, namespace)
    identities = Identities(
        cluster,
        IssuerKeys(cluster, watched).verify if watched else TokenReviews(cluster).verify,
        known_pod=store.known_pod,
        known_job=store.known_job,
        namespace_of=store.namespace_of,
    )
    destinations = Destinations(cluster)
    stigmer = StigmerWorkflows(destinations, store, namespace)
    sink = SinkService(runs, identities, secrets=stigmer.secrets)
    # gRPC takes this for every address, also where there is no IPv6.
    credentials = partial(server_credentials, authority, list(dict.fromkeys(names)))
    server, _ = build_server(sink, f"[::]:{settings.grpc_port}", credentials())
    launch = _launch(settings, SinkAddress(endpoint, authority.certificate.decode()))
    pools = Pools(cluster, store, _issued(authority), launch)
    endpoints = Endpoints(cluster, runs, pools, changed=queue.add, looked=lambda runner: queue.add(key_of(runner)))
    observer = Observer(
        cluster=cluster,
        store=store,
        runs=runs,
        validator=validator,
        stigmer=stigmer,
        launch=launch,
        namespace=namespace,
        again=queue.add,
        remote=endpoints.remote,
        pools=pools,
    )
    slots = Slots(changed=lambda runner: queue.add(key_of(runner)), turn=queue.add)
    executions = Reconciler(
        cluster=cluster,
        store=store,
        runs=runs,
        observer=observer,
        destinations=destinations,
        slots=slots,
        endpoints=endpoints,
        pools=pools,
        again=queue.add,
    )
    runners = RunnerReconciler(
        cluster=cluster,
        store=store,
        slots=slots,
        destinations=destinations,
        endpoints=endpoints,
        pools=pools,
        image=settings.image,
    )

    async def reconcile(key: str) -> float | None:
        return await (runners if is_runner(key) else executions).reconcile(key)

    resync = Resync(cluster, store, slots, queue, namespace, watched)
    watches = Watches(store, queue, watched, interrupted=resync.soon)
    metrics, reachability = Metrics(), Reachability()
    observing.join(observing.Parts(cluster, store, queue, validator, relay, sink, endpoints, namespace), metrics, reachability)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    health = await serve_health(
        settings.health_port,
        live=observing.live_checks(queue),
        ready=observing.ready_checks(resync, watches, reachability, sink),
        notes=observing.notes(relay),
    )
    scraped = await serve_metrics(settings.metrics_port, metrics)
    sink.events.expect(math.inf)  # until pods can be known
    events = await _take_events(settings, sink)
    stack = contextlib.AsyncExitStack()
    await server.start()
    sink.listening = True
    try:
        # The child imports on another core while the lists are on their way.
        await asyncio.gather(_know(resync, store, sink), validator.warm())
        if settings.default_runner is not None:
            await apply_default_runner(cluster, namespace, settings.default_runner)
        control = control_services(
            settings.control,
            cluster,
            store,
            runs,
            namespace=namespace,
            credentials=credentials,
            called=metrics.calls.called,
        )
        await stack.enter_async_context(control)
        log.info("operator started", namespace=namespace, watched=list(watched) or "all", sink=endpoint, image=settings.image)
        parts = {
            "watches": watches.run(),
            "resync": resync.run(),
            "queue": queue.run(reconcile),
            "relay": relay.run(),
            "endpoints": endpoints.run(),
            "reachability": reachability.run(cluster),
        }
        await _until_stopped(stop, parts)
    finally:
        log.info("operator stopping")
        await stack.aclose()
        await endpoints.close()
        await observer.close()
        await stigmer.close()
        await server.stop(grace=STOP_SECONDS)
        if events is not None:
            await events.close()
        await health.close()
        await scraped.cleanup()
        await asyncio.to_thread(validator.close)


async def _know(resync: Resync, store: Store, sink: SinkService) -> None:
    """Learns what there is. Pods that run may have listened to an operator before this one, and come back to this one."""
    await resync.first()
    launched = store.launched()
    sink.events.expect(AWAY_SECONDS if launched else 0.0, launched)


async def _take_events(settings: OperatorSettings, sink: SinkService) -> EventEndpoint | None:
    """The endpoint for CloudEvents, where it is switched on."""
    if settings.events_port is None:
        return None
    if settings.events_tokens_folder is None:
        raise InvalidInput(
            "EVENTS_PORT is set, and WORKFLOW_RUNNER_EVENTS_TOKENS_FOLDER is not: nobody could send an event",
            code="settings.missing",
            hint="mount a Secret with a token for each namespace there",
        )
    tokens = NamespaceTokens(settings.events_tokens_folder, sink.events)
    return await serve_events(listen(settings.events_port), tokens.admit)


def _watched(settings: OperatorSettings, namespace: str) -> tuple[str, ...]:
    """The namespaces to watch, empty for all of them. The operator's own is among them: shared runners are there."""
    watched = settings.watch_namespaces
    return tuple(dict.fromkeys((*watched, namespace))) if watched else ()


def _launch(settings: OperatorSettings, sink: SinkAddress) -> LaunchSettings:
    return LaunchSettings(
        image=settings.image,
        image_pull_policy=settings.image_pull_policy,
        sink=sink,
        log_level=settings.job_log_level,
        allow_addresses=settings.allow_addresses,
        deny_addresses=settings.deny_addresses,
        processes=settings.host.processes,
        process_seconds=settings.host.process_seconds,
        default_catalog=settings.host.default_catalog,
    )


def _issued(authority: Authority) -> Issued:
    """What the replicas of pools get by the operator's own authority; as long-lived as that is."""

    def certificate(name: str) -> tuple[bytes, bytes]:
        return serving_certificate(authority, [name], lifetime=CA_LIFETIME)

    return Issued(authority.certificate, certificate, lambda uid: pool_key(authority, uid))


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
