"""A run whose state is in Temporal ends as any other, in a Job and in a bare pod, and its workflow there is closed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.stigmer import Stigmer
from tests.e2e.harness.temporal import Temporal

OUTPUT = {"message": "Hello Ada", "total": 3}


@pytest.mark.parametrize("mode", ["Job", "Pod"])
def test_it_runs(stigmer: Stigmer, temporal: Temporal, namespace: Namespace, case: Path, mode: str) -> None:
    stigmer.lend_key(namespace)
    namespace.apply(temporal.runner(mode, stigmer=stigmer.spec))
    execution = namespace.start(case / "execution.yaml")
    status = execution.wait_phase("Completed")
    assert status["output"] == OUTPUT
    assert (status["attempt"], status["launches"], status["progress"]) == (1, 1, 100)
    workflow = status["temporalWorkflowId"]
    assert workflow == f"stigmer/workflow-execution/run/{status['executionId']}"
    assert temporal.wait_closed(workflow) == "WORKFLOW_EXECUTION_STATUS_COMPLETED"
    assert status["runner"]["temporal"]["address"] == temporal.address
    assert (mode == "Job") == ("jobName" in status)
    events = [event["eventType"] for event in stigmer.told(status["executionId"], "workflow_completed")]
    assert (events[0], events[-1]) == ("workflow_started", "workflow_completed")
    assert [events.count(kind) for kind in ("workflow_started", "workflow_completed")] == [1, 1]
    assert "termination" not in status, "its pod has told its end"


def test_a_fault_is_told_as_ever(temporal: Temporal, namespace: Namespace, case: Path) -> None:
    namespace.apply(temporal.runner())
    document = {"dsl": "1.0.0", "namespace": "e2e", "name": "fails", "version": "0.1.0"}
    error = {"type": "https://example.com/errors/broken", "status": 418, "title": "It broke"}
    definition = {"document": document, "do": [{"fail": {"raise": {"error": error}}}]}
    status = namespace.start(case / "execution.yaml", workflow={"definition": definition}).wait_phase("Failed")
    assert (status["error"]["status"], status["error"]["instance"]) == (418, "/do/0/fail")
    assert temporal.wait_closed(status["temporalWorkflowId"]) == "WORKFLOW_EXECUTION_STATUS_FAILED"
