"""A workflow that Stigmer keeps, with its environment: run in the cluster, told by whole states, its secrets in no object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tests.e2e.harness.stigmer as stigmer_process
from tests import canaries
from tests.e2e.cluster import Cluster
from tests.e2e.harness.fleet import runner
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.stigmer import Stigmer
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

EXECUTION = "wfx-from-stigmer"
SECRET = canaries.WORKFLOW_SECRET
VARIABLES = {"length": "${ .secrets.TOKEN | length }", "region": "${REGION}", "said": "${ .trigger_message }"}
RESOURCES: Json = {
    "workflows": [
        {
            "metadata": {"id": "wf-1"},
            "spec": {
                "document": {"dsl": "1.0.0", "namespace": "shop", "name": "order", "version": "1.0.0"},
                "tasks": [{"name": "tell", "kind": "WORKFLOW_TASK_KIND_SET", "taskConfig": {"variables": VARIABLES}}],
                "envSpec": {"data": {"TOKEN": {"isSecret": True}, "REGION": {"value": "eu"}}},
            },
        }
    ],
    "instances": [{"metadata": {"id": "wfi-1"}, "spec": {"workflowId": "wf-1", "envRefs": [{"slug": "prod"}]}}],
    "environments": [
        {"metadata": {"id": "env-1", "slug": "prod"}, "spec": {"data": {"TOKEN": {"value": SECRET, "isSecret": True}}}}
    ],
    "executions": [{"metadata": {"id": EXECUTION}, "spec": {"workflowInstanceId": "wfi-1", "triggerMessage": "hello"}}],
}


@pytest.fixture
def stigmer(cluster: Cluster, operator: Operator, namespace: Namespace, tmp_path: Path) -> Iterator[Stigmer]:
    """One that has the workflow, and a runner that tells it states."""
    with stigmer_process.serving(cluster, tmp_path, RESOURCES) as stigmer:
        stigmer.lend_key(namespace)
        namespace.apply(runner("states", stigmer={**stigmer.spec, "api": "status"}, allow={"stigmer": True}))
        namespace.apply(runner("closed", stigmer={**stigmer.spec, "api": "status"}))
        yield stigmer


def test_it_runs_with_its_environment_and_stigmer_has_the_last_word_of_it(
    stigmer: Stigmer, namespace: Namespace, case: Path
) -> None:
    execution = namespace.start(case / "execution.yaml")
    status = execution.wait_phase("Completed")
    assert status["output"] == {"length": len(SECRET), "region": "eu", "said": "hello"}
    assert status["workflow"] == "shop/order:1.0.0"
    last = wait_for(
        lambda: stigmer.states(EXECUTION),
        lambda states: any("completedAt" in state for state in states),
        what="Stigmer hears of the end",
    )[-1]
    assert (last["phase"], last["output"]) == ("EXECUTION_COMPLETED", status["output"])
    assert [(task["taskName"], task["taskType"]) for task in last["tasks"]] == [("tell", "WORKFLOW_TASK_TRANSFORM")]
    everything = json.dumps([execution.pods(), execution.jobs(), execution.resource])
    assert canaries.found_in(everything) == []


def test_a_runner_that_does_not_allow_it_does_not_even_ask(stigmer: Stigmer, namespace: Namespace, case: Path) -> None:
    execution = namespace.start(case / "execution.yaml", "closed", runnerRef={"name": "closed"})
    stalled = execution.wait_condition("Stalled", "True", "NotAllowed")
    assert "spec.allow.stigmer" in stalled["message"]
    assert execution.jobs() == []
