"""Reading schemas of input, output and export, for `read_tasks` and the loader.

Whether a document is a JSON schema at all is told by `expressions.schemas`, which `read_document` asks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from workflow_runner.dsl.fields import Fields, Found, Scope
from workflow_runner.dsl.model import Schema
from workflow_runner.dsl.nodes import Node
from workflow_runner.dsl.read_authentication import endpoint_authentication
from workflow_runner.dsl.read_http import read_endpoint

DIALECTS: Mapping[str, str | None] = {
    "json": None,
    "json:2020-12": "https://json-schema.org/draft/2020-12/schema",
    "json:2019-09": "https://json-schema.org/draft/2019-09/schema",
    "json:draft-07": "http://json-schema.org/draft-07/schema#",
    "json:draft-06": "http://json-schema.org/draft-06/schema#",
    "json:draft-04": "http://json-schema.org/draft-04/schema#",
}
"""The formats of schemas, and the `$schema` that each stands for in a document that names none."""


def read_schema(fields: Fields, parts: Found, what: str, scope: Scope) -> Schema | None:
    """The member `schema` of `input`, `output` or `export` (`what`). `scope` is for a computed endpoint."""
    if "schema" not in parts:
        return None
    pointer, node = parts["schema"]
    name = f"{what}.schema"
    found = fields.members(node, pointer, ("format", "document", "resource"), what=name)
    format_ = fields.one_of(found.get("format"), "format", tuple(DIALECTS)) or "json"
    if isinstance(node.json, dict) and ("document" in found) == ("resource" in found):
        message = f"{name} has either a document or a resource"
        fields.findings.error("property.bad-value", message, pointer, node.position)
        return None
    schema = None
    if "document" in found:
        schema = _inline(fields, found["document"], name, DIALECTS[format_])
    elif "resource" in found:
        where, resource = found["resource"]
        inner = fields.members(resource, where, ("name", "endpoint"), required=("endpoint",), what="resource")
        fields.string(inner.get("name"), "name")
        endpoint = read_endpoint(fields, inner.get("endpoint"), scope)
        policy = endpoint_authentication(fields, inner.get("endpoint"), scope)
        if endpoint is not None:
            schema = Schema(name=name, pointer=where, position=resource.position, endpoint=endpoint, authentication=policy)
    if schema is not None:
        fields.schemas.append(schema)
    return schema


def _inline(fields: Fields, found: tuple[str, Node], name: str, dialect: str | None) -> Schema | None:
    pointer, node = found
    document = node.json
    if not isinstance(document, bool) and not fields.expect(node, pointer, dict, f"the document of {name}"):
        return None
    if dialect is not None and isinstance(document, dict) and "$schema" not in document:
        document = {"$schema": dialect, **document}
    return Schema(name=name, pointer=pointer, position=node.position, text=json.dumps(document, separators=(",", ":")))
