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

from workflow_runner.dsl.model import CONTINUE, END, EXIT, EventIterator, Extension, Schema, Task, TaskList
from workflow_runner.dsl.nodes import escape
from workflow_runner.dsl.problems import CONFIGURATION, EXPRESSION, TIMEOUT, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json, Template, mentions
from workflow_runner.errors import InvalidInput
from workflow_runner.interpreter import schemas
from workflow_runner.interpreter.authentication import authorization
from workflow_runner.interpreter.dataflow import Inside, Place, Scope
from workflow_runner.interpreter.effects import DeadlinePassed
from workflow_runner.interpreter.frames import Branch, Extending, ListFrame, TaskFrame
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
    """Carries out one run. `runners` says for each kind of task what does it.

    `place` is where the document's list stands, when another run has started this one.
    """

    def __init__(self, run: Run, runners: Mapping[type[Task], Runner], place: Place | None = None) -> None:
        self.run = run
        self._runners = runners
        self._place = place or Place(run.frame)
        self._extensions = run.workflow.use.extensions
        self._extended = frozenset(kind for extension in self._extensions for kind in extension.extend)

    def inside(self, run: Run, place: Place) -> Engine:
        """What carries out a run inside this one."""
        return Engine(run, self._runners, place)

    async def execute(self) -> Json:
        """Go from where the run's frame says to the end, and give the output. Raises WorkflowFault."""
        frame = self.run.frame
        if frame.time_limit is None:
            return await self._execute()
        seconds = frame.time_limit.total_seconds()
        problem = Problem.standard(TIMEOUT, f"the run took longer than the {seconds:g} s that its execution has", instance="/")
        return await self._within(later(self.run.began, frame.time_limit), problem, self._execute())

    async def _execute(self) -> Json:
        frame, workflow = self.run.frame, self.run.workflow
        if frame.tasks is None:
            try:
                self.run.sizes.check(frame.raw_input, "the input")
            except WorkflowFault as fault:
                raise WorkflowFault(fault.problem.at("/input")) from fault
            await self._matches("/input/schema", workflow.input_schema, frame.raw_input)
            frame.input = await self._transform("/input/from", workflow.input_from, frame.raw_input)
            if workflow.timeout is not None:
                try:
                    frame.deadline = later(self.run.began, await Scope(self.run).duration(workflow.timeout, frame.input))
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
                await self.run_list(workflow.do, tasks, self._place)
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
                for task, frame in open_tasks(run, run.workflow.do, run.frame.tasks):
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
        run, frame, inside = self.run, at.task, place.inside
        reference = task.reference if inside is None else inside.reference_of(task)
        if frame is None:
            await run.effects.checkpoint(run.root.frame)
            visits = (*place.visits, at.visits.get(at.position, 0) + 1)
            frame = TaskFrame(reference, place.iteration, visits, at.data, run.effects.now())
        elif frame.reference != reference:
            raise InvalidInput(
                f"the frame is at {frame.reference}, where the document has {reference}",
                code="frame.mismatch",
                hint="continue it with the document that it was written for",
            )
        scope = Scope(run, task, frame, place.names, None, place.holder, inside=inside)
        try:
            if at.task is None:
                if task.if_ is not None and not await scope.condition(task.if_, at.data):
                    run.skipped(task, frame)
                    return CONTINUE
                if self._extensions and (inside is None or inside.extended) and self._extends(task):
                    frame.extending = Extending()
                self._begin(task, at, frame)
            if task.plain and frame.extending is None:
                await self._do(task, frame, scope)
                self._end(task, at, frame, frame.output)
            else:
                await self._perform(task, at, frame, scope)
        except Ended:
            at.task = None
            run.completed(task, frame)
            raise
        except WorkflowFault as fault:
            if at.task is None:
                self._begin(task, at, frame)
            at.task = None
            problem = fault.problem.at(scope.instance or task.reference)
            run.failed(task, frame, problem)
            raise WorkflowFault(problem) from fault
        return frame.then or task.then

    def _begin(self, task: Task, at: ListFrame, frame: TaskFrame) -> None:
        at.visits[at.position] = frame.visits[-1]
        at.task = frame
        self.run.started(task, frame)

    async def _do(self, task: Task, frame: TaskFrame, scope: Scope) -> None:
        """What the task does, and nothing of what may be around it."""
        if not frame.prepared:
            frame.input, frame.prepared = frame.raw_input, True
        if not frame.done:
            output = await self._runners[type(task)](self, task, frame, scope)
            if output is not frame.input:
                self.run.sizes.check(output, "the task's output")
            frame.output = output
            frame.done = True

    def _end(self, task: Task, at: ListFrame, frame: TaskFrame, output: Json) -> None:
        at.data = output
        at.task = None
        self.run.completed(task, frame)

    async def _perform(self, task: Task, at: ListFrame, frame: TaskFrame, scope: Scope) -> None:
        if frame.extending is not None:
            await self._before(task, frame, frame.extending, scope)
        if not frame.prepared:
            await self._prepare(task, frame, scope)
        if frame.deadline is None:
            await self._carry_out(task, at, frame, scope)
            return
        run = self.run
        try:
            await run.effects.within(frame.deadline, self._carry_out(task, at, frame, scope))
        except DeadlinePassed:
            problem = Problem.standard(TIMEOUT, "the task took longer than its `timeout` allows", instance=scope.instance)
            for inner, inner_frame in open_inside(run, task, frame):
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
        if task.authorization is not None:
            scope = scope.with_authorization(await authorization(self.run, task, frame, scope))
        await self._do(task, frame, scope)
        if frame.extending is not None:
            await self._after(task, frame, frame.extending, scope)
        output = frame.output
        if task.output_as is not None:
            output = await scope.template(task.output_as, output)
        if task.output_schema is not None:
            await schemas.check(self.run, task.output_schema, output, scope)
        if task.export_as is not None or task.export_schema is not None:
            await self.export(task, output, scope)
        self._end(task, at, frame, output)

    def _extends(self, task: Task) -> bool:
        return "all" in self._extended or task.kind in self._extended

    async def _before(self, task: Task, frame: TaskFrame, extending: Extending, scope: Scope) -> None:
        """Run the `before` of the extensions that apply, in the order of their declaration: what it gives is the task's raw
        input. When one says `exit` the task does nothing, and what was given is its raw output."""
        while extending.number < len(self._extensions):
            extension = self._extensions[extending.number]
            if extending.tasks is None:
                if await self._applies(extension, task, frame, scope):
                    extending.applied.append(extending.number)
                    if extension.before is not None:
                        extending.tasks = ListFrame(frame.raw_input)
                if extending.tasks is None or extension.before is None:
                    extending.number += 1
                    continue
            assert extension.before is not None  # noqa: S101 - else there would be no tasks
            exited = await self.run_list(extension.before, extending.tasks, _around(extension, task, frame, scope))
            data, extending.tasks = extending.tasks.data, None
            if exited:
                frame.input, frame.output = frame.raw_input, data
                frame.prepared = frame.done = True
                extending.number = len(self._extensions)
            else:
                frame.raw_input = data
                extending.number += 1

    async def _after(self, task: Task, frame: TaskFrame, extending: Extending, scope: Scope) -> None:
        """Run the `after` of those that apply, the last one first, over the task's raw output, which it does not change."""
        while extending.applied:
            extension = self._extensions[extending.applied[-1]]
            if extension.after is not None:
                if extending.tasks is None:
                    extending.tasks = ListFrame(frame.output)
                await self.run_list(extension.after, extending.tasks, _around(extension, task, frame, scope))
                extending.tasks = None
            extending.applied.pop()

    async def _applies(self, extension: Extension, task: Task, frame: TaskFrame, scope: Scope) -> bool:
        """Whether an extension is for a task. One whose `when` fails is not: it asks for something the task does not have."""
        if "all" not in extension.extend and task.kind not in extension.extend:
            return False
        if extension.when is None:
            return True
        try:
            return await scope.with_names({"task": _extended(task, scope)}).condition(extension.when, frame.raw_input)
        except WorkflowFault as fault:
            if fault.problem.type == EXPRESSION:
                return False
            raise

    async def export(self, task: Task | EventIterator, output: Json, scope: Scope) -> None:
        """Change `$context` where the task stands, as its `export` says. One that does not match its schema is not taken."""
        holder = scope.holder
        context = holder.context
        if task.export_as is not None:
            context = await scope.with_output(output).template(task.export_as, output)
        if task.export_schema is not None:
            await schemas.check(self.run, task.export_schema, context, scope)
        holder.context = context
        if isinstance(holder, Branch) and task.export_as is not None and not mentions(task.export_as, "context"):
            holder.replaced = True


def _around(extension: Extension, task: Task, frame: TaskFrame, scope: Scope) -> Place:
    """Where the lists of an extension stand: its tasks see the extended task as `$task`, and none of its variables."""
    inside = Inside(
        definition=extension.reference,
        reference=f"{frame.reference}/extensions/{escape(extension.name)}",
        instance=scope.instance,
        depth=0 if scope.inside is None else scope.inside.depth,
        extended=False,
    )
    return scope.place_inside(inside, {"task": _extended(task, scope)})


def _extended(task: Task, scope: Scope) -> dict[str, Json]:
    """`$task` for extensions: the descriptor, and beside it what the reference's examples look at (`$task.with`)."""
    return {**task.definition, **(scope.descriptor() or {})}


def _position(tasks: TaskList, name: str) -> int:
    position = tasks.index_of(name)
    if position is None:
        detail = f"`then` names '{name}', and this list has no task of that name"
        raise WorkflowFault(Problem.standard(CONFIGURATION, detail))
    return position
