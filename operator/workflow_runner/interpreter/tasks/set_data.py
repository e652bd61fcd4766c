"""`set`: gives a value."""

from __future__ import annotations

from workflow_runner.dsl.model import SetTask
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame


async def run_set(_engine: Engine, task: SetTask, frame: TaskFrame, scope: Scope) -> Json:
    """The template's value over the task's input; it replaces the data, it is not merged into it."""
    return await scope.template(task.value, frame.input)
