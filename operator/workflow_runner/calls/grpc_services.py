"""Services that were described at run time: finding a method, and messages from and to JSON. `calls.grpc` uses it.

JSON is mapped as Protocol Buffers' own mapping says (64-bit integers are strings, bytes are base64, …).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError, EncodeError, Message
from msgspec import Struct

from workflow_runner.calls.messages import closest, fault
from workflow_runner.dsl.nodes import escape
from workflow_runner.dsl.problems import COMMUNICATION, CONFIGURATION, VALIDATION, WorkflowFault
from workflow_runner.dsl.templates import Json

DEEPEST = 100
"""Levels of messages in messages."""

MOST_VALUES = 1_000_000
"""Of one answer: a message in two bytes may be an object of a thousand members."""

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")

_TYPES: Mapping[int, str] = {
    FieldDescriptor.CPPTYPE_INT32: "a whole number of 32 bits",
    FieldDescriptor.CPPTYPE_UINT32: "a whole number of 32 bits from 0",
    FieldDescriptor.CPPTYPE_INT64: "a whole number of 64 bits, as a number or a string",
    FieldDescriptor.CPPTYPE_UINT64: "a whole number of 64 bits from 0, as a number or a string",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_BOOL: "a boolean",
    FieldDescriptor.CPPTYPE_STRING: "a string",
}


class Method(Struct, frozen=True):
    """A method that can be called. `path` is what it is called by on the wire."""

    path: str
    input: Descriptor
    output: Descriptor
    streams: bool


class Services:
    """What one `.proto` or one server has."""

    def __init__(self, files: Sequence[FileDescriptorProto]) -> None:
        """`files` with what they import before them. Raises WorkflowFault (`configuration`)."""
        self._pool = descriptor_pool.DescriptorPool()
        try:
            for file in files:
                self._pool.Add(file)
        except (TypeError, ValueError) as error:
            raise fault(CONFIGURATION, "the description of the service contradicts itself") from error
        self._names = [
            f"{file.package}.{service.name}" if file.package else service.name for file in files for service in file.service
        ]

    @classmethod
    def compiled(cls, compiled: bytes) -> Services:
        """From a serialized FileDescriptorSet."""
        return cls(FileDescriptorSet.FromString(compiled).file)

    def method(self, service: str, method: str) -> Method:
        """A method by its service's name: the full one, or only its last part where that is enough.

        Raises WorkflowFault (`configuration`) for what is not there and for a method that takes a stream.
        """
        names = [name for name in self._names if name == service or name.endswith(f".{service}")]
        exact = [name for name in names if name == service] or names
        if len(exact) != 1:
            known = ", ".join(self._names[:10]) or "none"
            raise fault(CONFIGURATION, f"/with/service/name: there is no service {service!r:.100}; there are: {known:.500}")
        found = self._pool.FindServiceByName(exact[0]).methods_by_name
        if method not in found:
            close = closest(method, found)
            hint = f"did you mean {close!r:.100}?" if close else f"it has: {', '.join(list(found)[:20]) or 'none':.500}"
            raise fault(CONFIGURATION, f"/with/method: the service {exact[0]} has no method {method!r:.100}; {hint}")
        described = found[method]
        if described.client_streaming:
            detail = f"{exact[0]}/{method} takes a stream of messages: unary and server-streaming methods can be called"
            raise fault(CONFIGURATION, f"/with/method: {detail}")
        return Method(f"/{exact[0]}/{method}", described.input_type, described.output_type, bool(described.server_streaming))

    def request(self, method: Method, arguments: Mapping[str, Json]) -> bytes:
        """The message, as it is sent. Raises WorkflowFault (`validation`) that names the argument."""
        for pointer, why in _misshapen(method.input, arguments, "/with/arguments"):
            raise _unfit(method, pointer, why)
        message = message_factory.GetMessageClass(method.input)()
        try:
            self._parse(arguments, message)
            return message.SerializeToString()
        except (json_format.ParseError, EncodeError, ValueError, RecursionError) as error:
            pointer, why = self._mistake(method.input, arguments, "/with/arguments")
            raise _unfit(method, pointer, why) from error

    def answer(self, method: Method, content: bytes) -> Json:
        """A message that came, as JSON. Raises WorkflowFault (`communication`)."""
        kind = message_factory.GetMessageClass(method.output)
        try:
            message = kind.FromString(content)
            if _values(message, MOST_VALUES) < 0:
                raise fault(COMMUNICATION, f"the answer of {method.path} has more than {MOST_VALUES:,} values")
            found: Json = json_format.MessageToDict(
                message, always_print_fields_with_no_presence=True, descriptor_pool=self._pool
            )
        except (DecodeError, json_format.SerializeToJsonError, TypeError, ValueError, RecursionError) as error:
            raise fault(COMMUNICATION, f"the answer of {method.path} is no {method.output.full_name}") from error
        return found

    def _parse(self, value: Json | Mapping[str, Json], message: Message) -> None:
        json_format.ParseDict(cast("dict[str, Any]", value), message, descriptor_pool=self._pool, max_recursion_depth=DEEPEST)

    def _fits(self, kind: Descriptor, value: Json | Mapping[str, Json]) -> bool:
        try:
            self._parse(value, message_factory.GetMessageClass(kind)())
        except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError):
            return False
        return True

    def _mistake(self, kind: Descriptor, value: Json | Mapping[str, Json], pointer: str, level: int = 1) -> tuple[str, str]:
        """Where the argument is that does not fit, and what it should be. The library's messages repeat values, which
        may be secret."""
        if kind.full_name.startswith("google.protobuf.") or not isinstance(value, Mapping) or level > DEEPEST:
            return pointer, f"this is no {kind.full_name}"
        for name, item in value.items():
            where = f"{pointer}/{escape(name)}"
            field = _field(kind, name)
            if field is None:
                return where, _unknown(kind, name)
            if not self._fits(kind, {name: item}):
                return self._mistake_in(kind, field, name, item, where, level)
        return pointer, "fields exclude each other, or one is given twice"

    def _mistake_in(
        self, kind: Descriptor, field: FieldDescriptor, name: str, item: Json, where: str, level: int
    ) -> tuple[str, str]:
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            if not isinstance(item, dict):
                return where, "this must be an object"
            for key, one in item.items():
                if not self._fits(kind, {name: {key: one}}):
                    return self._mistake_of_one(message.fields_by_name["value"], one, f"{where}/{escape(key)}", level)
        elif field.is_repeated:
            if not isinstance(item, list):
                return where, "this must be an array"
            for number, one in enumerate(item):
                if not self._fits(kind, {name: [one]}):
                    return self._mistake_of_one(field, one, f"{where}/{number}", level)
        return self._mistake_of_one(field, item, where, level)

    def _mistake_of_one(self, field: FieldDescriptor, item: Json, where: str, level: int) -> tuple[str, str]:
        if field.message_type is not None:
            return self._mistake(field.message_type, item, where, level + 1)
        if field.enum_type is not None:
            names = ", ".join(list(field.enum_type.values_by_name)[:20])
            return where, f"this must be one of {names:.300}"
        wanted = "bytes in base64" if field.type == FieldDescriptor.TYPE_BYTES else _TYPES.get(field.cpp_type, "another type")
        return where, f"this must be {wanted}"


def _values(message: Message, left: int) -> int:
    """What is left of so many values after those that a message has as JSON; below 0 when there are more."""
    left -= len(message.DESCRIPTOR.fields)
    for field, value in message.ListFields():
        inner: Iterable[Any] = ()
        if field.message_type is None:
            left -= len(value) if field.is_repeated else 0
        elif field.message_type.GetOptions().map_entry:
            left -= len(value)
            inner = value.values() if field.message_type.fields_by_name["value"].message_type is not None else ()
        else:
            inner = value if field.is_repeated else (value,)
        for one in inner:
            if left < 0:
                return left
            left = _values(one, left)
    return left


def _misshapen(kind: Descriptor, value: Mapping[str, Json], pointer: str, level: int = 1) -> Iterator[tuple[str, str]]:
    """What the library would take without a word: anything empty for a message, and text that is not base64 for bytes."""
    for name, item in value.items():
        field = _field(kind, name)
        if field is None or item is None or level > DEEPEST:
            continue
        where = f"{pointer}/{escape(name)}"
        items: list[tuple[str, Json]] = [(where, item)]
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            field = field.message_type.fields_by_name["value"]
            items = [(f"{where}/{escape(key)}", one) for key, one in item.items()] if isinstance(item, dict) else []
        elif field.is_repeated:
            items = [(f"{where}/{number}", one) for number, one in enumerate(item)] if isinstance(item, list) else []
        for place, one in items:
            message = field.message_type
            if message is not None and not message.full_name.startswith("google.protobuf."):
                if not isinstance(one, dict):
                    yield place, f"this is no {message.full_name}"
                else:
                    yield from _misshapen(message, one, place, level + 1)
            elif field.type == FieldDescriptor.TYPE_BYTES and not (isinstance(one, str) and _BASE64.fullmatch(one)):
                yield place, "this must be bytes in base64"


def _field(kind: Descriptor, name: str) -> FieldDescriptor | None:
    """A field by one of its names in JSON."""
    found = kind.fields_by_camelcase_name.get(name) or kind.fields_by_name.get(name)
    return found or next((field for field in kind.fields if field.json_name == name), None)


def _unknown(kind: Descriptor, name: str) -> str:
    close = closest(name, kind.fields_by_name)
    return "there is no such field" + (f": did you mean {close!r:.100}?" if close else "")


def _unfit(method: Method, pointer: str, why: str) -> WorkflowFault:
    return fault(VALIDATION, f"{pointer:.500}: {why} ({method.input.full_name})")
