"""Document text to nodes, whether it is YAML or JSON. The loader calls it."""

from __future__ import annotations

from workflow_runner.dsl.json_reader import NotJsonText, read_json
from workflow_runner.dsl.nodes import Complaints, InvalidText, Node, surrogate_in
from workflow_runner.dsl.templates import Position

LARGEST_TEXT = 1024 * 1024
"""The largest document, in bytes."""


def read_text(source: str | bytes) -> tuple[Node, Complaints]:
    """The one document in a text, and what is wrong with it that did not stop the reading.

    Raises InvalidText for what did.
    """
    text = _text(source)
    if text.lstrip(" \t\r\n")[:1] == "{":
        try:
            return read_json(text)
        except NotJsonText:
            pass  # a YAML document that begins with a brace; its parser says what is wrong
    from workflow_runner.dsl.yaml_reader import read_yaml  # JSON needs none of it, and it takes long to import

    return read_yaml(text)


def _text(source: str | bytes) -> str:
    size = len(source) if isinstance(source, bytes) else len(source.encode(errors="surrogatepass"))
    if size > LARGEST_TEXT:
        message = f"the document has {size} bytes, more than {LARGEST_TEXT}"
        raise InvalidText("document.too-large", message, Position(1, 1))
    if isinstance(source, str):
        place = surrogate_in(source)
        if place is not None:
            raise InvalidText("yaml.not-utf8", "the document holds half of a surrogate pair", _position_at(source, place))
        text = source
    else:
        try:
            text = source.decode("utf-8")
        except UnicodeDecodeError as error:
            before = source[: error.start].decode("utf-8", errors="replace")
            message = f"byte {error.start} is not UTF-8: save the document as UTF-8"
            raise InvalidText("yaml.not-utf8", message, _position_at(before, len(before))) from error
    return text.removeprefix("\ufeff")


def _position_at(text: str, place: int) -> Position:
    line = text.count("\n", 0, place)
    return Position(line + 1, place - (text.rfind("\n", 0, place) + 1) + 1)
