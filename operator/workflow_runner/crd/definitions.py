"""The CustomResourceDefinitions. Called by `workflow-runner crds` and `make generate`."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel

from workflow_runner.crd import group
from workflow_runner.crd.base import Rule
from workflow_runner.crd.execution import WorkflowExecutionSpec, WorkflowExecutionStatus
from workflow_runner.crd.runner import WorkflowRunnerSpec, WorkflowRunnerStatus
from workflow_runner.crd.schema import structural_schema

Json = dict[str, Any]


def custom_resource_definitions() -> list[Json]:
    """Both CRDs as objects, in the order in which they are to be applied."""
    return [_runner(), _execution()]


def file_name(definition: Json) -> str:
    """The name under which a CRD is kept in crds/."""
    return f"{definition['metadata']['name']}.yaml"


def to_yaml(definition: Json) -> str:
    """A CRD as YAML text with a leading comment that says where it comes from."""
    text = yaml.safe_dump(definition, sort_keys=False, width=120, allow_unicode=True)
    return f"# Made by `make generate` from operator/workflow_runner/crd; changes here are lost.\n{text}"


def _column(name: str, path: str, kind: str = "string", *, priority: int = 0, description: str = "", fmt: str = "") -> Json:
    column: Json = {"name": name, "type": kind, "jsonPath": path, "priority": priority}
    return column | ({"description": description} if description else {}) | ({"format": fmt} if fmt else {})


def _runner() -> Json:
    return _definition(
        kind=group.RUNNER_KIND,
        plural=group.RUNNER_PLURAL,
        short="wfr",
        description="A WorkflowRunner registers where and how workflow executions run.",
        spec=WorkflowRunnerSpec,
        status=WorkflowRunnerStatus,
        columns=[
            _column("Type", ".spec.type"),
            _column("Mode", ".status.mode"),
            _column("Active", ".status.activeExecutions", "integer", description="Executions that have not ended."),
            _column("Queued", ".status.queuedExecutions", "integer", description="Executions that wait for their turn."),
            _column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
            _column("Paused", ".spec.paused", "boolean", priority=1),
            _column("Image", ".status.image", priority=1),
            _column("Endpoint", ".spec.endpoint", priority=1),
            _column("Stigmer", ".spec.stigmer.endpoint", priority=1),
            _column("Age", ".metadata.creationTimestamp", "date"),
        ],
        rules=[],
        # How many replicas a pool has: kubectl scale, HorizontalPodAutoscaler, KEDA.
        scale={
            "specReplicasPath": ".spec.launch.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    )


def _execution() -> Json:
    return _definition(
        kind=group.EXECUTION_KIND,
        plural=group.EXECUTION_PLURAL,
        short="wfe",
        description="A WorkflowExecution is one run of a CNCF Serverless Workflow document.",
        spec=WorkflowExecutionSpec,
        status=WorkflowExecutionStatus,
        columns=[
            _column("Workflow", ".status.workflow"),
            _column("Phase", ".status.phase"),
            _column("Progress", ".status.progress", "integer", description="Percent of the workflow that is done."),
            _column("Message", ".status.conditions[?(@.type=='Completed')].message"),
            _column("Runner", ".status.runner.name", priority=1),
            _column("Run", ".status.runId", priority=1),
            _column("Queue", ".status.queuePosition", "integer", priority=1, description="Its place among those that wait."),
            _column("Job", ".status.jobName", priority=1),
            _column("Pod", ".status.podName", priority=1),
            _column("Started", ".status.startTime", "date", priority=1),
            _column("Age", ".metadata.creationTimestamp", "date"),
        ],
        rules=[
            Rule(
                "self.metadata.name.size() <= 63",
                "the name of a WorkflowExecution becomes a label of its Job and may have at most 63 characters",
            )
        ],
    )


def _definition(
    *,
    kind: str,
    plural: str,
    short: str,
    description: str,
    spec: type[BaseModel],
    status: type[BaseModel],
    columns: list[Json],
    rules: list[Rule],
    scale: Json | None = None,
) -> Json:
    properties: Json = {
        "apiVersion": {"type": "string", "description": f"{group.API_VERSION}."},
        "kind": {"type": "string", "description": f"{kind}."},
        "metadata": {"type": "object"},
        "spec": structural_schema(spec),
        # Until the operator has looked, kstatus (Flux, kubectl wait) sees another generation than it awaits: in progress.
        "status": _without_rules(structural_schema(status)) | {"default": {"observedGeneration": -1}},
    }
    schema: Json = {"type": "object", "description": description, "required": ["spec"], "properties": properties}
    if rules:
        schema["x-kubernetes-validations"] = list(rules)
    version: Json = {
        "name": group.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _plain(schema)},
        "subresources": {"status": {}, **({"scale": scale} if scale else {})},
        "additionalPrinterColumns": columns,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group.GROUP}"},
        "spec": {
            "group": group.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["all", "workflows"],
            },
            "versions": [version],
        },
    }


def _without_rules(node: Any) -> Any:
    """A status schema: only the operator writes it, so rules made for users have no place there."""
    if isinstance(node, dict):
        return {key: _without_rules(value) for key, value in node.items() if key != "x-kubernetes-validations"}
    return [_without_rules(item) for item in node] if isinstance(node, list) else node


def _plain(node: Any) -> Any:
    """The same without dict subclasses, which the YAML writer does not know."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    return [_plain(item) for item in node] if isinstance(node, list) else node
