"""What can only be said about a document as a whole: flow between tasks, and what cannot be run yet.

`expressions.documents.read_document` calls it after the loader and before the jq compiler.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import chain

from workflow_runner.dsl.diagnostics import Findings
from workflow_runner.dsl.model import (
    CONTINUE,
    DIRECTIVES,
    END,
    EXIT,
    RaiseTask,
    RetryPolicy,
    SwitchTask,
    Task,
    TaskList,
    TryTask,
    UnsupportedTask,
    Workflow,
    task_lists,
)
from workflow_runner.dsl.nodes import escape
from workflow_runner.dsl.templates import NOWHERE, Position


def validate(workflow: Workflow, findings: Findings) -> None:
    """Note everything about the workflow's tasks that makes it invalid, or that is probably not meant."""
    _Validation(workflow, findings).check(workflow.do)


class _Validation:
    def __init__(self, workflow: Workflow, findings: Findings) -> None:
        self._workflow = workflow
        self._findings = findings
        self._names = {task.name for task in workflow.tasks()}

    def check(self, tasks: TaskList) -> None:
        """One list of tasks, and the lists inside it."""
        for task in tasks:
            if isinstance(task, UnsupportedTask) and task.what:
                self._findings.error(
                    "task.not-supported-yet", f"{task.what} is not supported yet", task.reference, self._key(task.reference)
                )
            if isinstance(task, TryTask) and task.catch.retry is not None and _endless(task.catch.retry):
                pointer = f"{task.reference}/catch/retry"
                message = "nothing limits or delays these retries: as long as it fails the block is repeated at once, for ever"
                self._findings.warning("task.endless-retry", message, pointer, self._key(pointer))
            for target, pointer in _targets(task):
                self._check_target(task, tasks, target, pointer)
            for inner in task_lists(task):
                self.check(inner)
        reached = _reachable(tasks)
        for number, task in enumerate(tasks):
            if number not in reached:
                message = f"the task {task.name!r} is never reached"
                self._findings.warning("task.unreachable", message, task.reference, self._key(task.reference))

    def _check_target(self, task: Task, tasks: TaskList, target: str, pointer: str) -> None:
        if target in DIRECTIVES or tasks.index_of(target) is not None:
            return
        hint = self._findings.hint(target, chain(sorted(DIRECTIVES), (other.name for other in tasks)))
        if target in self._names:
            hint = ": a task of that name is in another list, where `then` cannot go"
        message = f"then: {target!r} is no task of the list that {task.name!r} is in{hint}"
        self._findings.error("then.unknown-target", message, pointer, self._value(pointer))

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


def _targets(task: Task) -> list[tuple[str, str]]:
    """Everything that a task's `then`s say, with their pointers."""
    found = [(task.then, f"{task.reference}/then")]
    if isinstance(task, SwitchTask):
        found += [
            (case.then, f"{task.reference}/switch/{number}/{escape(case.name)}/then") for number, case in enumerate(task.cases)
        ]
    return found


def _reachable(tasks: TaskList) -> set[int]:
    """The places in a list that some flow through it reaches, whatever the data are."""
    reached: set[int] = set()
    waiting = [0] if len(tasks) else []
    while waiting:
        number = waiting.pop()
        if number in reached or number >= len(tasks):
            continue
        reached.add(number)
        for target in _successors(tasks[number]):
            place = tasks.index_of(target)
            if place is None and target not in (EXIT, END):
                place = number + 1  # continue, or a target that is reported elsewhere
            if place is not None:
                waiting.append(place)
    return reached


def _successors(task: Task) -> set[str]:
    """Where the flow may go after a task."""
    if isinstance(task, SwitchTask):
        targets = {case.then for case in task.cases}
        if all(case.when is not None for case in task.cases):
            targets.add(task.then)
    elif isinstance(task, RaiseTask):
        targets = set()
    else:
        targets = {task.then}
    if task.if_ is not None:
        targets.add(CONTINUE)  # a task that is skipped ignores its `then`
    return targets
