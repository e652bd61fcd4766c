"""Workflow specs for tests, written as the JSON that Stigmer's protos have."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.spec_pb2 import WorkflowSpec

DOCUMENT = {"dsl": "1.0.0", "namespace": "acme", "name": "orders", "version": "1.0.0"}


def task(name: str, kind: str, config: Any, **more: Any) -> dict[str, Any]:
    """One task; `kind` without its prefix."""
    return {"name": name, "kind": f"WORKFLOW_TASK_KIND_{kind}", "task_config": config, **more}


def spec(*tasks: dict[str, Any], **members: Any) -> WorkflowSpec:
    """A spec with these tasks."""
    return json_format.ParseDict({"document": DOCUMENT, "tasks": list(tasks), **members}, WorkflowSpec())


def environment(**values: Any) -> dict[str, Any]:
    """An env_spec."""
    return {"data": values}
