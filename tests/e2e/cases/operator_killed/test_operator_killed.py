"""An operator killed at any moment picks up where things are: nothing is lost, nothing is run twice."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.stigmer import Stigmer

OUTPUT = {"total": sum(range(20))}


def _no_job_may_be_made(namespace: Namespace) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    }
    namespace.apply(quota)
    namespace.kubectl("wait", "quota/none", "--for=jsonpath={.status.hard}", "--timeout=30s")


def test_killed_between_the_pin_and_the_launch(stigmer: Stigmer, operator: Operator, namespace: Namespace, case: Path) -> None:
    _no_job_may_be_made(namespace)
    namespace.apply(case / "execution.yaml")
    execution = namespace.execution("operator-killed")
    pinned = execution.wait(lambda status: status.get("jobName"), "the run is pinned")
    execution.wait(lambda status: "exceeded quota" in json.dumps(status["conditions"]), "the quota is told")
    operator.kill()
    namespace.kubectl("delete", "quota", "none")
    operator.wait_ready()
    status = execution.wait_phase("Completed")
    assert status["output"] == OUTPUT
    assert (status["jobName"], status["executionId"]) == (pinned["jobName"], pinned["executionId"])
    assert len(execution.pods()) == 1


def test_killed_mid_run(stigmer: Stigmer, operator: Operator, applied: Execution) -> None:
    applied.wait(lambda status: (status.get("taskCounts") or {}).get("completed", 0) >= 3, "three tasks are done")
    operator.kill()
    status = applied.wait_phase("Completed")
    assert status["output"] == OUTPUT
    assert status["taskCounts"]["completed"] == 41
    assert len(applied.pods()) == 1
    events = stigmer.wait_for(status["executionId"], "workflow_completed")
    numbers = [int(event["sequenceNumber"]) for event in events]
    assert sorted(set(numbers)) == list(range(1, max(numbers) + 1)), "every event arrived"
    first_arrivals = list(dict.fromkeys(numbers))
    assert first_arrivals == sorted(first_arrivals), "in order"
    by_number: dict[str, str] = {}
    for event in events:
        assert by_number.setdefault(event["sequenceNumber"], event["eventType"]) == event["eventType"], (
            "a repeat is the same event"
        )
    operator.wait_ready()


def test_gone_while_the_pod_ended(stigmer: Stigmer, operator: Operator, applied: Execution) -> None:
    applied.wait(lambda status: (status.get("taskCounts") or {}).get("completed", 0) >= 3, "three tasks are done")
    operator.stop()
    try:
        applied.namespace.kubectl(
            "wait",
            "job",
            "-l",
            f"workflowrunner.stigmer.ai/execution={applied.name}",
            "--for=condition=Complete",
            "--timeout=90s",
            timeout=100,
        )
        assert applied.status["phase"] == "Running"
    finally:
        operator.start()
    status = applied.wait_phase("Completed")
    assert status["output"] == OUTPUT
    assert "OutputLost" not in {item["type"] for item in status["conditions"]}
    events = stigmer.wait_for(status["executionId"], "workflow_completed")
    assert events[0]["eventType"] == "workflow_started"
    numbers = list(dict.fromkeys(int(event["sequenceNumber"]) for event in events))
    assert numbers == sorted(numbers)
    # Stigmer drops what repeats a number: the end must not have one that it knows for something else.
    ends = [event["sequenceNumber"] for event in events if event["eventType"] == "workflow_completed"]
    others = [event["sequenceNumber"] for event in events if event["eventType"] != "workflow_completed"]
    assert not set(ends) & set(others)
