"""`switch`: goes where the first case that holds says."""

from __future__ import annotations

from workflow_runner.dsl.model import SwitchTask
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame


async def run_switch(_engine: Engine, task: SwitchTask, frame: TaskFrame, scope: Scope) -> Json:
    """Its input, unchanged. Where no case holds the task's own `then` is followed, or the next task runs."""
    chosen = None
    for case in task.cases:
        if case.when is None:
            chosen = case
        elif await scope.condition(case.when, frame.input):
            chosen = case
            break
    if chosen is not None:
        frame.then = chosen.then
    return frame.input
