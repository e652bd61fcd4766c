"""`wait`: time passes."""

from __future__ import annotations

from workflow_runner.dsl.model import WaitTask
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame, Wait
from workflow_runner.interpreter.moments import later


async def run_wait(engine: Engine, task: WaitTask, frame: TaskFrame, scope: Scope) -> Json:
    """Its input, unchanged. The end is fixed when the wait begins: a continued run waits the rest."""
    if not isinstance(frame.state, Wait):
        duration = await scope.duration(task.duration, frame.input)
        frame.state = Wait(later(engine.run.effects.clock(), duration))
    await engine.run.effects.sleep(frame.state.until)
    return frame.input
