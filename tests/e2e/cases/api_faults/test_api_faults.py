"""An API server that refuses, lags, forgets and breaks off: runs complete through all of it, each of them once.

The operator is a process of this host here, with a proxy between it and the real API server.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tests.e2e.harness.host_operator as host_operator
from tests.e2e.cluster import Cluster
from tests.e2e.harness.api import Api
from tests.e2e.harness.fleet import runner, wait_phases
from tests.e2e.harness.host_operator import HostOperator
from tests.e2e.harness.kube import Namespace, manifest_of
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.waiting import wait_for
from tests.servers.api_proxy import ApiProxy, Fault

pytestmark = [pytest.mark.stress, pytest.mark.timeout(400)]

RUNS = 6
KINDS = 4
"""What the operator watches: executions, runners, Jobs, pods."""
STATUS = ".*/workflowexecutions/.*/status"
OUTPUT = {"total": sum(range(10))}

FAULTS: dict[str, tuple[list[Fault], float]] = {
    "overloaded": ([Fault("answer", status=429, headers=(("Retry-After", "1"),), share=0.3, watches=False)], 60),
    "broken": (
        [
            Fault("answer", status=500, share=0.15, watches=False),
            Fault("answer", status=503, share=0.15, watches=False),
        ],
        60,
    ),
    "broken-after-the-fact": ([Fault("late-answer", methods="POST|PATCH|DELETE", status=500, share=0.4, watches=False)], 60),
    "conflicts": ([Fault("answer", "PATCH", STATUS, status=409, share=0.5)], 60),
    "resets": ([Fault("reset", share=0.3, watches=False)], 60),
    "hanging": ([Fault("hang", share=0.08, watches=False)], 150),
    "watches-refused": ([Fault("answer", status=500, watches=True, share=0.7)], 90),
    "watches-expired": ([Fault("expired", watches=True, share=0.7)], 90),
    "watches-gone": ([Fault("answer", status=410, watches=True, most=3)], 90),
}
"""What happens, and how many seconds the runs may take then."""


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[ApiProxy]:
    api = Api(cluster.kubeconfig)
    with ApiProxy(api.server, api.tls, seed=1) as proxy:
        yield proxy


@pytest.fixture
def faulty(cluster: Cluster, operator: Operator, proxy: ApiProxy, tmp_path: Path) -> Iterator[HostOperator]:
    kubeconfig = proxy.kubeconfig(tmp_path / "kubeconfig")
    with host_operator.running(cluster, operator, kubeconfig, tmp_path) as process:
        process.wait_ready()
        yield process


def _start(namespace: Namespace, case: Path, name: str, count: int = RUNS) -> None:
    namespace.apply(runner("faults"))
    manifests = [manifest_of(case / "execution.yaml", f"{name}-{number}") for number in range(count)]
    Api(namespace.cluster.kubeconfig).create_executions(namespace.name, manifests)


def _all_is_right(namespace: Namespace, count: int, seconds: float) -> None:
    """Every run completes within so many seconds, with its output, one Job and one pod."""
    api = Api(namespace.cluster.kubeconfig)
    wait_phases(api, namespace.name, {"Completed": count}, seconds=seconds)
    for execution in api.executions(namespace.name):
        status = execution["status"]
        assert (status["output"], status["attempt"], status["launches"]) == (OUTPUT, 1, 1), execution["metadata"]["name"]
    assert len(namespace.list("jobs")) == count
    assert len(namespace.list("pods")) == count


def _nothing_holds_them(namespace: Namespace) -> None:
    """The operator has done all that it wanted: no finalizer keeps an execution."""
    api = Api(namespace.cluster.kubeconfig)
    wait_for(
        lambda: [item["metadata"]["name"] for item in api.executions(namespace.name) if item["metadata"].get("finalizers")],
        lambda held: not held,
        what="no finalizer is left",
        seconds=90,
    )


def test_runs_complete_through_faults_of_every_kind(
    faulty: HostOperator, proxy: ApiProxy, namespace: Namespace, case: Path
) -> None:
    expected = 0
    for name, (faults, seconds) in FAULTS.items():
        before = proxy.done.total()
        proxy.faults = faults
        if "watches" in name:
            proxy.cut_watches()
        _start(namespace, case, name)
        expected += RUNS
        _all_is_right(namespace, expected, seconds)
        assert proxy.done.total() > before, f"{name}: nothing was done"
        print(f"{name}: {proxy.done.total() - before} faults, {proxy.passed} requests passed on so far")
        proxy.faults = ()
    _nothing_holds_them(namespace)
    faulty.wait_ready()


def test_watches_that_end_in_the_middle_of_runs(
    faulty: HostOperator, proxy: ApiProxy, namespace: Namespace, case: Path
) -> None:
    _start(namespace, case, "cut")
    api = Api(namespace.cluster.kubeconfig)
    for phase, expired in (("Running", False), ("Running", True), ("Completed", True)):
        wait_phases(api, namespace.name, {phase: 1}, seconds=60)
        wait_for(lambda: proxy.watching, lambda number: number >= KINDS, what="every kind is watched")
        assert proxy.cut_watches(expired=expired) >= KINDS
    _all_is_right(namespace, RUNS, 60)


def test_a_watch_that_is_gone_while_the_others_have_news(
    faulty: HostOperator, proxy: ApiProxy, namespace: Namespace, case: Path
) -> None:
    for time in range(1, 4):
        # Now, while the pods of those runs come up.
        _start(namespace, case, f"gone-{time}")
        wait_for(lambda: proxy.watching, lambda number: number >= KINDS, what="every kind is watched")
        before = proxy.done["answer"]
        proxy.faults = [Fault("answer", path=".*/workflowexecutions", status=410, watches=True, most=1)]
        proxy.cut_watches()
        _all_is_right(namespace, time * RUNS, 60)
        assert proxy.done["answer"] == before + 1
        faulty.wait_ready()


def test_an_api_server_that_is_away_for_twenty_seconds(
    faulty: HostOperator, proxy: ApiProxy, namespace: Namespace, case: Path
) -> None:
    _start(namespace, case, "away")
    api = Api(namespace.cluster.kubeconfig)
    wait_phases(api, namespace.name, {"Running": 2}, seconds=60)
    proxy.down()
    try:
        # By its own account: it says so when the API server has not answered for a while.
        wait_for(faulty.health, lambda health: "for 20 s" in str(health), what="the operator misses the API server", seconds=60)
        assert "live" not in faulty.health()["problems"]
    finally:
        proxy.up()
    _all_is_right(namespace, RUNS, 60)
    _nothing_holds_them(namespace)
    faulty.wait_ready()


def test_lists_that_fail_while_it_starts(
    cluster: Cluster, operator: Operator, proxy: ApiProxy, namespace: Namespace, case: Path, tmp_path: Path
) -> None:
    proxy.faults = [
        Fault("answer", "GET", ".*/(workflowexecutions|workflowrunners|jobs|pods)", status=503, watches=False, share=0.2)
    ]
    with host_operator.running(cluster, operator, proxy.kubeconfig(tmp_path / "kubeconfig"), tmp_path) as process:
        _start(namespace, case, "start", 2)
        process.wait_ready()
        _all_is_right(namespace, 2, 60)
    assert proxy.done["answer"] > 0
