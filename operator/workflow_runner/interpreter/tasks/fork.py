"""`fork`: branches at the same time, all of them or against each other.

Each branch has a frame of its own, in which its end is noted in the step in which it ends. What follows for the fork
is decided once, when no branch runs any more: `_settle` does it without an await, and a continued run does it again
from the same frames.
"""

from __future__ import annotations

from contextlib import suppress

from workflow_runner.dsl.model import ForkTask
from workflow_runner.dsl.problems import Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.dataflow import Holder, Place, Scope
from workflow_runner.interpreter.engine import Ended, Engine
from workflow_runner.interpreter.frames import Branch, Fork, ListFrame, TaskFrame
from workflow_runner.interpreter.open_tasks import open_tasks


class _Decided(Exception):
    """A branch has decided the fork: the others are to stop. Never leaves this module."""


async def run_fork(engine: Engine, task: ForkTask, frame: TaskFrame, scope: Scope) -> Json:
    """The branches' outputs in the order in which they are declared; with `compete` the output of the first to complete.

    The first fault of a branch is the fork's. With `compete` a branch that fails is out of the race, and the fork
    fails when all have: with the error of the one that is declared first.
    """
    fork = frame.state
    if not isinstance(fork, Fork):
        context = scope.holder.context
        frame.state = fork = Fork([Branch(ListFrame(frame.input), context) for _ in task.branches], context)
    if fork.decided is None:
        place = scope.place()
        running = [number for number, branch in enumerate(fork.branches) if branch.end is None]
        with suppress(_Decided):
            await engine.run.effects.gather([_branch(engine, task, fork, number, place) for number in running])
    return _settle(engine, task, fork, scope.holder)


async def _branch(engine: Engine, task: ForkTask, fork: Fork, number: int, place: Place) -> None:
    """Run a branch, or the rest of it, and note how it ended. Raises _Decided when that decides the fork."""
    branch = fork.branches[number]
    try:
        await engine.run_list(task.branches[number], branch.tasks, Place(branch, *place[1:]))
    except Ended as ended:
        branch.end, branch.output = "ended", ended.output
    except WorkflowFault as fault:
        branch.end, branch.error = "failed", fault.problem.to_dict()
        if task.compete:
            return
    else:
        branch.end, branch.output = "completed", branch.tasks.data
        if not task.compete:
            return
    if fork.decided is None:
        fork.decided = number
    raise _Decided


def _settle(engine: Engine, task: ForkTask, fork: Fork, holder: Holder) -> Json:
    """What comes of the fork, now that no branch runs: its output, its error, or the end of the workflow."""
    for tasks, branch in zip(task.branches, fork.branches, strict=True):
        if branch.end is None:
            for inner, inner_frame in open_tasks(engine.run, tasks, branch.tasks):
                engine.run.cancelled(inner, inner_frame)
            branch.end = "cancelled"
    decided = fork.branches[fork.decided or 0]
    if decided.end == "failed":
        raise WorkflowFault(Problem.from_dict(decided.error or {}))
    for branch in [decided] if task.compete else fork.branches:
        # Most branches leave the context as it was.
        if (branch.replaced or branch.context is not fork.context) and branch.end in ("completed", "ended"):
            _carry_over(fork.context, branch, holder)
    if decided.end == "ended":
        raise Ended(decided.output)
    return decided.output if task.compete else [branch.output for branch in fork.branches]


def _carry_over(before: Json, branch: Branch, holder: Holder) -> None:
    """Let what a branch exported count where the fork stands, as if it had come to that only now.

    An export that did not ask for `$context` replaces it. Otherwise the branch's context is what it was at the
    beginning of the fork with changes: of an object, the members that it set, changed or left out.
    """
    now, then = branch.context, holder.context
    if branch.replaced:
        holder.context = now
        if isinstance(holder, Branch):
            holder.replaced = True
    elif isinstance(before, dict) and isinstance(now, dict) and isinstance(then, dict):
        changed = {name: value for name, value in now.items() if name not in before or not _same(before[name], value)}
        kept = {name: value for name, value in then.items() if name in now or name not in before}
        if changed or len(kept) < len(then):
            holder.context = kept | changed
    elif not _same(before, now):
        holder.context = now


def _same(one: Json, other: Json) -> bool:
    """Whether two values are the same JSON; what is nested too deeply to tell is not."""
    try:
        return _equal(one, other)
    except RecursionError:
        return False


def _equal(one: Json, other: Json) -> bool:
    """Unlike `==`: true is not 1."""
    if one is other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)
