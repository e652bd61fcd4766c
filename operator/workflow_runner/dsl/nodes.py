"""A document as a tree of values that know where they stand; what `text_reader` makes and the loader reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from workflow_runner.dsl.templates import NOWHERE, Json, Position

MOST_NODES = 100_000
MOST_CHARACTERS = 4 * 1024 * 1024
DEEPEST = 128
"""Caps on a document with its aliases written out: values, characters of text, and levels."""


class Node:
    """One value. `json` is the plain value, shared and never changed.

    `members` of an object are (position of the key, value) by name; `elements` are those of an array.
    `exact` is where the text of a string begins when its source has it, letter for letter, on one line.
    `nodes`, `characters` and `depth` measure the value with aliases written out.
    """

    __slots__ = ("characters", "depth", "elements", "exact", "json", "members", "nodes", "position")

    def __init__(self, json: Json, position: Position = NOWHERE, exact: Position | None = None) -> None:
        self.json = json
        self.position = position
        self.exact = exact
        self.members: dict[str, tuple[Position, Node]] = {}
        self.elements: list[Node] = []
        self.nodes = 1
        self.depth = 1
        self.characters = len(json) if isinstance(json, str) else 0

    def grow(self, child: Node, key: str = "") -> None:
        """Count a child (and its key) into the measures."""
        self.nodes += child.nodes
        self.characters += child.characters + len(key)
        self.depth = max(self.depth, child.depth + 1)

    def find(self, pointer: str) -> tuple[Position, Position] | None:
        """The positions of the key and of the value that a JSON pointer leads to, or None."""
        node, key_position = self, self.position
        for part in pointer.split("/")[1:]:
            name = unescape(part)
            if name in node.members:
                key_position, node = node.members[name]
            elif name.isdecimal() and int(name) < len(node.elements):
                node = node.elements[int(name)]
                key_position = node.position
            else:
                return None
        return key_position, node.position


class InvalidText(ValueError):
    """Something is wrong with a document's text. `code` is stable; `position` is where; `hint` may say how to mend it."""

    def __init__(self, code: str, message: str, position: Position, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.position = position
        self.hint = hint


Complaints: TypeAlias = list[InvalidText]
"""What is wrong with a text that could be read all the same."""


class NotJson(ValueError):
    """An object holds something that JSON cannot say. `pointer` says where, `code` and the message what."""

    def __init__(self, code: str, message: str, pointer: str) -> None:
        super().__init__(message)
        self.code = code
        self.pointer = pointer


def node_of(value: Any, pointer: str = "", level: int = 1) -> Node:
    """The tree of a document that is an object already. Raises NotJson."""
    if level > DEEPEST:
        raise NotJson("document.too-deep", f"values are nested more than {DEEPEST} levels deep", pointer)
    if value is None or isinstance(value, bool | int | str):
        if isinstance(value, str) and (place := surrogate_in(value)) is not None:
            raise NotJson("document.not-json", f"character {place + 1} is half of a surrogate pair", pointer)
        return Node(value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise NotJson("document.not-json", "JSON has no such number", pointer)
        return Node(value)
    if isinstance(value, Mapping):
        return _object(value, pointer, level)
    if isinstance(value, list | tuple):
        return _array(value, pointer, level)
    raise NotJson("document.not-json", f"a {type(value).__name__} is not JSON", pointer)


def _object(value: Mapping[Any, Any], pointer: str, level: int) -> Node:
    json: dict[str, Json] = {}
    node = Node(json)
    for key, item in value.items():
        if not isinstance(key, str):
            raise NotJson("document.not-json", f"the key {key!r} is not a string", pointer)
        child = node_of(item, f"{pointer}/{escape(key)}", level + 1)
        node.members[key] = (NOWHERE, child)
        node.grow(child, key)
        json[key] = child.json
        _check_size(node, pointer)
    return node


def _array(value: list[Any] | tuple[Any, ...], pointer: str, level: int) -> Node:
    json: list[Json] = []
    node = Node(json)
    for place, item in enumerate(value):
        child = node_of(item, f"{pointer}/{place}", level + 1)
        node.elements.append(child)
        node.grow(child)
        json.append(child.json)
        _check_size(node, pointer)
    return node


def too_large(node: Node) -> str | None:
    """What is too large about a value, as a message, or None."""
    if node.nodes > MOST_NODES:
        return f"the document has more than {MOST_NODES} values (aliases count each time they are used)"
    if node.characters > MOST_CHARACTERS:
        return f"the document has more than {MOST_CHARACTERS} characters (aliases count each time they are used)"
    return None


def _check_size(node: Node, pointer: str) -> None:
    message = too_large(node)
    if message is not None:
        raise NotJson("document.too-large", message, pointer)


def surrogate_in(text: str) -> int | None:
    """The index of the first half of a surrogate pair in a text, or None."""
    if text.isascii():
        return None
    return next((place for place, character in enumerate(text) if "\ud800" <= character <= "\udfff"), None)


def escape(name: str) -> str:
    """A name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1") if "~" in name or "/" in name else name


def unescape(part: str) -> str:
    """The name that a part of a JSON pointer stands for."""
    return part.replace("~1", "/").replace("~0", "~")


def items(node: Node, pointer: str) -> Iterator[tuple[str, str, Position, Node]]:
    """The members of an object: name, pointer, position of the key, value."""
    for name, (position, child) in node.members.items():
        yield name, f"{pointer}/{escape(name)}", position, child
