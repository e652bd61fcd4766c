"""The messages that are exchanged with Stigmer have its names and numbers: stigmer.txt is what Stigmer publishes, and the
generated descriptors have all of it. They may have more: fields of ours, services of the older API."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor, MethodDescriptor

TABLE = Path(__file__).with_name("stigmer.txt")
NOT_KNOWN = {("ai.stigmer.commons.apiresource.apiresourcekind.ApiResourceKindMeta", "group")}
"""Fields whose type Stigmer's table names and does not define."""

_SCALARS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_BYTES: "bytes",
}


def files() -> Iterator[tuple[str, str, list[str]]]:
    """(path, package, lines) of each file."""
    for block in TABLE.read_text().split("\nfile ")[1:]:
        head, *lines = block.strip().splitlines()
        path, package = head.split()
        yield path, package, lines


FILES = list(files())


def generated(path: str) -> FileDescriptor:
    name = path.removesuffix(".proto").replace("/", ".")
    found: FileDescriptor = importlib.import_module(f"workflow_runner.proto.{name}_pb2").DESCRIPTOR
    return found


def type_of(field: FieldDescriptor) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (type_of(field.message_type.fields_by_name[name]) for name in ("key", "value"))
        return f"map<{key},{value}>"
    named = field.message_type or field.enum_type
    single = named.full_name if named is not None else _SCALARS[field.type]
    return f"repeated {single}" if field.is_repeated else single


def rpc_of(method: MethodDescriptor) -> str:
    assert not method.client_streaming
    return f"rpc {method.name} {method.input_type.full_name} {'~' * method.server_streaming}{method.output_type.full_name}"


def lines_of(file: FileDescriptor) -> set[tuple[str, str]]:
    """(what it belongs to, line) for all that a file has."""
    found: set[tuple[str, str]] = set()
    for service in file.services_by_name.values():
        found |= {(f"service {service.full_name}", rpc_of(method)) for method in service.methods}
    for message in file.message_types_by_name.values():
        found |= {(f"message {message.full_name}", f"{one.number} {one.name} {type_of(one)}") for one in message.fields}
    for enum in file.enum_types_by_name.values():
        found |= {(f"enum {enum.full_name}", f"{value.number} {value.name}") for value in enum.values}
    return found


def wanted(lines: list[str]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    owner = ""
    for line in lines:
        if line.startswith(("service ", "message ", "enum ")):
            owner = line
        elif (owner.partition(" ")[2], line.split()[1]) not in NOT_KNOWN:
            found.add((owner, line))
    return found


def test_the_table_is_whole() -> None:
    assert len(FILES) > 40
    assert sum(len(lines) for _, _, lines in FILES) > 300


@pytest.mark.parametrize(("path", "package", "lines"), FILES, ids=[path for path, _, _ in FILES])
def test_what_is_generated_has_stigmers_names_and_numbers(path: str, package: str, lines: list[str]) -> None:
    file = generated(path)
    assert (file.name, file.package) == (path, package)
    assert wanted(lines) - lines_of(file) == set()


@pytest.mark.parametrize("path", [path for path, _, _ in FILES if "workflowrunner" not in path])
def test_nothing_is_added_to_messages_that_are_not_ours(path: str) -> None:
    (lines,) = [lines for name, _, lines in FILES if name == path]
    assert lines_of(generated(path)) == wanted(lines)
