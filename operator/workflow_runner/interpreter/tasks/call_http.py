"""`call: http`: makes the request; carrying it out is the host's (calls/http.py)."""

from __future__ import annotations

from workflow_runner.dsl.model import HttpCallTask
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.authentication import carried
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame
from workflow_runner.interpreter.tasks.arguments import mapping, text, uri


async def run_call_http(engine: Engine, task: HttpCallTask, frame: TaskFrame, scope: Scope) -> Json:
    """What the server answered, in the form that the task's `output` asks for."""
    data = frame.input
    arguments: dict[str, Json] = {
        "method": await text("method", task.method, data, scope),
        "uri": await uri(task.endpoint, data, scope),
        "headers": await mapping("headers", task.headers, data, scope),
        "query": await mapping("query", task.query, data, scope),
        "output": task.output,
        "redirect": task.redirect,
    }
    if task.body is not None:
        arguments["body"] = await scope.template(task.body, data)
    run = engine.run
    policy = await carried(task.authentication, data, scope)
    return await run.effects.call(Call("http", arguments, run.idempotency_key(frame), frame.reference, policy))
