"""`do`: tasks in sequence."""

from __future__ import annotations

from workflow_runner.dsl.model import DoTask
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import ListFrame, TaskFrame


async def run_do(engine: Engine, task: DoTask, frame: TaskFrame, scope: Scope) -> Json:
    """The output of the last task that ran; of an empty list, its input."""
    if not isinstance(frame.state, ListFrame):
        frame.state = ListFrame(frame.input)
    await engine.run_list(task.do, frame.state, scope.place())
    return frame.state.data
