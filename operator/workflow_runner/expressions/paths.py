"""The commonest programs, `.`, `.a.b` and `$item.a`, answered without jq.

They need no compiler and no copy of the data, and give what jq gives: a member of null is null, a member of
anything else but an object is an error. (One thing is better: integers beyond 2^53 keep their digits.)
"""

from __future__ import annotations

import re

from msgspec import Struct

from workflow_runner.dsl.templates import Json

_PATH = re.compile(r"[ \t\r\n]*(?:\$([a-zA-Z_][a-zA-Z_0-9]*))?(\.|(?:\.[a-zA-Z_][a-zA-Z_0-9]*)+)?[ \t\r\n]*")
_TYPES: dict[type, str] = {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}


class PathError(ValueError):
    """The path leads into something that has no members. The message is jq's."""


class Path(Struct, frozen=True):
    """A variable (or, when None, the data) and the members to take from it, one after the other."""

    variable: str | None
    members: tuple[str, ...]

    def take(self, value: Json) -> Json:
        """The member of `value` that the path leads to. Raises PathError."""
        for name in self.members:
            if isinstance(value, dict):
                value = value.get(name)
            elif value is not None:
                raise PathError(f'Cannot index {_TYPES[type(value)]} with string ("{name}")')
        return value


def read_path(program: str) -> Path | None:
    """The path that a program consists of, or None when it is anything else."""
    match = _PATH.fullmatch(program)
    if match is None:
        return None
    variable, members = match[1], match[2]
    if members is None and variable is None:
        return None
    if members == "." or members is None:
        return Path(variable, ()) if members is None or variable is None else None
    return Path(variable, tuple(members[1:].split(".")))
