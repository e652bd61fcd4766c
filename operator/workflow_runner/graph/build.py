"""A workflow as a Graph: `build` is called by `workflow-runner graph` and by tests."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from workflow_runner.dsl.flow import successors
from workflow_runner.dsl.model import (
    CONTINUE,
    EXIT,
    Extension,
    ForkTask,
    ForTask,
    SwitchTask,
    Task,
    TaskList,
    TryTask,
    Workflow,
    task_lists,
)
from workflow_runner.dsl.model import END as END_DIRECTIVE
from workflow_runner.graph.model import END, ENTRY, Box, Graph, Section, Step

LONGEST_LINE = 44
"""The most characters of one line in a box or at a step."""

EXTENDED = "the task"
"""What stands for the task that an extension is around."""

_UNITS = {"days": "d", "hours": "h", "minutes": "min", "seconds": "s", "milliseconds": "ms"}
_LONGEST_STRING = 400
_STRING = re.compile(r'"(?:[^"\\]|\\\([^"()\\]*\))*"')
_INTERPOLATED = re.compile(r"\\\(([^()]*)\)")
_KINDS = ("call", "do", "emit", "for", "fork", "listen", "raise", "run", "set", "switch", "try", "wait")


def build(workflow: Workflow) -> Graph:
    """The graph of a document that was read."""
    head = workflow.document
    numbers = itertools.count()
    builder = _Builder(lambda: next(numbers))
    root = builder.section(workflow.do, "")
    extensions = tuple(builder.extension(extension) for extension in workflow.use.extensions)
    return Graph(f"{head.namespace}/{head.name}:{head.version}", root, extensions)


class _Builder:
    def __init__(self, number: Callable[[], int]) -> None:
        self._number = number

    def section(self, tasks: TaskList, title: str, *, loop: str | None = None) -> Section:
        id_ = f"s{self._number()}"
        boxes = tuple(self._box(task) for task in tasks)
        steps = [Step(ENTRY, 0, "next"), *(step for number in range(len(tasks)) for step in _steps(tasks, number))]
        if loop is not None:
            steps.append(Step(len(tasks), ENTRY, "loop", loop))
        return Section(id_, title, boxes, tuple(steps))

    def extension(self, extension: Extension) -> Box:
        """What it does around a task, and a box that stands for the task, in one section."""
        before, after = extension.before or TaskList(), extension.after or TaskList()
        lines = [f"around {', '.join(sorted(extension.extend))}"]
        if extension.when is not None:
            lines.append(f"when {extension.when.source.strip()}")
        id_, section, count = f"x{self._number()}", f"s{self._number()}", len(before)
        task = Box(f"t{self._number()}", "", EXTENDED, (), f"{extension.reference}/task")
        boxes = (*(self._box(each) for each in before), task, *(self._box(each) for each in after))
        # The end of what comes before is the place of the task.
        steps = [Step(ENTRY, 0, "next"), *(step for number in range(count) for step in _steps(before, number))]
        steps.append(Step(count, count + 1, "next"))
        steps += [_moved(step, count + 1) for number in range(len(after)) for step in _steps(after, number)]
        shown = tuple(clip(line) for line in lines)
        inside = Section(section, "", boxes, tuple(steps))
        return Box(id_, "extension", _name(extension.name), shown, extension.reference, (inside,))

    def _box(self, task: Task) -> Box:
        id_ = f"t{self._number()}"
        kind = next(
            (kind for kind in _KINDS if kind in task.definition and not (kind == "do" and "for" in task.definition)), ""
        )
        lines = tuple(line for line in _lines(kind, task.definition) if line)
        return Box(id_, kind, _name(task.name), lines, task.reference, tuple(self._sections(task)))

    def _sections(self, task: Task) -> Iterator[Section]:
        lists = task_lists(task)
        if isinstance(task, TryTask):
            yield self.section(task.try_, "try")
            yield self.section(task.catch.do or TaskList(), _catch(task.definition.get("catch")))
        elif isinstance(task, ForTask):
            again = "next" if task.while_ is None else clip(f"next, while {task.while_.source.strip()}")
            yield self.section(task.do, "", loop=again)
        elif isinstance(task, ForkTask):
            for branch in lists:
                yield self.section(branch, "")
        elif task.kind == "listen":
            for inner in lists:
                yield self.section(inner, "", loop="next event")
        else:
            for inner in lists:
                yield self.section(inner, "")


def _moved(step: Step, places: int) -> Step:
    target = step.target if step.target == END else step.target + places
    return step._replace(source=step.source + places, target=target)


def _steps(tasks: TaskList, number: int) -> Iterator[Step]:
    task = tasks[number]
    if isinstance(task, SwitchTask):
        found = [(case.then, _name(case.name)) for case in task.cases]
        if all(case.when is not None for case in task.cases):
            found.append((task.then, "none of them"))
    else:
        found = [(target, "") for target, _ in successors(task)]
    for target, label in found:
        place = _place(tasks, number, target)
        kind = "case" if label else "next" if place == number + 1 else "jump"
        yield Step(number, place, kind, label)  # type: ignore[arg-type]  # three of the kinds
    if task.if_ is not None and not any(_place(tasks, number, target) == number + 1 for target, _ in found):
        yield Step(number, number + 1, "skip", "if not")


def _place(tasks: TaskList, number: int, target: str) -> int:
    if target == END_DIRECTIVE:
        return END
    if target == EXIT:
        return len(tasks)
    place = tasks.index_of(target) if target != CONTINUE else None
    return number + 1 if place is None else place


def _lines(kind: str, definition: dict[str, Any]) -> Iterator[str]:
    """What a task is about, from its own text."""
    if "if" in definition:
        yield clip(f"if {bare(definition['if'])}")
    match kind, definition.get(kind):
        case "call", "http":
            arguments = definition.get("with")
            if isinstance(arguments, dict):
                endpoint = arguments.get("endpoint")
                uri = endpoint.get("uri") if isinstance(endpoint, dict) else endpoint
                yield clip(f"{str(arguments.get('method', '')).upper()} {bare(uri)}")
        case "call", str(function):
            yield clip(function)
        case "for", dict(loop):
            yield clip(f"{loop.get('each', 'item')} in {bare(loop.get('in'))}")
        case "fork", {"compete": True}:
            yield "the first to complete wins"
        case "wait", duration:
            yield clip(_duration(duration))
        case "raise", {"error": error}:
            yield clip(
                f"{bare(error.get('type')).rpartition('/')[2]} {error.get('status')}" if isinstance(error, dict) else error
            )
        case "emit", {"event": {"with": {"type": type_}}}:
            yield clip(bare(type_))
        case "listen", {"to": dict(to)}:
            yield clip(_listened_for(to))
        case "run", dict(run):
            yield clip(", ".join(name for name in run if name not in ("await", "return")))


def _catch(definition: Any) -> str:
    """The title of what handles errors: which, and whether the block is tried again."""
    words = ["catch"]
    if isinstance(definition, dict):
        errors = definition.get("errors")
        if isinstance(errors, dict) and isinstance(errors.get("with"), dict):
            words += [str(value).rpartition("/")[2] for name, value in errors["with"].items() if name in ("type", "status")]
        if "when" in definition:
            words.append(f"when {bare(definition['when'])}")
        if "retry" in definition:
            retry = definition["retry"]
            words.append(f"(retry {retry})" if isinstance(retry, str) else "(with retries)")
    return clip(" ".join(words))


def _duration(value: Any) -> str:
    """`1 min 30 s` of an object of units."""
    if not isinstance(value, dict) or not value:
        return bare(value)
    return " ".join(f"{bare(amount)} {_UNITS.get(unit, unit)}" for unit, amount in value.items())


def _listened_for(to: dict[str, Any]) -> str:
    """`any: a.type, b.type, until …` of a strategy."""
    words = []
    for mode, filters in to.items():
        several = filters if isinstance(filters, list) else [filters]
        withs = [each["with"] for each in several if isinstance(each, dict) and isinstance(each.get("with"), dict)]
        types = [bare(attributes["type"]) for attributes in withs if "type" in attributes]
        if mode == "until":
            words.append(f"until {bare(filters)}" if isinstance(filters, str) else f"until {_listened_for(filters)}")
        else:
            words.append(f"{mode}: {', '.join(types)}" if types else mode)
    return ", ".join(words)


def bare(value: Any) -> str:
    """A value as people write it: text without `${ }` and the quotes in it, anything else as JSON."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    text = value.strip()
    if not text.startswith("${") or not text.endswith("}"):
        return text
    text = text[2:-1].strip()
    # A string with values in it reads better as a template.
    return _INTERPOLATED.sub(r"{\1}", text[1:-1]) if len(text) <= _LONGEST_STRING and _STRING.fullmatch(text) else text


def clip(text: str) -> str:
    """One line of at most LONGEST_LINE characters, all of which can be printed."""
    text = "".join(one if one.isprintable() else " " for one in text[: 4 * LONGEST_LINE])
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + "…"


def _name(name: str) -> str:
    return clip(name) or "(blank)"


def texts(box: Box) -> Sequence[str]:
    """What stands in a box: its kind and name, then its lines."""
    return (f"{box.kind} · {box.name}" if box.kind else box.name, *box.lines)
