"""How data and names reach an expression (dsl.md, "Data Flow" and "Runtime expression arguments").

A Scope is what the expressions of one task may mention; a Place is what a list of tasks passes on to
the tasks in it. The engine and `tasks/` evaluate every expression through a Scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from workflow_runner.dsl.model import Duration, Task
from workflow_runner.expressions.stub import is_bounded,evaluate,duration_from_json
from workflow_runner.dsl.problems import EXPRESSION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Expression, Json, Literal, ObjectTemplate, Template
from workflow_runner.interpreter.frames import TaskFrame
from workflow_runner.interpreter.moments import descriptor
from workflow_runner.interpreter.run import Run


@dataclass(slots=True)
class Place:
    """Where a list of tasks stands: loop indices and visits around it, and the names that it may use.

    `names` are the variables of loops and handlers around the list, by name without `$`.
    """

    iteration: str = ""
    visits: tuple[int, ...] = ()
    names: Mapping[str, Json] = field(default_factory=dict)


class Scope:
    """The expressions of one task, or of the workflow itself when there is no task.

    A name that the language does not offer at a point (`$output` before there is one) is null there.
    """

    __slots__ = ("_frame", "_has_output", "_names", "_output", "_run", "_task")

    def __init__(
        self, run: Run, task: Task | None = None, frame: TaskFrame | None = None, names: Mapping[str, Json] | None = None
    ) -> None:
        self._run = run
        self._task = task
        self._frame = frame
        self._names = names or {}
        self._output: Json = None

    def place(self, names: Mapping[str, Json] | None = None, index: int | None = None) -> Place:
        """Where a list inside this task stands; `index` is the pass of this task's loop."""
        frame = self._frame
        if frame is None:
            return Place()
        iteration = frame.iteration
        if index is not None:
            iteration = f"{iteration}.{index}" if iteration else str(index)
        return Place(iteration, frame.visits, {**self._names, **names} if names else self._names)

    def with_names(self, names: Mapping[str, Json]) -> Scope:
        """The same scope with more names, such as a loop's variables in its `while`."""
        return Scope(self._run, self._task, self._frame, {**self._names, **names})

    def with_output(self, output: Json) -> Scope:
        """The same scope where `$output`, the task's transformed output, is known."""
        scope = Scope(self._run, self._task, self._frame, self._names)
        scope._output = output
        return scope

    async def condition(self, expression: Expression, data: Json) -> bool:
        """Whether a condition holds: jq's truth, in which only false and null do not."""
        value = await self.expression(expression, data)
        return value is not None and value is not False

    async def template(self, template: Template, data: Json) -> Json:
        """Evaluate a template over `data`; what comes out is never evaluated again."""
        if isinstance(template, Expression):
            return await self.expression(template, data)
        if isinstance(template, Literal):
            return template.value
        if isinstance(template, ObjectTemplate):
            return {key: await self.template(item, data) for key, item in template.items}
        return [await self.template(item, data) for item in template.items]

    async def expression(self, expression: Expression, data: Json) -> Json:
        """Evaluate a program over `data`. Raises WorkflowFault (`expression`, 400)."""
        variables = {name: self._variable(name) for name in expression.variables}
        if is_bounded(expression):
            return evaluate(expression, data, variables)
        return await self._run.effects.evaluate(expression, data, variables)

    async def duration(self, duration: Duration, data: Json) -> timedelta:
        """A duration, evaluated where it is an expression. Raises WorkflowFault (`expression`, 400)."""
        if isinstance(duration, timedelta):
            return duration
        try:
            return duration_from_json(await self.expression(duration, data))
        except ValueError as error:
            raise WorkflowFault(Problem.standard(EXPRESSION, f"{duration.source!r} gave no duration: {error}")) from error

    def _variable(self, name: str) -> Json:
        if name in self._names:
            return self._names[name]
        frame = self._frame
        match name:
            case "context":
                return self._run.frame.context if frame is not None or self._run.frame.done else None
            case "input":
                return frame.input if frame is not None else None
            case "output":
                return self._output
            case "workflow":
                return self._run.descriptor
            case "runtime":
                return self._run.runtime
            case "secrets":
                return self._run.secrets()
            case "task":
                return self._descriptor()
            case _:
                return None

    def _descriptor(self) -> Json:
        """`$task` (dsl.md, "Task Descriptor"); its input and output are those before any transformation."""
        task, frame = self._task, self._frame
        if task is None or frame is None:
            return None
        return {
            "name": task.name,
            "reference": task.reference,
            "definition": task.definition,
            "input": frame.raw_input,
            "output": frame.output,
            "startedAt": descriptor(frame.started_at),
        }
