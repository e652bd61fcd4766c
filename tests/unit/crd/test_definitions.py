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
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}[]")


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
    forbidden = {"$ref", "const", "title", "$defs", "exclusiveMinimum", "uniqueItems", "patternProperties", "propertyNames"}
    assert [path for path, node in nodes(schema_of(definition)) if forbidden & set(node)] == []
    assert [path for path, node in nodes(schema_of(definition)) if "anyOf" in node and "properties" not in node] == []


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_what_is_kept_unseen_is_kept_to_the_bottom(definition: Json) -> None:
    """Beside preserve-unknown-fields, additionalProperties would make the API server keep the first level only."""
    kept = [node for _, node in nodes(schema_of(definition)) if node.get("x-kubernetes-preserve-unknown-fields")]
    assert len(kept) > 2
    assert [node for node in kept if "additionalProperties" in node] == []


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_no_default_is_null(definition: Json) -> None:
    assert [path for path, node in nodes(schema_of(definition)) if "default" in node and "null" in str(node["default"])] == []


SPECS = {
    "WorkflowExecution": """
        runnerRef runId executionId workflow input inputFrom env secrets timeout retries ttlAfterFinished deleteAfterFinished
        template paused cancelled cancellation
    """,
    "WorkflowRunner": "type endpoint tls apiKeySecretRef launch temporal stigmer limits defaults allow snapshots paused",
}


@pytest.mark.parametrize("kind", SPECS)
def test_only_what_works_is_in_the_spec(kind: str) -> None:
    assert set(schema_of(DEFINITIONS[kind])["properties"]["spec"]["properties"]) == set(SPECS[kind].split())


SETTLED = ["workflow", "executionId", "runnerRef", "inputFrom", "env", "secrets", "timeout", "retries", "template"]


def test_what_says_what_to_run_changes_only_together_with_the_run_id() -> None:
    rules = schema_of(DEFINITIONS["WorkflowExecution"])["properties"]["spec"]["x-kubernetes-validations"]
    for field in SETTLED:
        [rule] = [rule for rule in rules if rule["message"].startswith(f"{field} cannot be changed while runId stays")]
        assert f"self.{field} == oldSelf.{field}" in rule["rule"]
        assert "self.runId" in rule["rule"]


def test_lists_that_people_write_are_bounded() -> None:
    unbounded = [
        path
        for definition in DEFINITIONS.values()
        for path, node in nodes(schema_of(definition)["properties"]["spec"])
        if node.get("type") == "array" and "maxItems" not in node and path != ".workflow.definition.do"
    ]
    assert unbounded == []


def test_a_runner_that_says_nothing_allows_an_execution_its_resources_only() -> None:
    allow = schema_of(DEFINITIONS["WorkflowRunner"])["properties"]["spec"]["properties"]["allow"]
    assert allow["default"] == {"stigmer": False, "template": ["resources"]}
    assert allow["properties"]["template"]["default"] == ["resources"]
    assert "default" not in allow["properties"]["secrets"]


def test_every_rule_has_a_message_for_people() -> None:
    rules = [
        rule
        for definition in DEFINITIONS.values()
        for _, node in nodes(schema_of(definition))
        for rule in node.get("x-kubernetes-validations", [])
    ]
    assert len(rules) >= 10
    assert all(len(rule["message"]) > 20 for rule in rules)


@pytest.mark.parametrize(("kind", "short"), [("WorkflowExecution", "wfe"), ("WorkflowRunner", "wfr")])
def test_status_is_a_subresource_with_short_names_and_categories(kind: str, short: str) -> None:
    definition = DEFINITIONS[kind]
    assert definition["spec"]["versions"][0]["subresources"]["status"] == {}
    assert definition["spec"]["names"]["shortNames"] == [short]
    assert "workflows" in definition["spec"]["names"]["categories"]


COLUMNS = {
    "WorkflowExecution": (
        ["Workflow", "Phase", "Progress", "Message", "Age"],
        ["Runner", "Run", "Queue", "Job", "Pod", "Started"],
    ),
    "WorkflowRunner": (["Type", "Mode", "Active", "Queued", "Ready", "Age"], ["Paused", "Image", "Endpoint", "Stigmer"]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_kubectl_get(kind: str) -> None:
    columns = DEFINITIONS[kind]["spec"]["versions"][0]["additionalPrinterColumns"]
    plain, wide = COLUMNS[kind]
    assert [column["name"] for column in columns if column["priority"] == 0] == plain
    assert [column["name"] for column in columns if column["priority"] > 0] == wide


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_show_fields_that_there_are(kind: str) -> None:
    definition = DEFINITIONS[kind]
    paths = {path for path, _ in nodes(schema_of(definition))} | {".metadata.creationTimestamp"}
    for column in definition["spec"]["versions"][0]["additionalPrinterColumns"]:
        assert column["jsonPath"].split("[?")[0] in paths, column["name"]


def test_the_file_says_that_it_is_generated() -> None:
    definition = DEFINITIONS["WorkflowRunner"]
    assert file_name(definition) == "workflowrunners.workflowrunner.stigmer.ai.yaml"
    assert to_yaml(definition).startswith("# Made by `make generate`")
