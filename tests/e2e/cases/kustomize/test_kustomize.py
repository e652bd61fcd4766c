"""One `kubectl apply -k` brings an operator with a runner of its own, and a workflow runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import canaries
from tests.e2e.cluster import Cluster
from tests.e2e.cluster.cache import REPOSITORY
from tests.e2e.harness import evidence
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.stigmer import Stigmer

PLACE = "e2e-kustomize"
LOCAL = REPOSITORY / "_kustomize" / "overlays" / "local"
Json = dict[str, Any]


def renamed(kind: str, *paths: str) -> Json:
    """A patch that keeps a cluster-wide object apart from that of the chart's operator, which rests meanwhile."""
    operations = [{"op": "replace", "path": path, "value": PLACE} for path in paths]
    return {"target": {"kind": kind}, "patch": json.dumps(operations), "options": {"allowNameChange": True}}


def write_overlay(folder: Path, image: str, stigmer: Stigmer) -> None:
    """The local overlay with this run's image, a Stigmer that there is, and a key."""
    overlay: Json = yaml.safe_load((LOCAL / "kustomization.yaml").read_text())
    repository, _, tag = image.rpartition(":")
    overlay["namespace"] = PLACE
    overlay["resources"] = [os.path.relpath(LOCAL / path, folder) for path in overlay["resources"]]
    overlay["images"][0] |= {"newName": repository, "newTag": tag}
    for generator in overlay["configMapGenerator"]:
        generator["literals"] = [
            f"STIGMER_SERVICE_ENDPOINT={stigmer.endpoint}" if item.startswith("STIGMER_SERVICE_ENDPOINT") else item
            for item in generator["literals"]
        ]
    overlay["patches"] += [
        renamed("ClusterRole", "/metadata/name"),
        renamed("ClusterRoleBinding", "/metadata/name", "/roleRef/name"),
    ]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay, sort_keys=False))
    (folder / "operator.yaml").write_text((LOCAL / "operator.yaml").read_text())
    (folder / "secrets.env").write_text((LOCAL / "secrets.env").read_text().rstrip() + canaries.STIGMER_KEY + "\n")


@pytest.fixture
def applied_overlay(cluster: Cluster, operator: Operator, stigmer: Stigmer, tmp_path: Path) -> Iterator[Namespace]:
    write_overlay(tmp_path, operator.image, stigmer)
    operator.stop()
    try:
        cluster.kubectl("apply", "-k", tmp_path, timeout=120)
        namespace = Namespace(cluster, PLACE)
        namespace.kubectl("rollout", "status", "deployment/workflow-runner", "--timeout=90s", timeout=100)
        yield namespace
    finally:
        evidence.keep_operator(cluster, PLACE, "workflow-runner")
        evidence.keep_namespace(cluster, PLACE)
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", PLACE, "--ignore-not-found")
        cluster.kubectl("delete", "namespace", PLACE, "--ignore-not-found", timeout=120)
        operator.start()


def test_it_runs_a_workflow(applied_overlay: Namespace, namespace: Namespace) -> None:
    runner = applied_overlay.wait("wfr", "default", lambda found: found, "the operator has made it")
    assert runner["spec"]["stigmer"]["apiKeySecretRef"] == {"name": "workflow-runner-secrets", "key": "stigmer-api-key-local"}
    namespace.apply(Path(__file__).with_name("execution.yaml"))
    status = namespace.execution("kustomize").wait_phase("Completed")
    assert status["runner"]["namespace"] == PLACE
    assert status["output"] == {"message": "Hello"}
