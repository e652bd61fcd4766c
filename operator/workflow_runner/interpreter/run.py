"""One run: its document, its state, its host, and what it tells about itself.

The engine and `tasks/` share one Run. It is the only place that makes the interpreter's events, so that
counts, progress and events cannot disagree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime

from workflow_runner.dsl.model import Task, Workflow
from workflow_runner.dsl.problems import Problem
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.programs import dump
from workflow_runner.interpreter.effects import Effects
from workflow_runner.interpreter.elsewhere import Elsewhere
from workflow_runner.interpreter.events import Event, EventType
from workflow_runner.interpreter.frames import TaskFrame, WorkflowFrame
from workflow_runner.interpreter.moments import descriptor
from workflow_runner.interpreter.roles import TOLD_APART, role_of
from workflow_runner.interpreter.sizes import Sizes


class Run:
    """What is the same for all tasks of a run.

    `execution_id` and `run_id` name the run in `$workflow.id` and in idempotency keys; `secrets` are the
    values of the names under `use.secrets`. A run that another one has started is a part of that one's story: its
    `root` has the counts, the progress and the state that is written down. `began` is by the run's own clock.
    """

    def __init__(
        self,
        workflow: Workflow,
        frame: WorkflowFrame,
        effects: Effects,
        *,
        execution_id: str,
        run_id: str,
        secrets: Mapping[str, Json],
        version: str,
        parent: Run | None = None,
        began: datetime | None = None,
    ) -> None:
        self.root: Run = self if parent is None else parent.root
        self.began = began or frame.started_at
        self.all_secrets = secrets
        self.elsewhere: Elsewhere = Elsewhere(frame.functions) if parent is None else parent.elsewhere
        self.workflow = workflow
        self.frame = frame
        self.effects = effects
        self.execution_id = execution_id
        self.run_id = run_id
        self.secrets: dict[str, Json] = {name: secrets[name] for name in workflow.use.secrets if name in secrets}
        self._root_tasks = max(1, len(workflow.do))
        self.sizes: Sizes = Sizes() if parent is None else parent.sizes
        self.fetched_schemas: dict[str, str] = {}
        """By address, as JSON; not state: a continued run fetches them again."""
        self.runtime: dict[str, Json] = {"name": "workflow-runner", "version": version, "metadata": {}}
        self.descriptor: dict[str, Json] = {
            "id": execution_id,
            "definition": workflow.definition,
            "input": frame.raw_input,
            "startedAt": descriptor(frame.started_at),
        }

    def idempotency_key(self, frame: TaskFrame) -> str:
        """A key that is the same whenever this visit of this task is tried again, and for no other."""
        identity: list[Json] = [self.root.execution_id, self.run_id, frame.reference, frame.iteration, *frame.visits]
        return hashlib.sha256(dump(identity).encode()).hexdigest()

    def fetch_key(self, pointer: str) -> str:
        """The same for what is fetched for that part of the document."""
        return hashlib.sha256(dump([self.execution_id, self.run_id, pointer]).encode()).hexdigest()

    def advance(self, fraction: float) -> None:
        """The root task at work is done to this share (0 to 1): progress follows, and never falls."""
        tasks = self.frame.tasks
        if tasks is not None:
            progress = int(100 * (tasks.position + fraction) / self._root_tasks)
            if progress > self.frame.progress:
                self.frame.progress = progress

    def started(self, task: Task, frame: TaskFrame) -> None:
        """A task has begun."""
        self.root.frame.counts.started += 1
        self._tell(EventType.TASK_STARTED, task, frame, at=frame.started_at)

    def completed(self, task: Task, frame: TaskFrame) -> None:
        """A task has ended well."""
        self.root.frame.counts.completed += 1
        if len(frame.visits) == 1:
            self.advance(1.0)
        self._tell(EventType.TASK_COMPLETED, task, frame)

    def skipped(self, task: Task, frame: TaskFrame) -> None:
        """A task's `if` did not hold."""
        self.root.frame.counts.skipped += 1
        if len(frame.visits) == 1:
            self.advance(1.0)
        self._tell(EventType.TASK_SKIPPED, task, frame)

    def failed(self, task: Task, frame: TaskFrame, problem: Problem) -> None:
        """A task has faulted; an enclosing `try` may still handle it."""
        self.root.frame.counts.failed += 1
        self._tell(EventType.TASK_FAILED, task, frame, problem, str(problem))

    def cancelled(self, task: Task, frame: TaskFrame) -> None:
        """A task was broken off because its fork was decided without it."""
        self._tell(EventType.TASK_CANCELLED, task, frame)

    def retried(self, task: Task, frame: TaskFrame, problem: Problem, message: str) -> None:
        """A `try` will be tried again because of `problem`."""
        self.root.frame.counts.retried += 1
        self._tell(EventType.TASK_RETRIED, task, frame, problem, message)

    def listening(self, task: Task, frame: TaskFrame) -> None:
        """A task listens from now on: no event that arrives is missed any more."""
        self._tell(EventType.CORRELATION_STARTED, task, frame)

    def heard(self, task: Task, frame: TaskFrame, keys: dict[str, Json]) -> None:
        """A task has consumed the events that it listened for."""
        effects = self.effects
        event = Event(EventType.CORRELATION_COMPLETED, effects.now(), self.root.frame.progress, task.name, frame.reference)
        event.iteration, event.output = frame.iteration, keys
        effects.report(event)

    def _tell(
        self,
        type_: EventType,
        task: Task,
        frame: TaskFrame,
        error: Problem | None = None,
        message: str = "",
        at: datetime | None = None,
    ) -> None:
        effects, kind = self.effects, task.kind
        if kind in TOLD_APART:
            kind = role_of(task)
        effects.report(
            Event(
                type_,
                at or effects.now(),
                self.root.frame.progress,
                task.name,
                frame.reference,
                frame.iteration,
                message,
                error,
                "",
                None,
                kind,
            )
        )

    def workflow_completed(self, output: Json) -> None:
        """The workflow has given its output."""
        self.root.frame.progress = 100
        self.effects.report(Event(EventType.WORKFLOW_COMPLETED, self.effects.now(), 100, output=output))

    def workflow_failed(self, problem: Problem) -> None:
        """An error reached the top."""
        event = Event(EventType.WORKFLOW_FAILED, self.effects.now(), self.root.frame.progress)
        event.message, event.error = str(problem), problem
        self.effects.report(event)
