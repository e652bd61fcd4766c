"""From a pydantic model to a structural OpenAPI v3 schema as the API server wants it.

Called by `definitions.py`. Kubernetes takes a subset of JSON Schema: references inlined, no `const`,
null as `nullable`, no `additionalProperties` beside `properties`, no `title`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

DROPPED = ("title", "$defs", "uniqueItems", "examples", "discriminator")


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model's schema, structural; raises ValueError where a part has neither type nor preserve-unknown-fields."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    result = _convert(raw, raw.get("$defs", {}), "")
    assert isinstance(result, dict)  # noqa: S101 - a model's schema is an object; says so to the type checker
    return result


def _convert(node: Any, definitions: dict[str, Any], path: str) -> Any:
    if isinstance(node, list):
        return [_convert(item, definitions, path) for item in node]
    if not isinstance(node, dict):
        return node
    node = dict(node)
    if "$ref" in node:
        target = definitions[node.pop("$ref").rsplit("/", 1)[1]]
        node = {**target, **node}
    if "anyOf" in node and "properties" not in node:  # a union; beside properties it is a condition, and stays
        options = [option for option in node.pop("anyOf") if option.get("type") != "null"]
        if len(options) != 1:
            raise ValueError(f"{path}: a union other than with null has no structural schema")
        return _convert({**options[0], **node}, definitions, path)
    if "default" in node:
        node["default"] = _without_null(node["default"])
        if node["default"] in (None, [], {}):
            del node["default"]
    for key in DROPPED:
        node.pop(key, None)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if "properties" in node:
        node.pop("additionalProperties", None)
        node["properties"] = {
            name: _convert(value, definitions, f"{path}.{name}") for name, value in node["properties"].items()
        }
    if "items" in node:
        node["items"] = _convert(node["items"], definitions, f"{path}[]")
    if node.get("x-kubernetes-preserve-unknown-fields"):
        node.pop("additionalProperties", None)  # beside it, the API server would keep the first level only
    if isinstance(node.get("additionalProperties"), dict):
        node["additionalProperties"] = _convert(node["additionalProperties"], definitions, f"{path}{{}}")
    any_kind = ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string")
    if "type" not in node and not any(node.get(key) for key in any_kind):
        raise ValueError(f"{path}: neither a type nor x-kubernetes-preserve-unknown-fields")
    return node


def _without_null(value: Any) -> Any:
    """A default without the fields that are null or empty: the API server wants the former absent, nobody the latter."""
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if item not in (None, [], {})}
