"""`call: http`: makes the request; carrying it out is the host's (calls/http.py)."""

from __future__ import annotations

from workflow_runner.dsl.model import HttpCallTask
from workflow_runner.dsl.problems import EXPRESSION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json, Literal, Template
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame
from workflow_runner.interpreter.uris import expand


async def run_call_http(engine: Engine, task: HttpCallTask, frame: TaskFrame, scope: Scope) -> Json:
    """What the server answered, in the form that the task's `output` asks for."""
    data = frame.input
    arguments: dict[str, Json] = {
        "method": _text("method", await scope.template(task.method, data)),
        "uri": await _uri(task.endpoint, data, scope),
        "headers": await _mapping("headers", task.headers, data, scope),
        "query": await _mapping("query", task.query, data, scope),
        "output": task.output,
        "redirect": task.redirect,
    }
    if task.body is not None:
        arguments["body"] = await scope.template(task.body, data)
    run = engine.run
    return await run.effects.call(Call("http", arguments, run.idempotency_key(frame), frame.reference))


async def _uri(endpoint: Template, data: Json, scope: Scope) -> str:
    value = _text("endpoint", await scope.template(endpoint, data))
    return expand(value, data) if isinstance(endpoint, Literal) else value


async def _mapping(what: str, template: Template | None, data: Json, scope: Scope) -> dict[str, Json]:
    value = {} if template is None else await scope.template(template, data)
    if not isinstance(value, dict):
        raise _wrong(f"`{what}` must be an object, and its expression gave another kind of value")
    return value


def _text(what: str, value: Json) -> str:
    if not isinstance(value, str):
        raise _wrong(f"`{what}` must be a string, and its expression gave another kind of value")
    return value


def _wrong(detail: str) -> WorkflowFault:
    return WorkflowFault(Problem.standard(EXPRESSION, detail))
