"""What becomes of a run whose pod, Job or status somebody takes away, without snapshots."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.cluster import Cluster
from tests.e2e.harness import http_server
from tests.e2e.harness.http_server import HttpServer
from tests.e2e.harness.kube import Execution, Json, Namespace
from tests.e2e.harness.waiting import wait_for

OUTPUT = {"total": sum(range(4))}
TASKS = 7


@pytest.fixture
def gate(cluster: Cluster) -> Iterator[HttpServer]:
    """What every run waits for in its middle."""
    with http_server.running(cluster) as server:
        server.hold("/gate")
        yield server


def test_a_deleted_pod_fails_a_run_without_retries(gate: HttpServer, namespace: Namespace, case: Path) -> None:
    execution = _at_the_gate(gate, namespace, case)
    _delete_pod(execution)
    status = execution.wait_phase("Failed")
    assert status["error"]["code"] == "run.pod-lost", status["error"]


def test_a_deleted_pod_is_replaced_where_retries_are_left(gate: HttpServer, namespace: Namespace, case: Path) -> None:
    execution = _at_the_gate(gate, namespace, case, retries=1)
    first = _delete_pod(execution)
    status = _completes_anew(execution, gate, first)
    assert status["launches"] == 1, "the same Job"


def test_a_drained_node_costs_no_retry(gate: HttpServer, namespace: Namespace, case: Path) -> None:
    execution = _at_the_gate(gate, namespace, case)
    first = execution.running_pod()["metadata"]["name"]
    _evict(namespace, first)
    assert "failures" not in _completes_anew(execution, gate, first)


def test_too_little_memory_is_told(namespace: Namespace, case: Path) -> None:
    resources = {"requests": {"memory": "16Mi"}, "limits": {"memory": "16Mi"}}
    template = {"spec": {"containers": [{"name": "workflow", "resources": resources}]}}
    execution = namespace.start(case / "execution.yaml", template=template)
    status = execution.wait_phase("Failed")
    assert status["error"]["code"] == "run.out-of-memory", status["error"]
    assert "give the pod more memory" in execution.condition("Completed")["message"]


@pytest.mark.parametrize("retries", [0, 1])
def test_a_deleted_job(gate: HttpServer, namespace: Namespace, case: Path, retries: int) -> None:
    execution = _at_the_gate(gate, namespace, case, retries=retries)
    first = execution.status
    namespace.kubectl("delete", "job", first["jobName"], "--wait=false")
    if retries == 0:
        assert execution.wait_phase("Failed")["error"]["code"] == "run.job-deleted"
        return
    status = _completes_anew(execution, gate, first["podName"])
    assert (status["launches"], status["failures"]) == (2, 1)
    assert status["jobName"] != first["jobName"]


@pytest.mark.parametrize(
    "edit",
    [
        {"phase": "Pending", "tasks": None, "conditions": None, "taskCounts": None},
        {"phase": "Completed", "output": {"total": -1}},
        None,
    ],
    ids=["wiped", "said-to-have-ended", "removed"],
)
def test_a_status_edited_by_hand_is_put_right(gate: HttpServer, namespace: Namespace, case: Path, edit: Json | None) -> None:
    execution = _at_the_gate(gate, namespace, case)
    before = execution.status
    patch = {"status": edit}
    namespace.kubectl("patch", "wfe", execution.name, "--subresource=status", "--type=merge", "-p", json.dumps(patch))
    gate.release()
    # Not wait_phase: one of these says that the run has ended.
    status = wait_for(
        lambda: execution.status,
        lambda status: status.get("phase") == "Completed" and status.get("output") == OUTPUT,
        what="the run ends right",
    )
    assert (status["taskCounts"]["completed"], status["progress"]) == (TASKS, 100)
    assert {item["type"]: item["status"] for item in status["conditions"]} == {
        "Accepted": "True",
        "Completed": "True",
        "Reconciling": "False",
        "Stalled": "False",
    }
    assert [status[key] for key in ("executionId", "jobName", "podName", "attempt", "specDigest")] == [
        before[key] for key in ("executionId", "jobName", "podName", "attempt", "specDigest")
    ]
    assert len(status["tasks"]) == TASKS
    assert len(execution.pods()) == 1


def _at_the_gate(gate: HttpServer, namespace: Namespace, case: Path, **spec: Any) -> Execution:
    """A run in its middle, as its status tells, too."""
    execution = namespace.start(case / "execution.yaml", input={"server": gate.address}, **spec)
    gate.wait_asked("/gate")
    execution.wait_tasks(4)
    return execution


def _delete_pod(execution: Execution) -> str:
    name: str = execution.running_pod()["metadata"]["name"]
    execution.namespace.kubectl("delete", "pod", name, "--wait=false")
    return name


def _evict(namespace: Namespace, pod: str) -> None:
    """What `kubectl drain` asks for."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace.name}}
    path = f"/api/v1/namespaces/{namespace.name}/pods/{pod}/eviction"
    namespace.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def _completes_anew(execution: Execution, gate: HttpServer, first_pod: str) -> Json:
    """The status of a run that another pod does from its beginning."""
    gate.wait_asked("/gate", times=2)
    gate.release()
    status = execution.wait_phase("Completed")
    assert status["podName"] != first_pod
    assert status["attempt"] == 2
    assert (status["output"], status["taskCounts"]["completed"]) == (OUTPUT, TASKS)
    return status
