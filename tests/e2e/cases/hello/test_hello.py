"""From `kubectl apply` to Completed, and what a user sees on the way."""

from __future__ import annotations

from tests.e2e.cluster import Cluster
from tests.e2e.harness.kube import Execution
from tests.e2e.harness.waiting import wait_for


def test_a_workflow_is_applied_and_completes_with_its_output(applied: Execution) -> None:
    applied.namespace.kubectl("wait", "wfe/hello", "--for=condition=Completed", "--timeout=60s", timeout=70)
    status = applied.status
    assert status["phase"] == "Completed"
    assert status["output"] == {"message": "Hello, Ada!", "big": 9007199254740993, "nothing": None}
    assert status["progress"] == 100
    assert status["workflow"] == "e2e/hello:0.1.0"
    assert status["taskCounts"]["completed"] == 1
    assert [(task["name"], task["reference"], task["status"]) for task in status["tasks"]] == [
        ("greet", "/do/0/greet", "Completed")
    ]
    assert {item["type"]: item["status"] for item in status["conditions"]} == {
        "Accepted": "True",
        "Completed": "True",
        "Reconciling": "False",
        "Stalled": "False",
    }
    assert applied.events()[-1] == "Completed"


def test_its_pod_has_no_rights_and_no_way_to_get_any(applied: Execution) -> None:
    applied.wait_phase("Completed")
    [pod] = applied.pods()
    spec = pod["spec"]
    [container] = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == [
        "/etc/workflow-runner",
        "/tmp",
    ]


def test_the_list_tells_the_story(applied: Execution) -> None:
    applied.wait_phase("Completed")
    header, line = applied.namespace.kubectl("get", "wfe").splitlines()
    assert header.split() == ["NAME", "WORKFLOW", "PHASE", "PROGRESS", "MESSAGE", "AGE"]
    assert line.split()[:4] == ["hello", "e2e/hello:0.1.0", "Completed", "100"]


def test_explain_reads_well(cluster: Cluster, applied: Execution) -> None:
    text = cluster.kubectl("explain", "wfe.spec.workflow")
    assert "What to run: the document, in exactly one of these ways." in text
    assert "The document as YAML text." in text
    assert "<no description>" not in cluster.kubectl("explain", "wfe", "--recursive")
    applied.wait_phase("Completed")


def test_it_costs_the_api_server_few_writes(cluster: Cluster, applied: Execution) -> None:
    applied.wait_phase("Completed")
    wait_for(lambda: applied.resource["metadata"].get("finalizers"), lambda found: not found, what="the finalizer is off")
    if cluster.engine is None:
        return  # somebody's own cluster, whose audit log is not ours to read
    operator = "system:serviceaccount:workflow-runner:workflow-runner"
    calls = [event for event in cluster.audit_log() if event["user"].get("username") == operator and event.get("objectRef")]
    ours = [event for event in calls if event["objectRef"].get("namespace") == applied.namespace.name]
    writes = [
        f"{event['verb']} {event['objectRef']['resource']}" for event in ours if event["verb"] not in ("get", "list", "watch")
    ]
    assert "create jobs" in writes
    # A TokenReview, which names no namespace, comes on top.
    assert len(writes) <= 7, writes
