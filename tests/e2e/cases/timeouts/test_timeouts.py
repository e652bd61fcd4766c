"""Runs that take too long, or do not answer, are ended; time paused does not count."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from tests.e2e.cluster import Cluster
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.node import signal_pod
from tests.e2e.harness.waiting import wait_for


def test_a_run_fails_when_its_time_is_over(namespace: Namespace, case: Path) -> None:
    execution = namespace.start(case / "execution.yaml", timeout="2s")
    status = execution.wait_phase("Failed")
    assert (status["error"]["status"], status["error"]["type"].rsplit("/", 1)[1]) == (408, "timeout")
    assert status["taskCounts"]["started"] == 1


def test_time_paused_does_not_count(namespace: Namespace, case: Path) -> None:
    execution = namespace.start(case / "limited.yaml")
    execution.wait_phase("Running")
    execution.patch(paused=True)
    execution.wait_phase("Paused")
    # As long as another run needs for its six seconds of waiting: longer than either of the two time limits.
    namespace.start(case / "yardstick.yaml").wait_phase("Completed")
    execution.patch(paused=False)
    status = execution.wait_phase("Completed")
    assert status["pausedSeconds"] > 5
    assert status["taskCounts"]["completed"] == 2


def test_force_ends_a_run_that_does_not_answer(cluster: Cluster, namespace: Namespace, case: Path) -> None:
    execution = _stopped(cluster, namespace, case)
    execution.patch(cancelled=True, cancellation={"mode": "Force", "reason": "it hangs"})
    status = execution.wait_phase("Cancelled", seconds=25)  # less than a graceful cancel would wait
    assert "it hangs" in execution.condition("Completed")["message"]
    assert status["control"]["result"] == "Applied"
    wait_for(execution.pods, lambda pods: not pods, what="the pod is gone")


def test_a_grace_period_is_waited_for_and_no_longer(cluster: Cluster, namespace: Namespace, case: Path) -> None:
    execution = _stopped(cluster, namespace, case)
    execution.patch(cancelled=True, cancellation={"gracePeriod": "3s"})
    status = execution.wait_phase("Cancelled", seconds=25)
    asked, ended = (datetime.fromisoformat(moment) for moment in (status["control"]["requestTime"], status["completionTime"]))
    assert (ended - asked).total_seconds() >= 3
    wait_for(execution.pods, lambda pods: not pods, what="the pod is gone")


def _stopped(cluster: Cluster, namespace: Namespace, case: Path) -> Execution:
    """A run whose process does not get any time."""
    execution = namespace.start(case / "execution.yaml")
    execution.wait_phase("Running")
    signal_pod(cluster, execution.running_pod(), "STOP")
    return execution
