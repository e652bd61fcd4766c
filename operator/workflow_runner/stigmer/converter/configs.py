"""A task_config, which is a Struct, against the message that belongs to the task's kind: what it says, or what is wrong.

`tasks` reads every task with it. The rules are those of proto3 JSON, narrower where that takes several spellings for one
value: members by the field's name or its lowerCamelCase, numbers as numbers, enum values by name or number, and a null is
a member that is not there. Unknown members are errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.struct_pb2 import Struct as ProtoStruct
from msgspec import Struct, field

from workflow_runner.dsl.diagnostics import MOST, Diagnostic, Severity
from workflow_runner.dsl.fields import type_name
from workflow_runner.dsl.nodes import DEEPEST, MOST_NODES, escape
from workflow_runner.dsl.templates import Json
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.spec_pb2 import WorkflowTask

_EXACT = 2**53
_INT32 = 2**31
_STRUCT = "google.protobuf.Struct"
_LONGEST = 500


class Problems:
    """What is wrong with one spec, in the order in which it was found."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.found: list[Diagnostic] = []
        self.errors = 0
        """How many errors there were, those that are not kept too."""

    @property
    def failed(self) -> bool:
        """Whether there was an error."""
        return self.errors > 0

    def error(self, code: str, message: str, pointer: str, task: str = "", *, hint: str = "") -> None:
        """Note something that keeps the spec from becoming a document. `task` is the name of the task."""
        self.add("error", code, message, pointer, task, hint)

    def warning(self, code: str, message: str, pointer: str, task: str = "", *, hint: str = "") -> None:
        """Note something that is probably not meant."""
        self.add("warning", code, message, pointer, task, hint)

    def add(self, severity: Severity, code: str, message: str, pointer: str, task: str, hint: str) -> None:
        """Note it. The first MOST are kept, and never only warnings where there is an error."""
        text = f"task {task!r:.80}: {message}" if task else message
        found = Diagnostic(severity, code, text[:_LONGEST], self._name, 0, 0, pointer, hint[:_LONGEST])
        first_error = severity == "error" and not self.failed
        self.errors += severity == "error"
        if len(self.found) < MOST:
            self.found.append(found)
        elif first_error:
            self.found[-1] = found


class RawTask(Struct, frozen=True):
    """A task, from a message or from inside of another's config. `config` is as it was given."""

    name: str
    kind: int
    pointer: str
    config: Mapping[str, Json] = field(default_factory=dict)
    export_as: str = ""
    then: str = ""


def raw_task(task: WorkflowTask, problems: Problems, pointer: str) -> RawTask | None:
    """A task of the spec's own list."""
    where = f"{pointer}/task_config"
    budget = _Budget(problems, where, task.name)
    config = budget.json_of(task.task_config, where, 1)
    if not isinstance(config, dict):
        return None
    return RawTask(task.name, task.kind, pointer, config, getattr(task.export, "as"), task.flow.then)


def inner_tasks(values: list[dict[str, Any]], pointer: str) -> Iterator[RawTask]:
    """The tasks in a config, as `read` gave them."""
    for number, value in enumerate(values):
        yield RawTask(
            value.get("name", ""),
            value.get("kind", 0),
            f"{pointer}/{number}",
            value.get("task_config", {}),
            value.get("export", {}).get("as", ""),
            value.get("flow", {}).get("then", ""),
        )


class _Budget:
    """Reads a Struct of unknown size; notes the first thing about it that is no JSON, or too much, and then gives up."""

    def __init__(self, problems: Problems, pointer: str, task: str) -> None:
        self._problems, self._pointer, self._task = problems, pointer, task
        self._left = MOST_NODES
        self._stopped = False

    def json_of(self, struct: ProtoStruct, pointer: str, level: int) -> Json:
        """The object, or None. Members are sorted, since maps of messages have no order: the same spec is the same document."""
        fields = struct.fields
        found = {name: self._value(fields[name], f"{pointer}/{escape(name)}", level + 1) for name in sorted(fields)}
        return None if self._stopped else found

    def _value(self, value: Any, pointer: str, level: int) -> Json:
        self._left -= 1
        if self._stopped:
            return None
        if level > DEEPEST:
            self._stop("document.too-deep", f"it is nested more than {DEEPEST} levels deep", pointer)
            return None
        if self._left < 0:
            self._stop("document.too-large", f"it has more than {MOST_NODES:,} values", self._pointer)
            return None
        match value.WhichOneof("kind"):
            case "struct_value":
                return self.json_of(value.struct_value, pointer, level)
            case "list_value":
                return [self._value(item, f"{pointer}/{at}", level + 1) for at, item in enumerate(value.list_value.values)]
            case "number_value":
                number: float = value.number_value
                if not math.isfinite(number):
                    self._stop("document.not-json", "a number must be finite", pointer)
                    return None
                return int(number) if number.is_integer() and abs(number) <= _EXACT else number
            case "string_value":
                return str(value.string_value)
            case "bool_value":
                return bool(value.bool_value)
            case _:
                return None

    def _stop(self, code: str, message: str, pointer: str) -> None:
        self._stopped = True
        self._problems.error(code, message, pointer, self._task)


def read(message: Descriptor, value: Mapping[str, Json], pointer: str, task: str, problems: Problems) -> dict[str, Any]:
    """The fields that are set, by the names in the proto: texts, numbers, booleans, lists, maps and messages as dicts, enum
    values as numbers, Structs as they are. What is wrong is noted and left out."""
    return _Reader(task, problems).message(message, value, pointer)


class _Reader:
    def __init__(self, task: str, problems: Problems) -> None:
        self._task, self._problems = task, problems

    def message(self, message: Descriptor, value: Mapping[str, Json], pointer: str) -> dict[str, Any]:
        """An object, against a message's fields."""
        known: dict[str, FieldDescriptor] = {}
        for one in message.fields:
            known[one.name] = known[one.json_name] = one
        found: dict[str, Any] = {}
        for name, item in value.items():
            place = f"{pointer}/{escape(name)}"
            one_field = known.get(name)
            if one_field is None:
                self._unknown(name, place, message)
            elif one_field.name in found:
                self._wrong("stigmer.unknown-field", f"{one_field.name!r} is there twice, as {name!r} too", place)
            elif item is not None and (read_item := self._field(one_field, item, place)) is not None:
                found[one_field.name] = read_item
        return found

    def _unknown(self, name: str, pointer: str, message: Descriptor) -> None:
        from difflib import get_close_matches

        names = [one.name for one in message.fields]
        close = get_close_matches(name[:80], names, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"it can have {', '.join(names)}"
        self._problems.error("stigmer.unknown-field", f"{message.name} has no {name!r:.80}", pointer, self._task, hint=hint)

    def _field(self, one: FieldDescriptor, value: Json, pointer: str) -> Any:
        if _is_map(one):
            return self._map(one, value, pointer)
        if one.is_repeated:
            if not isinstance(value, list):
                return self._type(one.name, "a list", value, pointer)
            items = [self._single(one, item, f"{pointer}/{number}", f"each of {one.name}") for number, item in enumerate(value)]
            return [item for item in items if item is not None]
        return self._single(one, value, pointer)

    def _map(self, one: FieldDescriptor, value: Json, pointer: str) -> Any:
        if not isinstance(value, dict):
            return self._type(one.name, "an object", value, pointer)
        inner = cast("Descriptor", one.message_type).fields_by_name["value"]
        each = f"each of {one.name}"
        items = {name: self._single(inner, item, f"{pointer}/{escape(name)}", each) for name, item in value.items()}
        return {name: item for name, item in items.items() if item is not None}

    def _single(self, one: FieldDescriptor, value: Json, pointer: str, what: str = "") -> Any:
        what = what or one.name
        match one.type:
            case FieldDescriptor.TYPE_STRING:
                return value if isinstance(value, str) else self._type(what, "a string", value, pointer)
            case FieldDescriptor.TYPE_BOOL:
                return value if isinstance(value, bool) else self._type(what, "true or false", value, pointer)
            case FieldDescriptor.TYPE_INT32:
                whole = isinstance(value, int) and not isinstance(value, bool) and -_INT32 <= value < _INT32
                return value if whole else self._type(what, "a whole number of 32 bits", value, pointer)
            case FieldDescriptor.TYPE_FLOAT:
                number = isinstance(value, int | float) and not isinstance(value, bool)
                return value if number else self._type(what, "a number", value, pointer)
            case FieldDescriptor.TYPE_ENUM:
                return self._enum(cast("EnumDescriptor", one.enum_type), value, pointer)
            case _:
                if not isinstance(value, dict):
                    return self._type(what, "an object", value, pointer)
                message = cast("Descriptor", one.message_type)
                return value if message.full_name == _STRUCT else self.message(message, value, pointer)

    def _enum(self, enum: EnumDescriptor, value: Json, pointer: str) -> int | None:
        if isinstance(value, str) and value in enum.values_by_name:
            return enum.values_by_name[value].number
        if isinstance(value, int) and not isinstance(value, bool) and value in enum.values_by_number:
            return value
        hint = f"it is one of {', '.join(one.name for one in enum.values if one.number)}"
        shown = f"{value!r:.80}" if isinstance(value, str | int | float) else type_name(value)
        self._problems.error("stigmer.wrong-value", f"{enum.name} has no {shown}", pointer, self._task, hint=hint)
        return None

    def _type(self, name: str, wanted: str, value: Json, pointer: str) -> None:
        self._wrong("stigmer.wrong-type", f"{name} must be {wanted}, not {type_name(value)}", pointer)

    def _wrong(self, code: str, message: str, pointer: str) -> None:
        self._problems.error(code, message, pointer, self._task)


def _is_map(one: FieldDescriptor) -> bool:
    message = one.message_type
    return message is not None and message.GetOptions().map_entry
