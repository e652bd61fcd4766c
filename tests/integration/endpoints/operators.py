"""The part of an operator that looks after one execution, its queue and its watch, before runners that are real processes.

The API server is the double of tests/unit/controller/test_reconciler.py; tests/e2e/cases/endpoint holds the same paths
against a real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from tests.unit.controller.test_reconciler import ISSUED, OneExecution
from tests.unit.interpreter.virtual import whole
from tests.unit.reconcile.conftest import LAUNCH, UID
from tests.until import until

from workflow_runner.cluster import Cluster, Conflict, NotFound
from workflow_runner.controller.endpoint_runs import Pace
from workflow_runner.controller.endpoints import Endpoints
from workflow_runner.controller.observer import Observer
from workflow_runner.controller.pools import Pools
from workflow_runner.controller.queue import KeyedQueue
from workflow_runner.controller.reconciler import Reconciler
from workflow_runner.controller.runners import RunnerReconciler, is_runner, key_of
from workflow_runner.controller.runs import Runs
from workflow_runner.controller.slots import Slots
from workflow_runner.controller.sources import Source
from workflow_runner.controller.stigmer import Destinations
from workflow_runner.controller.stigmer_workflows import StigmerWorkflows
from workflow_runner.controller.store import Store
from workflow_runner.controller.validation import Validator, inspect
from workflow_runner.reconcile.observed import Accepted, Refused
from workflow_runner.stigmer.client import Backoff
from workflow_runner.stigmer.relay import Relay

Json = dict[str, Any]

RUNNER = ("ns", "elsewhere")
PACE = Pace(silent=0.5, poll=0.05, gone=2.0, sure=0.05, look=0.5, look_again=0.2, between_tries=Backoff(first=0.05, most=0.3))
SECONDS = 30.0


class ApiServer(OneExecution):
    """With a runner's status, and Secrets."""

    def __init__(self, resource: Json) -> None:
        super().__init__(resource)
        self.secrets: dict[str, dict[str, bytes]] = {}
        self.applied: dict[str, Json] = {}
        """The objects of a pool, by kind."""
        self.pods: dict[str, Json] = {}
        self.runner_writes: list[Json] = []
        self.statuses: list[Json] = []

    async def write_status(self, resource: Json, status: Json) -> Json:
        written = await super().write_status(resource, status)
        self.statuses.append(copy.deepcopy(status))
        return written

    async def get_secret(self, namespace: str, name: str) -> dict[str, bytes]:
        if name not in self.secrets:
            raise NotFound("no such Secret", 404)
        return self.secrets[name]

    async def apply(self, manifest: Json) -> Json:
        self.applied[manifest["kind"]] = copy.deepcopy(manifest)
        return {**manifest, "metadata": {**manifest["metadata"], "uid": f"uid-of-{manifest['kind']}"}}

    async def create_secret_object(self, manifest: Json) -> None:
        if "Secret" in self.applied:
            raise Conflict("exists", 409)
        self.applied["Secret"] = copy.deepcopy(manifest)

    async def delete_stateful_set(self, namespace: str, name: str) -> None:
        self.applied.pop("StatefulSet", None)

    async def get_pod(self, namespace: str, name: str) -> Json:
        if name not in self.pods:
            raise NotFound("no such pod", 404)
        return copy.deepcopy(self.pods[name])

    async def write_runner_status(self, runner: Json, status: Json) -> Json:
        self.runner_writes.append(copy.deepcopy(status))
        return {**runner, "status": status}


class Inspecting(Validator):
    """The real look at a document, without the child that it is killable in."""

    def __init__(self) -> None:
        pass

    async def check(self, source: Source) -> Accepted | Refused:
        return inspect(source)


class Operator:
    """`start` it; `restart` forgets everything that is in memory only."""

    def __init__(self, text: str, endpoint: str, *, runner: Json | None = None, **spec: Any) -> None:
        metadata = {"name": "hello", "namespace": "ns", "uid": UID, "generation": 1, "resourceVersion": "5"}
        metadata["creationTimestamp"] = "2026-11-21T11:00:00Z"
        base = {"workflow": {"yaml": whole(text)}, "runnerRef": {"name": RUNNER[1]}}
        self.server = ApiServer({"metadata": metadata, "spec": {**base, **spec}})
        self.runner_spec: Json = {"type": "other", "endpoint": endpoint, **(runner or {})}
        if "launch" in self.runner_spec:
            self.runner_spec = dict(runner or {})
        self.issued, self.pace = ISSUED, PACE
        self._queueing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        cluster = cast("Cluster", self.server)
        self.queue, self.store = KeyedQueue(), Store()
        self.runs = Runs(Relay(changed=lambda key: None), self.queue.add, self.store.has_ended)
        self.pools = Pools(cluster, self.store, self.issued, LAUNCH)
        self.endpoints = Endpoints(
            cluster,
            self.runs,
            self.pools,
            changed=self.queue.add,
            looked=lambda runner: self.queue.add(key_of(runner)),
            pace=self.pace,
        )
        destinations = Destinations(cluster)
        self.observer = Observer(
            cluster=cluster,
            store=self.store,
            runs=self.runs,
            validator=Inspecting(),
            stigmer=StigmerWorkflows(destinations, self.store, "operator"),
            launch=LAUNCH,
            namespace="operator",
            again=self.queue.add,
            remote=self.endpoints.remote,
            pools=self.pools,
        )
        slots = Slots(changed=lambda runner: None, turn=self.queue.add)
        executions = Reconciler(
            cluster=cluster,
            store=self.store,
            runs=self.runs,
            observer=self.observer,
            destinations=destinations,
            slots=slots,
            endpoints=self.endpoints,
            pools=self.pools,
            again=self.queue.add,
        )
        runners = RunnerReconciler(
            cluster=cluster,
            store=self.store,
            slots=slots,
            destinations=destinations,
            endpoints=self.endpoints,
            pools=self.pools,
            image="i:1",
        )

        async def reconcile(key: str) -> float | None:
            return await (runners if is_runner(key) else executions).reconcile(key)

        self.see_runner()
        self.queue.add(key_of(RUNNER))
        for pod in self.server.pods.values():
            self.store.see_pod(pod, deleted=False)
        if self.server.resource is not None:
            self.store.see_execution(self.server.resource, deleted=False)
        self._queueing = asyncio.create_task(self.queue.run(reconcile))
        self.queue.add(UID)

    async def stop(self) -> None:
        if self._queueing is not None:
            self._queueing.cancel()
            await asyncio.gather(self._queueing, return_exceptions=True)
            await self.endpoints.close()
            await self.observer.close()
            self._queueing = None

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def see_runner(self, **spec: Any) -> None:
        """The runner's spec, with changes."""
        self.runner_spec |= spec
        metadata = {"name": RUNNER[1], "namespace": RUNNER[0], "uid": "r", "generation": 1, "resourceVersion": "1"}
        self.store.see_runner({"metadata": metadata, "spec": self.runner_spec}, deleted=False)

    def see_pod(self, pod: Json, *, deleted: bool = False) -> None:
        """What the watch of pods shows."""
        name = pod["metadata"]["name"]
        if deleted:
            self.server.pods.pop(name, None)
        else:
            self.server.pods[name] = pod
        self.store.see_pod(pod, deleted=deleted)
        self.queue.add(key_of(RUNNER))

    def patch(self, **spec: Any) -> None:
        """A change of the execution's spec."""
        assert self.server.resource is not None
        metadata = self.server.resource["metadata"]
        newer = {"generation": metadata["generation"] + 1, "resourceVersion": str(int(metadata["resourceVersion"]) + 1)}
        self._changed({"metadata": {**metadata, **newer}, "spec": {**self.server.resource["spec"], **spec}})

    def delete(self, moment: str) -> None:
        """The resource is told to go."""
        assert self.server.resource is not None
        metadata = self.server.resource["metadata"]
        newer = {"deletionTimestamp": moment, "resourceVersion": str(int(metadata["resourceVersion"]) + 1)}
        self._changed({"metadata": {**metadata, **newer}})

    def gone(self) -> None:
        """The resource is there no more, and nothing held it."""
        assert self.server.resource is not None
        resource, self.server.resource = self.server.resource, None
        self.store.see_execution(resource, deleted=True)
        self.queue.add(UID)

    def _changed(self, changes: Json) -> None:
        self.server.resource = copy.deepcopy({**(self.server.resource or {}), **changes})
        self.store.see_execution(self.server.resource, deleted=False)
        self.queue.add(UID)

    @property
    def status(self) -> Json:
        return (self.server.resource or {}).get("status") or {}

    def condition(self, kind: str = "Completed") -> Json:
        return next((item for item in self.status.get("conditions", []) if item["type"] == kind), {})

    async def until(self, holds: Callable[[Json], bool], seconds: float = SECONDS) -> Json:
        """The status, once this holds for it."""
        try:
            await until(lambda: holds(self.status), seconds)
        except TimeoutError:
            raise AssertionError(f"status is still {self.status}") from None
        return self.status

    async def reaches(self, *phases: str, seconds: float = SECONDS) -> Json:
        return await self.until(lambda status: status.get("phase") in phases, seconds)

    async def says(self, reason: str, seconds: float = SECONDS) -> Json:
        """The condition Completed, once it gives this reason."""
        await self.until(lambda status: self.condition().get("reason") == reason, seconds)
        return self.condition()


@contextlib.asynccontextmanager
async def operator(
    text: str, address: str, *, runner: Json | None = None, config_maps: dict[str, dict[str, str]] | None = None, **spec: Any
) -> AsyncIterator[Operator]:
    """An operator that has one execution, for a runner at this address, and these ConfigMaps."""
    made = Operator(text, f"grpc://{address}", runner=runner, **spec)
    made.server.config_maps |= config_maps or {}
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
