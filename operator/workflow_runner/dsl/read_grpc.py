"""Reading `call: grpc` tasks, for `read_tasks`.

Beyond the reference, `proto` may be left out (the server is then asked by reflection), `service.tls` says whether
the connection is encrypted, and `metadata` is sent along (docs/language.md, "gRPC").
"""

from __future__ import annotations

import re

from workflow_runner.dsl.fields import Fields, Found, Place
from workflow_runner.dsl.model import GrpcCallTask, Task
from workflow_runner.dsl.nodes import Node, items
from workflow_runner.dsl.read_authentication import described, read_authentication
from workflow_runner.dsl.read_openapi import object_template
from workflow_runner.dsl.read_resources import read_resource
from workflow_runner.dsl.templates import Literal, Template

_ARGUMENTS = ("proto", "service", "method", "arguments", "metadata")
_SERVICE = ("name", "host", "port", "authentication", "tls")
_HOST = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?|\[[0-9a-fA-F:.]+\]")
_SERVICE_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)*")
_METHOD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
METADATA_NAME = re.compile(r"[0-9a-zA-Z_.-]+")


def read_grpc(fields: Fields, place: Place, found: Found) -> Task | None:
    """The task, or None when it has errors that leave nothing to model."""
    if "with" not in found:
        fields.findings.error("property.missing", "a call of grpc needs 'with'", place.pointer, place.node.position)
        return None
    pointer, node = found["with"]
    parts = fields.members(node, pointer, _ARGUMENTS, required=("service", "method"), what="a call of grpc")
    proto = read_resource(fields, parts.get("proto"), place.body, "a proto resource")
    method = _matching(fields, parts, "method", _METHOD, "the name of a method", place)
    arguments = object_template(fields, parts, "arguments", place)
    metadata = object_template(fields, parts, "metadata", place)
    if "metadata" in parts and isinstance(parts["metadata"][1].json, dict):
        _check_metadata(fields, *parts["metadata"])
    if "service" not in parts:
        return None
    where, service = parts["service"]
    inner = fields.members(service, where, _SERVICE, required=("name", "host"), what="a grpc service")
    name = _matching(fields, inner, "name", _SERVICE_NAME, "the full name of a service, such as package.Service", place)
    host = _matching(fields, inner, "host", _HOST, "a host name or an address, without scheme and port", place)
    port = _port(fields, inner, place)
    authentication = read_authentication(fields, inner.get("authentication"), place.body)
    tls = inner["tls"][1].json if "tls" in inner and fields.expect(inner["tls"][1], inner["tls"][0], bool, "tls") else None
    if name is None or host is None or method is None or ("proto" in parts and proto is None):
        return None
    return GrpcCallTask(
        **place.common,
        proto=proto,
        service=name,
        host=host,
        port=port,
        tls=tls if isinstance(tls, bool) else None,
        method=method,
        arguments=arguments,
        metadata_sent=metadata,
        authentication=authentication,
        authorization=described(fields, place, authentication),
    )


def _matching(fields: Fields, parts: Found, name: str, pattern: re.Pattern[str], wanted: str, place: Place) -> Template | None:
    """A string that matches, or an expression."""
    template = fields.text(parts.get(name), name, place.body)
    if isinstance(template, Literal) and pattern.fullmatch(str(template.value)) is None:
        where, node = parts[name]
        fields.findings.error("property.bad-value", f"{name} is {template.value!r}; it is {wanted}", where, node.position)
    return template


def _port(fields: Fields, parts: Found, place: Place) -> Template | None:
    if "port" not in parts:
        return None
    pointer, node = parts["port"]
    if isinstance(node.json, str):
        template = fields.template(node, pointer, place.body)
        if not isinstance(template, Literal):
            return template
    number = fields.whole(parts["port"], "port", least=0, most=65535)
    return None if number is None else Literal(number)


def _check_metadata(fields: Fields, pointer: str, node: Node) -> None:
    for name, where, key, value in items(node, pointer):
        if METADATA_NAME.fullmatch(name) is None or name.lower().startswith("grpc-"):
            message = f"{name!r} is no name of metadata: letters, digits, '-', '_' and '.', and grpc- is reserved"
            fields.findings.error("property.bad-value", message, where, key)
        if isinstance(value.json, dict | list) or value.json is None:
            message = f"the metadata {name!r} must be a string"
            fields.findings.error("property.wrong-type", message, where, value.position)
