"""Runs a document: the life of one task, lists of tasks, and the workflow around them.

What a kind of task does is in `tasks/`; this module does what all of them have in common (design,
section 5; order by the language rulings): checkpoint, `if`, `input.schema`, `input.from`, the task itself,
`output.as`, `output.schema`, `export.as`, `export.schema`, `then`, all but the first two within `timeout`; it keeps the
frames and tells the events. `interpret` makes one Engine a run.

State changes and the events that tell them happen without an await between them, so that a frame
written down at any await continues with exactly the events that were not yet told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from workflow_runner.dsl.model import CONTINUE, END, EXIT, Schema, Task, TaskList
from workflow_runner.dsl.problems import CONFIGURATION, TIMEOUT, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json, Template, mentions
from workflow_runner.errors import InvalidInput
from workflow_runner.interpreter import schemas
from workflow_runner.interpreter.dataflow import Place, Scope
from workflow_runner.interpreter.effects import DeadlinePassed
from workflow_runner.interpreter.frames import Branch, ListFrame, TaskFrame
from workflow_runner.interpreter.moments import later
from workflow_runner.interpreter.open_tasks import open_inside, open_tasks
from workflow_runner.interpreter.run import Run

Runner: TypeAlias = Callable[["Engine", Any, TaskFrame, Scope], Awaitable[Json]]
"""Does what one kind of task does, from where its frame says, and gives the raw output."""


class Ended(Exception):
    """A task said `end`: unwinds to the workflow with its output. Never an error."""

    def __init__(self, output: Json) -> None:
        super().__init__()
        self.output = output


class Engine:
    """Carries out one run. `runners` says for each kind of task what does it."""

    def __init__(self, run: Run, runners: Mapping[type[Task], Runner]) -> None:
        self.run = run
        self._runners = runners

    async def execute(self) -> Json:
        """Go from where the run's frame says to the end, and give the output. Raises WorkflowFault."""
        frame = self.run.frame
        if frame.time_limit is None:
            return await self._execute()
        seconds = frame.time_limit.total_seconds()
        problem = Problem.standard(TIMEOUT, f"the run took longer than the {seconds:g} s that its execution has", instance="/")
        return await self._within(later(frame.started_at, frame.time_limit), problem, self._execute())

    async def _execute(self) -> Json:
        frame, workflow = self.run.frame, self.run.workflow
        if frame.tasks is None:
            await self._matches("/input/schema", workflow.input_schema, frame.raw_input)
            frame.input = await self._transform("/input/from", workflow.input_from, frame.raw_input)
            if workflow.timeout is not None:
                try:
                    frame.deadline = later(frame.started_at, await Scope(self.run).duration(workflow.timeout, frame.input))
                except WorkflowFault as fault:
                    raise WorkflowFault(fault.problem.at("/timeout/after")) from fault
            frame.tasks = ListFrame(frame.input)
        if frame.deadline is None:
            return await self._tasks(frame.tasks)
        problem = Problem.standard(TIMEOUT, "the workflow took longer than its `timeout` allows", instance="/timeout")
        return await self._within(frame.deadline, problem, self._tasks(frame.tasks))

    async def _tasks(self, tasks: ListFrame) -> Json:
        """The workflow's tasks, and its output."""
        frame, workflow = self.run.frame, self.run.workflow
        if not frame.done:
            try:
                await self.run_list(workflow.do, tasks, Place(frame))
                frame.output = tasks.data
            except Ended as ended:
                frame.output = ended.output
            frame.done = True
        output = await self._transform("/output/as", workflow.output_as, frame.output)
        await self._matches("/output/schema", workflow.output_schema, output)
        return output

    async def _within(self, deadline: datetime, problem: Problem, work: Coroutine[Any, Any, Json]) -> Json:
        """Run the workflow, or the rest of it, until a deadline. Raises WorkflowFault with the problem when it passes."""
        run = self.run
        try:
            return await run.effects.within(deadline, work)
        except DeadlinePassed:
            if run.frame.tasks is not None:
                for task, frame in open_tasks(run.workflow.do, run.frame.tasks):
                    run.failed(task, frame, problem)
            raise WorkflowFault(problem) from None

    async def _transform(self, pointer: str, template: Template | None, data: Json) -> Json:
        if template is None:
            return data
        try:
            return await Scope(self.run).template(template, data)
        except WorkflowFault as fault:
            raise WorkflowFault(fault.problem.at(pointer)) from fault

    async def _matches(self, pointer: str, schema: Schema | None, data: Json) -> None:
        if schema is None:
            return
        try:
            await schemas.check(self.run, schema, data, Scope(self.run))
        except WorkflowFault as fault:
            raise WorkflowFault(fault.problem.at(pointer)) from fault

    async def run_list(self, tasks: TaskList, at: ListFrame, place: Place) -> bool:
        """Run a list from where its frame says; its output is then `at.data`. True when `exit` ended it."""
        count = len(tasks)
        while at.position < count:
            then = await self._task(tasks[at.position], at, place)
            if then == CONTINUE:
                at.position += 1
            elif then == EXIT:
                return True
            elif then == END:
                raise Ended(at.data)
            else:
                at.position = _position(tasks, then)
        return False

    async def _task(self, task: Task, at: ListFrame, place: Place) -> str:
        """Run one task: its output becomes the data of its list, and the answer is the directive to follow."""
        run, frame = self.run, at.task
        if frame is None:
            await run.effects.checkpoint(run.frame)
            visits = (*place.visits, at.visits.get(at.position, 0) + 1)
            frame = TaskFrame(task.reference, place.iteration, visits, at.data, run.effects.now())
        elif frame.reference != task.reference:
            raise InvalidInput(
                f"the frame is at {frame.reference}, where the document has {task.reference}",
                code="frame.mismatch",
                hint="continue it with the document that it was written for",
            )
        scope = Scope(run, task, frame, place.names, None, place.holder)
        try:
            if at.task is None:
                if task.if_ is not None and not await scope.condition(task.if_, at.data):
                    run.skipped(task, frame)
                    return CONTINUE
                self._begin(task, at, frame)
            await self._perform(task, at, frame, scope)
        except Ended:
            at.task = None
            run.completed(task, frame)
            raise
        except WorkflowFault as fault:
            if at.task is None:
                self._begin(task, at, frame)
            at.task = None
            problem = fault.problem.at(task.reference)
            run.failed(task, frame, problem)
            raise WorkflowFault(problem) from fault
        return frame.then or task.then

    def _begin(self, task: Task, at: ListFrame, frame: TaskFrame) -> None:
        at.visits[at.position] = frame.visits[-1]
        at.task = frame
        self.run.started(task, frame)

    async def _perform(self, task: Task, at: ListFrame, frame: TaskFrame, scope: Scope) -> None:
        if not frame.prepared:
            await self._prepare(task, frame, scope)
        if frame.deadline is None:
            await self._carry_out(task, at, frame, scope)
            return
        run = self.run
        try:
            await run.effects.within(frame.deadline, self._carry_out(task, at, frame, scope))
        except DeadlinePassed:
            problem = Problem.standard(TIMEOUT, "the task took longer than its `timeout` allows", instance=task.reference)
            for inner, inner_frame in open_inside(task, frame):
                run.failed(inner, inner_frame, problem)
            raise WorkflowFault(problem) from None

    async def _prepare(self, task: Task, frame: TaskFrame, scope: Scope) -> None:
        frame.input = frame.raw_input
        if task.input_schema is not None:
            await schemas.check(self.run, task.input_schema, frame.raw_input, scope)
        if task.input_from is not None:
            frame.input = await scope.template(task.input_from, frame.raw_input)
        if task.timeout is not None:
            frame.deadline = later(self.run.effects.clock(), await scope.duration(task.timeout, frame.input))
        frame.prepared = True

    async def _carry_out(self, task: Task, at: ListFrame, frame: TaskFrame, scope: Scope) -> None:
        if not frame.done:
            frame.output = await self._runners[type(task)](self, task, frame, scope)
            frame.done = True
        output = frame.output
        if task.output_as is not None:
            output = await scope.template(task.output_as, output)
        if task.output_schema is not None:
            await schemas.check(self.run, task.output_schema, output, scope)
        if task.export_as is not None or task.export_schema is not None:
            await self._export(task, output, scope)
        at.data = output
        at.task = None
        self.run.completed(task, frame)

    async def _export(self, task: Task, output: Json, scope: Scope) -> None:
        """Change `$context` where the task stands. One that does not match its schema is not taken."""
        holder = scope.holder
        context = holder.context
        if task.export_as is not None:
            context = await scope.with_output(output).template(task.export_as, output)
        if task.export_schema is not None:
            await schemas.check(self.run, task.export_schema, context, scope)
        holder.context = context
        if isinstance(holder, Branch) and task.export_as is not None and not mentions(task.export_as, "context"):
            holder.replaced = True


def _position(tasks: TaskList, name: str) -> int:
    position = tasks.index_of(name)
    if position is None:
        detail = f"`then` names '{name}', and this list has no task of that name"
        raise WorkflowFault(Problem.standard(CONFIGURATION, detail))
    return position
