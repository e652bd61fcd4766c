"""A pool whose runs are in Temporal: they outlive their replicas, all of them, and nothing that is done is done again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.cluster import Cluster
from tests.e2e.harness import http_server
from tests.e2e.harness.http_server import HttpServer
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.temporal import Temporal

Json = dict[str, Any]

PASSES = list(range(12))
TASKS = 3 * len(PASSES) + 1
HELD = "/4"


@pytest.fixture
def server(cluster: Cluster) -> Iterator[HttpServer]:
    with http_server.running(cluster) as server:
        yield server


@pytest.fixture
def pool(temporal: Temporal, namespace: Namespace, case: Path) -> Namespace:
    """With a pool of two replicas that are ready."""
    namespace.apply(case.parent / "pool" / "rights.yaml")
    launch = {"mode": "Pool", "replicas": 2, "template": {"spec": {"terminationGracePeriodSeconds": 20}}}
    namespace.apply(temporal.runner("Pool", launch=launch))
    _wait_replicas(namespace, 2)
    return namespace


@pytest.fixture
def held(pool: Namespace, server: HttpServer, case: Path) -> Execution:
    """A run in the middle of its fifth call."""
    server.hold(HELD)
    execution = pool.start(case / "execution.yaml", input={"server": server.address})
    server.wait_asked(HELD)
    execution.wait_tasks(8)
    return execution


def _wait_replicas(namespace: Namespace, number: int) -> None:
    def holds(runner: Json) -> bool:
        return (runner.get("status") or {}).get("readyReplicas") == number

    namespace.wait("wfr", "default", holds, f"{number} replicas are ready", 120)


def _is_right(status: Json, server: HttpServer) -> None:
    assert (status["output"]["total"], status["taskCounts"]["completed"]) == (sum(PASSES), TASKS)
    assert (status["attempt"], status["launches"]) == (1, 1)
    done = [path for path in server.asked if path != HELD]
    assert done == [f"/{number}" for number in PASSES if f"/{number}" != HELD], "what was answered is not asked again"


def test_a_lost_replica_s_run_goes_on_at_the_other_one(held: Execution, server: HttpServer) -> None:
    first = held.status["replica"]["name"]
    held.namespace.kubectl("delete", "pod", first, "--grace-period=0", "--force", "--wait=false")
    held.namespace.wait(
        "wfe", held.name, lambda item: item["status"]["replica"]["name"] != first, "it is at another replica", 60
    )
    server.release()
    _is_right(held.wait_phase("Completed", seconds=120), server)
    assert held.namespace.list("jobs") == []


def test_all_replicas_gone_and_the_operator_killed(held: Execution, server: HttpServer, operator: Operator) -> None:
    held.namespace.patch("wfr", "default", {"launch": {"replicas": 0}})
    held.wait_condition("Completed", "False", "NoReplica")
    held.patch(paused=True)
    operator.kill()
    held.namespace.patch("wfr", "default", {"launch": {"replicas": 1}})
    held.wait(lambda status: (status.get("control") or {}).get("result") == "Accepted", "the new replica has heard of it", 120)
    server.release()
    held.wait_phase("Paused", seconds=120)
    held.patch(paused=False)
    _is_right(held.wait_phase("Completed", seconds=120), server)


def test_nothing_is_left_open(held: Execution, temporal: Temporal) -> None:
    workflow = held.status["temporalWorkflowId"]
    held.namespace.kubectl("delete", "wfe", held.name, "--wait=false")
    assert temporal.wait_closed(workflow) in ("WORKFLOW_EXECUTION_STATUS_CANCELED", "WORKFLOW_EXECUTION_STATUS_TERMINATED")
    held.namespace.wait_gone("wfe", held.name)


def test_cancelled_by_force_it_is_closed(held: Execution, temporal: Temporal) -> None:
    held.patch(cancelled=True, cancellation={"mode": "Force", "reason": "enough"})
    status = held.wait_phase("Cancelled")
    assert temporal.wait_closed(status["temporalWorkflowId"]) != "WORKFLOW_EXECUTION_STATUS_COMPLETED"


def test_without_temporal_the_runner_says_why(pool: Namespace, temporal: Temporal) -> None:
    nowhere = f"nobody.{temporal.namespace.name}.svc:7233"
    pool.patch("wfr", "default", {"launch": {"replicas": 1}, "temporal": {"address": nowhere}})

    def says_why(runner: Json) -> bool:
        [ready] = [item for item in runner["status"]["conditions"] if item["type"] == "Ready"]
        return ready["reason"] == "NoReplica" and "temporal.unavailable" in ready["message"]

    pool.wait("wfr", "default", says_why, "the runner says why no replica is ready", 180)
    pool.patch("wfr", "default", {"temporal": {"address": temporal.address}})
    pool.kubectl("delete", "pods", "-l", "app.kubernetes.io/name=workflow-runner-pool", "--wait=false")
    _wait_replicas(pool, 1)
