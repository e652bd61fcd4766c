"""Reading `call: http` tasks, for `read_tasks`."""

from __future__ import annotations

import re

from workflow_runner.dsl.fields import Fields, Found, Place, Scope, type_name
from workflow_runner.dsl.model import HttpCallTask, Task
from workflow_runner.dsl.nodes import Node, items
from workflow_runner.dsl.read_authentication import URI_TEMPLATE, described, endpoint_authentication
from workflow_runner.dsl.templates import Literal, Template

_METHOD = re.compile(r"[A-Za-z]+")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ARGUMENTS = ("method", "endpoint", "headers", "body", "query", "output", "redirect")


def read_http(fields: Fields, place: Place, found: Found) -> Task | None:
    """The task, or None when it has errors that leave nothing to model."""
    if "with" not in found:
        fields.findings.error("property.missing", "a call of http needs 'with'", place.pointer, place.node.position)
        return None
    pointer, node = found["with"]
    parts = fields.members(node, pointer, _ARGUMENTS, required=("method", "endpoint"), what="a call of http")
    body = fields.template(parts["body"][1], parts["body"][0], place.body) if "body" in parts else None
    output = fields.one_of(parts.get("output"), "output", ("raw", "content", "response"))
    redirect = "redirect" in parts and fields.expect(parts["redirect"][1], parts["redirect"][0], bool, "redirect")
    method = fields.text(parts.get("method"), "method", place.body)
    if isinstance(method, Literal) and _METHOD.fullmatch(str(method.value)) is None:
        message = f"{method.value!r} is no HTTP method"
        fields.findings.error("property.bad-value", message, parts["method"][0], parts["method"][1].position)
    endpoint = read_endpoint(fields, parts.get("endpoint"), place.body)
    authentication = endpoint_authentication(fields, parts.get("endpoint"), place.body)
    headers = _pairs(fields, parts.get("headers"), "headers", place)
    query = _pairs(fields, parts.get("query"), "query", place)
    if method is None or endpoint is None:
        return None
    return HttpCallTask(
        **place.common,
        method=method,
        endpoint=endpoint,
        authentication=authentication,
        authorization=described(fields, place, authentication),
        headers=headers,
        query=query,
        body=body,
        output=output or "content",  # type: ignore[arg-type]  # one_of gives one of the choices
        redirect=redirect and parts["redirect"][1].json is True,
    )


def read_endpoint(fields: Fields, found: tuple[str, Node] | None, scope: Scope) -> Template | None:
    """The URI of an endpoint, which is an object or the URI itself; a literal one may be a URI template.

    Its authentication is read by `read_authentication.endpoint_authentication`.
    """
    if found is not None and isinstance(found[1].json, dict):
        parts = fields.members(found[1], found[0], ("uri", "authentication"), required=("uri",), what="an endpoint")
        found = parts.get("uri")
    template = fields.text(found, "endpoint", scope)
    if found is not None and isinstance(template, Literal) and URI_TEMPLATE.fullmatch(str(template.value)) is None:
        message = (
            f"{template.value!r} is no endpoint: it is an http or https URI, in which {{name}} stands for a property of "
            "the task's input, or one expression ${ … }"
        )
        fields.findings.error("endpoint.invalid", message, found[0], found[1].position)
    return template


def _pairs(fields: Fields, found: tuple[str, Node] | None, what: str, place: Place) -> Template | None:
    """Headers or query parameters: an object, or an expression that gives one."""
    if found is None:
        return None
    pointer, node = found
    if not isinstance(node.json, str):
        if not fields.expect(node, pointer, dict, what):
            return None
        template = fields.template(node, pointer, place.body)
        if what == "headers":
            _check_headers(fields, node, pointer)
        return template
    template = fields.template(node, pointer, place.body)
    if isinstance(template, Literal):
        message = f"{what} must be an object, or one expression ${{ … }} that gives one"
        fields.findings.error("property.wrong-type", message, pointer, node.position)
    return template


def _check_headers(fields: Fields, node: Node, pointer: str) -> None:
    for name, where, key, value in items(node, pointer):
        if isinstance(value.json, dict | list) or value.json is None:
            message = f"the header {name!r} must be a string, not {type_name(value.json)}"
            fields.findings.error("property.wrong-type", message, where, value.position)
        if _HEADER.fullmatch(name) is None:
            fields.findings.error("property.bad-value", f"{name!r} is no name of a header", where, key)
