"""A run that is in Temporal outlives its pods and its Job: it goes on at the last finished task."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.cluster import Cluster
from tests.e2e.harness import http_server, node
from tests.e2e.harness.http_server import HttpServer
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.temporal import Temporal
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

PASSES = list(range(12))
TASKS = 3 * len(PASSES) + 1
HELD = "/4"


@pytest.fixture
def server(cluster: Cluster) -> Iterator[HttpServer]:
    with http_server.running(cluster) as server:
        server.hold(HELD)
        yield server


@pytest.fixture(params=["Job", "Pod"])
def execution(
    temporal: Temporal, namespace: Namespace, server: HttpServer, case: Path, request: pytest.FixtureRequest
) -> Execution:
    """A run in the middle of its fifth call."""
    namespace.apply(temporal.runner(request.param))
    execution = namespace.start(case / "execution.yaml", input={"server": server.address})
    server.wait_asked(HELD)
    return execution


def test_a_deleted_pod_is_replaced(execution: Execution, server: HttpServer) -> None:
    first = execution.running_pod()["metadata"]["name"]
    execution.namespace.kubectl("delete", "pod", first, "--grace-period=1", "--wait=false")
    _goes_on(execution, server, first)


def test_a_killed_process_is_replaced(cluster: Cluster, execution: Execution, server: HttpServer) -> None:
    first = execution.running_pod()
    node.signal_pod(cluster, first, "KILL")
    _goes_on(execution, server, first["metadata"]["name"])


def test_a_deleted_job_is_made_again(temporal: Temporal, namespace: Namespace, server: HttpServer, case: Path) -> None:
    namespace.apply(temporal.runner())
    execution = namespace.start(case / "execution.yaml", input={"server": server.address})
    server.wait_asked(HELD)
    execution.wait_tasks(8)
    first = execution.status
    namespace.kubectl("delete", "job", first["jobName"], "--wait=false")
    status = _goes_on(execution, server, first["podName"])
    assert (status["launches"], status["failures"]) == (2, 1)


@pytest.mark.parametrize("execution", ["Job"], indirect=True)
def test_a_drained_node_costs_no_retry(execution: Execution, server: HttpServer) -> None:
    pod = execution.running_pod()
    name, node_name = pod["metadata"]["name"], pod["spec"]["nodeName"]
    try:
        execution.namespace.kubectl("cordon", node_name)
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{execution.namespace.name}/pods/{name}/eviction"
        execution.namespace.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
        wait_for(
            lambda: [item["status"]["phase"] for item in execution.pods() if item["metadata"]["name"] != name],
            lambda phases: phases == ["Pending"],
            what="another pod waits for a node",
        )
    finally:
        execution.namespace.kubectl("uncordon", node_name)
    assert "failures" not in _goes_on(execution, server, name)


@pytest.mark.parametrize("execution", ["Job"], indirect=True)
def test_the_server_killed_goes_on_from_its_database(
    cluster: Cluster, temporal: Temporal, execution: Execution, server: HttpServer
) -> None:
    [pod] = temporal.namespace.list("pods")
    node.signal_pod(cluster, pod, "KILL")
    wait_for(
        lambda: temporal.namespace.list("pods")[0]["status"]["containerStatuses"][0],
        lambda status: status["restartCount"] >= 1 and status["ready"],
        what="Temporal is back",
    )
    server.release()
    status = execution.wait_phase("Completed", seconds=120)
    assert (status["output"]["total"], status["taskCounts"]["completed"]) == (sum(PASSES), TASKS)
    assert status["attempt"] == 1
    assert set(server.asked) == {f"/{number}" for number in PASSES}


def _goes_on(execution: Execution, server: HttpServer, first: str) -> Json:
    server.wait_asked(HELD, times=2)
    server.release()
    status = execution.wait_phase("Completed", seconds=120)
    assert status["podName"] != first
    assert (status["output"]["total"], status["taskCounts"]["completed"]) == (sum(PASSES), TASKS)
    numbers = [int(path.removeprefix("/")) for path in server.asked]
    assert numbers == [*range(5), 4, *range(5, len(PASSES))], "the call that was under way is made again, and no other"
    assert status["attempt"] == 1
    return status
