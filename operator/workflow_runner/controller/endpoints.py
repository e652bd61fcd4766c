"""The runners at endpoints: their connections, their health, and who follows which run there. Built by cli.operator.

The observer asks for what is known of a run (`remote`), the reconciler has runs followed, steered and left, the runners'
reconciler asks for health. One connection an endpoint, kept while it is used; a task for each run that has not ended, one
for each look at an endpoint, one for each cancellation by force. All of them end with `close`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import structlog
from msgspec import Struct
from pydantic import SecretStr

from workflow_runner import telemetry
from workflow_runner.cluster import Cluster, ClusterError, Forbidden, NotFound
from workflow_runner.controller.endpoint_client import EndpointClient, EndpointError, Target
from workflow_runner.controller.endpoint_runs import EndpointRun, NotYet, Pace
from workflow_runner.controller.pools import Pools
from workflow_runner.controller.runs import Runs
from workflow_runner.controller.slots import RunnerName
from workflow_runner.launchers.run import LaunchedRun
from workflow_runner.reconcile.actions import FollowEndpoint, ForceCancel
from workflow_runner.reconcile.observed import Remote, Runner
from workflow_runner.reconcile.runner import Health

Json = dict[str, Any]

MOST_LOOKS = 16
SECRET_SECONDS = 15.0
SECRETS_KEPT = 256
IDLE_SECONDS = 300.0
TIDY_SECONDS = 60.0
FORCE_TRIES = 3

log = structlog.get_logger(__name__)


class _Following(Struct):
    run: EndpointRun
    runner: Json
    execution_id: str
    attempt: int
    task: asyncio.Task[None]


class _Looked(Struct):
    generation: int
    at: float
    health: Health


class Endpoints:
    """See the module's text. `changed(uid)` is called when something new is known of a run, `looked(runner)` when its health
    may be another."""

    def __init__(
        self,
        cluster: Cluster,
        runs: Runs,
        pools: Pools,
        *,
        changed: Callable[[str], None],
        looked: Callable[[RunnerName], None],
        pace: Pace | None = None,
    ) -> None:
        self._cluster = cluster
        self._runs = runs
        self._pools = pools
        self._changed = changed
        self._looked_at = looked
        self._pace = pace or Pace()
        self._clients: dict[Target, EndpointClient] = {}
        self._used: dict[Target, float] = {}
        self._followed: dict[str, _Following] = {}
        self._health: dict[RunnerName, _Looked] = {}
        self._looking: dict[RunnerName, asyncio.Task[None]] = {}
        self._looks = asyncio.Semaphore(MOST_LOOKS)
        self._leaving: set[asyncio.Task[Any]] = set()
        self._secrets: OrderedDict[tuple[str, str], tuple[float, dict[str, bytes]]] = OrderedDict()

    # Runs

    def remote(self, uid: str) -> Remote | None:
        """What is known of a run at its endpoint; None where nobody follows it."""
        following = self._followed.get(uid)
        return None if following is None else following.run.remote

    def follow(self, uid: str, namespace: str, order: FollowEndpoint) -> None:
        """Follow an attempt from now on, at the replica that has it; one that is followed already goes on. What was followed
        before is left."""
        following = self._followed.get(uid)
        if (
            following is not None
            and following.attempt == order.attempt
            and _replica(following.runner) == _replica(order.runner)
        ):
            return
        self.leave(uid)
        run = EndpointRun(
            uid,
            order,
            runs=self._runs,
            connect=partial(self._connect, order.runner),
            values=partial(self._values, namespace),
            changed=self._changed,
            pace=self._pace,
        )
        task = asyncio.create_task(run.follow(), name=f"follow {order.execution_id}")
        self._followed[uid] = _Following(run, order.runner, order.execution_id, order.attempt, task)

    def steer(self, uid: str) -> None:
        """The run shall do something else than before."""
        if uid in self._followed:
            self._followed[uid].run.steer()

    def leave(self, uid: str) -> None:
        """The run is not followed any more."""
        following = self._followed.pop(uid, None)
        if following is not None:
            following.task.cancel()
            self._keep(following.task)

    def abandon(self, uid: str, reason: str) -> None:
        """The run is not followed any more, and is to end where it is."""
        following = self._followed.get(uid)
        if following is not None:
            self.leave(uid)
            self.force_cancel(ForceCancel(following.runner, following.execution_id, reason))

    def force_cancel(self, order: ForceCancel) -> None:
        """Tells the endpoint, a few times at most, to end a run at once; nobody waits for that."""
        self._keep(asyncio.create_task(self._force(order), name=f"force {order.execution_id}"))

    async def _force(self, order: ForceCancel) -> None:
        for failures in range(1, FORCE_TRIES + 1):
            try:
                client = await self._connect(order.runner)
                await client.cancel(order.execution_id, order.reason, force=True)
                return
            except EndpointError as error:
                if error.status is grpc.StatusCode.NOT_FOUND:
                    return
                why = error.message
            except (NotYet, ClusterError) as error:
                why = error.message
            if failures < FORCE_TRIES:
                await asyncio.sleep(self._pace.between_tries.seconds(failures))
        log.warning(
            "a run that has ended here may still go on at its endpoint: it could not be cancelled there",
            execution=order.execution_id,
            error=why,
        )

    # Health

    def health(self, runner: Runner) -> tuple[Health | None, float]:
        """What the last look at the runner's endpoint found, None before the first, and in how many seconds to ask again.
        Where it is time, somebody looks now, and `looked` is called."""
        name = (runner.namespace, runner.name)
        known = self._health.get(name)
        if known is not None and known.generation != runner.generation:
            known = None
        well = known is None or (known.health.reachable and known.health.serving)
        every = self._pace.look if well else self._pace.look_again
        left = every if known is None else known.at + every - time.monotonic()
        if (known is None or left <= 0) and name not in self._looking:
            self._looking[name] = asyncio.create_task(self._look(name, runner), name=f"look at {name}")
            left = every
        return (None if known is None else known.health), max(0.05, left) * random.uniform(1.0, 1.2)  # noqa: S311 - jitter

    def well(self) -> dict[str, bool]:
        """Of each runner that was looked at, as `namespace/name`, whether it was well."""
        return {f"{name[0]}/{name[1]}": item.health.reachable and item.health.serving for name, item in self._health.items()}

    def forget_runner(self, name: RunnerName) -> None:
        """The runner is gone."""
        self._health.pop(name, None)

    async def _look(self, name: RunnerName, runner: Runner) -> None:
        try:
            async with self._looks:
                try:
                    client = await self._connect(_snapshot(runner))
                    health = await client.look()
                except (NotYet, ClusterError) as error:
                    reason = error.reason if isinstance(error, NotYet) else "ClusterBusy"
                    health = Health(reachable=False, serving=False, reason=reason, message=error.message)
            self._health[name] = _Looked(runner.generation, time.monotonic(), health)
        except Exception:
            # Lost in a task of its own; the runner is looked at again.
            log.exception("an endpoint could not be looked at", runner=f"{runner.namespace}/{runner.name}")
        finally:
            del self._looking[name]
            self._looked_at(name)

    # Connections

    async def run(self) -> None:
        """Gives up connections that nobody uses, until cancelled."""
        while True:
            await asyncio.sleep(TIDY_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            idle = time.monotonic() - IDLE_SECONDS
            for target, used in list(self._used.items()):
                if used < idle and not self._clients[target].streams:
                    del self._used[target]
                    await self._clients.pop(target).close()

    async def close(self) -> None:
        """Ends everything. Runs go on where they are; the next operator follows them."""
        for uid in list(self._followed):
            self.leave(uid)
        tasks = [*self._leaving, *self._looking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in self._clients.values():
            await client.close()

    def __len__(self) -> int:
        return len(self._followed)

    async def _connect(self, runner: Json) -> EndpointClient:
        """The connection for what status.runner says, with its Secrets as they are now. Raises NotYet and ClusterError."""
        target = await self._target(runner)
        if target not in self._clients:
            self._clients[target] = EndpointClient(target)
        self._used[target] = time.monotonic()
        return self._clients[target]

    async def _target(self, runner: Json) -> Target:
        if runner.get("replica"):
            return self._pools.target(runner)
        namespace, tls, ref = runner["namespace"], runner.get("tls") or {}, runner.get("apiKeySecretRef")
        scheme, _, address = runner["endpoint"].partition("://")
        key = "" if ref is None else _key(namespace, ref, await self._secret(namespace, ref["name"]))
        authorities: bytes | None = tls["caBundle"].encode() if "caBundle" in tls else None
        if "caSecretRef" in tls:
            authorities = _entry(namespace, tls["caSecretRef"], await self._secret(namespace, tls["caSecretRef"]["name"]))
        certificate = None
        if "clientCertificateSecretRef" in tls:
            name = tls["clientCertificateSecretRef"]["name"]
            data = await self._secret(namespace, name)
            certificate = (
                _entry(namespace, {"name": name, "key": "tls.crt"}, data),
                _entry(namespace, {"name": name, "key": "tls.key"}, data),
            )
        return Target(address, scheme == "grpcs", SecretStr(key), authorities, certificate)

    async def _secret(self, namespace: str, name: str) -> dict[str, bytes]:
        place, now = (namespace, name), time.monotonic()
        kept = self._secrets.get(place)
        if kept is not None and now - kept[0] < SECRET_SECONDS:
            return kept[1]
        try:
            data = await self._cluster.get_secret(namespace, name)
        except (NotFound, Forbidden) as error:
            raise NotYet("SecretNotUsable", f"The Secret {namespace}/{name} cannot be read: {error.message}") from error
        self._secrets[place] = (now, data)
        self._secrets.move_to_end(place)
        while len(self._secrets) > SECRETS_KEPT:
            self._secrets.popitem(last=False)
        return data

    async def _values(self, namespace: str, run: LaunchedRun) -> dict[str, str]:
        """spec.env with the values that it names; Secrets have been refused before. Raises NotYet and ClusterError."""
        values: dict[str, str] = {}
        for variable in run.env:
            ref = (variable.get("valueFrom") or {}).get("configMapKeyRef")
            if ref is None:
                values[variable["name"]] = variable.get("value", "")
                continue
            try:
                found = (await self._cluster.get_config_map(namespace, ref["name"])).get(ref["key"])
            except NotFound:
                found = None
            if found is not None:
                values[variable["name"]] = found
            elif not ref.get("optional"):
                place = f"ConfigMap {ref['name']!r} in namespace {namespace}"
                message = f"The variable {variable['name']} has no value: there is no key {ref['key']!r} in a {place}."
                raise NotYet("ConfigMapKeyNotFound", message)
        return values

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


def _replica(runner: Json) -> str:
    """The uid of the replica that a run is at; empty where it is at no pool's."""
    return str((runner.get("replica") or {}).get("uid", ""))


def _snapshot(runner: Runner) -> Json:
    """What status.runner would say of the way to a runner."""
    spec = runner.spec
    parts = (("tls", spec.tls), ("apiKeySecretRef", spec.api_key_secret_ref))
    shown = {key: part.model_dump(by_alias=True, exclude_none=True) for key, part in parts if part is not None}
    return {"namespace": runner.namespace, "endpoint": spec.endpoint, **shown}


def _entry(namespace: str, ref: Json, data: dict[str, bytes]) -> bytes:
    if ref["key"] not in data:
        raise NotYet("SecretNotUsable", f"The Secret {namespace}/{ref['name']} has no key {ref['key']!r}.")
    return data[ref["key"]]


def _key(namespace: str, ref: Json, data: dict[str, bytes]) -> str:
    """The key as a header can hold it."""
    text = _entry(namespace, ref, data).decode(errors="replace").strip()
    telemetry.conceal(text)
    if not text or not text.isascii() or not text.isprintable():
        what = "is empty" if not text else "holds characters that no header can hold"
        raise NotYet("SecretNotUsable", f"The key {ref['key']!r} of the Secret {namespace}/{ref['name']} {what}.")
    return text
