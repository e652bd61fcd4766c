"""What can only be said about a document as a whole: flow between tasks, and what cannot be run yet.

`expressions.documents.read_document` calls it after the loader and before the jq compiler. `flow` says where the flow
may go; what cannot be known before a run (conditions, failures) counts as possible.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import chain

from workflow_runner.dsl.diagnostics import Findings
from workflow_runner.dsl.flow import Flow, leaves_by_itself, targets
from workflow_runner.dsl.model import (
    DIRECTIVES,
    ForkTask,
    RetryPolicy,
    Task,
    TaskList,
    TryTask,
    UnsupportedTask,
    Workflow,
    task_lists,
    walk,
)
from workflow_runner.dsl.templates import NOWHERE, Position


def validate(workflow: Workflow, findings: Findings) -> None:
    """Note everything about the workflow's tasks that makes it invalid, or that is probably not meant."""
    checks = _Validation(workflow, findings)
    for tasks in workflow.lists():
        checks.check(tasks, left=workflow.timeout is not None)


class _Validation:
    def __init__(self, workflow: Workflow, findings: Findings) -> None:
        self._workflow = workflow
        self._findings = findings
        self._names = {task.name for tasks in workflow.lists() for task in walk(tasks)}

    def check(self, tasks: TaskList, *, left: bool) -> bool:
        """One list of tasks, and the lists inside it; true when some flow comes to its end.

        `left` says that something around the list may break it off: a time limit, a `try`, a race.
        """
        completes = []
        for task in tasks:
            self._check_task(task)
            for target, pointer in targets(task):
                self._check_target(task, tasks, target, pointer)
            inside = left or leaves_by_itself(task)
            completes.append([self.check(inner, left=inside or _raced(task, inner)) for inner in task_lists(task)])
        flow = Flow(tasks, completes)
        reached = flow.reached()
        for number, task in enumerate(tasks):
            if number not in reached:
                message = f"the task {task.name!r} is never reached"
                hint = "remove it, or lead a `then` there"
                self._findings.warning("task.unreachable", message, task.reference, self._key(task.reference), hint=hint)
        if not left:
            for loop in flow.endless(reached):
                round_ = f"from {loop.start!r} to {loop.end!r} and back" if loop.start != loop.end else ""
                message = f"the flow goes {round_} for ever" if round_ else f"the task {loop.start!r} follows itself for ever"
                message += ", and no jump leads out"
                hint = "add a case that leads on, `exit` or `end`, or a `timeout` around it"
                self._findings.error("task.endless-loop", message, loop.pointer, self._jump(loop.pointer), hint=hint)
        return flow.completes(reached)

    def _check_task(self, task: Task) -> None:
        if isinstance(task, UnsupportedTask) and task.what:
            message = f"{task.what} is not supported yet"
            self._findings.error("task.not-supported-yet", message, task.reference, self._key(task.reference))
        if isinstance(task, TryTask) and task.catch.retry is not None and _endless(task.catch.retry):
            pointer = f"{task.reference}/catch/retry"
            message = "nothing limits or delays these retries: as long as it fails the block is repeated at once, for ever"
            hint = "give it `limit.attempt.count` or `limit.duration`, and a `delay`"
            self._findings.warning("task.endless-retry", message, pointer, self._key(pointer), hint=hint)

    def _check_target(self, task: Task, tasks: TaskList, target: str, pointer: str) -> None:
        if target in DIRECTIVES or tasks.index_of(target) is not None:
            return
        hint = self._findings.suggestion(target, chain(sorted(DIRECTIVES), (other.name for other in tasks)))
        if target in self._names:
            hint = "a task of that name is in another list, where `then` cannot go"
        message = f"then: {target!r} is no task of the list that {task.name!r} is in"
        self._findings.error("then.unknown-target", message, pointer, self._value(pointer), hint=hint)

    def _jump(self, pointer: str) -> Position:
        """The place of a `then`, or of a task that just goes on."""
        return self._value(pointer) if pointer.endswith("/then") else self._key(pointer)

    def _key(self, pointer: str) -> Position:
        found = self._workflow.source.find(pointer) if self._workflow.source is not None else None
        return found[0] if found is not None else NOWHERE

    def _value(self, pointer: str) -> Position:
        found = self._workflow.source.find(pointer) if self._workflow.source is not None else None
        return found[1] if found is not None else NOWHERE


def _endless(policy: RetryPolicy) -> bool:
    """True for retries without a limit (one attempt's duration is none) and without a delay."""
    unlimited = policy.attempt_count is None and policy.duration is None
    return unlimited and policy.delay in (None, timedelta(0)) and policy.jitter is None


def _raced(task: Task, branch: TaskList) -> bool:
    """True for a branch that another one may win against."""
    return isinstance(task, ForkTask) and task.compete and any(other is not branch for other in task.branches)
