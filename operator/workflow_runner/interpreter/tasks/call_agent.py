"""`call: agent`: says which agent is to be asked what; asking and waiting is the host's (calls/agent.py)."""

from __future__ import annotations

from collections.abc import Mapping

from workflow_runner.dsl.model import AgentCallTask
from workflow_runner.dsl.read_agent import WARMEST
from workflow_runner.dsl.templates import Expression, Json, ObjectTemplate, Template, mentions
from workflow_runner.interpreter.authentication import sealed_members
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame
from workflow_runner.interpreter.tasks.arguments import mapping, seconds_left, text, wrong

WHOLE = "*"
"""The name of the sealed member that is the whole environment."""


async def run_call_agent(engine: Engine, task: AgentCallTask, frame: TaskFrame, scope: Scope) -> Json:
    """What the agent said last, or all that is known of its answer."""
    data = frame.input
    plain, secret = _parted(task.env)
    arguments: dict[str, Json] = {
        "agent": await text("agent", task.agent, data, scope),
        "scope": task.scope,
        "org": "" if task.org is None else await text("org", task.org, data, scope),
        "message": await text("message", task.message, data, scope),
        "env": await mapping("env", plain, data, scope),
        "model": "" if task.model is None else await text("model", task.model, data, scope),
        "temperature": await _temperature(task.temperature, data, scope),
        "output": task.output,
        **seconds_left(engine, frame),
    }
    if task.time_limit is not None:
        seconds = (await scope.duration(task.time_limit, data)).total_seconds()
        left = arguments.get("seconds", seconds)
        arguments["seconds"] = min(seconds, left) if isinstance(left, int | float) else seconds
    carried = await sealed_members("environment", secret, data, scope) if secret else None
    run = engine.run
    return await run.effects.call(Call("agent", arguments, run.idempotency_key(frame), frame.reference, carried))


def _parted(env: Template | None) -> tuple[Template | None, Mapping[str, Template]]:
    """What may be recorded of the environment, and what is made from secrets: that is carried sealed, like authentication."""
    match env:
        case ObjectTemplate():
            secret = {name: part for name, part in env.items if isinstance(part, Expression) and mentions(part, "secrets")}
            return ObjectTemplate(tuple(pair for pair in env.items if pair[0] not in secret)), secret
        case Expression() if mentions(env, "secrets"):
            return None, {WHOLE: env}
        case _:
            return env, {}


async def _temperature(template: Template | None, data: Json, scope: Scope) -> Json:
    value = None if template is None else await scope.template(template, data)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= WARMEST):
        return value
    raise wrong(f"`temperature` must be a number from 0 to {WARMEST}, and its expression gave another value")
