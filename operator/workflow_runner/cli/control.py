"""The operator's own gRPC services, by which others start executions and manage runners. Called by cli.operator.

They listen on a port of their own, where somebody is let in at all: by keys, by the cluster's tokens, or both.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import structlog

from workflow_runner.cluster import Cluster
from workflow_runner.controller.event_logs import EventLogs
from workflow_runner.controller.executions import ClusterExecutions
from workflow_runner.controller.runner_resources import RunnerResources
from workflow_runner.controller.runs import Runs
from workflow_runner.controller.store import Store
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.documents import Documents
from workflow_runner.server.authentication import Authenticate, ClusterTokens, StaticKeys, either
from workflow_runner.server.calls import Called, CallInterceptor
from workflow_runner.server.executions import execution_services
from workflow_runner.server.grpc_server import GrpcServer, file_credentials
from workflow_runner.server.runners import runner_services
from workflow_runner.server.workflow_executions import execution_queries
from workflow_runner.settings import ControlSettings

Json = dict[str, Any]

KEY_USERS = "workflow-runner:key:"
"""What access reviews call whoever has a key: this and the name of the key's file."""
STOP_SECONDS = 5.0

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def control_services(
    settings: ControlSettings | None,
    cluster: Cluster,
    store: Store,
    runs: Runs,
    *,
    namespace: str,
    credentials: Callable[[], grpc.ServerCredentials],
    called: Called,
) -> AsyncIterator[GrpcServer | None]:
    """The services at work, where they are switched on; with what `credentials` makes unless the settings name a certificate;
    `called` is told of every call."""
    if settings is None:
        yield None
        return
    documents, logs = Documents(), EventLogs()
    place = settings.namespace or namespace
    executions = ClusterExecutions(cluster, documents, logs, namespace=place)
    services = [
        *execution_services(executions, address=lambda: settings.address),
        *execution_queries(executions),
        *runner_services(RunnerResources(cluster, namespace=place)),
    ]
    interceptor = CallInterceptor(_authentication(settings, cluster))
    interceptor.called = called
    server = GrpcServer(
        services,
        interceptor,
        credentials=credentials() if settings.tls is None else file_credentials(settings.tls),
    )
    _join(store, runs, logs)
    try:
        await server.start(f"[::]:{settings.port}")
        log.info("control services", port=server.port, namespace=place)
        yield server
    finally:
        await server.stop(STOP_SECONDS)
        await documents.close()


def _authentication(settings: ControlSettings, cluster: Cluster) -> Authenticate:
    tokens: Authenticate | None = ClusterTokens(cluster, settings.audience or None) if settings.tokens else None
    keys = None if settings.keys is None else StaticKeys(settings.keys, prefix=KEY_USERS)
    if keys is not None and tokens is not None:
        return either(keys, tokens)
    if found := keys or tokens:
        return found
    raise InvalidInput(
        "CONTROL_PORT is set, and nobody could be let in",
        code="settings.missing",
        hint="set WORKFLOW_RUNNER_CONTROL_TOKENS=true, or WORKFLOW_RUNNER_CONTROL_KEYS to a folder of keys",
    )


def _join(store: Store, runs: Runs, logs: EventLogs) -> None:
    """Events and changes reach those who wait for them; whoever listened before still does."""
    told, moved, gone = runs.told, store.moved, store.gone

    def event(uid: str, message: Any) -> None:
        told(uid, message)
        logs.told(uid, message)

    def changed(before: Json, after: Json) -> None:
        moved(before, after)
        logs.moved(after["metadata"]["uid"])

    def left(uid: str) -> None:
        gone(uid)
        logs.forget(uid)

    runs.told, store.moved, store.gone = event, changed, left
