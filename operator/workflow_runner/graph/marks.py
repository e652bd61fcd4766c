"""What a run did, as its events tell it: which tasks, which steps between them, which errors were caught.

Events name tasks, not steps. Of several steps between the same two tasks (two cases of a switch that lead to the same
task) all are marked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from workflow_runner.errors import InvalidInput
from workflow_runner.graph.model import END, ENTRY, Box, Graph, Marks, Passed, Section, Taken

_STATUS = {
    "task_started": "running",
    "task_completed": "completed",
    "task_failed": "failed",
    "task_skipped": "skipped",
    "task_cancelled": "cancelled",
}


def marks_of(graph: Graph, events: Iterable[Mapping[str, Any]]) -> Marks:
    """What the events of one run say, in their JSON form and order. Raises InvalidInput for those of another document."""
    reader = _Reader(graph)
    for event in events:
        reader.read(event)
    return Marks(
        {reference: Passed(status, reader.counts.get(reference, 0)) for reference, status in reader.status.items()},
        frozenset(reader.taken),
        frozenset(reader.caught),
    )


class _Reader:
    def __init__(self, graph: Graph) -> None:
        self._root = graph.root
        self._places: dict[str, tuple[Section, int, Box]] = {}
        for section, _ in graph.sections():
            for number, box in enumerate(section.boxes):
                self._places[box.reference] = (section, number, box)
        self._steps = {Taken.of(section, step) for section, _ in graph.sections() for step in section.steps}
        self._last: dict[str, dict[str, int]] = {}
        """Section → pass of the loops around it → the place of the last task there."""
        self.status: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.taken: set[Taken] = set()
        self.caught: set[str] = set()
        self._ended = False

    def read(self, event: Mapping[str, Any]) -> None:
        type_, reference = event.get("eventType"), event.get("taskReference")
        if type_ == "workflow_completed":
            self._leave(self._root)
        if not isinstance(reference, str) or not reference:
            return
        if reference not in self._places:
            if self._comes_from_elsewhere(reference):
                return
            raise InvalidInput(
                f"the events tell of the task {reference}, which the document does not have",
                code="input.other-document",
                hint="name the document that was run",
            )
        section, number, box = self._places[reference]
        if type_ == "task_retried":
            self._last.pop(box.sections[0].id, None) if box.sections else None
        if type_ not in _STATUS:
            return
        self.status[reference] = _STATUS[type_]
        if type_ in ("task_started", "task_skipped"):
            self._arrive(section, number, str(event.get("taskIteration", "")))
        if type_ == "task_started":
            self.counts[reference] = self.counts.get(reference, 0) + 1
            for inner in box.sections:
                self._last.pop(inner.id, None)
        elif type_ == "task_completed":
            self._complete(box)

    def _comes_from_elsewhere(self, reference: str) -> bool:
        """Whether a task is one of a function, an extension or a workflow that a task of the document brought in."""
        return any(
            reference[: match.start()] in self._places for match in re.finditer("/(?:call|extensions|run/workflow)/", reference)
        )

    def _arrive(self, section: Section, number: int, iteration: str) -> None:
        passes = self._last.setdefault(section.id, {})
        if iteration not in passes and passes:
            self._leave(section)
            self._take(section, len(section.boxes), ENTRY)
        self._take(section, passes.get(iteration, ENTRY), number)
        self._last[section.id] = {iteration: number}

    def _complete(self, box: Box) -> None:
        if box.kind == "try" and len(box.sections) == 2:
            body, handler = box.sections
            failed = any(
                self.status.get(body.boxes[place].reference) == "failed" for place in self._last.get(body.id, {}).values()
            )
            if failed or handler.id in self._last:
                self.caught.add(box.reference)
                self._leave(handler)
            else:
                self._leave(body)
            return
        for inner in box.sections:
            self._leave(inner)

    def _leave(self, section: Section) -> None:
        """The flow has come to the end of a section, or of the workflow, after the last task that is known there."""
        if self._ended:
            return
        for place in self._last.get(section.id, {}).values() or [ENTRY]:
            if place != ENTRY and self.status.get(section.boxes[place].reference) not in ("completed", "skipped"):
                continue
            if not self._take(section, place, len(section.boxes)) and self._take(section, place, END):
                self._ended = True  # what is around was left without coming to its end

    def _take(self, section: Section, source: int, target: int) -> bool:
        """Mark the step between two places; false when there is none."""
        skipped = 0 <= source < len(section.boxes) and self.status.get(section.boxes[source].reference) == "skipped"
        choices = (Taken(section.id, source, target, skipped), Taken(section.id, source, target, not skipped))
        step = next((choice for choice in choices if choice in self._steps and (skipped or not choice.skipped)), None)
        if step is not None:
            self.taken.add(step)
        return step is not None
