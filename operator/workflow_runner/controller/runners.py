"""Looks after the status of WorkflowRunners. Called by the queue with a runner's key (`key_of`)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from workflow_runner.cluster import Cluster, ClusterError, Conflict, NotFound
from workflow_runner.controller.endpoints import Endpoints
from workflow_runner.controller.pools import Pools
from workflow_runner.controller.slots import RunnerName, Slots
from workflow_runner.controller.stigmer import Destinations
from workflow_runner.controller.store import Store
from workflow_runner.crd.runner import POOL, WorkflowRunnerSpec
from workflow_runner.launchers.merge import unsupported
from workflow_runner.reconcile.observed import Runner
from workflow_runner.reconcile.runner import runner_status

Json = dict[str, Any]

STATUS_SECONDS = 2.0
"""Counts change with every execution; they are written no more often than this."""
LOOK_SECONDS = 60.0
"""How often the Secret of a runner's Stigmer is looked at again."""
POOL_SECONDS, POOL_SOON = 15.0, 1.0
"""How often a pool is looked at, with all its replicas and with fewer."""
MAX_PROBLEM = 2000
_PREFIX = "runner/"


def key_of(runner: RunnerName) -> str:
    """The queue's key of a runner; executions' keys are uids, which have no slash."""
    return f"{_PREFIX}{runner[0]}/{runner[1]}"


def is_runner(key: str) -> bool:
    """Whether a key of the queue is a runner's."""
    return key.startswith(_PREFIX)


def read_runner(resource: Json) -> Runner:
    """A WorkflowRunner object as the operator uses it; raises ValidationError for a spec that the CRD would refuse."""
    metadata = resource["metadata"]
    spec = WorkflowRunnerSpec.model_validate(resource.get("spec") or {})
    return Runner(metadata["name"], metadata["namespace"], metadata["uid"], metadata.get("generation", 0), spec)


class RunnerReconciler:
    """Writes what a runner is, and how much it has to do, into its status."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        slots: Slots,
        destinations: Destinations,
        endpoints: Endpoints,
        pools: Pools,
        image: str,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._slots = slots
        self._destinations = destinations
        self._endpoints = endpoints
        self._pools = pools
        self._image = image
        self._written_at: dict[str, float] = {}

    async def reconcile(self, key: str) -> float | None:
        """Brings one runner's status up to date; in how many seconds to look again, or None."""
        namespace, name = key.removeprefix(_PREFIX).split("/", 1)
        resource = self._store.runners.get((namespace, name))
        if resource is None or resource["metadata"].get("deletionTimestamp"):
            self._written_at.pop(key, None)
            self._endpoints.forget_runner((namespace, name))
            return None
        (status, again), known = await self._status(resource), resource.get("status") or {}
        if status == known:
            return again
        now = asyncio.get_running_loop().time()
        # A latency is another with every look; alone it is not worth more than a write a minute.
        often = STATUS_SECONDS if _without_latency(status) != _without_latency(known) else LOOK_SECONDS
        wait = often - (now - self._written_at.get(key, -often))
        if wait > 0 and status["conditions"] == known.get("conditions"):
            return wait if again is None else min(wait, again)
        self._written_at[key] = now
        try:
            self._store.see_runner(await self._cluster.write_runner_status(resource, status), deleted=False)
        except NotFound:
            return None
        except Conflict:
            return STATUS_SECONDS  # the watch brings what is newer
        return again

    async def _status(self, resource: Json) -> tuple[Json, float | None]:
        """The status as it should be, and in how many seconds something outside of the cluster is to be looked at again."""
        metadata = resource["metadata"]
        invalid = problem = health = replicas = pool_problem = None
        again = LOOK_SECONDS if (resource.get("spec") or {}).get("stigmer") else None
        try:
            runner = read_runner(resource)
            invalid = _left_out(runner)
            problem = await self._destinations.problem_of(runner)
            if runner.spec.endpoint is not None:
                health, again = self._endpoints.health(runner)
            if runner.spec.mode == POOL:
                again = POOL_SECONDS
                try:
                    replicas = await self._pools.ensure(runner)
                    again = POOL_SECONDS if replicas.ready == replicas.wanted else POOL_SOON
                except ClusterError as error:
                    pool_problem = error.message[:MAX_PROBLEM]
            elif (resource.get("status") or {}).get("mode") == POOL:
                await self._pools.remove(runner)
        except ValidationError as error:
            invalid = f"The spec cannot be read: {error}"[:MAX_PROBLEM]
        active, queued = self._slots.counts((metadata["namespace"], metadata["name"]))
        status = runner_status(
            resource,
            now=datetime.now(UTC),
            active=active,
            queued=queued,
            image=self._image,
            invalid=invalid,
            stigmer_problem=problem,
            health=health,
            replicas=None if replicas is None else (replicas.wanted, replicas.ready),
            replica_ended="" if replicas is None else replicas.why,
            pool_problem=pool_problem,
        )
        return status, again


def _without_latency(status: Json) -> Json:
    return {key: value for key, value in status.items() if key != "latencyMilliseconds"}


def _left_out(runner: Runner) -> str | None:
    """Fields of the runner's template that no run can have; they are left out of its pods."""
    template = runner.spec.template
    found = [] if template is None else list(unsupported(template.to_json(), "spec.launch.template"))
    return "\n".join(found)[:MAX_PROBLEM] or None
