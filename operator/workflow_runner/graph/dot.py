"""A Graph in Graphviz's language, for `dot -Tsvg` and what else reads it."""

from __future__ import annotations

from collections.abc import Iterator

from workflow_runner.graph.build import texts
from workflow_runner.graph.flat import EMPTY, END_NODE, START_NODE, edges, entry, leave, nothing
from workflow_runner.graph.model import Box, Graph, Marks, Section
from workflow_runner.graph.style import FILLS, KIND_FILLS, STATUS_STROKES, UNTOUCHED

_SHAPES = {"switch": "hexagon", "raise": "octagon"}
_STYLES = {"skip": "dashed", "loop": "dashed", "catch": "dashed"}
_POINT = '[label="", shape=circle, width=0.12, fixedsize=true, fillcolor="#666677"]'


def to_dot(graph: Graph, marks: Marks | None = None) -> str:
    """The text of the digraph."""
    return "\n".join(_lines(graph, marks)) + "\n"


def _lines(graph: Graph, marks: Marks | None) -> Iterator[str]:
    yield f"digraph {quoted(graph.title)} {{"
    yield f"  label={quoted(graph.title)}; labelloc=t; fontname=Helvetica; rankdir=TB;"
    yield '  node [shape=box, style="rounded,filled", fontname=Helvetica, fontsize=11, fillcolor="#f8fafc", color="#666677"];'
    yield '  edge [fontname=Helvetica, fontsize=10, color="#666677"];'
    yield f'  {START_NODE} [label="start", shape=circle, style=filled];'
    yield from _section(graph.root, "  ", marks)
    for extension in graph.extensions:
        yield from _box(extension, "  ", marks)
    yield f'  {END_NODE} [label="end", shape=doublecircle, style=filled];'
    for edge in edges(graph, marks):
        attributes = [f"label={quoted(edge.label)}"] if edge.label else []
        if edge.kind in _STYLES:
            attributes.append(f"style={_STYLES[edge.kind]}")
        if edge.kind == "loop":
            attributes.append("constraint=false")
        if edge.taken:
            attributes.append(f'color="{STATUS_STROKES["completed"]}", penwidth=3')
        yield f"  {edge.source} -> {edge.target}" + (f" [{', '.join(attributes)}];" if attributes else ";")
    yield "}"


def _section(section: Section, indent: str, marks: Marks | None) -> Iterator[str]:
    for box in section.boxes:
        yield from _box(box, indent, marks)


def _box(box: Box, indent: str, marks: Marks | None) -> Iterator[str]:
    passed = marks.passed.get(box.reference) if marks is not None else None
    times = [f"{passed.status} ×{passed.count}" if passed.count > 1 else passed.status] if passed is not None else []
    label = f"label={quoted(*texts(box), *times)}, tooltip={quoted(box.reference)}"
    fill, stroke, letters = KIND_FILLS.get(box.kind, "#ffffff"), "#666677", "#111111"
    if passed is not None:
        fill, stroke = FILLS[passed.status], STATUS_STROKES[passed.status]
    elif marks is not None:
        fill, stroke, letters = "#ffffff", UNTOUCHED, UNTOUCHED
    colours = f'fillcolor="{fill}", color="{stroke}", fontcolor="{letters}"' + (", penwidth=2" if passed is not None else "")
    if not box.sections:
        yield f"{indent}{box.id} [{label}, {colours}, shape={_SHAPES.get(box.kind, 'box')}];"
        return
    yield f"{indent}subgraph cluster_{box.id} {{"
    yield f'{indent}  graph [{label}, {colours}, style="rounded,filled"];'
    yield f"{indent}  {entry(box)} {_POINT};"
    for section in box.sections:
        if section.title:
            yield f"{indent}  subgraph cluster_{section.id} {{"
            yield f'{indent}    graph [label={quoted(section.title)}, style="rounded,dashed", tooltip=""];'
            yield from _section(section, indent + "    ", marks)
            if (empty := nothing(section)) is not None:
                yield f"{indent}    {empty} [label={quoted(EMPTY)}];"
            yield f"{indent}  }}"
        else:
            yield from _section(section, indent + "  ", marks)
    yield f"{indent}  {leave(box)} {_POINT};"
    yield f"{indent}}}"


def quoted(*lines: str) -> str:
    """Lines of text as a string of dot."""
    return '"' + "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in lines) + '"'
