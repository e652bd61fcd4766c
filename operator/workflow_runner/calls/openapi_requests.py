"""From an operation and the task's `parameters` to a request. `calls.openapi` sends it.

A parameter goes to every place in which the operation declares one of that name. What the operation does not
declare belongs to the body: `body` (or the name of Swagger's body parameter) is all of it, other names are members
of it. Faults name the place in the task's document: /with/parameters/….
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from msgspec import Struct, field
from yarl import URL

from workflow_runner.calls.messages import closest, fault, json_bytes
from workflow_runner.calls.openapi_documents import Body, Operation, Parameter, Part
from workflow_runner.calls.openapi_styles import NotWritable, in_header, in_path, pairs, plain, quoted
from workflow_runner.dsl.nodes import escape
from workflow_runner.dsl.problems import CONFIGURATION, VALIDATION, WorkflowFault
from workflow_runner.dsl.templates import Json

_VARIABLE = re.compile(r"\{([^{}]*)\}")
_FORM = "application/x-www-form-urlencoded"
_MOST_NAMED = 10
_IN_PATHS = "/:@!$&'()*+,;=-._~%"
"""What a document's paths may have as it is."""


class OpenApiRequest(Struct):
    """A request: the address with its query, headers, and the body as it is sent."""

    method: str
    uri: str
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None

    def __repr__(self) -> str:
        """Without the address, the headers and the body: API keys may be in each of them."""
        return f"OpenApiRequest({self.method!r})"


def request_for(operation: Operation, parameters: Mapping[str, Json]) -> OpenApiRequest:
    """The request. Raises WorkflowFault: `validation` for parameters that do not fit, `configuration` for a bad document."""
    declared = {parameter.name for parameter in operation.parameters}
    for parameter in operation.parameters:
        if parameter.required and parameters.get(parameter.name) is None:
            raise _wrong(parameter.name, f"operation {operation.id!r:.100} needs this parameter (in {parameter.location})")
    body, value = _body(operation, {name: item for name, item in parameters.items() if name not in declared})
    given = [parameter for parameter in operation.parameters if parameters.get(parameter.name) is not None]
    query = [
        pair for parameter in given if parameter.location == "query" for pair in _pairs(parameter, parameters[parameter.name])
    ]
    try:
        server = str(URL(operation.url)).rstrip("/")
    except ValueError as error:
        raise fault(CONFIGURATION, "the OpenAPI document: the server's address is none") from error
    uri = server + _path(operation, given, parameters)
    if query:
        uri += "?" + _encoded(query)
    request = OpenApiRequest(operation.method, uri)
    if operation.accept is not None:
        request.headers["Accept"] = operation.accept
    cookies: list[tuple[str, str]] = []
    for parameter in given:
        item = parameters[parameter.name]
        if parameter.location == "header":
            text = _header(parameter, item)
            request.headers = {name: old for name, old in request.headers.items() if name.lower() != parameter.name.lower()}
            request.headers[parameter.name] = text
        elif parameter.location == "cookie":
            cookies += _pairs(parameter, item)
    if cookies:
        request.headers["Cookie"] = "; ".join(f"{name}={text}" for name, text in cookies)
    if body is not None:
        request.content, media_type = _content(body, value)
        request.headers = {name: old for name, old in request.headers.items() if name.lower() != "content-type"}
        request.headers["Content-Type"] = media_type
    return request


def _body(operation: Operation, rest: Mapping[str, Json]) -> tuple[Body | None, Json]:
    """The body to send, and its value: what the operation's parameters have not taken."""
    body = operation.body
    if body is None:
        _refuse_unknown(operation, rest, [])
        return None, None
    whole = next((name for name in body.whole if name in rest and name not in body.members), None)
    if whole is not None:
        _refuse_unknown(operation, {name: item for name, item in rest.items() if name != whole}, [], beside=whole)
        return body, rest[whole]
    if not body.open:
        _refuse_unknown(operation, rest, [*body.members, *body.whole])
    if not rest:
        if body.required:
            name = body.whole[0] if body.whole else body.required_members[0]
            raise _wrong(name, f"operation {operation.id!r:.100} needs a body")
        return None, None
    for name in body.required_members:
        if name not in rest:
            raise _wrong(name, f"the body of operation {operation.id!r:.100} needs this member")
    return body, dict(rest)


def _refuse_unknown(operation: Operation, names: Mapping[str, Json], more: Sequence[str], beside: str = "") -> None:
    for name in names:
        if name in more:
            continue
        if beside:
            raise _wrong(name, f"the body is given by {beside!r:.100} as a whole, and this is no other parameter")
        known = [*dict.fromkeys([*(one.name for one in operation.parameters), *more])]
        close = closest(name, known)
        if close:
            hint = f"; did you mean {close!r:.100}?"
        elif known:
            hint = "; it has " + ", ".join(f"{one!r:.60}" for one in known[:_MOST_NAMED])
        else:
            hint = "; it has none"
        raise _wrong(name, f"operation {operation.id!r:.100} has no such parameter{hint}")


def _path(operation: Operation, given: Sequence[Parameter], parameters: Mapping[str, Json]) -> str:
    known = {parameter.name: parameter for parameter in given if parameter.location == "path"}

    def value(match: re.Match[str]) -> str:
        parameter = known.get(match[1])
        if parameter is None:
            detail = f"the OpenAPI document: the path {operation.path!r:.200} has {{{match[1]:.100}}}, which is not declared"
            raise fault(CONFIGURATION, detail)
        text = _written(parameter, parameters[parameter.name])
        if not text:
            raise _wrong(parameter.name, "a part of a path cannot be empty")
        return text

    literals = [quote(part, safe=_IN_PATHS) for part in _VARIABLE.split(operation.path)[::2]]
    values = [value(match) for match in _VARIABLE.finditer(operation.path)]
    path = "".join(part for pair in zip(literals, [*values, ""], strict=True) for part in pair)
    if any(segment in (".", "..") for segment in path.split("/")):
        # They would lead to another operation.
        names = ", ".join(known) or "the document"
        raise fault(VALIDATION, f"/with/parameters: a segment of the path cannot be '.' or '..' (of {names:.200})")
    return path


def _written(parameter: Parameter, value: Json) -> str:
    if parameter.media_type is not None:
        return quoted(_document(value))
    try:
        return in_path(parameter.name, value, parameter.style, parameter.explode)
    except NotWritable as error:
        raise _wrong(parameter.name, str(error)) from error


def _pairs(parameter: Parameter, value: Json) -> list[tuple[str, str]]:
    if parameter.media_type is not None:
        return [(quoted(parameter.name), quoted(_document(value)))]
    try:
        return pairs(parameter.name, value, parameter.style, parameter.explode, allow_reserved=parameter.allow_reserved)
    except NotWritable as error:
        raise _wrong(parameter.name, str(error)) from error


def _header(parameter: Parameter, value: Json) -> str:
    if parameter.media_type is not None:
        return _document(value)
    try:
        return in_header(value, parameter.style, parameter.explode)
    except NotWritable as error:
        raise _wrong(parameter.name, str(error)) from error


def _document(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _encoded(found: list[tuple[str, str]]) -> str:
    return "&".join(f"{name}={text}" for name, text in found)


def _content(body: Body, value: Json) -> tuple[bytes, str]:
    """The bytes of a body and the type that they are sent as."""
    kind = body.media_type.split(";")[0].strip().lower()
    if kind == _FORM:
        return _form(body, _members(body, value)).encode(), _FORM
    if kind == "multipart/form-data":
        return _multipart(body, _members(body, value))
    if kind == "application/json" or kind.endswith("+json"):
        return json_bytes(value), body.media_type
    if "*" in kind:
        return json_bytes(value), "application/json"
    if not isinstance(value, str):
        raise _wrong(_body_name(body), f"a body of {kind:.100} must be given as a string")
    if kind.startswith("text/") or kind in ("application/xml", "application/yaml") or kind.endswith("+xml"):
        return value.encode(), body.media_type if "charset" in body.media_type else f"{body.media_type}; charset=utf-8"
    return _bytes(_body_name(body), value), body.media_type


def _body_name(body: Body) -> str:
    return body.whole[0] if body.whole else "body"


def _members(body: Body, value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise _wrong(_body_name(body), "the members of a form must be given as an object")
    found: dict[str, Json] = {}
    for name, item in value.items():
        if isinstance(item, list):
            found[name] = [one for one in item if one is not None]
        elif item is not None:
            found[name] = item
    return found


def _form(body: Body, members: Mapping[str, Json]) -> str:
    found: list[tuple[str, str]] = []
    for name, value in members.items():
        part = body.parts.get(name, Part())
        try:
            if part.style is not None:
                found += pairs(name, value, part.style, part.explode)
                continue
        except NotWritable as error:
            raise _wrong(name, str(error)) from error
        for item in value if isinstance(value, list) else [value]:
            found.append((quoted(name), quoted(_document(item))))
    return _encoded(found)


def _multipart(body: Body, members: Mapping[str, Json]) -> tuple[bytes, str]:
    parts: list[bytes] = []
    for name, value in members.items():
        part = body.parts.get(name, Part())
        parts += [_multipart_part(name, item, part) for item in (value if isinstance(value, list) else [value])]
    # It must stand in none of the parts, and be the same when the call is made again.
    boundary = "workflow-runner-" + hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]
    lines = [b"--%b\r\n%b\r\n" % (boundary.encode(), part) for part in parts]
    return b"".join(lines) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _multipart_part(name: str, value: Json, part: Part) -> bytes:
    shown = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = f'Content-Disposition: form-data; name="{shown}"'
    if part.binary:
        if not isinstance(value, str):
            raise _wrong(name, "a file must be given as a string, its content in base64")
        content, media_type = _bytes(name, value), part.content_type or "application/octet-stream"
        head += f'; filename="{shown}"'
    elif isinstance(value, dict | list) or (part.content_type or "").endswith("json"):
        content, media_type = json_bytes(value), part.content_type or "application/json"
    else:
        content, media_type = plain(value).encode(), part.content_type or "text/plain; charset=utf-8"
    if "\r" in media_type or "\n" in media_type:
        raise fault(CONFIGURATION, f"the OpenAPI document: the content type of {name!r:.100} is none")
    return f"{head}\r\nContent-Type: {media_type}\r\n\r\n".encode() + content


def _bytes(name: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _wrong(name, "what is neither JSON nor text must be given in base64, as answers have it") from error


def _wrong(name: str, why: str) -> WorkflowFault:
    return fault(VALIDATION, f"/with/parameters/{escape(name):.200}: {why}")
