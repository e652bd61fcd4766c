"""A paused run that is in Temporal needs no machine: its pod goes, and another one goes on with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.cluster import Cluster
from tests.e2e.harness import http_server
from tests.e2e.harness.http_server import HttpServer
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.stigmer import Stigmer
from tests.e2e.harness.temporal import RUNNING, Temporal
from tests.e2e.harness.waiting import wait_for

PASSES = list(range(12))
TASKS = 3 * len(PASSES) + 1
HELD = "/4"
"""The call in whose middle every run stands until the case lets it go on."""


@pytest.fixture
def server(cluster: Cluster) -> Iterator[HttpServer]:
    with http_server.running(cluster) as server:
        server.hold(HELD)
        yield server


@pytest.mark.parametrize(
    ("mode", "operator_is"),
    [("Job", "there-all-the-time"), ("Job", "killed-meanwhile"), ("Pod", "there-all-the-time"), ("Pod", "killed-meanwhile")],
)
def test_it_gives_its_machine_back_and_goes_on(
    stigmer: Stigmer,
    temporal: Temporal,
    operator: Operator,
    namespace: Namespace,
    server: HttpServer,
    case: Path,
    mode: str,
    operator_is: str,
) -> None:
    stigmer.lend_key(namespace)
    namespace.apply(temporal.runner(mode, stigmer=stigmer.spec))
    execution = namespace.start(case / "execution.yaml", input={"server": server.address})
    _suspended(execution, server)
    workflow = execution.status["temporalWorkflowId"]
    if mode == "Job":
        assert [job["spec"]["suspend"] for job in execution.jobs()] == [True]
    asked = list(server.asked)
    namespace.wait("wfr", "default", lambda found: found["status"]["activeExecutions"] == 0, "a suspended run takes no place")
    if operator_is == "killed-meanwhile":
        operator.kill()
        operator.wait_ready()
    assert (execution.status["phase"], temporal.status(workflow)) == ("Paused", RUNNING)
    assert (server.asked, execution.pods()) == (asked, [])

    execution.patch(paused=False)
    status = execution.wait_phase("Completed", seconds=90)
    assert (status["output"]["total"], status["taskCounts"]["completed"]) == (sum(PASSES), TASKS)
    assert [int(path.removeprefix("/")) for path in server.asked] == PASSES, "no call is made twice"
    assert (status["attempt"], status["launches"]) == (1, 1 if mode == "Job" else 2)
    assert {"suspended", "failures", "termination"} & set(status) == set()
    assert temporal.wait_closed(workflow) == "WORKFLOW_EXECUTION_STATUS_COMPLETED"
    events = [event["eventType"] for event in stigmer.told(status["executionId"], "workflow_completed")]
    steps = [kind for kind in events if kind.startswith("workflow_")]
    assert [steps.count(kind) for kind in ("workflow_started", "workflow_paused", "workflow_resumed")] == [1, 1, 1]


@pytest.mark.parametrize("mode", ["Job", "Pod"])
def test_cancelled_while_suspended_it_is_ended_by_its_own_pod(
    temporal: Temporal, namespace: Namespace, server: HttpServer, case: Path, mode: str
) -> None:
    namespace.apply(temporal.runner(mode))
    execution = namespace.start(case / "execution.yaml", input={"server": server.address})
    _suspended(execution, server)
    execution.patch(cancelled=True, cancellation={"reason": "not needed any more", "gracePeriod": "60s"})
    status = execution.wait_phase("Cancelled", seconds=90)
    assert status["control"]["result"] == "Applied"
    assert "termination" not in status, "nobody else had to end it"
    assert temporal.wait_closed(status["temporalWorkflowId"]) != RUNNING
    assert len(server.asked) == 5, "nothing of it has been done since"


def _suspended(execution: Execution, server: HttpServer) -> None:
    """Pauses the run in its middle; returns when it has no pod."""
    server.wait_asked(HELD)
    execution.patch(paused=True)
    execution.wait(lambda status: (status.get("control") or {}).get("result") == "Accepted", "the pod has seen the pause")
    server.release()
    execution.wait_phase("Paused")
    execution.wait(lambda status: status.get("suspended"), "it is suspended")
    wait_for(execution.pods, lambda pods: not pods, what="the pod is gone")
