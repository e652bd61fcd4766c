"""A Graph as a Mermaid flowchart, which code hosts and wikis draw."""

from __future__ import annotations

from collections.abc import Iterator

from workflow_runner.graph.build import texts
from workflow_runner.graph.flat import EMPTY, END_NODE, START_NODE, edges, entry, leave, nothing
from workflow_runner.graph.model import Box, Graph, Marks, Section
from workflow_runner.graph.style import FILLS, KIND_FILLS, STATUS_STROKES, UNTOUCHED

_SHAPES = {"switch": ('{{"', '"}}'), "wait": ('(["', '"])'), "raise": ('>"', '"]')}
_ARROWS = {"next": "-->", "jump": "-->", "case": "-->", "skip": "-.->", "loop": "-.->", "catch": "-.->"}


def to_mermaid(graph: Graph, marks: Marks | None = None) -> str:
    """The text of the flowchart."""
    return "\n".join(_lines(graph, marks)) + "\n"


def _lines(graph: Graph, marks: Marks | None) -> Iterator[str]:
    yield "---"
    yield f"title: {_quoted(graph.title)}"
    yield "---"
    yield "flowchart TD"
    yield f'  {START_NODE}(("start"))'
    yield from _section(graph.root, "  ", marks)
    for extension in graph.extensions:
        yield from _box(extension, "  ", marks)
    yield f'  {END_NODE}((("end")))'
    thick = []
    for number, edge in enumerate(edges(graph, marks)):
        label = f'|"{escape(edge.label)}"|' if edge.label else ""
        yield f"  {edge.source} {_ARROWS[edge.kind]}{label} {edge.target}"
        if edge.taken:
            thick.append(str(number))
    for kind, fill in KIND_FILLS.items():
        yield f"  classDef is-{kind} fill:{fill},stroke:#667,color:#111"
    yield "  classDef point fill:#667,stroke:#667"
    if marks is not None:
        for status, stroke in STATUS_STROKES.items():
            yield f"  classDef run-{status} fill:{FILLS[status]},stroke:{stroke},stroke-width:3px,color:#111"
        yield f"  classDef run-untouched fill:#fff,stroke:{UNTOUCHED},color:{UNTOUCHED}"
        if thick:
            yield f"  linkStyle {','.join(thick)} stroke:{STATUS_STROKES['completed']},stroke-width:4px"


def _section(section: Section, indent: str, marks: Marks | None) -> Iterator[str]:
    for box in section.boxes:
        yield from _box(box, indent, marks)


def _box(box: Box, indent: str, marks: Marks | None) -> Iterator[str]:
    passed = marks.passed.get(box.reference) if marks is not None else None
    times = [f"{passed.status} ×{passed.count}" if passed.count > 1 else passed.status] if passed is not None else []
    label = "<br/>".join(escape(text) for text in (*texts(box), *times))
    style = f"is-{box.kind}" if marks is None else f"run-{passed.status}" if passed is not None else "run-untouched"
    if not box.sections:
        left, right = _SHAPES.get(box.kind, ('["', '"]'))
        yield f"{indent}{box.id}{left}{label}{right}" + (f":::{style}" if style != "is-" else "")
        return
    yield f'{indent}subgraph {box.id}["{label}"]'
    yield f'{indent}  {entry(box)}((" ")):::point'
    for section in box.sections:
        if section.title:
            yield f'{indent}  subgraph {section.id}["{escape(section.title)}"]'
            yield from _section(section, indent + "    ", marks)
            if (empty := nothing(section)) is not None:
                yield f'{indent}    {empty}["{escape(EMPTY)}"]'
            yield f"{indent}  end"
        else:
            yield from _section(section, indent + "  ", marks)
    yield f'{indent}  {leave(box)}((" ")):::point'
    yield f"{indent}end"
    yield f"{indent}class {box.id} {style}"


def escape(text: str) -> str:
    """Text for a label in quotes: every character that Mermaid or HTML could read as anything else is given by number."""
    return "".join(one if one.isalnum() or one in " .,-_/·…×=" else f"#{ord(one)};" for one in text)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
