"""Reading `run` tasks, for `read_tasks`: shell commands, scripts and other workflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from workflow_runner.dsl.fields import Fields, Found, Place, type_name
from workflow_runner.dsl.model import ProcessReturn, ProcessTask, Task, UnsupportedTask, WorkflowRunTask
from workflow_runner.dsl.nodes import Node
from workflow_runner.dsl.read_resources import read_resource
from workflow_runner.dsl.templates import Literal, Template

KINDS = ("container", "script", "shell", "workflow")
"""What a `run` task can run; it names exactly one."""

MEMBERS = ("await", "return", *KINDS)
RETURNS = ("stdout", "stderr", "code", "all", "none")

_LANGUAGES = {"python": "python", "js": "javascript", "javascript": "javascript"}
_CONTAINER = (
    "image",
    "name",
    "command",
    "ports",
    "volumes",
    "environment",
    "stdin",
    "arguments",
    "lifetime",
    "pullPolicy",
)


def read_run(fields: Fields, place: Place, found: Found) -> Task | None:
    """The task, or None when it has errors that leave nothing to model."""
    pointer, node = found["run"]
    parts = fields.members(node, pointer, MEMBERS, what="run")
    kinds = [kind for kind in KINDS if kind in parts]
    if len(kinds) != 1:
        if isinstance(node.json, dict):
            given = " and ".join(kinds) or "none of them"
            message = f"run has exactly one of {', '.join(KINDS)}; this has {given}"
            fields.findings.error("property.bad-value", message, pointer, node.position)
        return None
    waits = fields.boolean(parts.get("await"), "await", default=True)
    return_ = fields.one_of(parts.get("return"), "return", RETURNS)
    where, what = parts[kinds[0]]
    match kinds[0]:
        case "shell":
            return _shell(fields, place, where, what, waits, return_)
        case "script":
            return _script(fields, place, where, what, waits, return_)
        case "workflow":
            if return_ in ("stderr", "code", "all"):
                message = f"a workflow has no {return_!r}: it gives its output, or with `none` nothing"
                fields.findings.error("property.bad-value", message, parts["return"][0], parts["return"][1].position)
            return _workflow(fields, place, where, what, waits, return_ != "none")
        case _:
            fields.members(what, where, _CONTAINER, required=("image",), what="a container")
            return UnsupportedTask(**place.common, what="run: container")


def _shell(fields: Fields, place: Place, pointer: str, node: Node, waits: bool, return_: str | None) -> Task | None:
    parts = fields.members(
        node, pointer, ("command", "stdin", "arguments", "environment"), required=("command",), what="a shell process"
    )
    command = fields.code(parts.get("command"), "command", place.body)
    common = _process(fields, place, parts, waits, return_)
    return None if command is None else ProcessTask(process="shell", command=command, **common)


def _script(fields: Fields, place: Place, pointer: str, node: Node, waits: bool, return_: str | None) -> Task | None:
    parts = fields.members(
        node,
        pointer,
        ("language", "code", "source", "stdin", "arguments", "environment"),
        required=("language",),
        what="a script process",
    )
    if isinstance(node.json, dict) and ("code" in node.members) == ("source" in node.members):
        message = "a script has either its 'code' or a 'source'"
        fields.findings.error("property.bad-value", message, pointer, node.position)
    language = fields.one_of(parts.get("language"), "language", tuple(_LANGUAGES))
    code = fields.code(parts.get("code"), "code", place.body)
    source = read_resource(fields, parts.get("source"), place.body, "the source of a script")
    common = _process(fields, place, parts, waits, return_)
    if language is None or (code is None and source is None):
        return None
    known: Any = _LANGUAGES[language]
    return ProcessTask(process="script", language=known, code=code, source=source, **common)


def _process(fields: Fields, place: Place, parts: Found, waits: bool, return_: str | None) -> dict[str, Any]:
    """What shells and scripts have in common."""
    return {
        **place.common,
        "arguments": _arguments(fields, parts.get("arguments"), place),
        "environment": _environment(fields, parts.get("environment"), place),
        "stdin": fields.text(parts.get("stdin"), "stdin", place.body),
        "await_": waits,
        "return_": cast("ProcessReturn", return_ or "stdout"),
    }


def _arguments(fields: Fields, found: tuple[str, Node] | None, place: Place) -> Template | None:
    """A list or an object, or an expression that gives one."""
    if found is None:
        return None
    template = fields.template(found[1], found[0], place.body)
    if isinstance(template, Literal) and not isinstance(template.value, list | dict):
        message = f"arguments must be a list, an object or an expression, not {type_name(template.value)}"
        fields.findings.error("property.wrong-type", message, found[0], found[1].position)
        return None
    return template


def _environment(fields: Fields, found: tuple[str, Node] | None, place: Place) -> Template | None:
    if found is None:
        return None
    template = fields.template(found[1], found[0], place.body)
    if isinstance(template, Literal) and not isinstance(template.value, Mapping):
        message = f"environment must be an object or an expression, not {type_name(template.value)}"
        fields.findings.error("property.wrong-type", message, found[0], found[1].position)
        return None
    return template


def _workflow(fields: Fields, place: Place, pointer: str, node: Node, waits: bool, output: bool) -> Task | None:
    parts = fields.members(
        node, pointer, ("namespace", "name", "version", "input"), required=("namespace", "name"), what="a workflow process"
    )
    namespace = fields.text(parts.get("namespace"), "namespace", place.body)
    name = fields.text(parts.get("name"), "name", place.body)
    version = fields.text(parts.get("version"), "version", place.body) if "version" in parts else Literal("latest")
    input_ = fields.template(parts["input"][1], parts["input"][0], place.body) if "input" in parts else None
    if namespace is None or name is None or version is None:
        return None
    return WorkflowRunTask(
        **place.common,
        namespace=namespace,
        workflow_name=name,
        version=version,
        input_=input_,
        await_=waits,
        output=output,
    )
