"""Runs that fail with secrets in their hands tell none of them; what a cluster shows is looked through when the session
ends (tests/e2e/conftest.py), and here at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests import canaries
from tests.e2e.harness import evidence
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import NAMESPACE, Operator
from tests.e2e.harness.stigmer import Stigmer

ADDRESSES = {
    "password-in-url": f"http://user:{canaries.URL_PASSWORD}@127.0.0.1:9/x",
    "secret-in-path": '${ "http://127.0.0.1:9/" + $secrets.token }',
    "secret-in-an-error": "${ $secrets.token + 1 }",
}


@pytest.mark.parametrize("which", ADDRESSES)
def test_a_failing_call_tells_nobody_its_secrets(
    namespace: Namespace, operator: Operator, stigmer: Stigmer, case: Path, which: str
) -> None:
    data = {"token": canaries.WORKFLOW_SECRET, "variable": canaries.ENV_SECRET}
    namespace.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wf-canary"}, "stringData": data})
    stigmer.lend_key(namespace)
    allow = {"secrets": ["wf-*"]}
    runner = {"apiVersion": "workflowrunner.stigmer.ai/v1", "kind": "WorkflowRunner", "metadata": {"name": "default"}}
    namespace.apply({**runner, "spec": {"stigmer": stigmer.spec, "allow": allow}})
    manifest = (case / "execution.yaml").read_text().replace("ADDRESS", json.dumps(ADDRESSES[which]))
    namespace.apply(manifest)
    execution = namespace.execution("canaries")
    status = execution.wait_phase("Failed")
    assert status["error"]["instance"].startswith("/do/0/call")
    told = stigmer.wait_for(status["executionId"], "workflow_failed")
    assert canaries.found_in(json.dumps(told)) == []
    evidence.keep_namespace(namespace.cluster, namespace.name)
    evidence.keep("log of the operator: now", operator.logs(-1))
    evidence.keep("metrics: now", evidence.scrape(namespace.cluster, NAMESPACE, "workflow-runner"))
    seen, leaks = evidence.verdict()
    assert leaks == []
    assert {"WorkflowExecution", "Job", "Pod", "Event", "log of a pod", "log of the operator", "metrics"} <= seen
