"""Where the flow may go in a list of tasks, whatever the data are: for `validation` and for drawings of documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from workflow_runner.dsl.model import (
    CONTINUE,
    END,
    EXIT,
    DoTask,
    ForkTask,
    RaiseTask,
    SwitchTask,
    Task,
    TaskList,
    TryTask,
)
from workflow_runner.dsl.nodes import escape

_MOST_LOOPS = 20


class Loop(NamedTuple):
    """Jumps that go round with no way out: from the task `start` to the task `end`, whose step back is said at `pointer`."""

    start: str
    end: str
    pointer: str


def targets(task: Task) -> list[tuple[str, str]]:
    """Everything that a task's `then`s say, with their pointers."""
    found = [(task.then, f"{task.reference}/then")]
    if isinstance(task, SwitchTask):
        found += [
            (case.then, f"{task.reference}/switch/{number}/{escape(case.name)}/then") for number, case in enumerate(task.cases)
        ]
    return found


def successors(task: Task) -> list[tuple[str, str]]:
    """What of `targets` the flow may follow when the task has run: not the `then` of a switch that has a default case."""
    found = targets(task)
    if isinstance(task, RaiseTask):
        return []
    if isinstance(task, SwitchTask) and any(case.when is None for case in task.cases):
        return found[1:]
    return found


def leaves_by_itself(task: Task) -> bool:
    """True when what is inside of a task may be broken off: by its time limit, or by an error that it catches."""
    return task.timeout is not None or isinstance(task, TryTask)


class Flow:
    """One list; `completes` says for each task, for each list inside it, whether some flow comes to that list's end."""

    def __init__(self, tasks: TaskList, completes: Sequence[Sequence[bool]]) -> None:
        self._tasks = tasks
        self._ends = [_may_complete(task, inner) for task, inner in zip(tasks, completes, strict=True)]
        self._steps = [list(self._next(number)) for number in range(len(tasks))]

    def _next(self, number: int) -> Iterator[tuple[int | None, str]]:
        """Where the flow may go after a task, and the pointer of what says so: a place (that after the last one is the
        list's end), or None for `end`."""
        task = self._tasks[number]
        if task.if_ is not None:
            yield number + 1, ""  # a task that is skipped ignores its `then`
        if not self._ends[number]:
            yield None, ""
            return
        for target, pointer in successors(task):
            place = None if target == CONTINUE else self._tasks.index_of(target)
            if target == END:
                yield None, pointer
            elif target == EXIT:
                yield len(self._tasks), pointer
            elif place is None:
                yield number + 1, pointer if target != CONTINUE else ""  # or a target that is reported elsewhere
            else:
                yield place, pointer

    def reached(self) -> set[int]:
        """The places that some flow through the list reaches; the one after the last stands for the list's end."""
        return self._from({0})

    def completes(self, reached: set[int]) -> bool:
        """Whether some flow comes to the list's end."""
        return len(self._tasks) in reached

    def endless(self, reached: set[int]) -> list[Loop]:
        """The loops, of what is reached, that no flow leaves."""
        before: dict[int | None, set[int]] = {}
        for number, steps in enumerate(self._steps):
            for place, _ in steps:
                before.setdefault(place, set()).add(number)
            if not self._ends[number] or self._tasks[number].kind == "listen":
                before.setdefault(None, set()).add(number)  # what listens waits for others, who decide how long it goes on
        free: set[int] = set()
        waiting = [*before.get(None, ()), *before.get(len(self._tasks), ())]
        while waiting:
            number = waiting.pop()
            if number not in free:
                free.add(number)
                waiting.extend(before.get(number, ()))
        loops: dict[str, Loop] = {}
        for loop in self._loops(sorted(number for number in reached - free if number < len(self._tasks))):
            loops.setdefault(loop.start, loop)
        return list(loops.values())[:_MOST_LOOPS]

    def _loops(self, stuck: Sequence[int]) -> Iterator[Loop]:
        """The steps by which a walk through these places, which lead only to one another, comes back to where it is."""
        state: dict[int, Literal["open", "done"]] = {}
        for root in stuck:
            if root in state:
                continue
            state[root] = "open"
            path = [(root, iter(self._steps[root]))]
            while path:
                number, steps = path[-1]
                place, pointer = next(steps, (None, ""))
                if place is None:
                    state[number] = "done"
                    path.pop()
                elif state.get(place) == "open":
                    yield Loop(self._tasks[place].name, self._tasks[number].name, pointer or self._tasks[number].reference)
                elif place not in state:
                    state[place] = "open"
                    path.append((place, iter(self._steps[place])))

    def _from(self, places: set[int]) -> set[int]:
        reached: set[int] = set()
        waiting = list(places)
        while waiting:
            number = waiting.pop()
            if number not in reached:
                reached.add(number)
                if number < len(self._tasks):
                    waiting.extend(place for place, _ in self._steps[number] if place is not None)
        return reached


def _may_complete(task: Task, inner: Sequence[bool]) -> bool:
    match task:
        case RaiseTask():
            return False
        case DoTask():
            return all(inner)
        case ForkTask():
            return any(inner) or not inner if task.compete else all(inner)
        case TryTask():
            swallows = task.catch.do is None and task.catch.retry is None
            return any(inner) or swallows
        case _:
            return True
