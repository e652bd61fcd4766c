"""Our conditions by the rules of kstatus, which Flux, Helm's --wait and `kubectl` plugins go by.

The rules are those of a custom resource (sigs.k8s.io/cli-utils, pkg/kstatus): deletion, generation, then the first of
Reconciling and Stalled that is True, then Ready.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.gitops.cases import CASES, Case

from workflow_runner.crd.definitions import custom_resource_definitions

Json = dict[str, Any]


def kstatus(resource: Json) -> str:
    """Terminating, InProgress, Failed or Current."""
    metadata, status = resource["metadata"], resource.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if "observedGeneration" in status and status["observedGeneration"] != metadata["generation"]:
        return "InProgress"
    conditions = status.get("conditions") or []
    for item in conditions:
        if item["type"] == "Reconciling" and item["status"] == "True":
            return "InProgress"
        if item["type"] == "Stalled" and item["status"] == "True":
            return "Failed"
    for item in conditions:
        if item["type"] == "Ready":
            return "Current" if item["status"] == "True" else "InProgress"
    return "Current"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kstatus_takes_it_as_it_is(case: Case) -> None:
    assert kstatus(case.resource) == case.kstatus


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whichever_condition_is_looked_at_first(case: Case) -> None:
    status = case.resource.get("status") or {}
    turned = {**status, "conditions": list(reversed(status.get("conditions") or []))}
    assert kstatus({**case.resource, "status": turned}) == case.kstatus


@pytest.mark.parametrize("definition", custom_resource_definitions(), ids=lambda item: item["spec"]["names"]["kind"])
def test_a_resource_that_nobody_has_looked_at_is_not_taken_for_done(definition: Json) -> None:
    [version] = definition["spec"]["versions"]
    default = version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"]
    assert kstatus({"metadata": {"generation": 1}, "status": default}) == "InProgress"
