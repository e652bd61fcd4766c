"""What a task is to somebody who follows a run."""

from __future__ import annotations

from typing import Any

import pytest

from workflow_runner.expressions.documents import read_document
from workflow_runner.interpreter.roles import role_of


@pytest.mark.parametrize(
    ("task", "role"),
    [
        ({"set": {"a": 1}}, "set"),
        ({"switch": [{"x": {"then": "end"}}]}, "switch"),
        ({"fork": {"branches": [{"x": {"set": {"a": 1}}}]}}, "fork"),
        ({"call": "http", "with": {"method": "get", "endpoint": "http://x.test"}}, "call"),
        ({"listen": {"to": {"one": {"with": {"type": "order.placed"}}}}}, "listen"),
        ({"listen": {"to": {"one": {"with": {"type": "com.acme.approval"}}}}}, "approval"),
        ({"listen": {"to": {"any": [{"with": {"type": "a"}}, {"with": {"id": "Approved"}}]}}}, "approval"),
        ({"listen": {"to": {"all": [{"with": {"type": "disapproval"}}]}}}, "listen"),
        ({"listen": {"to": {"any": []}}}, "listen"),
        ({"listen": {"to": {"one": {"with": {"type": "${ .approval }"}}}}}, "approval"),
    ],
)
def test_a_task_has_the_role_of_its_kind_unless_it_is_told_apart(task: dict[str, Any], role: str) -> None:
    head = {"dsl": "1.0.0", "namespace": "n", "name": "n", "version": "1.0.0"}
    workflow, _ = read_document({"document": head, "do": [{"step": task}]}, "test")
    assert role_of(workflow.do[0]) == role
