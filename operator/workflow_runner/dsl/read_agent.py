"""Reading `call: agent` tasks, for `read_tasks`: a call of this runner's own, beyond the reference (docs/language.md,
"Agents"). A document that defines a function `agent` calls that."""

from __future__ import annotations

import re
from typing import Literal as OneOf
from typing import cast

from workflow_runner.dsl.fields import Fields, Found, Place
from workflow_runner.dsl.model import AgentCallTask, Task
from workflow_runner.dsl.nodes import items
from workflow_runner.dsl.read_openapi import object_template
from workflow_runner.dsl.templates import Literal, ObjectTemplate, Template

SCOPES = ("organization", "platform")
"""Who owns the agent."""

WARMEST = 2
"""Temperatures are from 0 to this."""

_ARGUMENTS = ("agent", "scope", "org", "message", "env", "model", "temperature", "timeout", "output")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_agent(fields: Fields, place: Place, found: Found) -> Task | None:
    """The task, or None when it has errors that leave nothing to model."""
    if "with" not in found:
        fields.findings.error("property.missing", "a call of agent needs 'with'", place.pointer, place.node.position)
        return None
    pointer, node = found["with"]
    parts = fields.members(node, pointer, _ARGUMENTS, required=("agent", "message"), what="a call of agent")
    agent = _filled(fields, parts, "agent", place)
    message = _filled(fields, parts, "message", place)
    scope = fields.one_of(parts.get("scope"), "scope", SCOPES)
    output = fields.one_of(parts.get("output"), "output", ("content", "response"))
    env = object_template(fields, parts, "env", place)
    fields.seal([part for _, part in env.items] if isinstance(env, ObjectTemplate) else [env])
    if "env" in parts and isinstance(parts["env"][1].json, dict):
        for name, where, key, _ in items(parts["env"][1], parts["env"][0]):
            if _VARIABLE.fullmatch(name) is None:
                message_ = f"{name!r} is no name of an environment variable: letters, digits and _"
                fields.findings.error("property.bad-value", message_, where, key)
    timeout = fields.duration(parts.get("timeout"), "timeout", place.body)
    temperature = _temperature(fields, parts, place)
    if agent is None or message is None:
        return None
    return AgentCallTask(
        **place.common,
        agent=agent,
        scope=cast("OneOf['organization', 'platform']", scope or "organization"),
        org=_filled(fields, parts, "org", place),
        message=message,
        env=env,
        model=_filled(fields, parts, "model", place),
        temperature=temperature,
        time_limit=timeout,
        output=cast("OneOf['content', 'response']", output or "content"),
    )


def _filled(fields: Fields, parts: Found, name: str, place: Place) -> Template | None:
    """A text that is not empty, or an expression."""
    template = fields.text(parts.get(name), name, place.body)
    if isinstance(template, Literal) and not template.value:
        where, node = parts[name]
        fields.findings.error("property.bad-value", f"{name} cannot be empty", where, node.position)
    return template


def _temperature(fields: Fields, parts: Found, place: Place) -> Template | None:
    if "temperature" not in parts:
        return None
    pointer, node = parts["temperature"]
    template = fields.template(node, pointer, place.body)
    if isinstance(template, Literal):
        value = node.json
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= WARMEST:
            message = f"temperature must be a number from 0 to {WARMEST}, or an expression"
            fields.findings.error("property.bad-value", message, pointer, node.position)
    return template
