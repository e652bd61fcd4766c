"""How data and names reach an expression (dsl.md, "Data Flow" and "Runtime expression arguments").

A Scope is what the expressions of one task may mention; a Place is what a list of tasks passes on to
the tasks in it. The engine and `tasks/` evaluate every expression through a Scope.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from workflow_runner.dsl.durations import duration_from_json
from workflow_runner.dsl.model import Duration, Task
from workflow_runner.dsl.problems import EXPRESSION, Problem, WorkflowFault
from workflow_runner.dsl.templates import ArrayTemplate, Expression, Json, ObjectTemplate, Template
from workflow_runner.expressions.evaluate import evaluate, truthy
from workflow_runner.interpreter.frames import Branch, Function, TaskFrame, WorkflowFrame
from workflow_runner.interpreter.moments import descriptor
from workflow_runner.interpreter.run import Run

NO_NAMES: Mapping[str, Json] = MappingProxyType({})
_ARGUMENTS = ("context", "input", "output", "workflow", "runtime", "secrets", "task", "authorization")


Holder: TypeAlias = WorkflowFrame | Branch | Function
"""What has the `$context` of the tasks inside it."""


class Inside(NamedTuple):
    """Tasks that are not defined where they run: those of a function, an extension or another workflow.

    Their references begin with `definition` in the document and with `reference` in frames and events, so that each
    place from which they are run has its own. `instance` is what the errors in them have as theirs; None: their own
    pointers. `depth` counts how many such things are around them, itself included. `extended` says whether extensions
    apply, `trusted` whether they may see secrets: what was fetched may not.
    """

    definition: str
    reference: str
    instance: str | None
    depth: int
    extended: bool = True
    trusted: bool = True

    def reference_of(self, task: Task) -> str:
        """The task's reference in frames and events."""
        return self.reference + task.reference[len(self.definition) :]


class Place(NamedTuple):
    """Where a list of tasks stands: whose `$context` it has, loop indices and visits around it, names that it may use.

    `names` are the variables of loops and handlers around the list, by name without `$`.
    """

    holder: Holder
    iteration: str = ""
    visits: tuple[int, ...] = ()
    names: Mapping[str, Json] = NO_NAMES
    inside: Inside | None = None


class Scope(Mapping[str, Json]):
    """The names that the expressions of one task may mention, or of the workflow itself without a task.

    Values are made when a program asks for them. A name that the language does not offer at a point
    (`$output` before there is one) is null there.
    """

    __slots__ = ("_authorization", "_frame", "_names", "_output", "_run", "_task", "holder", "inside")

    def __init__(
        self,
        run: Run,
        task: Task | None = None,
        frame: TaskFrame | None = None,
        names: Mapping[str, Json] = NO_NAMES,
        output: Json = None,
        holder: Holder | None = None,
        authorization: Json = None,
        inside: Inside | None = None,
    ) -> None:
        self._run = run
        self._authorization = authorization
        self.holder = holder or run.frame
        self.inside = inside
        self._task = task
        self._frame = frame
        self._names = names
        self._output = output

    def __getitem__(self, name: str) -> Json:
        if name in self._names:
            return self._names[name]
        frame = self._frame
        match name:
            case "context":
                return self.holder.context
            case "input":
                return None if frame is None else frame.input
            case "output":
                return self._output
            case "workflow":
                return self._run.descriptor
            case "runtime":
                return self._run.runtime
            case "secrets":
                return self._run.secrets if self.inside is None or self.inside.trusted else {}
            case "task":
                return self.descriptor()
            case "authorization":
                return self._authorization
            case _:
                raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter({*_ARGUMENTS, *self._names})

    def __len__(self) -> int:
        return len({*_ARGUMENTS, *self._names})

    def place(self, names: Mapping[str, Json] = NO_NAMES, index: int | None = None) -> Place:
        """Where a list inside this task stands; `index` is the pass of this task's loop."""
        frame = self._frame
        if frame is None:
            return Place(self.holder, inside=self.inside)
        iteration = frame.iteration
        if index is not None:
            iteration = f"{iteration}.{index}" if iteration else str(index)
        names = {**self._names, **names} if names else self._names
        return Place(self.holder, iteration, frame.visits, names, self.inside)

    def place_inside(self, inside: Inside, names: Mapping[str, Json] = NO_NAMES, holder: Holder | None = None) -> Place:
        """Where a list that is defined elsewhere stands inside this task: it sees `names` and no others."""
        frame = self._frame
        assert frame is not None  # noqa: S101 - only tasks have such lists
        return Place(holder or self.holder, frame.iteration, frame.visits, names, inside)

    @property
    def instance(self) -> str | None:
        """What an error of this task has as its `instance`, unless its author says otherwise."""
        if self.inside is not None and self.inside.instance is not None:
            return self.inside.instance
        return None if self._task is None else self._task.reference

    def with_names(self, names: Mapping[str, Json]) -> Scope:
        """The same scope with more names, such as a loop's variables in its `while`."""
        names = {**self._names, **names}
        return Scope(self._run, self._task, self._frame, names, self._output, self.holder, self._authorization, self.inside)

    def with_output(self, output: Json) -> Scope:
        """The same scope where `$output`, the task's transformed output, is known."""
        return Scope(self._run, self._task, self._frame, self._names, output, self.holder, self._authorization, self.inside)

    def with_authorization(self, authorization: Json) -> Scope:
        """The same scope where `$authorization` is known."""
        return Scope(self._run, self._task, self._frame, self._names, self._output, self.holder, authorization, self.inside)

    async def template(self, template: Template, data: Json) -> Json:
        """Evaluate a template over `data`; what comes out is never evaluated again. Raises WorkflowFault."""
        effects = self._run.effects
        value = await evaluate(template, data, self, effects.evaluate, effects.here)
        if isinstance(template, ObjectTemplate | ArrayTemplate):
            self._run.sizes.check(value, "what is put together here")
        return value

    async def condition(self, expression: Expression, data: Json) -> bool:
        """Whether a condition holds: everything but false and null does. Raises WorkflowFault."""
        effects = self._run.effects
        return truthy(await evaluate(expression, data, self, effects.evaluate, effects.here))

    async def duration(self, duration: Duration, data: Json) -> timedelta:
        """A duration, evaluated where it is an expression. Raises WorkflowFault."""
        if isinstance(duration, timedelta):
            return duration
        value = await self.template(duration, data)
        try:
            return duration_from_json(value)
        except ValueError as error:
            raise WorkflowFault(Problem.standard(EXPRESSION, f"`{duration.source}` gave no duration: {error}")) from error

    def descriptor(self) -> dict[str, Json] | None:
        """`$task` (dsl.md, "Task Descriptor"); its input and output are those before any transformation."""
        task, frame = self._task, self._frame
        if task is None or frame is None:
            return None
        return {
            "name": task.name,
            "reference": frame.reference,
            "definition": task.definition,
            "input": frame.raw_input,
            "output": frame.output,
            "startedAt": descriptor(frame.started_at),
        }
