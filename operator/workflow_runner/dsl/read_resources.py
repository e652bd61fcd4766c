"""Reading external resources: where documents of other languages (OpenAPI, Protocol Buffers) are to be got.

Readers of calls use it. A resource is `{name, endpoint}`; its endpoint is an http or https URI as everywhere, or a
`file:` URI.
"""

from __future__ import annotations

import re

from workflow_runner.dsl.fields import Fields, Scope
from workflow_runner.dsl.model import Resource
from workflow_runner.dsl.nodes import Node
from workflow_runner.dsl.read_authentication import URI_TEMPLATE, endpoint_authentication
from workflow_runner.dsl.templates import Literal

FILE_TEMPLATE = re.compile(r"file:(?:[^{}\s?#]|\{[^{}\s+#./;?&=,!@|:*][^{}\s:*]*\})+")
"""A `file:` URI in which `{name}` stands for a property."""


def read_resource(fields: Fields, found: tuple[str, Node] | None, scope: Scope, what: str) -> Resource | None:
    """The resource, or None when there is none or it cannot be read. `what` is its name in messages."""
    if found is None:
        return None
    pointer, node = found
    parts = fields.members(node, pointer, ("name", "endpoint"), required=("endpoint",), what=what)
    fields.string(parts.get("name"), "name")
    if "endpoint" not in parts:
        return None
    policy = endpoint_authentication(fields, parts["endpoint"], scope)
    where, endpoint = parts["endpoint"]
    if isinstance(endpoint.json, dict):
        inner = fields.members(endpoint, where, ("uri", "authentication"), required=("uri",), what="an endpoint")
        if "uri" not in inner:
            return None
        where, endpoint = inner["uri"]
    template = fields.text((where, endpoint), "endpoint", scope)
    if template is None:
        return None
    if isinstance(template, Literal):
        text = str(template.value)
        if URI_TEMPLATE.fullmatch(text) is None and FILE_TEMPLATE.fullmatch(text) is None:
            message = (
                f"{text!r} is no endpoint of {what}: it is an http, https or file URI, in which {{name}} stands for a "
                "property of the task's input, or one expression ${ … }"
            )
            fields.findings.error("endpoint.invalid", message, where, endpoint.position)
    return Resource(endpoint=template, authentication=policy, pointer=pointer)
