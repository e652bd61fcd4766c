"""With a volume for its checkpoints a run outlives its pod, and gives the machine back while it is paused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.cluster import Cluster
from tests.e2e.harness import http_server, node
from tests.e2e.harness.http_server import HttpServer
from tests.e2e.harness.kube import Execution, Namespace, manifest_of
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.stigmer import Stigmer
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

PASSES = list(range(12))
TASKS = 3 * len(PASSES) + 1
HELD = "/4"
"""The call in whose middle every run stands until the case lets it go on."""


@pytest.fixture
def server(cluster: Cluster) -> Iterator[HttpServer]:
    with http_server.running(cluster) as server:
        server.hold(HELD)
        yield server


@pytest.fixture
def claim(cluster: Cluster, namespace: Namespace, case: Path) -> Iterator[str]:
    """The name of a claim in the namespace, with a volume that is a folder of the node."""
    [machine] = namespace.list("nodes", "-l", "node-role.kubernetes.io/control-plane")
    claim = manifest_of(case / "claim.yaml")  # names no volume: that the volume names the claim binds them soonest
    with node.folder(cluster) as path:
        namespace.apply(_volume(namespace, claim["metadata"]["name"], path, machine))
        try:
            # A claim that comes before its volume is known waits for a while.
            cluster.kubectl("wait", f"pv/{namespace.name}", "--for=jsonpath={.status.phase}=Available", "--timeout=30s")
            namespace.apply(claim)
            yield claim["metadata"]["name"]
        finally:
            cluster.kubectl("delete", "persistentvolume", namespace.name, "--wait=false")


@pytest.fixture
def mode() -> str:
    """How the runner launches."""
    return "Job"


@pytest.fixture
def execution(stigmer: Stigmer, namespace: Namespace, claim: str, server: HttpServer, case: Path, mode: str) -> Execution:
    """A run at work, under a runner with snapshots."""
    stigmer.lend_key(namespace)
    snapshots = {"persistentVolumeClaim": {"claimName": claim}}
    namespace.apply(
        {
            "apiVersion": "workflowrunner.stigmer.ai/v1",
            "kind": "WorkflowRunner",
            "metadata": {"name": "default"},
            "spec": {"stigmer": stigmer.spec, "launch": {"mode": mode}, "snapshots": snapshots},
        }
    )
    return namespace.start(case / "execution.yaml", input={"server": server.address})


def test_a_killed_pod_goes_on_at_its_last_checkpoint(
    cluster: Cluster, stigmer: Stigmer, execution: Execution, server: HttpServer
) -> None:
    server.wait_asked(HELD)
    first = execution.running_pod()
    node.signal_pod(cluster, first, "KILL")
    server.wait_asked(HELD, times=2)
    server.release()
    status = execution.wait_phase("Completed", seconds=90)
    assert status["podName"] != first["metadata"]["name"]
    assert (status["output"]["total"], status["taskCounts"]["completed"]) == (sum(PASSES), TASKS)
    numbers = [int(path.removeprefix("/")) for path in server.asked]
    assert numbers == [*range(5), 4, *range(5, len(PASSES))], "the call that was under way is made again, and no other"
    assert (status["attempt"], status["launches"]) == (1, 1)
    events = stigmer.told(status["executionId"], "workflow_completed")
    assert [event["eventType"] for event in events].count("workflow_started") == 1


@pytest.mark.parametrize(
    ("mode", "operator_is"),
    [("Job", "there-all-the-time"), ("Job", "killed-meanwhile"), ("Pod", "there-all-the-time")],
)
def test_a_paused_run_gives_its_machine_back(
    stigmer: Stigmer, operator: Operator, execution: Execution, server: HttpServer, mode: str, operator_is: str
) -> None:
    _suspended(execution, server)
    if mode == "Job":
        assert [job["spec"]["suspend"] for job in execution.jobs()] == [True]
    asked = list(server.asked)
    runner = execution.namespace.wait(
        "wfr", "default", lambda found: found["status"]["activeExecutions"] == 0, "a suspended run takes no place"
    )
    assert runner["status"]["queuedExecutions"] == 0
    if operator_is == "killed-meanwhile":
        operator.kill()
        operator.wait_ready()
    assert execution.status["phase"] == "Paused"
    assert (server.asked, execution.pods()) == (asked, [])

    execution.patch(paused=False)
    status = execution.wait_phase("Completed")
    assert (status["output"]["total"], status["taskCounts"]["completed"]) == (sum(PASSES), TASKS)
    assert [int(path.removeprefix("/")) for path in server.asked] == PASSES, "no call is made twice"
    assert (status["attempt"], status["launches"]) == (1, 1 if mode == "Job" else 2)
    assert "suspended" not in status
    assert "failures" not in status
    events = [event["eventType"] for event in stigmer.told(status["executionId"], "workflow_completed")]
    steps = [kind for kind in events if kind.startswith("workflow_")]
    assert [steps.count(kind) for kind in ("workflow_started", "workflow_paused", "workflow_resumed")] == [1, 1, 1]
    assert steps[-1] == "workflow_completed"


def test_a_suspended_run_can_be_cancelled(stigmer: Stigmer, execution: Execution, server: HttpServer) -> None:
    _suspended(execution, server)
    execution.patch(cancelled=True)
    status = execution.wait_phase("Cancelled")
    wait_for(execution.jobs, lambda jobs: not jobs, what="the Job is gone")
    assert stigmer.told(status["executionId"], "workflow_cancelled")[-1]["eventType"] == "workflow_cancelled"
    assert execution.pods() == []


def _suspended(execution: Execution, server: HttpServer) -> None:
    """Pauses the run in its middle; returns when it has no pod."""
    server.wait_asked(HELD)
    execution.patch(paused=True)
    execution.wait(lambda status: (status.get("control") or {}).get("result") == "Accepted", "the pod has seen the pause")
    server.release()
    execution.wait_phase("Paused")
    execution.wait(lambda status: status.get("suspended"), "it is suspended")
    wait_for(execution.pods, lambda pods: not pods, what="the pod is gone")


def _volume(namespace: Namespace, claim: str, path: str, machine: Json) -> Json:
    host = machine["metadata"]["labels"]["kubernetes.io/hostname"]
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}]}]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": namespace.name},
        "spec": {
            "capacity": {"storage": "64Mi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": namespace.name, "name": claim},
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        },
    }
