"""docs/resources.md names every field of the resources, and its examples hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from workflow_runner.crd.definitions import custom_resource_definitions
from workflow_runner.crd.pods import PodMetadata, PodSecurity, PodSpec, WorkflowContainer
from workflow_runner.crd.runner import AllowedField, WorkflowRunnerSpec

Json = dict[str, Any]

PAGE = (Path(__file__).parents[3] / "docs" / "resources.md").read_text()
WORDS = set(re.findall(r"`([A-Za-z.]+)`", PAGE))
WHOLE = {"stigmer", "env", "secrets", "launch.template", "template", "workflow.definition"}
"""Fields whose own are told in prose, or elsewhere."""


def fields(schema: Json, prefix: str = "") -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        deeper = field.get("properties", {}) if path not in WHOLE and not name.endswith("KeyRef") else {}
        yield from fields(field, f"{path}.") if deeper else [path]


SPECS = {
    definition["spec"]["names"]["kind"]: definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for definition in custom_resource_definitions()
}


@pytest.mark.parametrize("kind", SPECS)
def test_every_field_is_there(kind: str) -> None:
    assert [field for field in fields(SPECS[kind]["spec"]) if field not in WORDS] == []
    assert [field for field in SPECS[kind]["status"]["properties"] if field not in WORDS] == []


def test_every_field_of_a_template_is_there() -> None:
    aliases = [
        field.alias
        for model in (PodMetadata, PodSpec, PodSecurity, WorkflowContainer)
        for name, field in model.model_fields.items()
        if name != "name"
    ]
    places = {"securityContext": "spec.securityContext", "containers": "spec.containers"}
    assert [alias for alias in aliases if places.get(str(alias), alias) not in WORDS] == []


def test_everything_that_can_be_allowed_is_there() -> None:
    told_as_fields = {"securityContext"}
    assert sorted(set(get_args(AllowedField)) - WORDS - told_as_fields) == []


def test_the_examples_are_yaml_and_those_of_runners_are_runners() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 7
    specs = [yaml.safe_load(block)["spec"] for block in blocks]
    runners = [WorkflowRunnerSpec.model_validate(spec) for spec in specs if "allow" in spec or "temporal" in spec]
    assert [runner.mode for runner in runners] == ["Pod", "Pool", "Job", "Job"]
