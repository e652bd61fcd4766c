"""Partial pod templates as the operator reads them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from workflow_runner.crd import pods
from workflow_runner.crd.execution import WorkflowExecutionSpec
from workflow_runner.crd.runner import WorkflowRunnerSpec

Json = dict[str, Any]

TEMPLATE: Json = {
    "metadata": {"labels": {"team": "a"}},
    "spec": {
        "hostNetwork": True,
        "affinity": {"nodeAffinity": {"anything": [1, {"deep": None}]}},
        "volumes": [{"name": "v", "configMap": {"name": "c"}}],
        "containers": [{"name": "workflow", "image": "x", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}],
    },
}


def test_a_template_is_read_whole_with_what_no_field_names() -> None:
    execution = WorkflowExecutionSpec.model_validate({"workflow": {"yaml": "…"}, "template": TEMPLATE})
    assert execution.template is not None
    assert execution.template.to_json() == TEMPLATE
    runner = WorkflowRunnerSpec.model_validate({"launch": {"template": TEMPLATE}})
    assert runner.launch is not None
    assert runner.launch.template is not None
    assert runner.launch.template.to_json() == TEMPLATE


def test_a_field_has_one_spelling() -> None:
    """The API server does not know `node_selector`, so nothing it checks may hide behind it."""
    template = pods.PodTemplate.model_validate({"spec": {"node_selector": {"a": "b"}, "securityContext": {"run_as_user": 0}}})
    assert template.to_json() == {"spec": {"node_selector": {"a": "b"}, "securityContext": {"run_as_user": 0}}}


@pytest.mark.parametrize(
    "path", ["/", "//", "/tmp", "/tmp/x", "//tmp/x", "/mnt/../tmp", "/etc/workflow-runner/", "/var/lib/workflow-runner/a"]
)
def test_folders_of_the_operator(path: str) -> None:
    assert pods.is_own_folder(path)


@pytest.mark.parametrize("path", ["/mnt", "/etc", "/etc/workflow-runner2", "/tmpfs", "/data/tmp"])
def test_other_folders(path: str) -> None:
    assert not pods.is_own_folder(path)


@pytest.mark.parametrize("name", ["WORKFLOW_RUNNER_RUN_ID", "PYTHONPATH", "LD_PRELOAD", "PATH", "LOG_LEVEL", "OPENSSL_CONF"])
def test_names_of_variables_that_an_execution_cannot_use(name: str) -> None:
    assert re.match(pods.RESERVED_ENV, name)


@pytest.mark.parametrize("name", ["PATHS", "MY_PATH", "OLD_X", "LOG_LEVELS", "HTTP_PROXY"])
def test_names_of_variables_that_it_can(name: str) -> None:
    assert not re.match(pods.RESERVED_ENV, name)
