"""The API server goes away and comes back in the middle of a run: the run does not notice, and nothing happens twice."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.cluster import Cluster
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.node import restart_api_server
from tests.e2e.harness.stigmer import Stigmer


def test_the_run_completes_as_if_nothing_had_been(cluster: Cluster, stigmer: Stigmer, namespace: Namespace, case: Path) -> None:
    stigmer.lend_key(namespace)
    namespace.apply(
        {
            "apiVersion": "workflowrunner.stigmer.ai/v1",
            "kind": "WorkflowRunner",
            "metadata": {"name": "default"},
            "spec": {"stigmer": stigmer.spec},
        }
    )
    execution = namespace.start(case / "execution.yaml")
    before = execution.wait_tasks(4)
    restart_api_server(cluster)
    status = execution.wait_phase("Completed", seconds=120)
    assert status["output"] == {"total": sum(range(20))}
    assert (status["taskCounts"]["completed"], status["attempt"], status["launches"]) == (41, 1, 1)
    assert [status[key] for key in ("executionId", "jobName", "podName")] == [
        before[key] for key in ("executionId", "jobName", "podName")
    ]
    assert len(execution.pods()) == 1
    events = [event["eventType"] for event in stigmer.told(status["executionId"], "workflow_completed")]
    assert events.count("workflow_started") == events.count("workflow_completed") == 1
    assert events.count("task_completed") == 41
