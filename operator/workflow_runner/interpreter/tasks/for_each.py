"""`for`: tasks for each item of a collection."""

from __future__ import annotations

from workflow_runner.dsl.model import ForTask
from workflow_runner.dsl.problems import EXPRESSION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import ListFrame, Loop, TaskFrame


async def run_for(engine: Engine, task: ForTask, frame: TaskFrame, scope: Scope) -> Json:
    """The output of the last pass; each pass gets the output of the one before, the first the task's input.

    `while` is asked before each pass, with the loop's variables. `exit` in the body ends the loop.
    """
    loop = frame.state
    if not isinstance(loop, Loop):
        frame.state = loop = Loop(await _collection(task, frame, scope), frame.input)
    count = len(loop.collection)
    while loop.index < count:
        names = {task.each: loop.collection[loop.index], task.at: loop.index}
        if loop.body is None:
            if task.while_ is not None and not await scope.with_names(names).condition(task.while_, loop.data):
                break
            loop.body = ListFrame(loop.data)
        exited = await engine.run_list(task.do, loop.body, scope.place(names, loop.index))
        loop.data, loop.body = loop.body.data, None
        loop.index += 1
        if len(frame.visits) == 1:
            engine.run.advance(loop.index / count)
        if exited:
            break
    return loop.data


async def _collection(task: ForTask, frame: TaskFrame, scope: Scope) -> list[Json]:
    collection = await scope.template(task.in_, frame.input)
    if not isinstance(collection, list):
        detail = f"`for.in` must give an array, and {task.in_.source!r} gave {_kind(collection)}"
        raise WorkflowFault(Problem.standard(EXPRESSION, detail))
    return collection


def _kind(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case _:
            return "an object"
