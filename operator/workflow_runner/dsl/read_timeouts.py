"""Reading time limits: `timeout` of tasks and of the workflow, for `read_tasks` and the loader."""

from __future__ import annotations

from workflow_runner.dsl.fields import Fields, Scope, duration_hint
from workflow_runner.dsl.model import Duration
from workflow_runner.dsl.nodes import Node


def read_timeout(fields: Fields, found: tuple[str, Node] | None, scope: Scope) -> Duration | None:
    """A timeout: an object with `after`, or the name of one under `use.timeouts`."""
    if found is None:
        return None
    pointer, node = found
    if not isinstance(node.json, str):
        return timeout_definition(fields, found, scope)
    name = node.json
    if name not in fields.timeouts:
        fields.findings.undefined(
            "reference.unknown-timeout",
            "timeout",
            name,
            fields.timeouts,
            pointer,
            node.position,
            remedy=duration_hint(name).replace("write ", "write {after: ").replace("}", "}}") or "define it under use.timeouts",
        )
        return None
    key = (name, scope)
    if key not in fields.read_timeouts:
        fields.read_timeouts[key] = timeout_definition(fields, fields.timeouts[name], scope)
    return fields.read_timeouts[key]


def timeout_definition(fields: Fields, found: tuple[str, Node], scope: Scope) -> Duration | None:
    """A timeout as it is defined."""
    pointer, node = found
    parts = fields.members(node, pointer, ("after",), required=("after",), what="a timeout")
    return fields.duration(parts.get("after"), "after", scope)
