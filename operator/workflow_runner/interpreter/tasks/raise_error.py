"""`raise`: faults with an error of the author's."""

from __future__ import annotations

import json
from typing import NoReturn

from workflow_runner.dsl.model import RaiseTask
from workflow_runner.dsl.problems import EXPRESSION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Template
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame


async def run_raise(_engine: Engine, task: RaiseTask, frame: TaskFrame, scope: Scope) -> NoReturn:
    """Raises WorkflowFault with the task's error; an instance that the author gave is kept."""
    error = task.error

    async def text(template: Template | None) -> str | None:
        value = None if template is None else await scope.template(template, frame.input)
        return value if value is None or isinstance(value, str) else json.dumps(value)

    type_ = await text(error.type)
    if type_ is None:
        raise WorkflowFault(
            Problem.standard(EXPRESSION, "the `type` of an error must be a string, and its expression gave null")
        )
    raise WorkflowFault(
        Problem(type_, error.status, await text(error.title), await text(error.detail), await text(error.instance))
    )
