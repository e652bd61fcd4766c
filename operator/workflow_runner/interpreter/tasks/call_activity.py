"""`call: activity`: says which activity is to be called with what; carrying it out is for hosts that have Temporal."""

from __future__ import annotations

from workflow_runner.dsl.model import ActivityCallTask
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame
from workflow_runner.interpreter.tasks.arguments import seconds_left, text


async def run_call_activity(engine: Engine, task: ActivityCallTask, frame: TaskFrame, scope: Scope) -> Json:
    """What the activity gave."""
    data = frame.input
    arguments: dict[str, Json] = {
        "activity": await text("activity", task.activity, data, scope),
        "input": data if task.input_ is None else await scope.template(task.input_, data),
        **seconds_left(engine, frame),
    }
    run = engine.run
    return await run.effects.call(Call("activity", arguments, run.idempotency_key(frame), frame.reference))
