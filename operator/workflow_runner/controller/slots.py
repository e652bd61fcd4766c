"""Which executions of a runner may run now: spec.limits.maxConcurrentExecutions. Used by reconciler.py.

Kept in memory and made again from what was listed when the operator starts, but for whose turn was last. The order is that
of reconcile/line.py. Bounded by the number of executions and their namespaces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any

from msgspec import Struct, field

from workflow_runner.crd.execution import TERMINAL_PHASES
from workflow_runner.reconcile.line import Line, Waiting
from workflow_runner.reconcile.observed import Turn

Json = dict[str, Any]
RunnerName = tuple[str, str]
"""(namespace, name) of a WorkflowRunner."""


class _Line(Struct):
    running: dict[str, str] = field(default_factory=dict)
    """Namespace by uid of what may run."""
    waiting: dict[str, Waiting] = field(default_factory=dict)
    limit: int | None = None
    turns: dict[str, int] = field(default_factory=dict)
    """The number of each namespace's last turn, from 1."""
    last_turn: int = 0
    _running: Counter[str] = field(default_factory=Counter)
    _order: Line = field(default_factory=Line)

    def wait(self, item: Waiting) -> None:
        self.waiting[item.uid] = item
        self._order.add(item)

    def run(self, uid: str, namespace: str) -> None:
        self.running[uid] = namespace
        self._running[namespace] += 1

    def leave(self, uid: str) -> None:
        item, namespace = self.waiting.pop(uid, None), self.running.pop(uid, None)
        if item is not None:
            self._order.remove(item)
        if namespace is not None:
            self._running[namespace] -= 1
            if not self._running[namespace]:
                del self._running[namespace]

    def position(self, uid: str) -> int:
        """The place in line of one that waits, from 1."""
        return self._order.position(self.waiting[uid], self._running, self.turns)

    def first(self, number: int) -> list[str]:
        """The uids of so many that wait, next one first."""
        return list(islice(self._order.in_order(self._running, self.turns), number))


class Slots:
    """The runs and the line of every runner. `changed(runner)` is called when its counts are others; `turn(uid)` when
    an execution's turn has come."""

    def __init__(self, *, changed: Callable[[RunnerName], None], turn: Callable[[str], None]) -> None:
        self._lines: dict[RunnerName, _Line] = {}
        self._runner_of: dict[str, RunnerName] = {}
        self._changed = changed
        self._turn = turn

    def seed(self, resource: Json, runner: RunnerName | None) -> None:
        """Takes in an execution as a former operator left it: what runs goes on, what waited keeps its place. `runner`
        is the one that it names."""
        status = resource.get("status") or {}
        snapshot, metadata = status.get("runner"), resource["metadata"]
        if status.get("phase") in TERMINAL_PHASES or status.get("suspended"):
            return
        if status.get("phase") == "Queued":
            if "queuePosition" in status and runner is not None and metadata["uid"] not in self._runner_of:
                self._line(runner).wait(waiting_of(resource))
                self._runner_of[metadata["uid"]] = runner
        elif snapshot is not None:
            self.hold((snapshot["namespace"], snapshot["name"]), metadata["uid"], metadata["namespace"])

    def take(self, runner: RunnerName, limit: int | None, execution: Waiting) -> Turn:
        """Asks for a place; asked again, gives the same answer until something has changed."""
        line = self._line(runner)
        if line.limit != limit:
            line.limit = limit
            self._call(line)
        if execution.uid in line.running:
            return Turn(granted=True)
        if execution.uid not in line.waiting:
            self.leave(execution.uid)
            line.wait(execution)
            self._runner_of[execution.uid] = runner
            self._changed(runner)
        position = line.position(execution.uid)
        if limit is not None and position > limit - len(line.running):
            return Turn(granted=False, position=position)
        line.leave(execution.uid)
        line.run(execution.uid, execution.namespace)
        line.last_turn += 1
        line.turns[execution.namespace] = line.last_turn
        return Turn(granted=True)

    def hold(self, runner: RunnerName, uid: str, namespace: str) -> None:
        """An execution runs, whatever the limit is: one of a former operator, or one that is resumed."""
        if self._runner_of.get(uid) == runner and uid in self._line(runner).running:
            return
        self.leave(uid)
        self._line(runner).run(uid, namespace)
        self._runner_of[uid] = runner
        self._changed(runner)

    def leave(self, uid: str) -> None:
        """An execution neither runs nor waits any more."""
        runner = self._runner_of.pop(uid, None)
        if runner is None:
            return
        line = self._lines[runner]
        line.leave(uid)
        self._call(line)
        if not line.running and not line.waiting:
            del self._lines[runner]
        self._changed(runner)

    def counts(self, runner: RunnerName) -> tuple[int, int]:
        """(running, waiting) of a runner."""
        line = self._lines.get(runner)
        return (0, 0) if line is None else (len(line.running), len(line.waiting))

    def _line(self, runner: RunnerName) -> _Line:
        return self._lines.setdefault(runner, _Line())

    def _call(self, line: _Line) -> None:
        free = len(line.waiting) if line.limit is None else line.limit - len(line.running)
        if free > 0:
            for uid in line.first(free):
                self._turn(uid)


def waiting_of(execution: Json) -> Waiting:
    """An execution as it stands in line."""
    metadata = execution["metadata"]
    return Waiting(metadata["uid"], metadata["namespace"], metadata["name"], metadata.get("creationTimestamp", ""))


def name_of(runner: Json) -> RunnerName:
    """The name of a WorkflowRunner object."""
    return runner["metadata"]["namespace"], runner["metadata"]["name"]
