"""JSON text to nodes, with positions: for documents that are JSON (or objects that travelled as JSON).

YAML is nearly a superset of JSON, but not for its C parser (pairs of surrogate escapes, long keys), and a launched
pod whose document is JSON need not load YAML at all. `text_reader` tries this first.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from json import JSONDecodeError, JSONDecoder

from workflow_runner.dsl.nodes import DEEPEST, Complaints, InvalidText, Node, surrogate_in, too_large
from workflow_runner.dsl.templates import Json, Position

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Json] = {"t": True, "f": False, "n": None}
_WORD = re.compile(r"true|false|null")
_STRING = JSONDecoder(strict=True)
_MOST_DIGITS = 1000


class NotJsonText(ValueError):
    """The text is not JSON; it may be YAML."""


def read_json(text: str) -> tuple[Node, Complaints]:
    """The value in a JSON text, and what is wrong with it. Raises NotJsonText, or InvalidText when it is too large."""
    reader = _Reader(text)
    node, at = reader.value(reader.space(0), 1)
    if reader.space(at) != len(text):
        raise NotJsonText
    return node, reader.complaints


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self.complaints: Complaints = []

    def space(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return match.end() if match else at

    def value(self, at: int, level: int) -> tuple[Node, int]:
        """The value at a place that is no space, and where it ends."""
        first = self._text[at : at + 1]
        if level > DEEPEST:
            message = f"values are nested more than {DEEPEST} levels deep"
            raise InvalidText("document.too-deep", message, self._position(at))
        if first == "{":
            return self._object(at, level)
        if first == "[":
            return self._array(at, level)
        if first == '"':
            return self._string(at)
        word = _WORD.match(self._text, at)
        if word is not None:
            return Node(_WORDS[first], self._position(at)), word.end()
        return self._number(at)

    def _object(self, at: int, level: int) -> tuple[Node, int]:
        json: dict[str, Json] = {}
        node = Node(json, self._position(at))
        at = self.space(at + 1)
        if self._text[at : at + 1] == "}":
            return node, at + 1
        while True:
            if self._text[at : at + 1] != '"':
                raise NotJsonText
            key, end = self._string(at)
            end = self.space(end)
            if self._text[end : end + 1] != ":":
                raise NotJsonText
            child, after = self.value(self.space(end + 1), level + 1)
            self._add(node, str(key.json), key.position, child)
            json.setdefault(str(key.json), child.json)
            at, done = self._next(after, "}")
            if done:
                return node, at

    def _add(self, node: Node, name: str, position: Position, child: Node) -> None:
        if name in node.members:
            message = f"{name!r} is written twice; first in line {node.members[name][0].line}"
            self._complain("yaml.duplicate-key", message, position)
        else:
            node.members[name] = (position, child)
            node.grow(child, name)
            self._check_size(node)

    def _array(self, at: int, level: int) -> tuple[Node, int]:
        json: list[Json] = []
        node = Node(json, self._position(at))
        at = self.space(at + 1)
        if self._text[at : at + 1] == "]":
            return node, at + 1
        while True:
            child, after = self.value(at, level + 1)
            node.elements.append(child)
            node.grow(child)
            json.append(child.json)
            self._check_size(node)
            at, done = self._next(after, "]")
            if done:
                return node, at

    def _next(self, at: int, closing: str) -> tuple[int, bool]:
        """After an element: the place of the next one, or the end."""
        at = self.space(at)
        found = self._text[at : at + 1]
        if found == closing:
            return at + 1, True
        if found != ",":
            raise NotJsonText
        return self.space(at + 1), False

    def _string(self, at: int) -> tuple[Node, int]:
        try:
            value, end = _STRING.raw_decode(self._text, at)
        except JSONDecodeError as error:
            raise NotJsonText from error
        position = self._position(at)
        if surrogate_in(value) is not None:
            self._complain("yaml.not-utf8", "the string holds half of a surrogate pair", position)
            value = ""
        plain = end - at - 2 == len(value)
        return Node(value, position, Position(position.line, position.column + 1) if plain else None), end

    def _number(self, at: int) -> tuple[Node, int]:
        match = _NUMBER.match(self._text, at)
        if match is None:
            raise NotJsonText
        text, position = match[0], self._position(at)
        value: Json = 0
        if match[1] or match[2]:
            value = float(text)
            if value in (float("inf"), float("-inf")):
                self._complain("document.not-json", f"the number {text[:40]} is too large", position)
                value = 0
        elif len(text) > _MOST_DIGITS:
            message = f"a number of more than {_MOST_DIGITS} digits is not accepted"
            self._complain("document.not-json", message, position)
        else:
            value = int(text)
        return Node(value, position), match.end()

    def _complain(self, code: str, message: str, position: Position) -> None:
        self.complaints.append(InvalidText(code, message, position))

    def _check_size(self, node: Node) -> None:
        message = too_large(node)
        if message is not None:
            raise InvalidText("document.too-large", message, node.position)

    def _position(self, at: int) -> Position:
        line = bisect_right(self._lines, at)
        return Position(line, at - self._lines[line - 1] + 1)
