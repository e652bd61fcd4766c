"""`raise`: faults with an error of the author's."""

from __future__ import annotations

from typing import NoReturn

from workflow_runner.dsl.model import RaiseTask
from workflow_runner.dsl.problems import EXPRESSION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json, Template
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import TaskFrame


async def run_raise(_engine: Engine, task: RaiseTask, frame: TaskFrame, scope: Scope) -> NoReturn:
    """Raises WorkflowFault with the task's error; an instance that the author gave is kept."""

    async def text(member: str, template: Template) -> str:
        value = await scope.template(template, frame.input)
        if not isinstance(value, str):
            detail = f"the `{member}` of an error must be a string, and its expression gave {value!r:.80}"
            raise WorkflowFault(Problem.standard(EXPRESSION, detail))
        return value

    error = task.error
    raise WorkflowFault(
        Problem(
            type=await text("type", error.type),
            status=error.status,
            title=None if error.title is None else await text("title", error.title),
            detail=None if error.detail is None else await text("detail", error.detail),
            instance=None if error.instance is None else await text("instance", error.instance),
        )
    )
