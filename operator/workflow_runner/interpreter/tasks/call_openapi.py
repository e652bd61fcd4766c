"""`call: openapi`: says which operation is to be called with what; finding and calling it is the host's (calls/openapi.py)."""

from __future__ import annotations

from workflow_runner.dsl.model import OpenApiCallTask
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.authentication import carried
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame
from workflow_runner.interpreter.tasks.arguments import mapping, text, uri


async def run_call_openapi(engine: Engine, task: OpenApiCallTask, frame: TaskFrame, scope: Scope) -> Json:
    """What the server answered, in the form that the task's `output` asks for."""
    data = frame.input
    arguments: dict[str, Json] = {
        "document": await uri(task.document.endpoint, data, scope),
        "operationId": await text("operationId", task.operation_id, data, scope),
        "parameters": await mapping("parameters", task.parameters, data, scope),
        "output": task.output,
        "redirect": task.redirect,
    }
    policy = await carried(task.authentication, data, scope)
    resource_policy = await carried(task.document.authentication, data, scope)
    run = engine.run
    key = run.idempotency_key(frame)
    return await run.effects.call(Call("openapi", arguments, key, frame.reference, policy, resource_policy))
