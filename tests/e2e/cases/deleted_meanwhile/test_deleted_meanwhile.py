"""What a run depends on is deleted while it is live, or the run itself while it is stuck: it always ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.cluster import Cluster
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import STIGMER_SECRET, Operator
from tests.e2e.harness.stigmer import Stigmer
from tests.e2e.harness.waiting import wait_for

OUTPUT = {"total": sum(range(40))}
STUCK = "e2e.example.com/stuck"


@pytest.fixture
def with_runner(stigmer: Stigmer, namespace: Namespace) -> Namespace:
    """A namespace with a runner of its own that reports to Stigmer."""
    stigmer.lend_key(namespace)
    _runner(namespace, stigmer=stigmer.spec)
    return namespace


def test_the_runner(stigmer: Stigmer, with_runner: Namespace, case: Path) -> None:
    execution = with_runner.start(case / "execution.yaml")
    execution.wait_tasks(2)
    with_runner.kubectl("delete", "wfr", "default")
    status = execution.wait_phase("Completed")
    assert (status["output"], status["runner"]["namespace"]) == (OUTPUT, with_runner.name)
    stigmer.told(status["executionId"], "workflow_completed")


def test_the_secret_of_stigmer(stigmer: Stigmer, operator: Operator, with_runner: Namespace, case: Path) -> None:
    execution = with_runner.start(case / "execution.yaml")
    execution.wait_tasks(2)
    execution.patch(paused=True)
    execution.wait_phase("Paused")
    with_runner.kubectl("delete", "secret", STIGMER_SECRET)
    operator.kill()  # the key is in its memory
    execution.patch(paused=False)
    status = execution.wait_phase("Completed")
    assert status["output"] == OUTPUT
    told = execution.wait(lambda status: status["callback"].get("lastError"), "why Stigmer does not hear of it")
    assert "or the Secret that spec.stigmer names" in told["callback"]["lastError"]
    operator.wait_ready()


def test_the_config_map_of_the_document(namespace: Namespace, case: Path) -> None:
    namespace.apply(case / "document.yaml")
    workflow = {"configMapKeyRef": {"name": "document", "key": "workflow.yaml"}}
    execution = namespace.start(case / "execution.yaml", workflow=workflow)
    execution.wait_phase("Running")
    namespace.kubectl("delete", "configmap", "document")
    status = execution.wait_phase("Completed")
    assert status["output"] == {"done": True}
    assert execution.condition("Accepted")["status"] == "True"


def test_the_namespace(cluster: Cluster, operator: Operator, new_namespace: Callable[[], Namespace], case: Path) -> None:
    namespace, other = new_namespace(), new_namespace()
    for name in ("one", "two"):
        namespace.start(case / "long.yaml", name)
    for name in ("one", "two"):
        namespace.execution(name).wait_phase("Running")
    cluster.kubectl("delete", "namespace", namespace.name, "--wait=false")
    wait_for(
        lambda: cluster.kubectl("get", "namespace", namespace.name, "--ignore-not-found").strip(),
        lambda found: not found,
        what="the namespace is gone",
        seconds=90,
    )
    # What the operator still says of it, it says while another run comes and goes.
    said = _lines(operator, namespace.name)
    other.start(case / "execution.yaml").wait_phase("Completed")
    assert _lines(operator, namespace.name) == said
    complaints = [line for line in said if '"error"' in line or '"warning"' in line]
    assert len(complaints) <= 5, complaints


def test_the_execution_while_its_pod_has_no_node(namespace: Namespace, case: Path) -> None:
    _runner(namespace, launch={"template": {"spec": {"nodeSelector": {"e2e.example.com/none": "here"}}}})
    execution = namespace.start(case / "long.yaml")
    execution.wait_condition("Completed", "False", "Unschedulable")
    execution.delete()
    namespace.wait_gone("wfe", execution.name)
    wait_for(lambda: (execution.jobs(), execution.pods()), lambda found: found == ([], []), what="Job and pod are gone")


def test_the_execution_while_its_job_cannot_go(namespace: Namespace, case: Path) -> None:
    execution = namespace.start(case / "long.yaml")
    job = execution.wait_phase("Running")["jobName"]
    finalizers = '{"metadata":{"finalizers":%s}}'
    namespace.kubectl("patch", "job", job, "--type=merge", "-p", finalizers % f'["{STUCK}"]')
    try:
        execution.delete()
        namespace.wait_gone("wfe", execution.name)
        assert "deletionTimestamp" in namespace.get("job", job)["metadata"]
    finally:
        namespace.kubectl("patch", "job", job, "--type=merge", "-p", finalizers % "null")
    namespace.wait_gone("job", job)
    wait_for(execution.pods, lambda pods: not pods, what="the pod is gone")


def _runner(namespace: Namespace, **spec: object) -> None:
    resource = {"apiVersion": "workflowrunner.stigmer.ai/v1", "kind": "WorkflowRunner", "metadata": {"name": "default"}}
    namespace.apply({**resource, "spec": spec})


def _lines(operator: Operator, text: str) -> list[str]:
    return [line for line in operator.logs(tail=20_000).splitlines() if text in line]
