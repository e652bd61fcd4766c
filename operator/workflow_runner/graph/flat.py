"""A Graph as nodes and edges, for the formats that lay out drawings themselves: mermaid and dot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from workflow_runner.graph.model import END, ENTRY, Box, Graph, Marks, Section, Taken

START_NODE, END_NODE = "start", "finish"

EMPTY = "the error goes no further"
"""What a handler without tasks says."""


class Edge(NamedTuple):
    """From one node to another. `kind` is that of a step, or `catch`."""

    source: str
    target: str
    kind: str
    label: str
    taken: bool


def entry(box: Box) -> str:
    """The node at which a task begins."""
    return f"{box.id}_in" if box.sections else box.id


def leave(box: Box) -> str:
    """The node at which a task ends."""
    return f"{box.id}_out" if box.sections else box.id


def nothing(section: Section) -> str | None:
    """The node that stands for a handler without tasks, or None."""
    return f"{section.id}_none" if section.title and not section.boxes else None


def edges(graph: Graph, marks: Marks | None) -> Iterator[Edge]:
    """All edges, in the order of the document."""
    for section, around in graph.sections():
        begin = entry(around) if around is not None else START_NODE
        end = leave(around) if around is not None else END_NODE
        handles = around is not None and len(around.sections) == 2 and around.kind == "try" and section is around.sections[1]
        caught = around is not None and marks is not None and around.reference in marks.caught
        if (empty := nothing(section)) is not None:
            yield Edge(begin, empty, "catch" if handles else "next", "error" if handles else "", caught)
            yield Edge(empty, end, "next", "", caught)
            continue
        for step in section.steps:
            taken = marks is not None and Taken.of(section, step) in marks.taken
            source = begin if step.source == ENTRY else _at(section, step.source, end, leave)
            target = (
                begin if step.target == ENTRY else END_NODE if step.target == END else _at(section, step.target, end, entry)
            )
            if handles and step.source == ENTRY:
                yield Edge(source, target, "catch", "error", caught)
            else:
                yield Edge(source, target, step.kind, step.label, taken)


def _at(section: Section, place: int, end: str, node: Callable[[Box], str]) -> str:
    return node(section.boxes[place]) if place < len(section.boxes) else end
