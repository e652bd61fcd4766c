"""A runner that is a Deployment of its own, reached at its Service with a key: runs are handed over, steered, not lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests import canaries
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

OUTPUT = {"total": sum(range(20))}
TASKS = 41


@pytest.fixture
def execution(operator: Operator, namespace: Namespace, case: Path) -> Execution:
    """Of a runner that is ready."""
    text = (case / "runner.yaml").read_text()
    for word, value in (("IMAGE", operator.image), ("KEY", canaries.STIGMER_KEY), ("NAMESPACE", namespace.name)):
        text = text.replace(f"@{word}@", value)
    namespace.apply(text)
    namespace.kubectl("rollout", "status", "deployment/elsewhere", "--timeout=90s", timeout=100)
    wait_condition(namespace, "Ready", "True")
    return namespace.execution("at-endpoint")


def wait_condition(namespace: Namespace, kind: str, status: str, seconds: float = 90.0) -> Json:
    """The runner's status, once this condition is so."""

    def holds(runner: Json) -> bool:
        conditions = (runner.get("status") or {}).get("conditions", [])
        return any((item["type"], item["status"]) == (kind, status) for item in conditions)

    found = namespace.wait("wfr", "default", holds, f"{kind} is {status}", seconds)
    result: Json = found["status"]
    return result


def scale(namespace: Namespace, replicas: int) -> None:
    namespace.kubectl("scale", "deployment/elsewhere", f"--replicas={replicas}")
    pods = "-l", "app=elsewhere"
    wait_for(lambda: namespace.list("pods", *pods), lambda found: len(found) == replicas, what=f"{replicas} replicas")


def test_a_run_is_handed_over_steered_and_survives_the_operator(execution: Execution, operator: Operator, case: Path) -> None:
    namespace = execution.namespace
    status = wait_condition(namespace, "Reachable", "True")
    assert status["mode"] == "Endpoint"
    assert any(item.endswith("WorkflowExecutionService/PauseExecution") for item in status["capabilities"])
    namespace.start(case / "execution.yaml")
    execution.wait_tasks(2)
    execution.patch(paused=True)
    assert execution.wait_phase("Paused")["control"]["result"] == "Applied"
    execution.patch(paused=False)
    execution.wait_phase("Running")
    operator.kill()
    status = execution.wait_phase("Completed", seconds=120)
    assert (status["output"], status["taskCounts"]["completed"]) == (OUTPUT, TASKS)
    assert (status["runner"]["mode"], status["runner"]["type"], status["attempt"]) == ("Endpoint", "temporal", 1)
    assert execution.jobs() == []
    assert execution.pods() == []


def test_cancel_and_deletion_end_the_run_there(execution: Execution, case: Path) -> None:
    execution.namespace.start(case / "execution.yaml")
    execution.wait_tasks(1)
    execution.patch(cancelled=True)
    assert execution.wait_phase("Cancelled")["control"]["result"] == "Applied"
    other = execution.namespace.start(case / "execution.yaml", "deleted")
    other.wait_tasks(1)
    execution.namespace.kubectl("delete", "wfe", "deleted", "--wait=false")
    execution.namespace.wait_gone("wfe", "deleted")


def test_a_runner_that_is_away_is_waited_for(execution: Execution, case: Path) -> None:
    namespace = execution.namespace
    scale(namespace, 0)
    wait_condition(namespace, "Reachable", "False")
    namespace.start(case / "execution.yaml")
    execution.wait_condition("Completed", "False", "EndpointUnreachable")
    assert execution.status["phase"] == "Pending"
    scale(namespace, 1)
    assert execution.wait_phase("Completed", seconds=120)["output"] == OUTPUT
    wait_condition(namespace, "Reachable", "True")


def test_a_runner_that_has_forgotten_the_run_fails_it_or_gets_it_again(execution: Execution, case: Path) -> None:
    namespace = execution.namespace
    again = namespace.start(case / "execution.yaml", "again", retries=1)
    namespace.start(case / "execution.yaml")
    execution.wait_tasks(2)
    again.wait_tasks(2)
    namespace.kubectl("delete", "pod", "-l", "app=elsewhere", "--grace-period=0", "--force", "--wait=false")
    assert execution.wait_phase("Failed", seconds=120)["error"]["code"] == "run.forgotten"
    status = again.wait_phase("Completed", seconds=120)
    assert (status["attempt"], status["launches"], status["failures"]) == (2, 2, 1)
    assert (status["output"], status["taskCounts"]["completed"]) == (OUTPUT, TASKS)


def test_a_wrong_key_is_told_of(execution: Execution, case: Path) -> None:
    namespace = execution.namespace
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "another"}, "stringData": {"operator": "not-the-key"}}
    namespace.apply(secret)
    namespace.patch("wfr", "default", {"apiKeySecretRef": {"name": "another", "key": "operator"}})
    wait_condition(namespace, "Ready", "False")
    namespace.start(case / "execution.yaml")
    execution.wait_condition("Completed", "False", "EndpointRefusesKey")


REFUSED: list[tuple[Json, str]] = [
    ({"endpoint": "grpc://a:1", "launch": {"mode": "Job"}}, "remove endpoint or launch"),
    ({"type": "prefect"}, "only types embedded and temporal can be launched"),
    ({"endpoint": "http://a:1"}, "endpoint is grpc://HOST:PORT"),
    ({"endpoint": "grpc://a"}, "endpoint is grpc://HOST:PORT"),
    ({"endpoint": "grpc://a:1", "tls": {"caSecretRef": {"name": "a", "key": "b"}}}, "tls has no meaning for grpc://"),
    ({"apiKeySecretRef": {"name": "a", "key": "b"}}, "there is none"),
    ({"endpoint": "grpc://a:1", "snapshots": {"persistentVolumeClaim": {"claimName": "a"}}}, "snapshots are those of launched"),
    ({"endpoint": "grpcs://a:1", "tls": {"caBundle": "x"}}, "PEM form"),
]


def test_runners_that_contradict_themselves_are_refused_and_the_specifications_example_is_not(
    operator: Operator, namespace: Namespace
) -> None:
    base: Json = {"apiVersion": "workflowrunner.stigmer.ai/v1", "kind": "WorkflowRunner", "metadata": {"name": "a"}}
    for spec, why in REFUSED:
        assert why in namespace.refusal({**base, "spec": spec}), spec
    endpoint = "grpc://temporal-runner.svc.cluster.local:9090"
    namespace.apply({**base, "spec": {"type": "temporal", "endpoint": endpoint}})
    namespace.apply({**base, "spec": {"type": "other", "endpoint": "grpcs://[fd00::1]:9090"}})
