"""The examples for clusters: what they apply can be applied."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from workflow_runner.crd.execution import WorkflowExecutionSpec
from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.expressions.documents import read_document

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "examples" / "kubernetes").glob("*.yaml"))
RESOURCES = [(path.stem, resource) for path in FILES for resource in yaml.safe_load_all(path.read_text())]
EXECUTIONS = {name: resource for name, resource in RESOURCES if resource["kind"] == "WorkflowExecution"}
RUNNERS = {name: resource for name, resource in RESOURCES if resource["kind"] == "WorkflowRunner"}


def test_every_file_has_an_execution_and_nothing_else_is_there() -> None:
    assert EXECUTIONS.keys() == {path.stem for path in FILES}
    assert len(RESOURCES) == len(EXECUTIONS) + len(RUNNERS)


@pytest.mark.parametrize("name", EXECUTIONS)
def test_an_example_is_an_execution_with_a_valid_document(name: str) -> None:
    given = EXECUTIONS[name]["spec"]
    spec = WorkflowExecutionSpec.model_validate(given)
    assert spec.model_dump(by_alias=True, exclude_unset=True).keys() == given.keys()
    if "definition" in given["workflow"]:
        read_document(given["workflow"]["definition"], name)


@pytest.mark.parametrize("name", RUNNERS)
def test_a_runner_beside_it_is_one_and_is_the_one_that_it_names(name: str) -> None:
    resource = RUNNERS[name]
    spec = WorkflowRunnerSpec.model_validate(resource["spec"])
    assert spec.model_dump(by_alias=True, exclude_unset=True).keys() == resource["spec"].keys()
    assert EXECUTIONS[name]["spec"]["runnerRef"]["name"] == resource["metadata"]["name"]


def test_fluxs_example_waits_for_one_of_them() -> None:
    documents = list(yaml.safe_load_all((ROOT / "gitops" / "flux" / "kustomization.yaml").read_text()))
    names = {resource["metadata"]["name"] for resource in EXECUTIONS.values()}
    checks = [check for document in documents for check in document["spec"].get("healthChecks", [])]
    assert {check["name"] for check in checks} <= names
    assert (ROOT / documents[0]["spec"]["path"] / "kustomization.yaml").is_file()
