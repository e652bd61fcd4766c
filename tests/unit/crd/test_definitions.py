"""The CRDs as the API server gets them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from workflow_runner.crd.definitions import custom_resource_definitions, file_name, to_yaml

Json = dict[str, Any]
DEFINITIONS = {definition["spec"]["names"]["kind"]: definition for definition in custom_resource_definitions()}


def nodes(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


def schema_of(definition: Json) -> Json:
    [version] = definition["spec"]["versions"]
    result: Json = version["schema"]["openAPIV3Schema"]
    return result


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_every_field_is_described(definition: Json) -> None:
    bare = [
        path
        for path, node in nodes(schema_of(definition))
        if "description" not in node and not path.endswith("[]") and path not in ("", ".metadata")
    ]
    assert bare == []


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_nothing_is_left_that_a_structural_schema_forbids(definition: Json) -> None:
    forbidden = {"$ref", "anyOf", "const", "title", "$defs", "exclusiveMinimum", "uniqueItems"}
    assert [path for path, node in nodes(schema_of(definition)) if forbidden & set(node)] == []


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_no_default_is_null(definition: Json) -> None:
    assert [path for path, node in nodes(schema_of(definition)) if "default" in node and "null" in str(node["default"])] == []


def test_only_what_works_is_in_the_spec() -> None:
    spec = schema_of(DEFINITIONS["WorkflowExecution"])["properties"]["spec"]["properties"]
    assert set(spec) == {"runnerRef", "workflow", "input", "paused", "cancelled", "cancellation"}


def test_every_rule_has_a_message_for_people() -> None:
    rules = [
        rule
        for definition in DEFINITIONS.values()
        for _, node in nodes(schema_of(definition))
        for rule in node.get("x-kubernetes-validations", [])
    ]
    assert len(rules) >= 10
    assert all(len(rule["message"]) > 20 for rule in rules)


def test_status_is_a_subresource_with_short_names_and_categories() -> None:
    definition = DEFINITIONS["WorkflowExecution"]
    assert definition["spec"]["versions"][0]["subresources"] == {"status": {}}
    assert definition["spec"]["names"]["shortNames"] == ["wfe"]
    assert "workflows" in definition["spec"]["names"]["categories"]


def test_the_file_says_that_it_is_generated() -> None:
    definition = DEFINITIONS["WorkflowRunner"]
    assert file_name(definition) == "workflowrunners.workflowrunner.stigmer.ai.yaml"
    assert to_yaml(definition).startswith("# Made by `make generate`")
