"""`call: grpc`: says which method of which service is to be called with what; carrying it out is the host's (calls/grpc.py)."""

from __future__ import annotations

from workflow_runner.dsl.model import GrpcCallTask
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.authentication import carried
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame
from workflow_runner.interpreter.tasks.arguments import mapping, text, uri, wrong


async def run_call_grpc(engine: Engine, task: GrpcCallTask, frame: TaskFrame, scope: Scope) -> Json:
    """The message that the server answered with, or the array of those that it streamed, as JSON."""
    data = frame.input
    proto = task.proto
    arguments: dict[str, Json] = {
        "proto": None if proto is None else await uri(proto.endpoint, data, scope),
        "service": await text("service.name", task.service, data, scope),
        "host": await text("service.host", task.host, data, scope),
        "port": await _port(task, data, scope),
        "tls": task.tls,
        "method": await text("method", task.method, data, scope),
        "arguments": await mapping("arguments", task.arguments, data, scope),
        "metadata": await mapping("metadata", task.metadata_sent, data, scope),
    }
    run = engine.run
    if frame.deadline is not None:
        arguments["seconds"] = (frame.deadline - run.effects.clock()).total_seconds()
    policy = await carried(task.authentication, data, scope)
    resource_policy = None if proto is None else await carried(proto.authentication, data, scope)
    key = run.idempotency_key(frame)
    return await run.effects.call(Call("grpc", arguments, key, frame.reference, policy, resource_policy))


async def _port(task: GrpcCallTask, data: Json, scope: Scope) -> int | None:
    if task.port is None:
        return None
    value = await scope.template(task.port, data)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise wrong("`service.port` must be a whole number from 0 to 65535, and its expression gave another value")
    return value
