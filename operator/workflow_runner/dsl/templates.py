"""Values of a document that may hold runtime expressions, parsed once when the document is loaded.

The loader makes these nodes; `workflow_runner.expressions` evaluates them. A node knows the place it
comes from, so that a message about an expression can say file, line and column.

    Template = Literal | Expression | ObjectTemplate | ArrayTemplate
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from msgspec import Struct
from msgspec.structs import force_setattr

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON can say. Integers keep their digits, whatever their size."""


class Position(NamedTuple):
    """A place in a document's text: line and column from 1; (0, 0) when the document was an object."""

    line: int
    column: int


NOWHERE = Position(0, 0)


class Literal(Struct, frozen=True, eq=False):
    """A value without expressions. Whoever receives `value` must not change it: it is shared."""

    value: Json


class Expression(Struct, frozen=True, eq=False):
    """One jq program of the document, compared by identity.

    `source` is the program without its `${ }`. `variables` are the names (without `$`) that it mentions and
    that exist where it stands, sorted; `secrets` are the secrets it needs. `key` is the same for equal
    programs over equal variables. `pointer` is the place of the string that holds it; `position` is where
    the program begins when `exact`, otherwise where its string begins (several lines, or escapes). `otherwise` is the
    value when it fails: its own text, in loose mode.
    """

    source: str
    variables: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    pointer: str = ""
    position: Position = NOWHERE
    exact: bool = False
    otherwise: str | None = None
    key: str = ""

    def __post_init__(self) -> None:
        force_setattr(self, "key", "\0".join((self.source, *self.variables)))


class ObjectTemplate(Struct, frozen=True, eq=False):
    """An object with an expression somewhere inside. Keys are never expressions."""

    items: tuple[tuple[str, Template], ...]


class ArrayTemplate(Struct, frozen=True, eq=False):
    """An array with an expression somewhere inside."""

    items: tuple[Template, ...]


Template: TypeAlias = Literal | Expression | ObjectTemplate | ArrayTemplate


def mentions(template: Template, variable: str) -> bool:
    """Whether an expression in a template uses a variable (its name without `$`)."""
    match template:
        case Literal():
            return False
        case Expression():
            return variable in template.variables
        case ObjectTemplate():
            return any(mentions(part, variable) for _, part in template.items)
        case ArrayTemplate():
            return any(mentions(part, variable) for part in template.items)
