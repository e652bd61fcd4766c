"""The interpreter's front door: hosts call `interpret` with a document, a state and their effects."""

from __future__ import annotations

from collections.abc import Mapping

from workflow_runner.dsl.model import Workflow
from workflow_runner.dsl.problems import WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.effects import Effects
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import WorkflowFrame
from workflow_runner.interpreter.outcome import Completed, Faulted
from workflow_runner.interpreter.run import Run
from workflow_runner.interpreter.tasks import RUNNERS


async def interpret(
    workflow: Workflow,
    frame: WorkflowFrame,
    effects: Effects,
    *,
    execution_id: str,
    run_id: str,
    secrets: Mapping[str, Json],
    version: str,
) -> Completed | Faulted:
    """Run a document from where `frame` says, which is kept up to date, and tell its end.

    `version` is what `$runtime.version` says. Cancellation passes through. Raises InvalidInput
    (`frame.mismatch`) when the frame was written for another document.
    """
    run = Run(workflow, frame, effects, execution_id=execution_id, run_id=run_id, secrets=secrets, version=version)
    try:
        output = await Engine(run, RUNNERS).execute()
    except WorkflowFault as fault:
        run.workflow_failed(fault.problem)
        return Faulted(fault.problem)
    run.workflow_completed(output)
    return Completed(output)
