"""What becomes of a run whose pod, Job or status somebody takes away, without snapshots."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.e2e.harness.kube import Execution, Json, Namespace
from tests.e2e.harness.waiting import wait_for

OUTPUT = {"total": sum(range(8))}
TASKS = 17


def test_a_deleted_pod_fails_a_run_without_retries(namespace: Namespace, case: Path) -> None:
    execution = namespace.start(case / "execution.yaml")
    execution.wait_tasks(2)
    _delete_pod(execution)
    status = execution.wait_phase("Failed")
    assert status["error"]["code"] == "run.pod-lost", status["error"]


def test_a_deleted_pod_is_replaced_where_retries_are_left(namespace: Namespace, case: Path) -> None:
    execution = namespace.start(case / "execution.yaml", retries=1)
    execution.wait_tasks(2)
    first = _delete_pod(execution)
    status = execution.wait_phase("Completed", seconds=90)
    _began_anew(status, first)
    assert status["launches"] == 1, "the same Job"


def test_a_drained_node_costs_no_retry(namespace: Namespace, case: Path) -> None:
    execution = namespace.start(case / "execution.yaml")
    execution.wait_tasks(2)
    first = execution.running_pod()["metadata"]["name"]
    _evict(namespace, first)
    status = execution.wait_phase("Completed", seconds=90)
    _began_anew(status, first)
    assert "failures" not in status


def test_too_little_memory_is_told(namespace: Namespace, case: Path) -> None:
    resources = {"requests": {"memory": "16Mi"}, "limits": {"memory": "16Mi"}}
    template = {"spec": {"containers": [{"name": "workflow", "resources": resources}]}}
    execution = namespace.start(case / "execution.yaml", template=template)
    status = execution.wait_phase("Failed")
    assert status["error"]["code"] == "run.out-of-memory", status["error"]
    assert "give the pod more memory" in execution.condition("Completed")["message"]


@pytest.mark.parametrize("retries", [0, 1])
def test_a_deleted_job(namespace: Namespace, case: Path, retries: int) -> None:
    execution = namespace.start(case / "execution.yaml", retries=retries)
    first = execution.wait_tasks(2)
    namespace.kubectl("delete", "job", first["jobName"], "--wait=false")
    if retries == 0:
        assert execution.wait_phase("Failed")["error"]["code"] == "run.job-deleted"
        return
    status = execution.wait_phase("Completed", seconds=90)
    _began_anew(status, first["podName"])
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
def test_a_status_edited_by_hand_is_put_right(namespace: Namespace, case: Path, edit: Json | None) -> None:
    execution = namespace.start(case / "execution.yaml")
    before = execution.wait_tasks(4)
    patch = {"status": edit}
    namespace.kubectl("patch", "wfe", execution.name, "--subresource=status", "--type=merge", "-p", json.dumps(patch))
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


def _delete_pod(execution: Execution) -> str:
    name: str = execution.running_pod()["metadata"]["name"]
    execution.namespace.kubectl("delete", "pod", name, "--wait=false")
    return name


def _evict(namespace: Namespace, pod: str) -> None:
    """What `kubectl drain` asks for."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace.name}}
    path = f"/api/v1/namespaces/{namespace.name}/pods/{pod}/eviction"
    namespace.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def _began_anew(status: Json, first_pod: str) -> None:
    assert status["podName"] != first_pod
    assert status["attempt"] == 2
    assert (status["output"], status["taskCounts"]["completed"]) == (OUTPUT, TASKS)
