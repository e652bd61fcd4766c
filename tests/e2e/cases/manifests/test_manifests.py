"""The manifests of chart and overlays by the word of a real API server, which would take every one of them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.e2e.cluster import Cluster, tool
from tests.e2e.cluster.cache import REPOSITORY
from tests.e2e.cluster.shell import run
from tests.e2e.harness.operator import Operator
from tests.e2e.manifests.test_chart import EVERYTHING, NAMESPACED, TEMPORAL
from tools.manifests import rendered

Json = dict[str, Any]

OURS = ("monitoring.coreos.com",)
"""Groups that this cluster does not have."""


@pytest.fixture(scope="module")
def somewhere(cluster: Cluster, operator: Operator) -> Iterator[str]:
    """A namespace to try things in, beside team-a and team-b, which values name."""
    name = f"e2e-manifests-{secrets.token_hex(3)}"
    for namespace in (name, "team-a", "team-b"):
        cluster.kubectl("create", "namespace", namespace)
    yield name
    cluster.kubectl("delete", "namespace", name, "team-a", "team-b", timeout=120)


def try_all(cluster: Cluster, objects: list[Json]) -> None:
    known = [item for item in objects if item["apiVersion"].split("/")[0] not in OURS]
    text = "---\n".join(yaml.safe_dump(item) for item in known)
    cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)


@pytest.mark.parametrize(
    "values", [{}, EVERYTHING, NAMESPACED, TEMPORAL], ids=["defaults", "everything", "namespaced", "temporal"]
)
def test_the_api_server_takes_what_the_chart_renders(cluster: Cluster, somewhere: str, values: Json) -> None:
    try_all(cluster, rendered(values, namespace=somewhere))


@pytest.mark.parametrize("overlay", ["prod", "local"])
def test_the_api_server_takes_the_overlays(cluster: Cluster, somewhere: str, overlay: str) -> None:
    text = run([tool("kubectl"), "kustomize", REPOSITORY / "_kustomize" / "overlays" / overlay], timeout=60)
    objects = list(yaml.safe_load_all(text))
    for item in objects:
        if "namespace" in item["metadata"]:
            item["metadata"]["namespace"] = somewhere
    try_all(cluster, objects)


def test_the_api_server_takes_the_settings_for_argo_cd(cluster: Cluster, somewhere: str) -> None:
    text = run([tool("kubectl"), "kustomize", REPOSITORY / "gitops" / "argo-cd"], timeout=60)
    [settings] = list(yaml.safe_load_all(text))
    assert json.dumps(settings["data"]).count("health(") > 2
    settings["metadata"]["namespace"] = somewhere
    try_all(cluster, [settings])
