"""An operator without rights over the cluster: it sees its namespaces, and its pods' tokens, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.cluster import Cluster, CommandFailed, tool
from tests.e2e.cluster.cache import REPOSITORY
from tests.e2e.cluster.shell import run
from tests.e2e.harness import evidence
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.waiting import wait_for

RELEASE = "scoped-workflow-runner"


@pytest.fixture
def places(
    cluster: Cluster, operator: Operator, new_namespace: Callable[[], Namespace]
) -> Iterator[tuple[Namespace, Namespace, Namespace]]:
    """The namespaces of a second operator, of its executions, and one that it does not watch; the first one rests."""
    home, watched, other = new_namespace(), new_namespace(), new_namespace()
    repository, _, tag = operator.image.rpartition(":")
    values = {"image": {"repository": repository, "tag": tag}, "watchNamespaces": [watched.name], "logLevel": "debug"}
    helm: list[str | Path] = [tool("helm"), "--kubeconfig", cluster.kubeconfig, "--namespace", home.name]
    strict = "pod-security.kubernetes.io/enforce=restricted"
    cluster.kubectl("label", "namespace", home.name, watched.name, strict)
    operator.stop()
    try:
        chart = REPOSITORY / "charts" / "workflow-runner"
        run([*helm, "install", RELEASE, chart, "--skip-crds", "--values", "-"], stdin=json.dumps(values), timeout=120)
        home.kubectl("rollout", "status", f"deployment/{RELEASE}", "--timeout=90s", timeout=100)
        yield home, watched, other
    finally:
        evidence.keep_operator(cluster, home.name, RELEASE)
        run([*helm, "uninstall", RELEASE, "--wait"], timeout=120)
        operator.start()


def test_it_carries_out_what_is_in_its_namespaces(places: tuple[Namespace, Namespace, Namespace], case: Path) -> None:
    home, watched, other = places
    for namespace in (watched, other):
        namespace.apply(case / "execution.yaml")
    execution = watched.execution("namespaced")
    status = execution.wait_phase("Completed")
    assert status["output"] == {"message": "Hello"}
    assert status["startTime"], "its pod's events came by the sink, and its token was believed"
    assert status["tasks"]
    assert status["runner"]["namespace"] == home.name, "the shared runner is in the operator's namespace"
    elsewhere = other.execution("namespaced")
    assert elsewhere.status.get("phase") is None, "what it may not see stays as it is"

    roles = json.loads(home.kubectl("get", "clusterroles,clusterrolebindings", "-o", "json"))["items"]
    assert not [item for item in roles if item["metadata"]["name"].startswith(RELEASE)]
    subject = f"system:serviceaccount:{home.name}:{RELEASE}"
    cluster = home.cluster
    may = ("list", "jobs.batch", "--all-namespaces", f"--as={subject}")
    assert _may_not(cluster, *may)
    assert _may_not(cluster, "create", "tokenreviews.authentication.k8s.io", f"--as={subject}")


def test_it_cancels_pauses_and_cleans_up_there_too(places: tuple[Namespace, Namespace, Namespace], case: Path) -> None:
    _, watched, _ = places
    text = (case / "execution.yaml").read_text().replace("set: {message: Hello}", "wait: {minutes: 10}")
    watched.apply(text)
    execution = watched.execution("namespaced")
    execution.wait_phase("Running")
    execution.patch(paused=True)
    execution.wait_phase("Paused")
    execution.patch(cancelled=True)
    execution.wait_phase("Cancelled")
    watched.kubectl("delete", "wfe", "namespaced", timeout=90)
    wait_for(execution.pods, lambda pods: not pods, what="its pods are gone")


def _may_not(cluster: Cluster, *arguments: str) -> bool:
    """kubectl's `can-i` leaves with 1 for no."""
    try:
        return cluster.kubectl("auth", "can-i", *arguments).strip() == "no"
    except CommandFailed as error:
        return "no" in str(error)
