"""The documents that the checks have runs made of; a runner of another language brings its own (docs/runner-conformance.md).

`read` is called by cli.conformance; DEFAULT is for runners of the workflow language and uses `set`, `wait` and `raise`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2
from msgspec import Struct

from workflow_runner.errors import InvalidInput

NAMES = ("succeeds", "fails", "long", "overlong", "invalid")
REQUIRED = ("succeeds", "fails", "long")
NOTHING_AT_ALL = "]}"
"""No document in any language."""


class Document(Struct, frozen=True):
    """A document, the input of its run, and what comes out; an `output` of None is not compared."""

    text: str
    input: Mapping[str, Any] = {}
    output: Any = None


class Profile(Struct, frozen=True):
    """One document that succeeds, one that fails, one that takes a minute in short steps; and where the language has
    such, one with a time limit above ten minutes. `invalid` is refused."""

    succeeds: Document
    fails: Document
    long: Document
    overlong: Document | None = None
    invalid: Document = Document(NOTHING_AT_ALL)


def _workflow(name: str, tasks: str, more: str = "") -> str:
    return f"document: {{dsl: 1.0.0, namespace: conformance, name: {name}, version: 1.0.0}}\n{more}do:\n{tasks}"


_STEPS = "".join(f"  - step{number}: {{wait: {{milliseconds: 400}}}}\n" for number in range(150))
_FAILURE = "{type: https://example.com/errors/broken, status: 500, title: Broken, detail: as it should be}"

DEFAULT = Profile(
    succeeds=Document(
        _workflow(
            "succeeds", "  - rest: {wait: {milliseconds: 20}}\n  - greet: {set: {greeting: '${ \"Hello, \" + .name }'}}\n"
        ),
        {"name": "Ada"},
        {"greeting": "Hello, Ada"},
    ),
    fails=Document(_workflow("fails", f"  - break: {{raise: {{error: {_FAILURE}}}}}\n")),
    long=Document(_workflow("long", _STEPS)),
    overlong=Document(_workflow("overlong", "  - rest: {wait: {milliseconds: 20}}\n", "timeout: {after: {minutes: 11}}\n")),
    invalid=Document("document: {dsl: 1.0.0, namespace: conformance, name: invalid, version: 1.0.0}\n"),
)


def read(content: Any, read_text: Callable[[str], str], name: str) -> Profile:
    """A profile from what its file holds. `read_text` reads a document that is named in it. Raises InvalidInput."""
    if not isinstance(content, dict):
        raise _invalid(name, "it is no object; it has `succeeds`, `fails` and `long`")
    if unknown := sorted(set(map(str, content)) - set(NAMES)):
        raise _invalid(name, f"there is no {unknown[0]!r}; a profile has {', '.join(NAMES)}")
    if missing := [each for each in REQUIRED if each not in content]:
        raise _invalid(name, f"there is no {missing[0]!r}")
    return Profile(**{key: _document(node, read_text, f"{name}: {key}") for key, node in content.items()})


def _document(node: Any, read_text: Callable[[str], str], name: str) -> Document:
    if (
        not isinstance(node, dict)
        or not set(node) <= {"file", "text", "input", "output"}
        or ("file" in node) == ("text" in node)
    ):
        raise _invalid(name, "it has `file` or `text`, and may have `input` and `output`")
    text = node["text"] if "text" in node else read_text(str(node["file"]))
    given: Any = node.get("input") or {}
    output: Any = node.get("output")
    try:
        json.dumps([given, output], allow_nan=False)
        json_format.ParseDict(given, struct_pb2.Struct())
        json_format.ParseDict(output, struct_pb2.Value())
    except (json_format.ParseError, TypeError, ValueError, RecursionError) as error:
        raise _invalid(name, "`input` is an object, and `output` a value, of JSON") from error
    if not isinstance(text, str):
        raise _invalid(name, "`text` is no text")
    return Document(text, given, output)


def _invalid(name: str, reason: str) -> InvalidInput:
    return InvalidInput(f"{name}: {reason}", code="input.bad-profile", hint="docs/runner-conformance.md shows one")
