"""What a WorkflowRunner's own status says, and how often it is written."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
from tests.unit.controller.test_reconciler import ISSUED
from tests.unit.reconcile.conftest import LAUNCH

from workflow_runner.cluster import Cluster, Conflict, NotFound
from workflow_runner.controller.endpoints import Endpoints
from workflow_runner.controller.pools import Pools
from workflow_runner.controller.runners import RunnerReconciler, key_of
from workflow_runner.controller.runs import Runs
from workflow_runner.controller.slots import Slots
from workflow_runner.controller.stigmer import Destinations
from workflow_runner.controller.store import Store
from workflow_runner.stigmer.relay import Relay

Json = dict[str, Any]

NAME = ("ns", "default")
STIGMER = {"endpoint": "stigmer:443", "apiKeySecretRef": {"name": "key", "key": "token"}}


class Server:
    """The API server, as far as one runner and its Secret go."""

    def __init__(self) -> None:
        self.writes: list[Json] = []
        self.secrets: dict[str, dict[str, bytes]] = {}
        self.conflict = False

    async def write_runner_status(self, runner: Json, status: Json) -> Json:
        if self.conflict:
            raise Conflict("changed", 409)
        self.writes.append(copy.deepcopy(status))
        return {**runner, "status": status}

    async def get_secret(self, namespace: str, name: str) -> dict[str, bytes]:
        if name not in self.secrets:
            raise NotFound("no such Secret", 404)
        return self.secrets[name]


class World:
    def __init__(self, **spec: Any) -> None:
        self.server, self.store = Server(), Store()
        cluster = cast("Cluster", self.server)
        self.slots = Slots(changed=lambda runner: None, turn=lambda uid: None)
        runs = Runs(Relay(changed=lambda key: None), lambda key: None, self.store.has_ended)
        self.looked: list[tuple[str, str]] = []
        self.pools = Pools(cluster, self.store, ISSUED, LAUNCH)
        self.endpoints = Endpoints(cluster, runs, self.pools, changed=lambda uid: None, looked=self.looked.append)
        self.reconciler = RunnerReconciler(
            cluster=cluster,
            store=self.store,
            slots=self.slots,
            destinations=Destinations(cluster),
            endpoints=self.endpoints,
            pools=self.pools,
            image="image:1",
        )
        self.see(**spec)

    def see(self, **spec: Any) -> None:
        metadata = {"name": "default", "namespace": "ns", "uid": "r", "generation": 3, "resourceVersion": "1"}
        self.store.see_runner({"metadata": metadata, "spec": spec}, deleted=False)

    async def look(self) -> float | None:
        return await self.reconciler.reconcile(key_of(NAME))

    def condition(self, kind: str) -> tuple[str, str]:
        [found] = [item for item in self.server.writes[-1]["conditions"] if item["type"] == kind]
        return found["status"], found["reason"]


async def test_a_ready_runner_says_what_it_resolved_to() -> None:
    world = World(launch={"mode": "Pod"})
    await world.look()
    [status] = world.server.writes
    assert (status["mode"], status["image"], status["observedGeneration"]) == ("Pod", "image:1", 3)
    assert (status["activeExecutions"], status["queuedExecutions"]) == (0, 0)
    assert world.condition("Ready") == ("True", "Ready")
    assert world.condition("Stalled") == ("False", "Ready")


async def test_nothing_new_is_not_written() -> None:
    world = World()
    await world.look()
    assert await world.look() is None
    assert len(world.server.writes) == 1


async def test_counts_are_written_seldom_and_at_last() -> None:
    world = World()
    await world.look()
    for number in range(20):
        world.slots.hold(NAME, str(number), "ns")
        again = await world.look()
    assert again is not None
    assert len(world.server.writes) == 1
    world.reconciler._written_at.clear()
    await world.look()
    assert world.server.writes[-1]["activeExecutions"] == 20


async def test_a_paused_runner_is_ready_and_says_so() -> None:
    world = World(paused=True)
    await world.look()
    assert world.condition("Ready") == ("True", "Paused")


async def test_a_spec_that_cannot_be_read_stalls() -> None:
    world = World(launch={"mode": "Carrier-Pigeon"})
    await world.look()
    assert world.condition("Ready") == ("False", "InvalidSpec")
    assert world.condition("Stalled")[0] == "True"


async def test_a_missing_key_of_stigmer_is_told_and_looked_at_again() -> None:
    world = World(stigmer=STIGMER)
    assert await world.look()
    assert world.condition("CallbacksReady") == ("False", "SecretNotUsable")
    assert world.condition("Ready") == ("True", "Ready")
    world.server.secrets["key"] = {"token": b"s3cr3t"}
    world.reconciler._destinations._keys.clear()
    await world.look()
    assert world.condition("CallbacksReady") == ("True", "Configured")


@pytest.mark.parametrize("gone", [True, False])
async def test_a_runner_that_goes_or_changes_meanwhile_is_no_error(gone: bool) -> None:
    world = World()
    if gone:
        world.store.see_runner(world.store.runners[NAME], deleted=True)
        assert await world.look() is None
    else:
        world.server.conflict = True
        assert await world.look()
    assert world.server.writes == []


async def test_a_template_with_what_no_run_can_have_is_told() -> None:
    world = World(launch={"template": {"spec": {"hostNetwork": True}}})
    await world.look()
    assert world.condition("Ready") == ("False", "InvalidSpec")
    assert "hostNetwork" in next(item["message"] for item in world.server.writes[-1]["conditions"] if item["type"] == "Ready")
