"""Deleting the resource cancels its run first, and leaves nothing."""

from __future__ import annotations

from tests.e2e.harness.kube import Execution
from tests.e2e.harness.stigmer import Stigmer
from tests.e2e.harness.waiting import wait_for


def test_the_run_is_cancelled_then_everything_goes(stigmer: Stigmer, applied: Execution) -> None:
    status = applied.wait_phase("Running")
    applied.namespace.kubectl("delete", "wfe", applied.name, "--wait=false")
    wait_for(lambda: applied.resource, lambda resource: not resource, what="the resource is gone", seconds=45)
    events = stigmer.wait_for(status["executionId"], "workflow_cancelled")
    assert events[-1]["eventType"] == "workflow_cancelled"
    wait_for(applied.jobs, lambda jobs: not jobs, what="the Job is gone")
    wait_for(applied.pods, lambda pods: not pods, what="the pod is gone")
