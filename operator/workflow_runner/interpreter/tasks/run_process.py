"""`run: shell` and `run: script`: say what is to be run; running it is the host's (calls/process.py)."""

from __future__ import annotations

import json

from workflow_runner.dsl.model import ProcessReturn, ProcessTask
from workflow_runner.dsl.problems import RUNTIME, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.authentication import carried
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame
from workflow_runner.interpreter.tasks.arguments import mapping, text, uri, wrong


async def run_process(engine: Engine, task: ProcessTask, frame: TaskFrame, scope: Scope) -> Json:
    """What `return` asks for of the process that ended; the task's input when nobody waits for it."""
    data, run = frame.input, engine.run
    arguments: dict[str, Json] = {"process": task.process, "await": task.await_}
    if task.command is not None:
        arguments["command"] = await text("command", task.command, data, scope)
    if task.language is not None:
        arguments["language"] = task.language
    if task.code is not None:
        arguments["code"] = await text("code", task.code, data, scope)
    if task.source is not None:
        arguments["source"] = await uri(task.source.endpoint, data, scope)
    arguments["arguments"] = await _arguments(task, data, scope)
    environment = await mapping("environment", task.environment, data, scope)
    arguments["environment"] = {name: as_text(value) for name, value in environment.items()}
    if task.stdin is not None:
        given = await scope.template(task.stdin, data)
        arguments["stdin"] = None if given is None else as_text(given)
    policy = None if task.source is None else await carried(task.source.authentication, data, scope)
    call = Call("process", arguments, run.idempotency_key(frame), frame.reference, resource_authentication=policy)
    answer = await run.effects.call(call)
    return _returned(task, answer) if task.await_ else data


async def _arguments(task: ProcessTask, data: Json, scope: Scope) -> Json:
    """A list of strings, or, of a script, an object. A shell's object becomes `name=value`, or `name` for null."""
    value: Json = [] if task.arguments is None else await scope.template(task.arguments, data)
    if isinstance(value, list):
        return [as_text(item) for item in value]
    if not isinstance(value, dict):
        raise wrong("`arguments` must be a list or an object, and its expression gave another kind of value")
    if task.process == "script":
        return value
    return [name if item is None else f"{name}={as_text(item)}" for name, item in value.items()]


def as_text(value: Json) -> str:
    """A string as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _returned(task: ProcessTask, answer: Json) -> Json:
    assert isinstance(answer, dict)  # noqa: S101 - of the host
    wanted: ProcessReturn = task.return_
    code = answer["code"]
    if code != 0 and wanted not in ("code", "all"):
        what = "the shell command" if task.process == "shell" else "the script"
        detail = f"{what} ended with the exit code {code}"
        raise WorkflowFault(Problem.standard(RUNTIME, detail))
    match wanted:
        case "none":
            return None
        case "all":
            return {"code": code, "stdout": answer["stdout"], "stderr": answer["stderr"]}
        case _:
            return answer[wanted]
