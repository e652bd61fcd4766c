"""The arguments of calls, evaluated over a task's input; the modules `call_…` use it."""

from __future__ import annotations

from workflow_runner.dsl.problems import EXPRESSION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json, Literal, Template
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame
from workflow_runner.interpreter.uris import expand


async def uri(endpoint: Template, data: Json, scope: Scope) -> str:
    """An endpoint's URI; a literal one is a URI template. Raises WorkflowFault, like everything here."""
    value = await text("endpoint", endpoint, data, scope)
    return expand(value, data) if isinstance(endpoint, Literal) else value


async def mapping(what: str, template: Template | None, data: Json, scope: Scope) -> dict[str, Json]:
    """An object; an empty one where there is no template."""
    if template is None:
        return {}
    value = template.value if isinstance(template, Literal) else await scope.template(template, data)
    if not isinstance(value, dict):
        raise wrong(f"`{what}` must be an object, and its expression gave another kind of value")
    return value


async def text(what: str, template: Template, data: Json, scope: Scope) -> str:
    """A string."""
    value = template.value if isinstance(template, Literal) else await scope.template(template, data)
    if not isinstance(value, str):
        raise wrong(f"`{what}` must be a string, and its expression gave another kind of value")
    return value


def seconds_left(engine: Engine, frame: TaskFrame) -> dict[str, Json]:
    """`seconds` until the task's time limit, where it has one: so that the other side hears of it."""
    if frame.deadline is None:
        return {}
    return {"seconds": (frame.deadline - engine.run.effects.clock()).total_seconds()}


def wrong(detail: str) -> WorkflowFault:
    """The fault of an expression that gave something else than what it is for."""
    return WorkflowFault(Problem.standard(EXPRESSION, detail))
