"""`call` of a function of the author's: runs its task in place of the call, over the arguments and nothing else.

Fetching a function is the host's (the call "function"); what it gave is in the root of the frames for the rest of the run.
"""

from __future__ import annotations

from workflow_runner.dsl.catalogs import address_in, address_of
from workflow_runner.dsl.model import FunctionCallTask, FunctionSource
from workflow_runner.dsl.nodes import escape
from workflow_runner.dsl.problems import CONFIGURATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.authentication import carried
from workflow_runner.interpreter.dataflow import Inside, Scope
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import Function, ListFrame, TaskFrame
from workflow_runner.interpreter.tasks.arguments import mapping, text

MOST_NESTED = 16
"""So many functions and workflows may be inside one another."""

DEEPEST = 64
"""Nor do they begin inside so many tasks: each takes up some of the stack."""


async def run_call_function(engine: Engine, task: FunctionCallTask, frame: TaskFrame, scope: Scope) -> Json:
    """The output of the function."""
    run, call = engine.run, frame.state
    if not isinstance(call, Function):
        check_depth(frame, scope, f"the function {task.function!r}")
        arguments = await mapping("with", task.arguments, frame.input, scope)
        address = None if task.source is None else await _fetched(engine, task.function, task.source, frame, scope)
        frame.state = call = Function(ListFrame(arguments), address)
    tasks = run.elsewhere.function(run.workflow, task, call)
    inside = Inside(
        definition=tasks[0].reference,
        reference=f"{frame.reference}/call/{escape(task.function)}",
        instance=scope.instance,
        depth=depth_of(scope) + 1,
        extended=scope.inside is None or scope.inside.extended,
        trusted=call.address is None and (scope.inside is None or scope.inside.trusted),
    )
    await engine.run_list(tasks, call.tasks, scope.place_inside(inside, holder=call))
    return call.tasks.data


def depth_of(scope: Scope) -> int:
    """How many functions and workflows a task is inside of."""
    return 0 if scope.inside is None else scope.inside.depth


def check_depth(frame: TaskFrame, scope: Scope, what: str) -> None:
    """Raise WorkflowFault where a function or a workflow would begin too deeply inside others."""
    if depth_of(scope) >= MOST_NESTED or len(frame.visits) >= DEEPEST:
        detail = (
            f"{what} is not run: it is inside {depth_of(scope)} others and {len(frame.visits)} tasks, and at most "
            f"{MOST_NESTED} and {DEEPEST} go"
        )
        raise WorkflowFault(Problem.standard(CONFIGURATION, detail))


async def _fetched(engine: Engine, name: str, source: FunctionSource, frame: TaskFrame, scope: Scope) -> str:
    """Where the function is from, now that the frames have its definition."""
    run = engine.run
    arguments: dict[str, Json]
    if source.catalog is None:
        key = f"{source.name}:{source.version}"
        arguments = {"default": {"name": source.name, "version": source.version}}
    else:
        catalog = await text("endpoint", source.catalog, frame.input, scope)
        try:
            key = address_in(catalog, source.name, source.version) if source.name else address_of(catalog)
        except ValueError as error:
            raise WorkflowFault(Problem.standard(CONFIGURATION, f"the function {name!r} has no valid address")) from error
        arguments = {"uri": key}
    functions = run.root.frame.functions
    if key not in functions:
        policy = await carried(source.authentication, frame.input, scope)
        call = Call("function", arguments | {"name": name}, run.fetch_key(key), frame.reference, policy)
        functions.setdefault(key, await run.effects.call(call))
    return key
