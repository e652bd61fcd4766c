"""`set`: gives a value."""

from __future__ import annotations

from workflow_runner.dsl.model import SetTask
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.evaluate import evaluate
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame


async def run_set(engine: Engine, task: SetTask, frame: TaskFrame, scope: Scope) -> Json:
    """The template's value over the task's input; it replaces the data, it is not merged into it."""
    # Not through scope.template: what a task gives is measured as its output.
    effects = engine.run.effects
    return await evaluate(task.value, frame.input, scope, effects.evaluate, effects.here)
