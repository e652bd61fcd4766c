"""`emit`: publishes an event; carrying it out is the host's (docs/engine.md, "Events between runs")."""

from __future__ import annotations

import json

from workflow_runner.dsl.model import EmitTask
from workflow_runner.dsl.problems import EXPRESSION, VALIDATION, Problem, WorkflowFault
from workflow_runner.dsl.read_events import is_timestamp
from workflow_runner.dsl.templates import Json, Literal
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import Emit, TaskFrame
from workflow_runner.interpreter.uris import expand

LARGEST_EVENT = 1024 * 1024
"""Characters of one event, as JSON."""

_TEXTS = ("id", "source", "type", "time", "subject", "datacontenttype", "dataschema")


async def run_emit(engine: Engine, task: EmitTask, frame: TaskFrame, scope: Scope) -> Json:
    """The event. It has been taken by the sink, where there is one, and by who listens in this process."""
    state, effects = frame.state, engine.run.effects
    if not isinstance(state, Emit):
        given = await _given(task, frame, scope)
        event: dict[str, Json] = {"specversion": "1.0", "id": given.pop("id", None) or effects.uuid()}
        data = given.pop("data", None)
        event |= {name: given.pop(name) for name in ("source", "type") if name in given}
        moment = effects.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event["time"] = given.pop("time", moment)
        event |= given
        if "data" in task.attributes:
            event["data"] = data
        _check_size(event)
        frame.state = state = Emit(event)
    key = engine.run.idempotency_key(frame)
    await effects.call(Call("emit", {"event": state.event}, key, frame.reference))
    return state.event


async def _given(task: EmitTask, frame: TaskFrame, scope: Scope) -> dict[str, Json]:
    """The attributes and data, evaluated. Those that an expression makes null are left out."""
    given: dict[str, Json] = {}
    for name, template in task.attributes.items():
        value = await scope.template(template, frame.input)
        if name in ("source", "dataschema") and isinstance(template, Literal) and isinstance(value, str):
            value = expand(value, frame.input)
        if name == "data":
            given[name] = value
        elif value is not None:
            _check(name, value)
            given[name] = value
    for name in ("source", "type"):
        if name not in given:
            raise _wrong(f"an event needs the attribute {name!r}, and its expression gave null")
    return given


def _check(name: str, value: Json) -> None:
    if name in _TEXTS and (not isinstance(value, str) or not value):
        raise _wrong(f"the attribute {name!r} of an event must be a string that is not empty")
    if name == "time" and isinstance(value, str) and not is_timestamp(value):
        raise _wrong("the attribute 'time' of an event must be a moment such as 2024-07-26T16:59:57Z")
    if name == "specversion" and value != "1.0":
        raise _wrong("the attribute 'specversion' of an event must be 1.0")
    if isinstance(value, dict | list | float):
        raise _wrong(f"the attribute {name!r} of an event must be a string, a whole number or a boolean")


def _check_size(event: dict[str, Json]) -> None:
    try:
        size = len(json.dumps(event))
    except RecursionError as error:
        raise WorkflowFault(Problem.standard(VALIDATION, "the event is nested too deeply")) from error
    if size > LARGEST_EVENT:
        detail = f"the event has {size:,} characters as JSON; at most {LARGEST_EVENT:,} are published"
        raise WorkflowFault(Problem.standard(VALIDATION, detail))


def _wrong(detail: str) -> WorkflowFault:
    return WorkflowFault(Problem.standard(EXPRESSION, detail))
