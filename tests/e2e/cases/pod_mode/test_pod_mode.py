"""A runner that launches bare pods: a run lives, is steered and is replaced as in a Job, with no Job there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.waiting import wait_for

OUTPUT = {"total": sum(range(20))}
TASKS = 41


@pytest.fixture
def execution(namespace: Namespace, case: Path) -> Execution:
    namespace.apply(case / "runner.yaml")
    return namespace.execution("pod-mode")


def test_the_pod_belongs_to_the_execution_and_there_is_no_job(execution: Execution, case: Path) -> None:
    execution.namespace.start(case / "execution.yaml")
    execution.wait_tasks(1)
    execution.patch(paused=True)
    execution.wait_phase("Paused")
    [pod] = execution.pods()
    execution.patch(paused=False)
    status = execution.wait_phase("Completed")
    assert (status["output"], status["taskCounts"]["completed"]) == (OUTPUT, TASKS)
    assert (status["runner"]["mode"], status["podName"]) == ("Pod", pod["metadata"]["name"])
    [owner] = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("WorkflowExecution", "pod-mode", True)
    assert pod["spec"]["restartPolicy"] == "Never"
    assert "jobName" not in status
    assert execution.jobs() == []
    assert [pod["metadata"]["name"] for pod in execution.pods()] == [status["podName"]]


def test_a_lost_pod_fails_a_run_without_retries(execution: Execution, case: Path) -> None:
    execution.namespace.start(case / "execution.yaml")
    execution.wait_tasks(2)
    execution.namespace.kubectl("delete", "pod", execution.status["podName"], "--wait=false")
    status = execution.wait_phase("Failed")
    assert status["error"]["code"] == "run.pod-lost", status["error"]
    assert status["launches"] == 1
    wait_for(execution.pods, lambda pods: not pods, what="no other pod has come")


def test_a_lost_pod_is_replaced_as_often_as_retries_say(execution: Execution, case: Path) -> None:
    execution.namespace.start(case / "execution.yaml", retries=1)
    first = execution.wait_tasks(2)
    execution.namespace.kubectl("delete", "pod", first["podName"], "--wait=false")
    status = execution.wait_phase("Completed")
    assert status["podName"] != first["podName"]
    assert (status["attempt"], status["launches"], status["failures"]) == (2, 2, 1)
    assert (status["output"], status["taskCounts"]["completed"]) == (OUTPUT, TASKS)
    assert "Relaunched" in execution.events()


def test_cancel_ends_it(execution: Execution, case: Path) -> None:
    execution.namespace.start(case / "execution.yaml")
    execution.wait_tasks(1)
    execution.patch(cancelled=True)
    status = execution.wait_phase("Cancelled")
    assert status["control"]["result"] == "Applied"
