"""Parts of a document that know which part of the spec they were made from. `tasks` makes them, `plain` takes them apart."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct, field

from workflow_runner.dsl.nodes import escape
from workflow_runner.dsl.templates import Json

Value: TypeAlias = "Json | dict[str, Placed] | list[Placed]"


class Placed(Struct, frozen=True):
    """`value` was made from what is at `pointer` in the spec. Its members may be placed themselves; what is not has the
    same shape in both. `task` is the name of the task that it is, where it is one."""

    value: Value
    pointer: str
    task: str = ""


class Sources(Struct):
    """For places in a document: (place in the spec, name of the task)."""

    known: dict[str, tuple[str, str]] = field(default_factory=dict)

    def find(self, pointer: str) -> tuple[str, str]:
        """Where a place in the document came from, and the innermost task there ("" outside of all tasks)."""
        at, rest = pointer, ""
        while at not in self.known and at:
            at, _, last = at.rpartition("/")
            rest = f"/{last}{rest}"
        place, task = self.known.get(at, ("", ""))
        return f"{place}{rest}", task


def plain(placed: Placed, sources: Sources, pointer: str = "", task: str = "") -> Json:
    """The value itself; fills `sources`."""
    task = placed.task or task
    sources.known[pointer] = (placed.pointer, task)
    value = placed.value
    if isinstance(value, dict):
        return {name: _part(part, sources, f"{pointer}/{escape(name)}", task) for name, part in value.items()}
    if isinstance(value, list):
        return [_part(part, sources, f"{pointer}/{number}", task) for number, part in enumerate(value)]
    return value


def _part(part: Placed | Json, sources: Sources, pointer: str, task: str) -> Json:
    return plain(part, sources, pointer, task) if isinstance(part, Placed) else part
