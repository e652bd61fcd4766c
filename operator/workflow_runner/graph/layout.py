"""Where everything of a drawing stands: a Graph to rectangles, lines and words, for `svg`.

A section is a column of boxes over one axis. Steps to the next box go straight down; the others leave below their box,
go along a lane beside the column (down on the right, up on the left) and enter above their target. Steps to the same
target share a lane. A box with sections has them inside, side by side. Everything is in pixels; y grows downwards.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct, field

from workflow_runner.graph.build import texts
from workflow_runner.graph.flat import EMPTY
from workflow_runner.graph.model import END, ENTRY, Box, Graph, Marks, Section, Step, Taken

LINE = 17
"""The height of a line of text."""

_PAD, _ROW, _LANE, _SIDE = 12, 18, 14, 22


class Rect(NamedTuple):
    """A box; `role` is `task`, `frame` (of a section), or `note`."""

    x: float
    y: float
    width: float
    height: float
    role: str
    box: Box | None = None


class Words(NamedTuple):
    """One line of text at its baseline; `anchor` is start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str
    role: str
    box: Box | None = None


class Line(NamedTuple):
    """A line through points; `kind` is that of a step, `branch` or `catch`; with an arrow at its end, or without."""

    points: tuple[tuple[float, float], ...]
    kind: str
    arrow: bool
    taken: bool


class Dot(NamedTuple):
    """The beginning (`start`) or an end (`end`) of the workflow."""

    x: float
    y: float
    role: str


class Part(Struct):
    """Something laid out: its size, the x at which it is entered and left, and what it consists of."""

    width: float = 0
    height: float = 0
    axis: float = 0
    rects: list[Rect] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)

    def put(self, part: Part, x: float, y: float) -> None:
        """Take over what another part consists of, moved."""
        self.rects += [rect._replace(x=rect.x + x, y=rect.y + y) for rect in part.rects]
        self.words += [word._replace(x=word.x + x, y=word.y + y) for word in part.words]
        self.lines += [line._replace(points=tuple((a + x, b + y) for a, b in line.points)) for line in part.lines]
        self.dots += [dot._replace(x=dot.x + x, y=dot.y + y) for dot in part.dots]


def lay_out(graph: Graph, marks: Marks | None) -> Part:
    """The whole drawing, with the workflow's beginning and end, and its extensions below."""
    layout = _Layout(marks)
    root = layout.section(graph.root)
    title = text_width(graph.title) + 2 * _PAD
    shift = max(0.0, (title - root.width) / 2)
    page = Part(max(title, root.width) + 2 * _SIDE, root.height + 96, root.axis + shift + _SIDE)
    page.words.append(Words(page.width / 2, 26, graph.title, "middle", "title"))
    page.dots += [Dot(page.axis, 54, "start"), Dot(page.axis, 64 + root.height + 9, "end")]
    page.put(root, shift + _SIDE, 64)
    for extension in map(layout.box, graph.extensions):
        page.put(extension, _SIDE, page.height)
        page.width = max(page.width, extension.width + 2 * _SIDE)
        page.height += extension.height + _SIDE
    return page


class _Layout:
    def __init__(self, marks: Marks | None) -> None:
        self._marks = marks

    def box(self, box: Box) -> Part:
        """One task, with what is inside it."""
        lines = [*texts(box), *self._status(box)]
        width = max(text_width(line) for line in lines) + 2 * _PAD
        height = len(lines) * LINE + _PAD
        part = Part(width, height, width / 2)
        if box.sections:
            inside = self._inside(box)
            part.width = max(width, inside.width + 2 * _PAD)
            shift = (part.width - inside.width) / 2
            part.axis, part.height = inside.axis + shift, height + inside.height
            part.rects.append(Rect(0, 0, part.width, part.height, "task", box))
            part.put(inside, shift, height)
        else:
            part.rects.append(Rect(0, 0, width, height, "task", box))
        for number, line in enumerate(lines):
            place = (_PAD, "start") if box.sections else (width / 2, "middle")
            part.words.append(Words(place[0], LINE * (number + 1), line, place[1], "name" if number == 0 else "detail", box))
        return part

    def _status(self, box: Box) -> list[str]:
        passed = self._marks.passed.get(box.reference) if self._marks is not None else None
        if passed is None:
            return []
        return [f"{passed.status} ×{passed.count}" if passed.count > 1 else passed.status]

    def _inside(self, box: Box) -> Part:
        """The sections of a task side by side, with the lines by which they are entered and left."""
        if len(box.sections) == 1:
            return self.section(box.sections[0])
        parts = [self._framed(section) for section in box.sections]
        total = Part(sum(part.width for part in parts) + _SIDE * 2 * (len(parts) - 1))
        deepest = max(part.height for part in parts)
        tries = box.kind == "try"
        top, bottom = (14.0, deepest + 30) if not tries else (14.0, deepest + 34)
        total.height = bottom + 12
        x, axes = 0.0, []
        for part in parts:
            total.put(part, x, top + 8)
            axes.append((x + part.axis, x, part))
            x += part.width + 2 * _SIDE
        total.axis = axes[0][0] if tries else total.width / 2
        for number, ((axis, left, part), section) in enumerate(zip(axes, box.sections, strict=True)):
            entered = self._marks is not None and any(taken.section == section.id for taken in self._marks.taken)
            ended = self._ended(section)
            if tries and number:
                caught = self._marks is not None and box.reference in self._marks.caught
                y = top + 8 + 26
                total.lines.append(Line(((axes[0][1] + axes[0][2].width, y), (left, y)), "catch", arrow=True, taken=caught))
                total.words.append(Words(left - _SIDE, y - 5, "error", "middle", "label"))
                ended = ended or (caught and not section.boxes)
            else:
                total.lines.append(
                    Line(
                        ((total.axis, 0), (total.axis, top - 6), (axis, top - 6), (axis, top + 8)),
                        "branch",
                        arrow=False,
                        taken=entered,
                    )
                )
            end = ((axis, top + 8 + part.height), (axis, bottom), (total.axis, bottom), (total.axis, total.height))
            if self._comes_to_its_end(section):
                total.lines.append(Line(end, "branch", arrow=False, taken=ended))
        return total

    def _comes_to_its_end(self, section: Section) -> bool:
        return any(step.target == len(section.boxes) for step in section.steps)

    def _ended(self, section: Section) -> bool:
        marks = self._marks
        return marks is not None and any(
            taken.section == section.id and taken.target == len(section.boxes) for taken in marks.taken
        )

    def _framed(self, section: Section) -> Part:
        inner = self.section(section)
        if not section.title:
            return inner
        width = max(inner.width, text_width(section.title)) + 2 * _PAD
        shift = (width - inner.width) / 2
        part = Part(width, inner.height + LINE + 8, inner.axis + shift)
        part.rects.append(Rect(0, 0, width, part.height, "frame"))
        part.words.append(Words(_PAD, LINE, section.title, "start", "label"))
        part.put(inner, shift, LINE + 8)
        return part

    def section(self, section: Section) -> Part:
        """One list of tasks."""
        if not section.boxes:
            text = EMPTY if section.title else "nothing"
            note = Part(text_width(text) + 2 * _PAD, LINE + _PAD, text_width(text) / 2 + _PAD)
            note.words.append(Words(note.axis, LINE, text, "middle", "label"))
            return note
        return _Column(section, [self.box(box) for box in section.boxes], self._marks).part


class _Column:
    """The boxes of one section below each other, and the steps between them; `part` is the result."""

    def __init__(self, section: Section, parts: Sequence[Part], marks: Marks | None) -> None:
        self._section, self._marks, self._count = section, marks, len(parts)
        self._straight: dict[int, list[Step]] = {}
        self._aside: dict[int, list[Step]] = {}
        for step in section.steps:
            straight = step.target == step.source + 1 and step.target != END
            (self._straight if straight else self._aside).setdefault(step.source, []).append(step)
        self._tops, self._bottoms, height = self._places(parts)
        self._left, self._right = self._reach(parts)
        self._lanes_left = _lanes(self._aside, upwards=True)
        self._lanes_right = _lanes(self._aside, upwards=False)
        self._axis = self._left + _lanes_width(self._lanes_left)
        self.part = Part(self._axis + self._right + _lanes_width(self._lanes_right), height, self._axis)
        for part, top in zip(parts, self._tops, strict=True):
            self.part.put(part, self._axis - part.axis, top)
        for source, steps in self._straight.items():
            self._draw_straight(source, steps)
        for source, steps in self._aside.items():
            for row, step in enumerate(steps):
                self._draw_aside(step, self._start(source) + (0 if source >= self._count else _ROW * (row + 1) + 2))

    def _places(self, parts: Sequence[Part]) -> tuple[list[float], list[float], float]:
        """Top and bottom of each box, and the height of all. Above each box, and below the last, is room for what leaves
        the box above and for what enters the one below."""
        entered = {max(0, step.target) for steps in self._aside.values() for step in steps if step.target != END}
        tops, bottoms, y = [], [], 0.0
        for at in range(self._count + 1):
            y += 32 + _ROW * len(self._aside.get(at - 1, ())) + (18 if at in entered else 0)
            if at < self._count:
                tops.append(y)
                y += parts[at].height
                bottoms.append(y)
        return tops, bottoms, y + _ROW * len(self._aside.get(self._count, ()))

    def _reach(self, parts: Sequence[Part]) -> tuple[float, float]:
        """How far boxes and labels go to the left and to the right of the axis."""
        left = max(part.axis for part in parts)
        right = max(part.width - part.axis for part in parts)
        for steps in self._aside.values():
            for step in steps:
                reach = text_width(step.label) + 26 + (24 if step.target == END else 0)
                left, right = (max(left, reach), right) if _upwards(step) else (left, max(right, reach))
        return left, right

    def _start(self, source: int) -> float:
        """Where the steps of a box leave it."""
        return 0.0 if source == ENTRY else self._bottoms[source] if source < self._count else self.part.height - 12

    def _taken(self, step: Step) -> bool:
        return self._marks is not None and Taken.of(self._section, step) in self._marks.taken

    def _draw_straight(self, source: int, steps: Sequence[Step]) -> None:
        within = source + 1 < self._count
        start, end = self._start(source), self._tops[source + 1] if within else self.part.height
        kind = "skip" if all(step.kind == "skip" for step in steps) else "next"
        line = Line(((self._axis, start), (self._axis, end)), kind, arrow=within, taken=any(map(self._taken, steps)))
        self.part.lines.append(line)
        label = " / ".join(step.label for step in steps if step.label)
        self.part.words.append(Words(self._axis + 6, end - 8, label, "start", "label"))

    def _draw_aside(self, step: Step, y: float) -> None:
        """A step that leaves the axis at `y`."""
        axis, start, taken = self._axis, self._start(step.source), self._taken(step)
        up = _upwards(step)
        self.part.words.append(Words(axis - 8 if up else axis + 8, y - 4, step.label, "end" if up else "start", "label"))
        if step.target == END:
            x = axis + text_width(step.label) + 26
            self.part.lines.append(Line(((axis, start), (axis, y), (x, y)), step.kind, arrow=True, taken=taken))
            self.part.dots.append(Dot(x + 9, y, "end"))
            return
        target = max(0, step.target)
        if up:
            x = axis - self._left - _LANE * (self._lanes_left[target] + 1)
        else:
            x = axis + self._right + _LANE * (self._lanes_right[target] + 1)
        within = target < self._count
        into, rest = (self._tops[target] - 14, self._tops[target]) if within else (self.part.height - 10, self.part.height)
        points = ((axis, start), (axis, y), (x, y), (x, into), (axis, into), (axis, rest))
        self.part.lines.append(Line(points, step.kind, arrow=within, taken=taken))


def _upwards(step: Step) -> bool:
    return step.target != END and step.target <= step.source


def _lanes(aside: dict[int, list[Step]], *, upwards: bool) -> dict[int, int]:
    """Target → number of its lane, from the inside; lanes whose spans meet get different numbers, short ones the first."""
    spans: dict[int, tuple[int, int]] = {}
    for steps in aside.values():
        for step in steps:
            if step.target != END and _upwards(step) == upwards:
                target = max(0, step.target)
                low, high = spans.get(target, (target, target))
                spans[target] = (min(low, step.source), max(high, step.source))
    lanes: list[list[tuple[int, int]]] = []
    found: dict[int, int] = {}
    for target, (low, high) in sorted(spans.items(), key=lambda item: (item[1][1] - item[1][0], item[0])):
        number = next((n for n, lane in enumerate(lanes) if all(b < low or high < a for a, b in lane)), len(lanes))
        if number == len(lanes):
            lanes.append([])
        lanes[number].append((low, high))
        found[target] = number
    return found


def _lanes_width(lanes: dict[int, int]) -> float:
    return _LANE * (2 + max(lanes.values())) if lanes else 0


def text_width(text: str) -> float:
    """About how wide a text is in the drawing's font."""
    return sum(14.0 if unicodedata.east_asian_width(one) in "WF" else 7.1 for one in text)
