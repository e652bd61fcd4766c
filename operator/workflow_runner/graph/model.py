"""What is drawn: tasks in sections, sections in tasks, and the steps between the tasks of one section.

A `then` never leaves its list, so a drawing is a tree: each section can be laid out by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

ENTRY = -1
"""The source of a section's first step."""

END = -2
"""The target of a step that ends the workflow."""

StepKind: TypeAlias = Literal["next", "jump", "case", "skip", "loop"]


class Step(NamedTuple):
    """A step from one task of a section to another, by their places; ENTRY comes before the first and the place after
    the last is the section's end. `loop` goes from the section's end to its beginning, `skip` past a task whose `if`
    does not hold."""

    source: int
    target: int
    kind: StepKind
    label: str = ""


class Section(Struct, frozen=True):
    """One list of tasks. `id` is unique in the graph; `title` is empty where its task says enough."""

    id: str
    title: str
    boxes: tuple[Box, ...]
    steps: tuple[Step, ...]


class Box(Struct, frozen=True):
    """One task. `kind` is its member in the document (`set`, `for`); `lines` are what it is about, short.

    With sections it is a container: they run one beside the other (`fork`), or the second when the first fails (`try`).
    """

    id: str
    kind: str
    name: str
    lines: tuple[str, ...]
    reference: str
    sections: tuple[Section, ...] = ()


class Graph(Struct, frozen=True):
    """A whole workflow; `title` is its namespace, name and version. `extensions` are boxes beside the workflow, each
    with one section: what it does before a task, the task, and what it does after it."""

    title: str
    root: Section
    extensions: tuple[Box, ...] = ()

    def sections(self) -> Iterator[tuple[Section, Box | None]]:
        """Every section with the box that it is in, outer before inner."""
        waiting: list[tuple[Section, Box | None]] = [
            (section, box) for box in reversed(self.extensions) for section in reversed(box.sections)
        ]
        waiting.append((self.root, None))
        while waiting:
            section, around = waiting.pop()
            yield section, around
            waiting.extend((inner, box) for box in reversed(section.boxes) for inner in reversed(box.sections))


class Passed(Struct, frozen=True):
    """How a task ended in a run (completed, failed, skipped, cancelled, running), and how often it was begun."""

    status: str
    count: int


class Taken(NamedTuple):
    """A step that a run took: its section's id and its places, and whether it is the one past a skipped task."""

    section: str
    source: int
    target: int
    skipped: bool = False

    @classmethod
    def of(cls, section: Section, step: Step) -> Taken:
        """What a step is called when it is taken."""
        return cls(section.id, step.source, step.target, step.kind == "skip")


class Marks(Struct, frozen=True):
    """What a run did: tasks by reference, the steps taken, and the `try` tasks (by reference) that caught an error."""

    passed: dict[str, Passed]
    taken: frozenset[Taken]
    caught: frozenset[str]
