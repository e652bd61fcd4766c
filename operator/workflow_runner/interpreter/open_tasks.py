"""The tasks that have begun and not ended: who breaks off a piece of a run tells the end of each."""

from __future__ import annotations

from collections.abc import Iterator

from workflow_runner.dsl.model import DoTask, ForkTask, ForTask, Task, TaskList, TryTask
from workflow_runner.interpreter.frames import Attempts, Fork, ListFrame, Loop, TaskFrame


def open_tasks(tasks: TaskList, at: ListFrame) -> Iterator[tuple[Task, TaskFrame]]:
    """Those of a list, inner ones before outer ones, branches in declaration order."""
    if at.task is None:
        return
    task = tasks[at.position]
    yield from open_inside(task, at.task)
    yield task, at.task


def open_inside(task: Task, frame: TaskFrame) -> Iterator[tuple[Task, TaskFrame]]:
    """Those inside a task that is open itself."""
    state = frame.state
    match task, state:
        case DoTask(), ListFrame():
            yield from open_tasks(task.do, state)
        case ForTask(), Loop() if state.body is not None:
            yield from open_tasks(task.do, state.body)
        case TryTask(), Attempts() if state.body is not None:
            yield from open_tasks(task.try_, state.body)
        case TryTask(), Attempts() if state.handler is not None and task.catch.do is not None:
            yield from open_tasks(task.catch.do, state.handler)
        case ForkTask(), Fork():
            for tasks, branch in zip(task.branches, state.branches, strict=True):
                if branch.end is None:
                    yield from open_tasks(tasks, branch.tasks)
        case _:
            pass
