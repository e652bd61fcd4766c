"""Pools: which replica gets a run, and what becomes of it when replicas go. Replicas are real processes, each on a loopback
address of its own; that a StatefulSet makes pods of the manifests is for tests/e2e/cases/pool."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.endpoints.operators import RUNNER, Operator
from tests.integration.serve.conftest import Serve
from tests.integration.serve.served import Served
from tests.unit.reconcile.conftest import UID
from tests.until import until

from workflow_runner.controller.pools import Issued
from workflow_runner.controller.runners import read_runner
from workflow_runner.crd import group
from workflow_runner.launchers.pool import PORT
from workflow_runner.reconcile.observed import NoReplica, Runner
from workflow_runner.server.tls import new_authority, pool_key, serving_certificate

Json = dict[str, Any]

HELLO = "do: [{step: {set: {message: hello}}}]"
STEPS = "do: [{a: {wait: PT1S}}, {b: {wait: PT1S}}, {last: {set: {done: true}}}]"
LONG = "do: [{first: {set: {a: 1}}}, {nap: {wait: PT10M}}]"


def address_of(number: int) -> str:
    """A replica's, on the port that all of them have: addresses of this process alone, since others may test pools, too."""
    high, low = divmod(os.getpid() % 62_500, 250)
    return f"127.{high + 1}.{low + 1}.{number + 1}"


def pod(number: int, *, ready: bool = True, **metadata: Any) -> Json:
    """A replica as the watch shows it."""
    owner = {"kind": "StatefulSet", "uid": "uid-of-StatefulSet", "controller": True}
    base = {"name": f"pool-{number}", "namespace": RUNNER[0], "uid": f"pod-{number}", "resourceVersion": "1"}
    labels = {group.LABEL_POOL: "r"}
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "kind": "Pod",
        "metadata": {**base, "labels": labels, "ownerReferences": [owner], **metadata},
        "spec": {},
        "status": {"podIP": address_of(number), "conditions": conditions},
    }


class World:
    """An operator with one execution and a pool; `replica` starts one, with these variables."""

    def __init__(self, made: Operator, serve: Serve, folder: Path, variables: dict[str, str]) -> None:
        self.made, self._serve, self._folder, self._variables = made, serve, folder, variables

    async def start(self) -> None:
        await self.made.start()
        await until(lambda: "StatefulSet" in self.made.server.applied, 30)
        keys = self._folder / "keys"
        keys.mkdir()
        for name, value in self.made.server.applied["Secret"]["data"].items():
            place = keys if name == "operator" else self._folder
            (place / name).write_bytes(base64.b64decode(value))

    async def replica(self, number: int) -> Served:
        return await self._serve(
            "--listen",
            f"{address_of(number)}:{PORT}",
            WORKFLOW_RUNNER_API_KEYS=str(self._folder / "keys"),
            WORKFLOW_RUNNER_TLS_CERTIFICATE=str(self._folder / "tls.crt"),
            WORKFLOW_RUNNER_TLS_KEY=str(self._folder / "tls.key"),
            WORKFLOW_RUNNER_STOP_SECONDS="30",
            **self._variables,
        )


MakeWorld = Callable[..., Any]


@pytest.fixture
async def world(serve: Serve, tmp_path: Path) -> AsyncIterator[MakeWorld]:
    """Makes one, of a document and fields of its execution's spec."""
    started: list[World] = []

    async def make(text: str, launch: Json | None = None, temporal: str = "", **spec: Any) -> World:
        runner: Json = {"launch": {"mode": "Pool", "replicas": 2, **(launch or {})}}
        variables: dict[str, str] = {}
        if temporal:
            runner |= {"type": "temporal", "temporal": {"address": temporal}}
            variables = {
                "WORKFLOW_RUNNER_ENGINE": "temporal",
                "TEMPORAL_SERVICE_ADDRESS": temporal,
                "TEMPORAL_WORKFLOW_EXECUTION_TASK_QUEUE": f"pool/{tmp_path.name}",
            }
        made = World(Operator(text, "", runner=runner, **spec), serve, tmp_path, variables)
        authority = new_authority()
        made.made.issued = Issued(
            authority.certificate, lambda name: serving_certificate(authority, [name]), lambda uid: pool_key(authority, uid)
        )
        await made.start()
        started.append(made)
        return made

    yield make
    for made in started:
        await made.made.stop()


async def test_a_run_waits_for_a_replica_and_is_placed_on_one_that_is_ready(world: MakeWorld) -> None:
    pool = await world(HELLO)
    made = pool.made
    made.see_pod(pod(1, ready=False))
    assert "none is ready" in (await made.says("NoReplica"))["message"]
    await until(lambda: bool(made.server.runner_writes) and made.server.runner_writes[-1].get("readyReplicas") == 0)
    await pool.replica(0)
    made.see_pod(pod(0))
    status = await made.reaches("Completed")
    assert status["output"] == {"message": "hello"}
    assert status["replica"] == {"name": "pool-0", "uid": "pod-0", "address": f"{address_of(0)}:{PORT}"}
    assert (status["runner"]["mode"], status["attempt"], status["launches"]) == ("Pool", 1, 1)
    await until(lambda: made.server.runner_writes[-1].get("readyReplicas") == 1)


async def test_a_lost_replica_costs_a_retry_and_the_run_begins_anew_on_another(world: MakeWorld) -> None:
    pool = await world(STEPS, retries=1)
    made = pool.made
    first, _ = await pool.replica(0), await pool.replica(1)
    made.see_pod(pod(0))
    await made.until(lambda status: status.get("taskCounts", {}).get("completed", 0) >= 1)
    made.see_pod(pod(1))
    await first.kill()
    await made.says("EndpointUnreachable")
    assert made.status["attempt"] == 1, "as long as its pod is there, a replica may come back"
    made.see_pod(pod(0), deleted=True)
    status = await made.reaches("Completed")
    assert (status["attempt"], status["launches"], status["failures"]) == (2, 2, 1)
    assert (status["replica"]["name"], status["taskCounts"]["completed"]) == ("pool-1", 3)


async def test_without_retries_a_lost_replica_fails_the_run(world: MakeWorld) -> None:
    pool = await world(LONG)
    made = pool.made
    only = await pool.replica(0)
    made.see_pod(pod(0))
    await made.reaches("Running")
    await only.kill()
    made.see_pod(pod(0), deleted=True)
    status = await made.reaches("Failed")
    assert status["error"]["code"] == "run.replica-lost"


async def test_a_replica_that_drains_ends_what_it_has_and_gets_nothing_new(world: MakeWorld) -> None:
    pool = await world(STEPS)
    made = pool.made
    only = await pool.replica(0)
    made.see_pod(pod(0))
    await made.reaches("Running")
    made.see_pod(pod(0, ready=False, deletionTimestamp="2026-11-21T12:00:00Z", resourceVersion="2"))
    assert await only.stop() == 0
    status = await made.reaches("Completed")
    assert (status["attempt"], status["output"]) == (1, {"done": True})
    assert made.pools.take(_runner(made), "another") == NoReplica(0)


async def test_an_operator_that_restarts_finds_the_run_on_its_replica(world: MakeWorld) -> None:
    pool = await world(STEPS)
    made = pool.made
    await pool.replica(0)
    await pool.replica(1)
    made.see_pod(pod(0))
    await made.reaches("Running")
    made.see_pod(pod(1))
    await made.restart()
    status = await made.reaches("Completed")
    assert (status["attempt"], status["replica"]["name"]) == (1, "pool-0")
    assert status["executionId"] == UID


async def test_cancel_reaches_the_replica(world: MakeWorld) -> None:
    pool = await world(LONG)
    made = pool.made
    await pool.replica(0)
    made.see_pod(pod(0))
    await made.reaches("Running")
    made.patch(cancelled=True)
    assert (await made.reaches("Cancelled"))["control"]["result"] == "Applied"


async def test_one_whose_resource_is_gone_ends_on_its_replica(world: MakeWorld) -> None:
    pool = await world(LONG)
    made = pool.made
    await pool.replica(0)
    made.see_pod(pod(0))
    await made.reaches("Running")
    [client] = made.endpoints._clients.values()
    made.gone()
    async with asyncio.timeout(20):
        told = [event.event_type async for event in client.subscribe(UID, 0)]
    assert told[-1] == "workflow_cancelled"
    assert len(made.endpoints) == 0


async def test_a_run_that_goes_on_is_held(world: MakeWorld) -> None:
    pool = await world(LONG)
    made = pool.made
    only = await pool.replica(0)
    made.see_pod(pod(0))
    await until(lambda: made.server.resource["metadata"].get("finalizers") == [group.FINALIZER], 20)
    assert made.status["phase"] == "Running"
    await only.kill()  # told to stop, it would wait for the run


def _runner(made: Operator) -> Runner:
    return read_runner(made.store.runners[RUNNER])
