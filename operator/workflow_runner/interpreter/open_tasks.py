"""The tasks that have begun and not ended: who breaks off a piece of a run tells the end of each."""

from __future__ import annotations

from collections.abc import Iterator

from workflow_runner.dsl.model import (
    DoTask,
    ForkTask,
    ForTask,
    FunctionCallTask,
    ListenTask,
    Task,
    TaskList,
    TryTask,
    WorkflowRunTask,
)
from workflow_runner.interpreter.frames import Attempts, Child, Fork, Function, Listen, ListFrame, Loop, TaskFrame
from workflow_runner.interpreter.run import Run


def open_tasks(run: Run, tasks: TaskList, at: ListFrame) -> Iterator[tuple[Task, TaskFrame]]:
    """Those of a list, inner ones before outer ones, branches in declaration order."""
    if at.task is None:
        return
    task = tasks[at.position]
    yield from open_inside(run, task, at.task)
    yield task, at.task


def open_inside(run: Run, task: Task, frame: TaskFrame) -> Iterator[tuple[Task, TaskFrame]]:
    """Those inside a task that is open itself."""
    state = frame.state
    if frame.extending is not None and frame.extending.tasks is not None:
        extensions, number = run.workflow.use.extensions, frame.extending.number
        before = number < len(extensions)
        extension = extensions[number if before else frame.extending.applied[-1]]
        around = extension.before if before else extension.after
        if around is not None:
            yield from open_tasks(run, around, frame.extending.tasks)
    match task, state:
        case DoTask(), ListFrame():
            yield from open_tasks(run, task.do, state)
        case ForTask(), Loop() if state.body is not None:
            yield from open_tasks(run, task.do, state.body)
        case TryTask(), Attempts() if state.body is not None:
            yield from open_tasks(run, task.try_, state.body)
        case TryTask(), Attempts() if state.handler is not None and task.catch.do is not None:
            yield from open_tasks(run, task.catch.do, state.handler)
        case ForkTask(), Fork():
            for tasks, branch in zip(task.branches, state.branches, strict=True):
                if branch.end is None:
                    yield from open_tasks(run, tasks, branch.tasks)
        case ListenTask(), Listen() if state.turn is not None and state.turn.body is not None:
            if task.foreach is not None and task.foreach.do is not None:
                yield from open_tasks(run, task.foreach.do, state.turn.body)
        case FunctionCallTask(), Function():
            yield from open_tasks(run, run.elsewhere.function(run.workflow, task, state), state.tasks)
        case WorkflowRunTask(), Child() if state.frame.tasks is not None and not state.frame.done:
            yield from open_tasks(run, run.elsewhere.workflow(state).do, state.frame.tasks)
        case _:
            pass
