"""YAML text to nodes: the core schema of YAML 1.2 over PyYAML's C parser.

PyYAML itself speaks YAML 1.1, accepts keys that are written twice, and makes dates of strings. So only its
parser is used, event by event, and what a plain scalar means is decided here: `on`, `yes`, `1:30` and
`2024-01-01` are strings, `012` is twelve. Documents are hostile: depth and size, aliases written out, are capped while they are
read. `text_reader` calls it.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import yaml

from workflow_runner.dsl.nodes import DEEPEST, Complaints, InvalidText, Node, too_large
from workflow_runner.dsl.templates import Json, Position

_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, Json] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MOST_DIGITS = 1000
_MOST_COMPLAINTS = 100
_TAG = "tag:yaml.org,2002:"
_TAGS = frozenset({None, "!", *(_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq"))})

_Event: TypeAlias = Any  # PyYAML's events and marks have no useful types


def read_yaml(text: str) -> tuple[Node, Complaints]:
    """The one document in a YAML text, and what is wrong with it that did not stop the reading.

    Raises InvalidText for what did.
    """
    composer = _Composer(text)
    try:
        return composer.compose(), composer.complaints
    except yaml.YAMLError as error:
        raise _unreadable(error, text) from error


def _unreadable(error: yaml.YAMLError, text: str) -> InvalidText:
    mark: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    position = Position(mark.line + 1, mark.column + 1) if mark is not None else Position(1, 1)
    problem, context = getattr(error, "problem", None), getattr(error, "context", None)
    message = " ".join(str(part) for part in (context, problem) if part) or str(error).partition("\n")[0]
    hint = ""
    if "found character that cannot start any token" in message:
        lines = text.splitlines()
        line = lines[position.line - 1] if position.line <= len(lines) else ""
        if line[position.column - 1 : position.column] == "\t":
            message, hint = "a tab cannot indent", "indent with spaces"
        else:
            hint = "put a string that begins with @, ` or % in quotes"
    elif "mapping values are not allowed" in message:
        message = "there is a second colon, or one where no name can be"
        hint = "put a string with a colon and a space in it in quotes; else a colon is missing on a line above"
    elif "did not find expected" in message or "could not find expected" in message:
        hint = "compare its indentation with the lines above; look for a bracket or a quote that is not closed there"
    elif "while scanning a quoted scalar" in message:
        hint = "a quote is not closed"
    return InvalidText("yaml.syntax", message, position, hint)


class _Composer:
    """Builds nodes from the parser's events, without recursion."""

    def __init__(self, text: str) -> None:
        self._source = text
        self._parser: Any = yaml.CSafeLoader(text)
        self._anchors: dict[str, Node] = {}
        self._stack: list[tuple[Node, str | None]] = []  # open collections, with their anchors
        self._keys: list[tuple[str, Position] | None] = []  # the key waiting for its value, for each of them
        self._root: Node | None = None
        self.complaints: Complaints = []

    def _complain(self, code: str, message: str, position: Position) -> None:
        if len(self.complaints) < _MOST_COMPLAINTS:
            self.complaints.append(InvalidText(code, message, position))

    def compose(self) -> Node:
        documents = 0
        while True:
            event = self._parser.get_event()
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._add(self._scalar(event), event)
            elif kind is yaml.AliasEvent:
                self._add(self._alias(event), event)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._open(event, {} if kind is yaml.MappingStartEvent else [])
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._close(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    raise InvalidText("yaml.many-documents", "one file holds one document", _start(event))
            elif kind is yaml.StreamEndEvent:
                if self._root is None:
                    raise InvalidText("yaml.empty", "the document is empty", Position(1, 1))
                return self._root

    def _open(self, event: _Event, json: Json) -> None:
        self._check_tag(event)
        if len(self._stack) >= DEEPEST:
            raise InvalidText("document.too-deep", f"values are nested more than {DEEPEST} levels deep", _start(event))
        if self._expects_key():
            raise InvalidText("yaml.key-not-scalar", "a key must be a string", _start(event))
        node = Node(json, _start(event))
        self._stack.append((node, event.anchor))
        self._keys.append(None)
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)  # until it is complete it can only be used inside itself

    def _close(self, event: _Event) -> None:
        node, anchor = self._stack.pop()
        self._keys.pop()
        if anchor is not None:
            self._anchors[anchor] = node
        self._add(node, event)

    def _expects_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1][0].json, dict) and self._keys[-1] is None

    def _add(self, node: Node, event: _Event) -> None:
        """Put a complete value where it belongs: into the open collection, or at the root."""
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1][0]
        if isinstance(parent.json, list):
            parent.elements.append(node)
            parent.json.append(node.json)
            parent.grow(node)
        elif isinstance(parent.json, dict):
            key = self._keys[-1]
            if key is None:
                self._keys[-1] = self._key(parent, node, event)
                return
            name, position = key
            if name not in parent.members:  # a key that is written twice keeps its first value
                parent.members[name] = (position, node)
                parent.json[name] = node.json
            parent.grow(node, name)
            self._keys[-1] = None
        message = too_large(parent)
        if message is not None:
            raise InvalidText("document.too-large", message, _start(event))

    def _key(self, parent: Node, node: Node, event: _Event) -> tuple[str, Position]:
        """A key as it is written: `404:` and `true:` are the strings "404" and "true"."""
        position = _start(event)
        if isinstance(node.json, dict | list):
            raise InvalidText("yaml.key-not-scalar", "a key must be a string", position)
        name = str(event.value) if type(event) is yaml.ScalarEvent else str(node.json)
        if name == "<<" and type(event) is yaml.ScalarEvent and event.style == "":
            self._complain("yaml.merge-key", "YAML 1.2 has no merge keys: write the members out", position)
        if name in parent.members:
            first = parent.members[name][0]
            self._complain("yaml.duplicate-key", f"{name!r} is written twice; first in line {first.line}", position)
        return name, position

    def _alias(self, event: _Event) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            inside = any(anchor == event.anchor for _, anchor in self._stack)
            why = "is used inside itself" if inside else "was not defined before"
            raise InvalidText("yaml.bad-alias", f"the anchor {event.anchor!r} {why}", _start(event))
        if len(self._stack) + node.depth > DEEPEST:
            raise InvalidText("document.too-deep", f"values are nested more than {DEEPEST} levels deep", _start(event))
        return node

    def _check_tag(self, event: _Event) -> None:
        if event.tag not in _TAGS:
            self._complain("yaml.unknown-tag", f"the tag {event.tag[:80]!r} is not one of JSON's types", _start(event))

    def _scalar(self, event: _Event) -> Node:
        position = _start(event)
        self._check_tag(event)
        value: Json = event.value
        try:
            if event.tag is None and event.style == "":
                value = _plain(event.value)
            elif event.tag in _TAGS and event.tag not in (None, "!", _TAG + "str"):
                value = _tagged(event)
        except _NotJson as error:
            self._complain(error.code, str(error), position)
        node = Node(value, position, self._exact(event, position) if isinstance(value, str) else None)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _exact(self, event: _Event, position: Position) -> Position | None:
        """Where the string's first character stands, if its source is the same text on one line."""
        start, end = event.start_mark, event.end_mark
        if start.line != end.line:
            return None
        quotes = 1 if event.style in ("'", '"') else 0
        written = self._source[start.index + quotes : start.index + quotes + len(event.value)]
        # An anchor or tag before the string belongs to the event: then the texts differ.
        return Position(position.line, position.column + quotes) if written == event.value else None


def _start(event: _Event) -> Position:
    return Position(event.start_mark.line + 1, event.start_mark.column + 1)


class _NotJson(ValueError):
    """A scalar that is no JSON value; it is read as text, so that the rest of the document can be checked."""

    def __init__(self, message: str, code: str = "document.not-json") -> None:
        super().__init__(message)
        self.code = code


def _plain(text: str) -> Json:
    """What a plain scalar means in the core schema of YAML 1.2. Raises _NotJson."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text):
        return _integer(text, 10)
    if _OCTAL.fullmatch(text):
        return _integer(text[2:], 8)
    if _HEX.fullmatch(text):
        return _integer(text[2:], 16)
    if _NOT_FINITE.fullmatch(text):
        raise _NotJson(f"JSON has no number {text}: quote it to make it a string")
    if _FLOAT.fullmatch(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise _NotJson(f"the number {text[:40]} is too large")
        return value
    return text


def _integer(digits: str, base: int) -> int:
    if len(digits) > _MOST_DIGITS:
        raise _NotJson(f"a number of more than {_MOST_DIGITS} digits is not accepted")
    return int(digits, base)


def _tagged(event: _Event) -> Json:
    """The value of a scalar whose tag says what it is to be. Raises _NotJson."""
    wanted = event.tag.removeprefix(_TAG)
    value = _plain(event.value)
    if wanted == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    types: dict[str, type] = {"int": int, "float": float, "bool": bool, "null": type(None)}
    if type(value) is not types.get(wanted):
        raise _NotJson(f"{event.value[:40]!r} is not of the type {wanted}", "yaml.unknown-tag")
    return value
