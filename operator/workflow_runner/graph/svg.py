"""A Graph as an SVG picture: no program has to be installed, and browsers need no script to show it."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from workflow_runner.graph.layout import Dot, Line, Rect, Words, lay_out
from workflow_runner.graph.model import Box, Graph, Marks
from workflow_runner.graph.style import FILLS, KIND_FILLS, STATUS_STROKES, UNTOUCHED

_GREY, _INK = "#667085", "#111827"
_DASHES = {"skip": "5 4", "loop": "5 4", "catch": "5 4"}
_STYLE = """
text{font-family:ui-sans-serif,Helvetica,Arial,sans-serif;font-size:12px;fill:#111827}
.name{font-weight:600}.title{font-size:15px;font-weight:600}.label{fill:#475467;font-size:11px}
.detail{fill:#475467}
"""


def to_svg(graph: Graph, marks: Marks | None = None) -> str:
    """The picture."""
    page = lay_out(graph, marks)
    width, height = f"{page.width:.0f}", f"{page.height:.0f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<title>{escape(graph.title)}</title>",
        f"<style>{_STYLE.strip()}</style>",
        _marker("grey", _GREY),
        _marker("taken", STATUS_STROKES["completed"]),
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *(_rect(rect, marks) for rect in page.rects),
        *(_line(line) for line in sorted(page.lines, key=lambda line: line.taken)),
        *(part for dot in page.dots for part in _dot(dot)),
        *(_words(words, marks) for words in page.words if words.text),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _marker(name: str, colour: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto" '
        f'markerUnits="userSpaceOnUse"><path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
    )


def _colours(box: Box | None, marks: Marks | None) -> tuple[str, str, float]:
    """Fill, outline and its width."""
    if box is None:
        return "none", "#98a2b3", 1
    if marks is None:
        return KIND_FILLS.get(box.kind, "#ffffff"), _GREY, 1
    passed = marks.passed.get(box.reference)
    if passed is None:
        return "#ffffff", UNTOUCHED, 1
    return FILLS[passed.status], STATUS_STROKES[passed.status], 2


def _rect(rect: Rect, marks: Marks | None) -> str:
    fill, stroke, width = _colours(rect.box, marks)
    dash = ' stroke-dasharray="4 3"' if rect.box is None else ""
    place = f'x="{rect.x:.1f}" y="{rect.y:.1f}" width="{rect.width:.1f}" height="{rect.height:.1f}"'
    tip = f"<title>{escape(_harmless(rect.box.reference))}</title>" if rect.box is not None else ""
    return f'<rect {place} rx="7" fill="{fill}" stroke="{stroke}" stroke-width="{width}"{dash}>{tip}</rect>'


def _line(line: Line) -> str:
    first, *others = (f"{x:.1f} {y:.1f}" for x, y in line.points)
    colour = STATUS_STROKES["completed"] if line.taken else _GREY
    dash = f' stroke-dasharray="{_DASHES[line.kind]}"' if line.kind in _DASHES else ""
    head = f' marker-end="url(#{"taken" if line.taken else "grey"})"' if line.arrow else ""
    width = 2.5 if line.taken else 1.2
    path = quoteattr(f"M{first}" + "".join(f"L{point}" for point in others))
    return f'<path d={path} fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"{dash}{head}/>'


def _dot(dot: Dot) -> Iterator[str]:
    place = f'cx="{dot.x:.1f}" cy="{dot.y:.1f}"'
    if dot.role == "end":
        yield f'<circle {place} r="9" fill="#ffffff" stroke="{_INK}" stroke-width="1.5"><title>end</title></circle>'
        yield f'<circle {place} r="5" fill="{_INK}"/>'
    else:
        yield f'<circle {place} r="9" fill="{_INK}"><title>start</title></circle>'


def _words(words: Words, marks: Marks | None) -> str:
    pale = words.box is not None and marks is not None and words.box.reference not in marks.passed
    style = f' style="fill:{UNTOUCHED}"' if pale else ""
    place = f'x="{words.x:.1f}" y="{words.y:.1f}" text-anchor="{words.anchor}"'
    return f'<text class="{words.role}" {place}{style}>{escape(_harmless(words.text))}</text>'


def _harmless(text: str) -> str:
    """Without characters that XML does not have, or that turn the direction of text."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
