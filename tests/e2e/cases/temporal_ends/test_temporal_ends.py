"""However a run that is in Temporal is ended, no workflow of it stays open there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.cluster import Cluster
from tests.e2e.harness import http_server, node
from tests.e2e.harness.http_server import HttpServer
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.temporal import RUNNING, Temporal
from tests.e2e.harness.waiting import wait_for

HELD = "/4"
TERMINATION = "app.kubernetes.io/name=workflow-termination"


@pytest.fixture
def server(cluster: Cluster) -> Iterator[HttpServer]:
    with http_server.running(cluster) as server:
        server.hold(HELD)
        yield server


@pytest.fixture(params=["Job", "Pod"])
def execution(
    temporal: Temporal, namespace: Namespace, server: HttpServer, case: Path, request: pytest.FixtureRequest
) -> Execution:
    """A run in the middle of a call."""
    namespace.apply(temporal.runner(request.param))
    execution = namespace.start(case / "execution.yaml", input={"server": server.address})
    server.wait_asked(HELD)
    execution.wait_phase("Running")
    return execution


def test_a_cancel(temporal: Temporal, execution: Execution) -> None:
    execution.patch(cancelled=True)
    status = execution.wait_phase("Cancelled")
    assert temporal.wait_closed(status["temporalWorkflowId"]) != RUNNING
    assert execution.namespace.list("jobs", "-l", TERMINATION) == [], "its pod has done it"


def test_a_cancel_by_force(temporal: Temporal, execution: Execution) -> None:
    execution.patch(cancelled=True, cancellation={"mode": "Force", "reason": "enough"})
    status = execution.wait_phase("Cancelled")
    temporal.wait_closed(status["temporalWorkflowId"])
    execution.wait(lambda now: "termination" not in now, "nothing is left to be ended")
    wait_for(lambda: execution.resource["metadata"].get("finalizers"), lambda held: not held, what="it is held no more")
    assert "WorkflowLeftOpen" not in execution.events()


def test_a_deletion(temporal: Temporal, execution: Execution) -> None:
    workflow = execution.status["temporalWorkflowId"]
    execution.delete()
    execution.namespace.wait_gone("wfe", execution.name)
    temporal.wait_closed(workflow)


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_a_deletion_whose_pod_does_not_answer(cluster: Cluster, temporal: Temporal, execution: Execution, cascade: str) -> None:
    workflow = execution.status["temporalWorkflowId"]
    node.signal_pod(cluster, execution.running_pod(), "STOP")
    execution.namespace.kubectl("delete", "wfe", execution.name, "--wait=false", f"--cascade={cascade}")
    execution.namespace.wait_gone("wfe", execution.name, seconds=120)
    assert temporal.status(workflow) != RUNNING, "the resource has waited for it"


def test_a_deletion_while_temporal_is_not_there_ends_in_time(temporal: Temporal, execution: Execution) -> None:
    workflow = execution.status["temporalWorkflowId"]
    temporal.stop()
    try:
        execution.delete()
        execution.namespace.wait_gone("wfe", execution.name, seconds=150)
        found = execution.namespace.list("events", "--field-selector", f"involvedObject.name={execution.name}")
        [told] = [event for event in found if event["reason"] == "WorkflowLeftOpen"]
        assert workflow in told["message"]
    finally:
        temporal.start()
