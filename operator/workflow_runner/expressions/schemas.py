"""JSON schemas: whether a document is one, and whether data match one.

`documents` refuses what is no schema, `interpreter.schemas` checks data. Formats are annotations, as in JSON Schema
2020-12: they are not checked. Nothing is ever fetched: a `$ref` leads into the schema's own document.

A small schema can take for ever (references that double at each level, regular expressions) or gigabytes (what is
wrong is collected for each alternative of an `anyOf`). So, as with jq (bounds), data are checked in this process only
where that is provably cheap, and elsewhere in a worker that can be killed.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from msgspec import Struct

from workflow_runner.dsl.nodes import escape
from workflow_runner.dsl.problems import VALIDATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.programs import EvaluationFailed, dump_strictly

if TYPE_CHECKING:
    import jsonschema_rs  # 35 ms: whoever runs no schema does not pay for it

LARGEST_SCHEMA = 1024 * 1024
"""Characters of one schema, as JSON."""

_LARGEST_PATTERN = 1024 * 1024  # bytes of one compiled regular expression; the library's own bound is ten times that

_CHECKED_HERE = 2 * 1024 * 1024
_EXPLAINED_HERE = 64 * 1024
# values in the schema times bytes of data: up to here it takes milliseconds (docs/engine.md)
_CACHED_SCHEMAS = 256
_MOST_VIOLATIONS = 3
_LONGEST_VIOLATION = 200
_MASK = "the value"

_ONE_SCHEMA = frozenset({"additionalItems", "additionalProperties", "not", "if", "then", "else"})
_SCHEMA_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_PLAIN = frozenset(
    """
    type enum const required title description default examples deprecated readOnly writeOnly format $comment $schema
    minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength minItems maxItems
    minProperties maxProperties
    """.split()  # noqa: SIM905 - as a list of quoted names it would be unreadable
)


class InvalidSchema(ValueError):
    """This is no JSON schema. `path` are the keys and indices that lead to what is wrong in it, as far as it is known."""

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


class SchemaRequest(Struct, frozen=True):
    """A check for a killable worker: a schema and data, as JSON. It answers with a boolean, or, with `explain`, with
    what is wrong (`violations`); with a string that says why when the schema is none."""

    schema: str
    payload: str
    explain: bool

    def __repr__(self) -> str:
        """Without the data."""
        return "SchemaRequest()"


Defer: TypeAlias = Callable[[SchemaRequest], Awaitable[Json]]
"""Checks data where that can be killed. Raises EvaluationFailed, also when it took too long or too much."""


class _Known(Struct):
    """A schema that was used before: the number of its values where it is cheap (else 0), and its validator."""

    size: int
    validator: jsonschema_rs.Validator | None = None


_known: OrderedDict[str, _Known] = OrderedDict()


async def check_data(schema: str, data: Json, name: str, defer: Defer) -> None:
    """Raise WorkflowFault (`validation`) unless the data match the schema (JSON text).

    `name` is what the message calls the schema ("input.schema"). Raises InvalidSchema for what is no schema.
    """
    try:
        payload = dump_strictly(data)
    except (ValueError, RecursionError) as error:
        raise _fault(f"the data cannot be compared with {name}: they are no JSON, or nested too deeply") from error
    known = _known_schema(schema)
    cost = known.size * len(payload)
    here = 0 < cost <= _CHECKED_HERE
    try:
        valid = _validator(known, schema).is_valid(data) if here else await defer(SchemaRequest(schema, payload, False))
    except EvaluationFailed as error:
        raise _fault(f"the data could not be compared with {name}: {error}") from error
    if isinstance(valid, str):
        raise InvalidSchema(valid)
    if valid:
        return
    try:
        if here and cost <= _EXPLAINED_HERE:
            wrong = violations(schema, data)
        else:
            wrong = cast("list[str]", await defer(SchemaRequest(schema, payload, True)))
    except EvaluationFailed as error:
        wrong = [f"what is wrong cannot be told ({error})"]
    raise _fault(f"the data do not match {name}: {'; '.join(wrong)}")


def answer(request: SchemaRequest) -> Json:
    """What a worker answers. Raises EvaluationFailed."""
    try:
        data = json.loads(request.payload)
        if request.explain:
            return cast("Json", violations(request.schema, data))
        return _validator(_known_schema(request.schema), request.schema).is_valid(data)
    except InvalidSchema as error:
        return str(error)
    except (ValueError, RecursionError) as error:
        raise EvaluationFailed("the data are nested too deeply") from error


def violations(schema: str, data: Json) -> list[str]:
    """What is wrong with data: where (a JSON pointer) and what, at most a few, without the data themselves.

    Raises InvalidSchema.
    """
    validator = _validator(_known_schema(schema), schema)
    try:
        errors = list(islice(validator.iter_errors(data), _MOST_VIOLATIONS + 1))
    except ValueError:  # it gives no errors about deeply nested data
        return ["something that is nested deeply does not match"]
    said = [_said(error.instance_path, error.message) for error in errors[:_MOST_VIOLATIONS]]
    return [*said, "and more"] if len(errors) > _MOST_VIOLATIONS else said


def check_schema(schema: str) -> None:
    """Raise InvalidSchema unless a text is a JSON schema that can be used."""
    _validator(_Known(0), schema)


def count_patterns(schema: str) -> int:
    """How many regular expressions a schema (JSON text) has; what only looks like one counts, too."""

    def count(value: Json) -> int:
        if isinstance(value, list):
            return sum(map(count, value))
        if not isinstance(value, dict):
            return 0
        more = value.get("patternProperties")
        return ("pattern" in value) + (len(more) if isinstance(more, dict) else 0) + sum(map(count, value.values()))

    return count(json.loads(schema))


def _known_schema(text: str) -> _Known:
    known = _known.get(text)
    if known is None:
        known = _known[text] = _Known(_size_if_cheap(text))
        if len(_known) > _CACHED_SCHEMAS:
            _known.popitem(last=False)
    else:
        _known.move_to_end(text)
    return known


def _validator(known: _Known, text: str) -> jsonschema_rs.Validator:
    if known.validator is None:
        if len(text) > LARGEST_SCHEMA:
            raise InvalidSchema(f"it has more than {LARGEST_SCHEMA:,} characters")
        known.validator = _compiled(json.loads(text))
    return known.validator


def _compiled(schema: Json) -> jsonschema_rs.Validator:
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(
            cast("Any", schema),
            retriever=_fetch_nothing,
            mask=_MASK,
            validate_formats=False,
            ignore_unknown_formats=True,
            pattern_options=jsonschema_rs.FancyRegexOptions(size_limit=_LARGEST_PATTERN, dfa_size_limit=_LARGEST_PATTERN),
        )
    except jsonschema_rs.ValidationError as error:
        raise InvalidSchema(_cut(error.message), tuple(error.instance_path)) from error
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise InvalidSchema(_cut(str(error))) from error


def _fetch_nothing(_uri: str) -> Any:
    raise ValueError("schemas are not fetched; put it into the document, under $defs")


def _size_if_cheap(text: str) -> int:
    """How many values a schema has, where each of them is applied to each part of the data at most once; else 0."""
    try:
        schema = json.loads(text)
        return _values(schema) if _is_cheap(schema) else 0
    except RecursionError:
        return 0


def _is_cheap(schema: Json) -> bool:
    """True for a schema of known keywords only: no references, no regular expressions, nothing that compares parts."""
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict):
        return False
    for keyword, value in schema.items():
        if keyword in _PLAIN:
            continue
        if keyword == "properties" and isinstance(value, dict):
            inner = list(value.values())
        elif keyword in _SCHEMA_LISTS or (keyword == "items" and isinstance(value, list)):
            inner = value if isinstance(value, list) else [None]
        elif keyword in _ONE_SCHEMA or keyword == "items":
            inner = [value]
        else:
            return False
        if not all(map(_is_cheap, inner)):
            return False
    return True


def _values(value: Json) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_values, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_values, value))
    return 1


def _said(path: list[str | int], message: str) -> str:
    return _cut(f"{''.join(f'/{escape(str(part))}' for part in path) or '(root)'}: {message}")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_VIOLATION else f"{text[: _LONGEST_VIOLATION - 1]}…"


def _fault(detail: str) -> WorkflowFault:
    return WorkflowFault(Problem.standard(VALIDATION, detail))
