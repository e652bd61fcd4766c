"""`run: workflow`: runs another document inside this run. Looking it up is the host's (the call "workflow").

An awaited child is a part of this run: its state is in the task's frame, its tasks are told with this task's reference
before theirs, and pausing or cancelling the run does so to it. One that nobody waits for is started by the host.
"""

from __future__ import annotations

from workflow_runner.dsl.model import WorkflowRunTask
from workflow_runner.dsl.problems import CONFIGURATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.dataflow import Inside, Place, Scope
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import Child, TaskFrame, WorkflowFrame
from workflow_runner.interpreter.run import Run
from workflow_runner.interpreter.tasks.arguments import text
from workflow_runner.interpreter.tasks.call_function import check_depth, depth_of

_OWN_POINTERS = ("/", "/timeout", "/timeout/after", "/input/schema", "/input/from", "/output/as", "/output/schema")


async def run_workflow(engine: Engine, task: WorkflowRunTask, frame: TaskFrame, scope: Scope) -> Json:
    """The output of the workflow; null where the task asks for none. The task's input when nobody waits for it."""
    run, child = engine.run, frame.state
    if not isinstance(child, Child):
        arguments: dict[str, Json] = {
            "namespace": await text("namespace", task.namespace, frame.input, scope),
            "name": await text("name", task.workflow_name, frame.input, scope),
            "version": await text("version", task.version, frame.input, scope),
        }
        check_depth(frame, scope, f"the workflow {arguments['namespace']}/{arguments['name']}")
        input_ = {} if task.input_ is None else await scope.template(task.input_, frame.input)
        key = run.idempotency_key(frame)
        if not task.await_:
            await run.effects.call(Call("workflow", arguments | {"start": {"input": input_}}, key, frame.reference))
            return frame.input
        definition = await run.effects.call(Call("workflow", arguments, key, frame.reference))
        if not isinstance(definition, dict):
            raise WorkflowFault(Problem.standard(CONFIGURATION, "what was found is no workflow"))
        effects = run.effects
        frame.state = child = Child(definition, WorkflowFrame(input_, effects.now()), effects.clock())
    return await _run(engine, task, frame, child, scope)


async def _run(engine: Engine, task: WorkflowRunTask, frame: TaskFrame, child: Child, scope: Scope) -> Json:
    run = engine.run
    inner = Run(
        run.elsewhere.workflow(child),
        child.frame,
        run.effects,
        execution_id=run.idempotency_key(frame)[:32],
        run_id=run.run_id,
        secrets=run.all_secrets,
        version=str(run.runtime["version"]),
        parent=run,
        began=child.began,
    )
    inside = Inside("", f"{frame.reference}/run/workflow", None, depth_of(scope) + 1)
    place = Place(child.frame, frame.iteration, frame.visits, inside=inside)
    try:
        output = await engine.inside(inner, place).execute()
    except WorkflowFault as fault:
        problem = fault.problem
        if problem.instance in _OWN_POINTERS or inner.workflow.task_at(problem.instance or "") is not None:
            # A pointer into the other document says nothing in this one.
            problem = Problem(problem.type, problem.status, problem.title, problem.detail, scope.instance)
        raise WorkflowFault(problem) from fault
    return output if task.output else None
