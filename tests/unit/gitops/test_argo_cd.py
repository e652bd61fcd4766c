"""The health scripts for Argo CD, run by a Lua of the version that Argo CD has (5.1), without any library of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime
from tests.unit.gitops.cases import CASES, Case

Json = dict[str, Any]

GITOPS = Path(__file__).parents[3] / "gitops"
HEALTH = GITOPS / "argo-cd" / "health"
STATES = {"Healthy", "Progressing", "Degraded", "Suspended"}


def health(kind: str, resource: Json) -> tuple[str, str]:
    """Status and message that the script gives, as Argo CD calls it: with the resource as the global `obj`."""
    lua = LuaRuntime(unpack_returned_tuples=True, register_eval=False)
    lua.execute("os, io, require, dofile, loadfile, package, debug = nil")
    lua.globals().obj = lua.table_from(resource, recursive=True)
    found = lua.execute((HEALTH / f"{kind}.lua").read_text())
    return str(found.status), str(found.message)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_argo_cd_shows_it_as_it_is(case: Case) -> None:
    status, message = health(case.kind, case.resource)
    assert status == case.argo
    assert isinstance(message, str)


@pytest.mark.parametrize("phase", ["Completed", "Failed", "Running"])
def test_a_status_without_conditions_breaks_nothing(phase: str) -> None:
    resource = {"metadata": {"generation": 1}, "spec": {}, "status": {"phase": phase, "observedGeneration": 1}}
    assert health("WorkflowExecution", resource)[0] in STATES


def test_a_failure_is_told_in_argo_cds_own_words_and_ours() -> None:
    [failed] = [case for case in CASES if case.name == "failed"]
    assert "it broke" in health("WorkflowExecution", failed.resource)[1]


def test_every_kind_has_its_script_and_its_setting() -> None:
    settings = yaml.safe_load((GITOPS / "argo-cd" / "kustomization.yaml").read_text())["configMapGenerator"][0]["files"]
    named = dict(item.split("=") for item in settings)
    assert set(named) == {
        f"resource.customizations.health.workflowrunner.stigmer.ai_{kind}" for kind in {case.kind for case in CASES}
    }
    assert {GITOPS / "argo-cd" / path for path in named.values()} == set(HEALTH.iterdir())
