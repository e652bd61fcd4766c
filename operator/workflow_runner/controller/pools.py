"""Pools (launch.mode Pool): their objects in the cluster, which replicas there are, and which run is on which.

The runners' reconciler has pools made (`ensure`), the reconciler of executions asks for places (`take`, `hold`, `leave`), the
observer whether a replica is lost, and endpoints.py how one is reached. Which replicas there are is what the watch of pods
has shown, those alone that the pool's own StatefulSet controls.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from pydantic import SecretStr

from workflow_runner.cluster import Cluster, Conflict, NotFound
from workflow_runner.controller.endpoint_client import Target
from workflow_runner.controller.store import Store, is_controlled_by
from workflow_runner.launchers.pool import PORT, Pool, build_secret, build_service, build_stateful_set
from workflow_runner.launchers.run import LaunchSettings
from workflow_runner.reconcile.observed import NoReplica, Replica, Runner

Json = dict[str, Any]

MOST_WHY = 500
AVOID_SECONDS, LEAVE_SECONDS = 60.0, 300.0
"""So long a replica that did not answer gets nothing new while others are ready, and no run leaves another one for it."""
ENSURE_SECONDS = 60.0
"""How often the objects of a pool are applied again: somebody may have changed them."""


class Issued(Struct, frozen=True):
    """What makes replicas and operator known to each other: `certificate` gives (key, certificate) for a name by the
    operator's own authority, `ca_pem` is that, and `api_key` gives the key of a pool by its runner's uid."""

    ca_pem: bytes
    certificate: Callable[[str], tuple[bytes, bytes]]
    api_key: Callable[[str], str]


class Stands(Struct, frozen=True):
    """How many replicas a pool shall have, and has ready; where none is, what one said last that has ended."""

    wanted: int
    ready: int
    why: str = ""


class Pools:
    """See the module's text."""

    def __init__(self, cluster: Cluster, store: Store, issued: Issued, launch: LaunchSettings) -> None:
        self._cluster = cluster
        self._store = store
        self._issued = issued
        self._launch = launch
        self._sets: dict[str, str] = {}
        """The uid of each pool's StatefulSet, by its runner's uid."""
        self._ensured: dict[str, tuple[int, float]] = {}
        self._placed: dict[str, str] = {}
        """The uid of its replica's pod, by the uid of the execution."""
        self._taken: Counter[str] = Counter()
        self._silent: dict[str, float] = {}
        """When a replica was last found not to answer, by its pod's uid."""

    async def ensure(self, runner: Runner) -> Stands:
        """Makes the pool's objects what the runner says; how it stands then. Raises ClusterError."""
        pool, now = pool_of(runner), asyncio.get_running_loop().time()
        generation, at = self._ensured.get(runner.uid, (-1, 0.0))
        if generation != runner.generation or now - at >= ENSURE_SECONDS:
            if runner.uid not in self._sets:
                await self._secret(pool)
            await self._cluster.apply(build_service(pool))
            made = await self._cluster.apply(build_stateful_set(self._launch, pool))
            self._sets[runner.uid] = made["metadata"]["uid"]
            self._ensured[runner.uid] = (runner.generation, now)
        ready = len(self._ready(runner.uid, runner.namespace))
        return Stands(pool.replicas, ready, "" if ready else self._why(runner))

    async def _secret(self, pool: Pool) -> None:
        certificate = await asyncio.to_thread(self._issued.certificate, pool.server_name)
        try:
            await self._cluster.create_secret_object(build_secret(pool, self._issued.api_key(pool.uid), certificate))
        except Conflict:
            return  # made by an operator before this one: the same key, and a certificate by the same authority

    async def remove(self, runner: Runner) -> None:
        """The runner launches in another way now: its replicas go, and have their grace period. Raises ClusterError."""
        self._sets.pop(runner.uid, None)
        if self._ensured.pop(runner.uid, None) is not None or self._store.pool_pods(runner.namespace, runner.uid):
            await self._cluster.delete_stateful_set(runner.namespace, pool_of(runner).name)

    def take(self, runner: Runner, uid: str) -> Replica | NoReplica:
        """A place for an execution: on the replica with the most room, the same again when asked again."""
        ready = self._to_be_used(runner.uid, runner.namespace)
        placed = next((replica for replica in ready if replica.uid == self._placed.get(uid)), None)
        if placed is not None:
            return placed
        self.leave(uid)
        most = concurrency_of(runner)
        free = [replica for replica in ready if self._taken[replica.uid] < most]
        if not free:
            return NoReplica(len(ready))
        chosen = min(free, key=lambda replica: (self._taken[replica.uid], replica.name))
        self._place(uid, chosen.uid)
        return chosen

    def hold(self, uid: str, replica_uid: str) -> None:
        """An execution is on a replica: a former operator put it there."""
        if self._placed.get(uid) != replica_uid:
            self.leave(uid)
            self._place(uid, replica_uid)

    def leave(self, uid: str) -> None:
        """An execution is on no replica any more."""
        replica = self._placed.pop(uid, None)
        if replica is not None:
            self._taken[replica] -= 1
            if not self._taken[replica]:
                del self._taken[replica]

    def _place(self, uid: str, replica_uid: str) -> None:
        self._placed[uid] = replica_uid
        self._taken[replica_uid] += 1

    async def is_lost(self, runner_uid: str, namespace: str, replica: Json) -> bool:
        """Whether the pod that a run was handed to is there no more. What the watch has not shown is asked for. Raises
        ClusterError."""
        if any(pod["metadata"]["uid"] == replica["uid"] for pod in self._store.pool_pods(namespace, runner_uid)):
            return False
        try:
            pod = await self._cluster.get_pod(namespace, replica["name"])
        except NotFound:
            return True
        return bool(pod["metadata"]["uid"] != replica["uid"])

    def avoid(self, runner_uid: str, namespace: str, replica: Json) -> bool:
        """A replica does not answer. Whether there is another one for its runs."""
        now = asyncio.get_running_loop().time()
        self._silent = {uid: since for uid, since in self._silent.items() if now - since < LEAVE_SECONDS}
        self._silent[replica["uid"]] = now
        return any(each.uid not in self._silent for each in self._ready(runner_uid, namespace))

    def target(self, runner: Json) -> Target:
        """How the replica of a run is reached, by what status.runner and status.replica say."""
        pool = Pool(runner["name"], runner["namespace"], runner["uid"], 0, 0)
        return Target(
            runner["replica"]["address"],
            use_tls=True,
            api_key=SecretStr(self._issued.api_key(runner["uid"])),
            ca_pem=self._issued.ca_pem,
            server_name=pool.server_name,
        )

    def _why(self, runner: Runner) -> str:
        """What a replica that has ended said last; empty where none has."""
        for pod in self._store.pool_pods(runner.namespace, runner.uid):
            for status in (pod.get("status") or {}).get("containerStatuses") or []:
                for state in (status.get("state") or {}, status.get("lastState") or {}):
                    lines = str((state.get("terminated") or {}).get("message") or "").strip().splitlines()
                    if lines:
                        return lines[-1][:MOST_WHY]
        return ""

    def _ready(self, runner_uid: str, namespace: str) -> list[Replica]:
        owner = self._sets.get(runner_uid)
        if owner is None:
            return []
        found = self._store.pool_pods(namespace, runner_uid)
        return [replica_of(pod) for pod in found if is_controlled_by(pod, owner) and _is_ready(pod)]

    def _to_be_used(self, runner_uid: str, namespace: str) -> list[Replica]:
        """Those that are ready; without those that did not answer, where there are others."""
        ready, since = self._ready(runner_uid, namespace), asyncio.get_running_loop().time() - AVOID_SECONDS
        return [each for each in ready if self._silent.get(each.uid, since) <= since] or ready


def pool_of(runner: Runner) -> Pool:
    """The pool that a runner describes."""
    launch, template = runner.spec.launch, runner.spec.template
    return Pool(
        runner.name,
        runner.namespace,
        runner.uid,
        replicas=1 if launch is None or launch.replicas is None else launch.replicas,
        concurrency=concurrency_of(runner),
        template=None if template is None else template.to_json(),
        temporal=runner.spec.temporal,
    )


def concurrency_of(runner: Runner) -> int:
    """How many runs one replica may have at a time."""
    launch = runner.spec.launch
    return DEFAULT_CONCURRENCY if launch is None or launch.concurrency is None else launch.concurrency


DEFAULT_CONCURRENCY = 100


def replica_of(pod: Json) -> Replica:
    """A pod as a place for runs."""
    address = str((pod.get("status") or {}).get("podIP") or "")
    shown = f"[{address}]" if ":" in address else address
    return Replica(pod["metadata"]["name"], pod["metadata"]["uid"], f"{shown}:{PORT}")


def _is_ready(pod: Json) -> bool:
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp") or not status.get("podIP"):
        return False
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in status.get("conditions") or [])
