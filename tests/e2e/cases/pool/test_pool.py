"""A pool: runs are spread over its pods, survive the operator, drain with them, and begin anew when one is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

OUTPUT = {"total": sum(range(20))}
TASKS = 41
PODS = "app.kubernetes.io/name=workflow-runner-pool"


@pytest.fixture
def pool(operator: Operator, namespace: Namespace, case: Path) -> Namespace:
    """With a pool of two pods that are ready."""
    namespace.apply(case / "rights.yaml")
    namespace.apply(case / "runner.yaml")
    wait_replicas(namespace, 2)
    return namespace


def wait_replicas(namespace: Namespace, number: int) -> None:
    def holds(runner: Json) -> bool:
        return (runner.get("status") or {}).get("readyReplicas") == number

    namespace.wait("wfr", "default", holds, f"{number} replicas are ready", 120)


def test_runs_are_spread_and_survive_the_operator(pool: Namespace, operator: Operator, case: Path) -> None:
    runs = [pool.start(case / "execution.yaml", f"pooled-{number}") for number in range(4)]
    for run in runs:
        run.wait_tasks(1)
    operator.kill()
    statuses = [run.wait_phase("Completed", seconds=120) for run in runs]
    assert [status["output"] for status in statuses] == [OUTPUT] * 4
    assert {status["attempt"] for status in statuses} == {1}
    replicas = [status["replica"]["name"] for status in statuses]
    assert sorted(replicas.count(name) for name in set(replicas)) == [2, 2]
    assert pool.list("jobs") == []


def test_a_lost_replica_costs_a_retry(pool: Namespace, case: Path) -> None:
    run = pool.start(case / "execution.yaml", retries=1)
    first = run.wait_tasks(2)["replica"]["name"]
    pool.kubectl("delete", "pod", first, "--grace-period=0", "--force", "--wait=false")
    status = run.wait_phase("Completed", seconds=120)
    assert (status["attempt"], status["launches"], status["failures"]) == (2, 2, 1)
    assert (status["output"], status["taskCounts"]["completed"]) == (OUTPUT, TASKS)


def test_pods_drain_when_there_are_to_be_fewer_and_more_take_runs_again(pool: Namespace, case: Path) -> None:
    runs = [pool.start(case / "execution.yaml", f"pooled-{number}") for number in range(2)]
    for run in runs:
        run.wait_tasks(1)
    pool.patch("wfr", "default", {"launch": {"replicas": 0}})
    for run in runs:
        status = run.wait_phase("Completed", seconds=120)
        assert (status["attempt"], status["output"]) == (1, OUTPUT)
    wait_for(lambda: pool.list("pods", "-l", PODS), lambda found: not found, what="the pods are gone", seconds=90)
    late = pool.start(case / "execution.yaml", "late")
    late.wait_condition("Completed", "False", "NoReplica")
    pool.patch("wfr", "default", {"launch": {"replicas": 1}})
    assert late.wait_phase("Completed", seconds=120)["output"] == OUTPUT


def test_pause_and_cancel_reach_the_replica(pool: Namespace, case: Path) -> None:
    run = pool.start(case / "execution.yaml")
    run.wait_tasks(1)
    run.patch(paused=True)
    assert run.wait_phase("Paused")["control"]["result"] == "Applied"
    run.patch(cancelled=True)
    assert run.wait_phase("Cancelled")["control"]["result"] == "Applied"


def test_the_pool_goes_with_its_runner(pool: Namespace) -> None:
    pool.kubectl("delete", "wfr", "default")

    def left() -> list[Json]:
        return [item for kind in ("statefulsets", "services", "pods") for item in pool.list(kind, "-l", PODS)]

    wait_for(left, lambda found: not found, what="nothing of it is left", seconds=90)
