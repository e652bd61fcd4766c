"""How OpenAPI writes values into addresses, headers, cookies and forms. `calls.openapi_requests` uses it.

The styles are those of RFC 6570: members and items that are null are left out. Arrays and objects inside of arrays and
objects have no form in any style: NotWritable.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import quote

from workflow_runner.dsl.templates import Json

_RESERVED = ":/?[]@!$'()*,;="
"""What `allowReserved` leaves as it is: RFC 3986's reserved characters that do not end or divide a query."""

_SEPARATORS = {"form": ",", "spaceDelimited": "%20", "pipeDelimited": "%7C", "tabDelimited": "%09"}

Quote = Callable[[str], str]


class NotWritable(ValueError):
    """The value cannot be written in that style; the message says why."""


def in_path(name: str, value: Json, style: str, explode: bool) -> str:
    """A value as a part of a path, percent-encoded, with whatever the style puts before it."""
    if style not in ("simple", "label", "matrix"):
        raise NotWritable(f"the style {style!r:.40} is not for paths")
    if style == "matrix":
        return _matrix(quoted(name), value, explode)
    separator = "." if style == "label" and explode else ","
    return ("." if style == "label" else "") + _joined(value, explode, separator, quoted)


def in_header(value: Json, style: str, explode: bool) -> str:
    """A value as the text of a header, as it is."""
    if style != "simple":
        raise NotWritable(f"the style {style!r:.40} is not for headers")
    return _joined(value, explode, ",", str)


def pairs(name: str, value: Json, style: str, explode: bool, *, allow_reserved: bool = False) -> list[tuple[str, str]]:
    """A value as the pairs of a query, a form or a cookie, percent-encoded."""
    encode = _quoted_but_reserved if allow_reserved else quoted
    key = quoted(name)
    if style == "deepObject":
        if not isinstance(value, dict):
            raise NotWritable("the style 'deepObject' is for objects")
        return [(f"{key}%5B{quoted(member)}%5D", _primitive(item, encode)) for member, item in _members(value)]
    if style not in _SEPARATORS:
        raise NotWritable(f"the style {style!r:.40} is not for queries, forms and cookies")
    if isinstance(value, list) and explode:
        return [(key, _primitive(item, encode)) for item in value if item is not None]
    if isinstance(value, dict) and explode:
        return [(quoted(member), _primitive(item, encode)) for member, item in _members(value)]
    if value in ([], {}):
        return []
    return [(key, _joined(value, False, _SEPARATORS[style], encode))]


def quoted(text: str) -> str:
    """Everything percent-encoded but letters, digits and `-._~`."""
    return quote(text, safe="")


def plain(value: Json) -> str:
    """A string as it is, numbers and booleans as in JSON. Raises NotWritable for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise NotWritable("it holds arrays, objects or nulls inside of arrays or objects, which this style cannot write")


def _matrix(name: str, value: Json, explode: bool) -> str:
    if isinstance(value, list) and explode:
        return "".join(f";{name}={_primitive(item, quoted)}" for item in value if item is not None)
    if isinstance(value, dict) and explode:
        return "".join(f";{quoted(member)}={_primitive(item, quoted)}" for member, item in _members(value))
    return f";{name}={_joined(value, False, ',', quoted)}"


def _joined(value: Json, explode: bool, separator: str, encode: Quote) -> str:
    if isinstance(value, list):
        return separator.join(_primitive(item, encode) for item in value if item is not None)
    if isinstance(value, dict):
        between = "=" if explode else separator
        return separator.join(f"{encode(member)}{between}{_primitive(item, encode)}" for member, item in _members(value))
    return _primitive(value, encode)


def _members(value: dict[str, Json]) -> list[tuple[str, Json]]:
    return [(name, item) for name, item in value.items() if item is not None]


def _primitive(value: Json, encode: Quote) -> str:
    return encode(plain(value))


def _quoted_but_reserved(text: str) -> str:
    return quote(text, safe=_RESERVED)
