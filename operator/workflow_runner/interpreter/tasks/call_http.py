"""`call: http`: makes the request; carrying it out is the host's (calls/http.py)."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from workflow_runner.dsl.model import HttpCallTask
from workflow_runner.dsl.problems import EXPRESSION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json, Literal, Template
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame

_VARIABLES = re.compile(r"\{([^{}]*)\}")


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


def expand(template: str, data: Json) -> str:
    """Fill a URI template from the top-level properties of `data` (DSL reference, "URI Template").

    Simple string expansion only (RFC 6570, 3.2.2); names are taken verbatim, so `{pet.id}` is the
    property "pet.id"; one that is missing or null gives nothing. Raises WorkflowFault (`expression`) for
    a property that is an array or an object.
    """
    properties = data if isinstance(data, dict) else {}

    def value(name: str) -> str | None:
        found = properties.get(name)
        if isinstance(found, list | dict):
            raise _wrong(f"the URI template's {{{name}}} must be a string, number, boolean or null")
        if found is None:
            return None
        return quote(found if isinstance(found, str) else json.dumps(found), safe="")

    def expansion(match: re.Match[str]) -> str:
        return ",".join(text for name in match[1].split(",") if (text := value(name)) is not None)

    return _VARIABLES.sub(expansion, template)


def _wrong(detail: str) -> WorkflowFault:
    return WorkflowFault(Problem.standard(EXPRESSION, detail))
