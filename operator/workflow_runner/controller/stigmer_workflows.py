"""Workflows that Stigmer keeps, for executions that name one there (spec.workflow.stigmer). Called by sources.py, and by
the sink for a run's secrets.

Read with the key and through the endpoint of the runner's spec.stigmer: the one that the run was pinned to, once it was.
Secrets are handed on and kept nowhere: a pod that asks again is answered by another query.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

import structlog
from msgspec import Struct

from workflow_runner.controller.runners import read_runner
from workflow_runner.controller.stigmer import Destinations
from workflow_runner.controller.store import Store
from workflow_runner.crd import pods
from workflow_runner.crd.execution import StigmerSource, WorkflowExecutionSpec
from workflow_runner.errors import InvalidInput, Unavailable
from workflow_runner.reconcile.allowed import not_allowed
from workflow_runner.reconcile.observed import Missing
from workflow_runner.stigmer.client import Destination
from workflow_runner.stigmer.queries import Queries, QueryFailed, QueryRefused, Resolved, Wanted

Json = dict[str, Any]

AT_ONCE = 8
"""So many runs are looked up in one Stigmer at a time: one that hangs keeps its own waiting, and no others."""
CONNECTIONS_KEPT = 16
AGAIN_SECONDS = 30.0
"""How soon Stigmer is asked again for what it did not give."""
LARGEST_PLAIN = 64 * 1024
"""Bytes of the plain values as JSON: they travel in the pod's manifest, and twice."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_RESERVED = re.compile(pods.RESERVED_ENV)

log = structlog.get_logger(__name__)


class _Connection(Struct):
    queries: Queries
    turn: asyncio.Semaphore
    users: int = 0
    """Those who wait for their turn among them."""


class StigmerWorkflows:
    """What executions are made from in Stigmer. Close it when done."""

    def __init__(self, destinations: Destinations, store: Store, operator_namespace: str) -> None:
        self._destinations = destinations
        self._store = store
        self._operator_namespace = operator_namespace
        self._connections: OrderedDict[Destination, _Connection] = OrderedDict()

    async def find(self, resource: Json) -> Resolved | Missing:
        """What an execution that names something in Stigmer is made from. Raises ClusterError."""
        destination = await self._destination(resource)
        if isinstance(destination, Missing):
            return destination
        wanted = wanted_of(resource)
        try:
            async with self._queries(destination) as queries:
                found = await queries.resolve(wanted)
            _check(found)
        except QueryFailed as error:
            log.info("Stigmer does not answer; it is asked again", code=error.code, error=str(error))
            return Missing("StigmerUnavailable", f"{error}; it is asked again.", AGAIN_SECONDS)
        except (QueryRefused, InvalidInput) as error:
            return Missing("StigmerRefused", f"{error.code}: {error}", AGAIN_SECONDS)
        return found

    async def secrets(self, uid: str) -> dict[str, str]:
        """The secret values of a run's environment, as Stigmer has them now; none for a run of no workflow there. Raises
        Unavailable, InvalidInput or ClusterError."""
        resource = self._store.executions.get(uid)
        if resource is None or "stigmer" not in resource["spec"]["workflow"]:
            return {}
        found = await self.find(resource)
        if isinstance(found, Missing):
            if found.reason == "StigmerUnavailable":
                raise Unavailable(found.message, code="stigmer.unavailable")
            raise InvalidInput(found.message, code="stigmer.refused")
        return {name: value.get_secret_value() for name, value in found.environment.secrets.items()}

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(connection.queries.close() for connection in self._connections.values()))
        self._connections.clear()

    async def _destination(self, resource: Json) -> Destination | Missing:
        snapshot = (resource.get("status") or {}).get("runner")
        if snapshot is not None:
            destination = await self._destinations.of_snapshot(snapshot)
            name = f"{snapshot['namespace']}/{snapshot['name']}"
        else:
            runner = self._store.runner_of(resource, self._operator_namespace)
            if runner is None:
                return Missing("RunnerNotFound", "There is no WorkflowRunner that says where Stigmer is.")
            read = read_runner(runner)
            spec = WorkflowExecutionSpec.model_validate(resource["spec"])
            if refusals := not_allowed(spec, resource["metadata"]["namespace"], read, self._operator_namespace):
                # Nobody learns by error messages what is there who may not run it.
                return Missing("NotAllowed", "\n".join(refusals))
            destination = await self._destinations.of_runner(read)
            name = f"{read.namespace}/{read.name}"
        if destination is None:
            message = f"The WorkflowRunner {name} names no Stigmer (spec.stigmer), and spec.workflow.stigmer needs one."
            return Missing("StigmerRefused", message, AGAIN_SECONDS)
        return destination

    @contextlib.asynccontextmanager
    async def _queries(self, destination: Destination) -> AsyncIterator[Queries]:
        """The connection to a destination, when it is one's turn; the one that nobody has used for the longest makes room."""
        connection = self._connections.get(destination)
        if connection is None:
            connection = self._connections[destination] = _Connection(Queries(destination), asyncio.Semaphore(AT_ONCE))
        self._connections.move_to_end(destination)
        connection.users += 1
        try:
            async with connection.turn:
                yield connection.queries
        finally:
            connection.users -= 1
            unused = [where for where, each in self._connections.items() if not each.users]
            for where in unused[: max(0, len(self._connections) - CONNECTIONS_KEPT)]:
                await self._connections.pop(where).queries.close()


def wanted_of(resource: Json) -> Wanted:
    """What an execution names in Stigmer."""
    source = StigmerSource.model_validate(resource["spec"]["workflow"]["stigmer"])
    if source.workflow_execution_id is not None:
        return Wanted("execution", source.workflow_execution_id)
    if source.workflow_instance_id is not None:
        return Wanted("instance", source.workflow_instance_id)
    return Wanted("workflow", source.workflow_id or "")


def told_as(resource: Json) -> str | None:
    """The id under which others know the run: the one that it was asked for by, else that of the execution in Stigmer which
    it names; None where there is neither."""
    source = resource["spec"]["workflow"].get("stigmer") or {}
    found: str | None = resource["spec"].get("executionId") or source.get("workflowExecutionId")
    return found


def _check(found: Resolved) -> None:
    """Raises InvalidInput for an environment that no run can have."""
    for name in (*found.environment.values, *found.environment.secrets):
        if _NAME.fullmatch(name) is None:
            message = f"the environment in Stigmer names a value {name[:80]!r}; names have letters, digits and _"
            raise InvalidInput(message, code="stigmer.environment-name")
        if _RESERVED.match(name) is not None:
            message = f"the environment in Stigmer has a value {name!r}, a name that belongs to the operator"
            raise InvalidInput(message, code="stigmer.environment-name")
    size = sum(len(name) + len(value.encode()) for name, value in found.environment.values.items())
    if size > LARGEST_PLAIN:
        message = f"the environment in Stigmer has plain values of {size:,} bytes; at most {LARGEST_PLAIN:,} go to a pod"
        raise InvalidInput(message, code="stigmer.environment-too-large")
