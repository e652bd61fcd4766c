"""How large and how deep the data of a run may become; `run` has one Sizes, the engine and `dataflow` ask it.

Values share their parts: `{a: ${ . }, b: ${ . }}` costs nothing, and thirty of them in a row stand for eight billion
values, which nobody could write down any more. So everything that is built or comes from outside is
measured as if it were written out, and refused beyond the bounds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from workflow_runner.dsl.problems import RUNTIME, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json

LARGEST = 32 * 1024 * 1024
"""The largest value: about the bytes of its JSON text (numbers count as two)."""

DEEPEST = 256
"""The most levels of arrays and objects."""

_REMEMBERED = 10_000  # weight of the values whose measure is kept, for they come again with the next task
_MOST_REMEMBERED = 16


class Sizes:
    """Measures values. Those of large ones are remembered, with the values, which never change."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[Any, int, int]] = OrderedDict()
        self._weight = 0
        self._last: Json = None

    def check(self, value: Json, what: str) -> None:
        """Raise WorkflowFault (`runtime`) for a value beyond the bounds. `what` is its name in messages."""
        # What is put together is often the output, too.
        if value is not self._last and isinstance(value, (dict, list)):
            self._measure(value, what, 1)
            self._last = value

    def _measure(self, value: dict[str, Any] | list[Any], what: str, level: int) -> tuple[int, int]:
        """Weight and levels; those of scalars are in the loop, for this runs with every task."""
        known = self._known.get(id(value))
        if known is not None:
            self._known.move_to_end(id(value))
            return known[1], known[2]
        if level > DEEPEST:
            raise _too_deep(what)
        weight, depth = 2, 0
        parts: Iterable[Any] = value
        if isinstance(value, dict):
            for name in value:
                weight += len(name) + 4
            parts = value.values()
        for part in parts:
            kind = type(part)
            if kind is str:
                weight += len(part) + 1
            elif kind is dict or kind is list:
                inner, levels = self._measure(part, what, level + 1)
                weight += inner
                if levels > depth:
                    depth = levels
                if weight > LARGEST:
                    break
            else:
                weight += 2
        if weight > LARGEST:
            raise _beyond(f"{what} is larger than {LARGEST // 1024 // 1024} MiB as JSON")
        if depth >= DEEPEST:
            raise _too_deep(what)
        if weight > _REMEMBERED:
            self._remember(value, weight, depth + 1)
        return weight, depth + 1

    def _remember(self, value: dict[str, Any] | list[Any], weight: int, depth: int) -> None:
        """Keep the measure, and so the value; together not much more than one value may have."""
        self._known[id(value)] = (value, weight, depth)
        self._weight += weight
        while len(self._known) > _MOST_REMEMBERED or (len(self._known) > 2 and self._weight > LARGEST):
            _, (_, dropped, _) = self._known.popitem(last=False)
            self._weight -= dropped


def _too_deep(what: str) -> WorkflowFault:
    return _beyond(f"{what} has more than {DEEPEST} levels of arrays and objects")


def _beyond(detail: str) -> WorkflowFault:
    return WorkflowFault(Problem.standard(RUNTIME, detail))
