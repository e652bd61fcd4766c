"""Which replica of a pool gets which run."""

from __future__ import annotations

from typing import Any, cast

from tests.integration.endpoints.operators import ApiServer
from tests.unit.controller.test_reconciler import ISSUED
from tests.unit.reconcile.conftest import LAUNCH

from workflow_runner.cluster import Cluster
from workflow_runner.controller.pools import Pools
from workflow_runner.controller.store import Store
from workflow_runner.crd import group
from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.reconcile.observed import NoReplica, Replica, Runner

Json = dict[str, Any]


def runner(**launch: Any) -> Runner:
    spec = {"launch": {"mode": "Pool", **launch}}
    return Runner("default", "ns", "runner-uid", 1, WorkflowRunnerSpec.model_validate(spec))


def pod(
    number: int, *, owner: str = "uid-of-StatefulSet", ready: bool = True, address: str = "10.0.0.1", **metadata: Any
) -> Json:
    base = {"name": f"pool-{number}", "namespace": "ns", "uid": f"pod-{number}", "resourceVersion": "1"}
    owners = [{"kind": "StatefulSet", "uid": owner, "controller": True}]
    status = {"podIP": address, "conditions": [{"type": "Ready", "status": str(ready)}]}
    labels = {group.LABEL_POOL: "runner-uid"}
    return {
        "kind": "Pod",
        "metadata": {**base, "labels": labels, "ownerReferences": owners, **metadata},
        "spec": {},
        "status": status,
    }


class World:
    def __init__(self, *pods: Json) -> None:
        self.server, self.store = ApiServer({}), Store()
        self.pools = Pools(cast("Cluster", self.server), self.store, ISSUED, LAUNCH)
        for each in pods:
            self.store.see_pod(each, deleted=False)

    def place(self, runner: Runner, uid: str) -> str | int:
        found = self.pools.take(runner, uid)
        return found.name if isinstance(found, Replica) else found.ready


async def test_runs_are_spread_and_no_replica_gets_more_than_it_may_have() -> None:
    world, two = World(pod(0), pod(1)), runner(replicas=2, concurrency=2)
    await world.pools.ensure(two)
    assert [world.place(two, str(number)) for number in range(5)] == ["pool-0", "pool-1", "pool-0", "pool-1", 2]
    assert world.place(two, "0") == "pool-0"
    world.pools.leave("1")
    assert world.place(two, "4") == "pool-1"


async def test_places_of_a_former_operator_count() -> None:
    world, one = World(pod(0)), runner(concurrency=1)
    await world.pools.ensure(one)
    world.pools.hold("before", "pod-0")
    world.pools.hold("before", "pod-0")
    assert world.place(one, "now") == 1


async def test_a_replica_that_does_not_answer_gets_nothing_new_while_there_are_others() -> None:
    world, two = World(pod(0), pod(1)), runner(replicas=2, concurrency=9)
    await world.pools.ensure(two)
    assert [world.place(two, str(number)) for number in range(3)] == ["pool-0", "pool-1", "pool-0"]
    assert world.pools.avoid("runner-uid", "ns", {"name": "pool-0", "uid": "pod-0"}), "there is another one"
    assert [world.place(two, uid) for uid in ("0", "3", "4")] == ["pool-1"] * 3
    assert not world.pools.avoid("runner-uid", "ns", {"name": "pool-1", "uid": "pod-1"}), "runs do not go to and fro"
    assert world.place(two, "5") == "pool-0", "none is better than the other"
    assert (await world.pools.ensure(two)).ready == 2


async def test_only_ready_pods_of_the_pools_own_set_are_replicas() -> None:
    strangers = (
        pod(0, owner="somebody"),
        pod(1, ready=False),
        pod(2, deletionTimestamp="2026-11-21T12:00:00Z"),
        pod(3, address=""),
    )
    world, one = World(*strangers), runner()
    assert world.pools.take(one, "x") == NoReplica(0)
    assert (await world.pools.ensure(one)).ready == 0
    assert world.pools.take(one, "x") == NoReplica(0)
    world.store.see_pod(pod(4, address="fd00::1"), deleted=False)
    found = world.pools.take(one, "x")
    assert isinstance(found, Replica)
    assert found.address == "[fd00::1]:9090"


async def test_objects_are_applied_once_for_a_generation_and_the_secret_is_not_made_again() -> None:
    world, one = World(), runner(replicas=3)
    assert (await world.pools.ensure(one)).wanted == 3
    assert set(world.server.applied) == {"Secret", "Service", "StatefulSet"}
    del world.server.applied["Service"]
    await world.pools.ensure(one)
    assert "Service" not in world.server.applied
    again = Pools(cast("Cluster", world.server), world.store, ISSUED, LAUNCH)
    await again.ensure(one)
    assert "Service" in world.server.applied


async def test_a_pool_that_is_none_any_more_goes() -> None:
    world, one = World(pod(0)), runner()
    await world.pools.ensure(one)
    await world.pools.remove(one)
    assert "StatefulSet" not in world.server.applied
    assert world.pools.take(one, "x") == NoReplica(0)
