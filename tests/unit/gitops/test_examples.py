"""The examples for clusters: what they apply can be applied."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from workflow_runner.crd.execution import WorkflowExecutionSpec
from workflow_runner.expressions.documents import read_document

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples" / "kubernetes").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_an_execution_with_a_valid_document(path: Path) -> None:
    resource = yaml.safe_load(path.read_text())
    spec = WorkflowExecutionSpec.model_validate(resource["spec"])
    assert spec.model_dump(by_alias=True, exclude_unset=True).keys() == resource["spec"].keys()
    read_document(resource["spec"]["workflow"]["definition"], path.name)


def test_fluxs_example_waits_for_one_of_them() -> None:
    documents = list(yaml.safe_load_all((ROOT / "gitops" / "flux" / "kustomization.yaml").read_text()))
    names = {yaml.safe_load(path.read_text())["metadata"]["name"] for path in EXAMPLES}
    checks = [check for document in documents for check in document["spec"].get("healthChecks", [])]
    assert {check["name"] for check in checks} <= names
    assert (ROOT / documents[0]["spec"]["path"] / "kustomization.yaml").is_file()
