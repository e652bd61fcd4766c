"""Metrics, health and logs of the operator as it runs in a cluster."""

from __future__ import annotations

import json
import re
from datetime import datetime

from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.harness import evidence
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.operator import NAMESPACE, RELEASE, Operator
from tests.e2e.harness.waiting import wait_for


def samples(namespace: Namespace) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = evidence.scrape(namespace.cluster, NAMESPACE, RELEASE)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_run_is_seen_in_the_metrics(applied: Execution, operator: Operator) -> None:
    applied.wait_phase("Completed")
    labels = (("phase", "Completed"), ("runner", f"{NAMESPACE}/default"))
    found = wait_for(
        lambda: samples(applied.namespace),
        lambda found: found.get(("workflow_runner_executions_ended_total", labels), 0) >= 1,
        what="the end is counted",
    )
    assert found[("workflow_runner_executions", labels)] >= 1
    assert found[("workflow_runner_execution_duration_seconds_count", labels)] >= 1
    runner = (labels[1],)
    assert found[("workflow_runner_execution_queue_seconds_count", runner)] >= 1
    assert found[("workflow_runner_execution_start_seconds_count", runner)] >= 1
    assert found[("workflow_runner_sink_events_total", (("type", "workflow_completed"),))] >= 1
    calls = {labels: value for (name, labels), value in found.items() if name == "workflow_runner_api_requests_total"}
    assert any(("resource", "workflowexecutions/status") in labels and ("code", "200") in labels for labels in calls)


def test_the_operator_says_that_it_is_well(operator: Operator) -> None:
    [pod] = operator.pods()
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}:3000/proxy/health"
    answer = json.loads(operator.namespace.kubectl("get", "--raw", path))
    assert (answer["status"], answer["problems"]) == ("ok", {})


def test_every_line_of_the_logs_is_an_event(applied: Execution, operator: Operator) -> None:
    applied.wait_phase("Completed")
    # The pod's word is here before its node's: until then the API server knows of no log.
    [pod] = wait_for(applied.pods, lambda pods: pods[0]["status"].get("phase") == "Succeeded", what="the pod has ended")
    lines = operator.logs(-1).splitlines()
    lines += applied.namespace.kubectl("logs", pod["metadata"]["name"]).splitlines()
    assert lines
    for line in lines:
        found = json.loads(line)
        assert found["level"] in ("trace", "debug", "info", "warn", "error")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["time"])
        assert datetime.fromisoformat(found["time"])
        assert found["event"]
        assert found["logger"]
