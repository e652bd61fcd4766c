"""OpenAPI documents: from their text to the one operation that a call is about. `calls.openapi` uses it.

Only what a call needs is read, when it is needed: a document of ten thousand schemas costs what its JSON or YAML
costs. Documents are hostile: size, references and what is looked at are bounded. Swagger 2.0 is turned
into the terms of OpenAPI 3 here, so that nobody else knows the difference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from msgspec import Struct, field

from workflow_runner.calls.messages import closest, is_json
from workflow_runner.dsl.nodes import InvalidText, unescape
from workflow_runner.dsl.yaml_reader import read_yaml

LARGEST_DOCUMENT = 4 * 1024 * 1024
"""The most bytes of a document."""

MOST_VALUES = 250_000
"""The most values of one in JSON, which is parsed in one go (in YAML: dsl.nodes.MOST_NODES)."""

_MOST_REFERENCES = 32
_MOST_SCHEMAS = 200
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_VARIABLE = re.compile(r"\{([^{}]*)\}")
_VERSION = re.compile(r"3\.[0-9]+(?:\.[0-9]+)?(?:-[0-9A-Za-z.-]+)?")

Object: TypeAlias = Mapping[str, Any]


class InvalidOpenApi(ValueError):
    """The document cannot be used; the message says where (JSON pointer) and what."""


class UnknownOperation(ValueError):
    """The document has no such operation, or several."""


class Parameter(Struct, frozen=True):
    """Where a value goes, and how it is written. `media_type` is set where it is written as a document of its own.

    `secret` is that of an API key.
    """

    name: str
    location: str  # path, query, header, cookie
    required: bool
    style: str
    explode: bool
    allow_reserved: bool = False
    media_type: str | None = None
    secret: bool = False


class Part(Struct, frozen=True):
    """A member of a form. `style` None is the form's own way: objects as JSON, arrays as repeated members."""

    style: str | None = None
    explode: bool = True
    binary: bool = False
    content_type: str | None = None


class Body(Struct, frozen=True):
    """What a request body may be.

    `whole` are the names under which all of it may be given. Otherwise it is an object of `members`, and of any
    others when it is `open`. `parts` say how members of forms are written, where not in the usual way.
    """

    media_type: str
    required: bool
    whole: tuple[str, ...]
    members: tuple[str, ...] = ()
    required_members: tuple[str, ...] = ()
    open: bool = False
    parts: Mapping[str, Part] = field(default_factory=dict)


class Operation(Struct, frozen=True):
    """One operation. `url` is the server's, without a final slash; `path` has `{name}` for its parameters."""

    id: str
    method: str
    url: str
    path: str
    parameters: tuple[Parameter, ...]
    body: Body | None
    accept: str | None


class OpenApiDocument:
    """A document that was read; `uri` is where it came from, without credentials."""

    def __init__(self, root: Object, uri: str) -> None:
        """Raises InvalidOpenApi."""
        self._root = root
        self._uri = _without_credentials(uri)
        self._swagger = str(root.get("swagger", "")) in ("2.0", "2")
        version = str(root.get("openapi", ""))
        if not self._swagger and _VERSION.fullmatch(version) is None:
            said = f"`openapi` is {version!r:.20}" if version else "it has neither `openapi: 3.…` nor `swagger: '2.0'`"
            raise InvalidOpenApi(f"{said}: OpenAPI 3.0 and 3.1 and Swagger 2.0 can be used")
        self._places: dict[str, list[tuple[str, str]]] = {}
        for path, item in self._paths():
            for method in _METHODS:
                operation = item.get(method)
                if isinstance(operation, dict) and isinstance(identifier := operation.get("operationId"), str):
                    self._places.setdefault(identifier, []).append((path, method))

    def operation(self, identifier: str) -> Operation:
        """The operation with this id. Raises UnknownOperation and InvalidOpenApi."""
        places = self._places.get(identifier, [])
        if not places:
            close = closest(identifier, self._places)
            hint = f"; did you mean {close!r:.100}?" if close else ""
            raise UnknownOperation(f"the document has no operation {identifier!r:.100}{hint}")
        if len(places) > 1:
            raise UnknownOperation(f"the document has {len(places)} operations {identifier!r:.100}")
        path, method = places[0]
        item = self._object(self._root["paths"][path], f"/paths/{path}")
        operation: Object = item[method]
        where = f"/paths/{path}/{method}"
        declared = [*self._list(item, "parameters", where), *self._list(operation, "parameters", where)]
        found = [self._object(parameter, f"{where}/parameters") for parameter in declared]
        # What an operation declares goes before what its path does.
        by_place = {(str(one.get("name")), str(one.get("in"))): one for one in found}
        parameters = [parameter for one in by_place.values() if (parameter := self._parameter(one, where)) is not None]
        bodies = self._swagger_bodies(by_place, operation) if self._swagger else self._bodies(operation, where)
        return Operation(
            id=identifier,
            method=method,
            url=self._server(item, operation),
            path=path,
            parameters=(*parameters, *self._keys(operation, {(one.name, one.location) for one in parameters})),
            body=next(bodies, None),
            accept=self._accept(operation),
        )

    def _paths(self) -> Iterator[tuple[str, Object]]:
        paths = self._root.get("paths")
        if not isinstance(paths, dict):
            raise InvalidOpenApi("it has no `paths`")
        for path, item in paths.items():
            with suppress(InvalidOpenApi):  # a path that cannot be read is no concern of calls to the others
                yield path, self._object(item, f"/paths/{path}")

    def _parameter(self, declared: Object, where: str) -> Parameter | None:
        name, location = declared.get("name"), declared.get("in")
        if not isinstance(name, str) or not name:
            raise InvalidOpenApi(f"{where}/parameters: a parameter has no name")
        if location in ("body", "formData") and self._swagger:
            return None
        if location not in ("path", "query", "header", "cookie"):
            raise InvalidOpenApi(f"{where}/parameters: {name!r:.100} is in {location!r:.40}, which cannot be sent")
        required = location == "path" or declared.get("required") is True
        if self._swagger:
            style, explode = _collection_style(declared, location)
            return Parameter(name, location, required, style, explode)
        content = declared.get("content")
        if isinstance(content, dict) and content:
            return Parameter(name, location, required, "", False, media_type=str(next(iter(content))))
        style = str(declared.get("style") or ("form" if location in ("query", "cookie") else "simple"))
        explode = bool(declared.get("explode", style == "form"))
        return Parameter(name, location, required, style, explode, declared.get("allowReserved") is True)

    def _keys(self, operation: Object, known: set[tuple[str, str]]) -> Iterator[Parameter]:
        """The API keys that the operation asks for: optional parameters, since any of several schemes may do."""
        security = operation.get("security", self._root.get("security"))
        schemes = self._root.get("securityDefinitions") if self._swagger else self._component("securitySchemes")
        if not isinstance(security, list) or not isinstance(schemes, dict):
            return
        for name in dict.fromkeys(name for one in security[:100] if isinstance(one, dict) for name in one):
            scheme = self._object(schemes.get(name, {}), f"the security scheme {name!r:.100}")
            key, location = scheme.get("name"), scheme.get("in")
            if scheme.get("type") != "apiKey" or not isinstance(key, str) or (key, str(location)) in known:
                continue
            if location in ("query", "header", "cookie"):
                yield Parameter(key, location, False, "form" if location != "header" else "simple", True, secret=True)

    def _component(self, kind: str) -> Any:
        components = self._root.get("components")
        return components.get(kind) if isinstance(components, dict) else None

    def _bodies(self, operation: Object, where: str) -> Iterator[Body]:
        if "requestBody" not in operation:
            return
        body = self._object(operation["requestBody"], f"{where}/requestBody")
        content = body.get("content")
        if not isinstance(content, dict) or not content:
            raise InvalidOpenApi(f"{where}/requestBody has no `content`")
        media_type = str(min(content, key=_preference))
        media = self._object(content[media_type], f"{where}/requestBody/content/{media_type}")
        encoding = media.get("encoding")
        parts = encoding if isinstance(encoding, dict) else {}
        yield self._body(media_type, body.get("required") is True, ("body",), media.get("schema"), parts)

    def _body(self, media_type: str, required: bool, whole: tuple[str, ...], schema: Any, encoding: Object) -> Body:
        members: dict[str, Part] = {}
        needed: list[str] = []
        open_ = False
        for one in self._schemas(schema):
            properties = one.get("properties")
            if isinstance(properties, dict):
                for name, declared in properties.items():
                    members.setdefault(name, self._part(declared, encoding.get(name)))
            if isinstance(one.get("required"), list):
                needed += [name for name in one["required"] if isinstance(name, str)]
            extra = one.get("additionalProperties")
            open_ = open_ or extra is True or (isinstance(extra, dict))
        return Body(media_type, required, whole, tuple(members), tuple(dict.fromkeys(needed)), open_, members)

    def _part(self, schema: Any, encoding: Any) -> Part:
        declared: Object = next(self._schemas(schema), {})
        if declared.get("type") == "array":
            declared = next(self._schemas(declared.get("items")), {})
        binary = declared.get("format") == "binary" or (
            "contentMediaType" in declared and "contentEncoding" not in declared and "type" not in declared
        )
        if not isinstance(encoding, dict):
            return Part(binary=binary)
        style = encoding.get("style")
        content_type = encoding.get("contentType")
        return Part(
            style=str(style) if style else ("form" if "explode" in encoding else None),
            explode=bool(encoding.get("explode", style in (None, "form"))),
            binary=binary,
            content_type=content_type.split(",")[0].strip() if isinstance(content_type, str) else None,
        )

    def _schemas(self, schema: Any) -> Iterator[Object]:
        """A schema and those that it is made of, each once."""
        waiting, seen = [schema], set[int]()
        while waiting and len(seen) < _MOST_SCHEMAS:
            one = waiting.pop(0)
            if not isinstance(one, dict):
                continue
            one = self._object(one, "a schema")
            if id(one) in seen:
                continue
            seen.add(id(one))
            yield one
            for kind in ("allOf", "anyOf", "oneOf"):
                if isinstance(one.get(kind), list):
                    waiting += one[kind][:_MOST_SCHEMAS]

    def _swagger_bodies(self, parameters: Mapping[tuple[str, str], Object], operation: Object) -> Iterator[Body]:
        consumes = operation.get("consumes", self._root.get("consumes"))
        types = [str(one) for one in consumes] if isinstance(consumes, list) else []
        body = next((one for (_, location), one in parameters.items() if location == "body"), None)
        if body is not None:
            whole = tuple(dict.fromkeys((str(body.get("name")), "body")))
            media_type = min(types or [_JSON], key=_preference)
            yield self._body(media_type, body.get("required") is True, whole, body.get("schema"), {})
        forms = {name: one for (name, location), one in parameters.items() if location == "formData"}
        if forms and body is None:
            files = any(one.get("type") == "file" for one in forms.values())
            chosen = _MULTIPART if files or (_MULTIPART in types and _FORM not in types) else _FORM
            needed = tuple(name for name, one in forms.items() if one.get("required") is True)
            parts = {name: _form_part(one) for name, one in forms.items()}
            yield Body(chosen, bool(needed), (), tuple(forms), needed, False, parts)

    def _accept(self, operation: Object) -> str | None:
        """JSON rather than anything else, where the operation may answer with it."""
        types: list[str] = []
        if self._swagger:
            produces = operation.get("produces", self._root.get("produces"))
            types = [str(one) for one in produces] if isinstance(produces, list) else []
        else:
            responses = operation.get("responses")
            for response in list(responses.values())[:50] if isinstance(responses, dict) else []:
                content = self._object(response, "a response").get("content")
                types += [str(one) for one in content] if isinstance(content, dict) else []
        chosen = next((one for one in types if is_json(one)), None)
        return None if chosen is None else f"{chosen}, */*;q=0.5"

    def _server(self, item: Object, operation: Object) -> str:
        if self._swagger:
            return self._swagger_server(operation)
        for place in (operation, item, self._root):
            servers = place.get("servers")
            if isinstance(servers, list) and servers:
                server = self._object(servers[0], "/servers/0")
                return self._absolute(self._filled(server))
        return self._absolute("/")

    def _filled(self, server: Object) -> str:
        """A server's address with the defaults of its variables."""
        url, variables = server.get("url"), server.get("variables")
        if not isinstance(url, str):
            raise InvalidOpenApi("/servers/0 has no `url`")

        def value(match: re.Match[str]) -> str:
            variable = variables.get(match[1]) if isinstance(variables, dict) else None
            default = variable.get("default") if isinstance(variable, dict) else None
            if default is None:
                raise InvalidOpenApi(f"/servers/0: the variable {match[1]!r:.100} has no default")
            return str(default)

        return _VARIABLE.sub(value, url)

    def _swagger_server(self, operation: Object) -> str:
        own = urlsplit(self._uri)
        schemes = operation.get("schemes", self._root.get("schemes"))
        known = [str(one) for one in schemes] if isinstance(schemes, list) else []
        scheme = "https" if "https" in known else "http" if "http" in known else own.scheme
        host, base = self._root.get("host", own.netloc), self._root.get("basePath", "/")
        return self._absolute(f"{scheme}://{host}/{str(base).lstrip('/')}" if host else str(base))

    def _absolute(self, url: str) -> str:
        if urlsplit(self._uri).scheme != "file":
            url = urljoin(self._uri, url)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InvalidOpenApi(f"the server's address {url!r:.200} is no http or https URI")
        if parts.query or parts.fragment:
            raise InvalidOpenApi(f"the server's address {url!r:.200} has a query or a fragment")
        return url.rstrip("/")

    def _list(self, of: Object, name: str, where: str) -> Sequence[Any]:
        value = of.get(name)
        if value is not None and not isinstance(value, list):
            raise InvalidOpenApi(f"{where}/{name} is no list")
        return value or ()

    def _object(self, value: Any, where: str) -> Object:
        """An object, after following its `$ref`."""
        for _ in range(_MOST_REFERENCES):
            if not isinstance(value, dict):
                raise InvalidOpenApi(f"{where} is no object")
            reference = value.get("$ref")
            if not isinstance(reference, str):
                return value
            if not reference.startswith("#"):
                raise InvalidOpenApi(f"{where} refers to {reference!r:.200}: references to other documents are not followed")
            value = self._at(reference, where)
        raise InvalidOpenApi(f"{where} refers to itself, or through more than {_MOST_REFERENCES} references")

    def _at(self, reference: str, where: str) -> Any:
        found: Any = self._root
        for part in unquote(reference[1:]).split("/")[1:]:
            name = unescape(part)
            if isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdecimal() and int(name[:9]) < len(found):
                found = found[int(name)]
            else:
                raise InvalidOpenApi(f"{where} refers to {reference!r:.200}, which is not there")
        return found


def read_openapi_document(text: bytes, uri: str) -> OpenApiDocument:
    """The document in a text of JSON or YAML. Takes up to a second: not for the event loop. Raises InvalidOpenApi."""
    if len(text) > LARGEST_DOCUMENT:
        raise InvalidOpenApi(f"it has {len(text)} bytes, more than {LARGEST_DOCUMENT}")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidOpenApi(f"byte {error.start} is not UTF-8") from error
    root: Any = None
    if decoded.lstrip()[:1] == "{":
        if sum(decoded.count(sign) for sign in ",[{") > MOST_VALUES:
            raise InvalidOpenApi(f"it has more than {MOST_VALUES} values")
        try:
            root = json.loads(decoded)
        except (ValueError, RecursionError):
            root = None  # YAML in flow style, or neither: its parser says what is wrong
    if root is None:
        try:
            root = read_yaml(decoded)[0].json
        except InvalidText as error:
            place = f"line {error.position.line}, column {error.position.column}"
            raise InvalidOpenApi(f"it is neither JSON nor YAML: {place}: {error}") from error
    if not isinstance(root, dict):
        raise InvalidOpenApi("it is no object")
    return OpenApiDocument(root, uri)


def _preference(media_type: str) -> int:
    """JSON before forms before what can only be sent as it is."""
    kind = media_type.split(";")[0].strip().lower()
    if is_json(kind):
        return 0
    return {_FORM: 1, _MULTIPART: 2, "*/*": 3, "application/*": 3}.get(kind, 4)


def _collection_style(declared: Object, location: str) -> tuple[str, bool]:
    """Swagger's collectionFormat as a style."""
    match declared.get("collectionFormat"):
        case "multi":
            return "form", True
        case "ssv":
            return "spaceDelimited", False
        case "pipes":
            return "pipeDelimited", False
        case "tsv":
            return "tabDelimited", False
        case _:
            return ("form" if location == "query" else "simple"), False


def _form_part(declared: Object) -> Part:
    if declared.get("type") == "file":
        return Part(binary=True)
    style, explode = _collection_style(declared, "query")
    return Part(style=style, explode=explode) if declared.get("type") == "array" else Part()


def _without_credentials(uri: str) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
