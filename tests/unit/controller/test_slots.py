"""How many executions of a runner run at a time, and what a restart, a suspension or an end means for the others."""

from __future__ import annotations

from typing import Any

import pytest

from workflow_runner.controller.slots import RunnerName, Slots
from workflow_runner.reconcile.line import Waiting

RUNNER: RunnerName = ("ns", "default")


def execution(name: str, namespace: str = "ns", since: str = "2026-11-21T12:00:00Z") -> Waiting:
    return Waiting(name, namespace, name, since)


class Told:
    """Slots, and what they tell."""

    def __init__(self) -> None:
        self.turns: list[str] = []
        self.changed: list[RunnerName] = []
        self.slots = Slots(changed=self.changed.append, turn=self.turns.append)

    def take(self, name: str, limit: int | None, **where: str) -> tuple[bool, int]:
        turn = self.slots.take(RUNNER, limit, execution(name, **where))
        return turn.granted, turn.position


@pytest.fixture
def told() -> Told:
    return Told()


def test_without_a_limit_everybody_runs(told: Told) -> None:
    assert all(told.take(str(number), None)[0] for number in range(50))
    assert told.slots.counts(RUNNER) == (50, 0)


def test_a_full_runner_keeps_a_line_and_says_the_position(told: Told) -> None:
    assert told.take("a", 1) == (True, 0)
    assert told.take("b", 1, since="2026-11-21T12:00:01Z") == (False, 1)
    assert told.take("c", 1, since="2026-11-21T12:00:02Z") == (False, 2)
    assert told.take("a", 1) == (True, 0)
    assert told.slots.counts(RUNNER) == (1, 2)


def test_an_end_calls_the_next_and_only_the_next(told: Told) -> None:
    for number, name in enumerate("abc"):
        told.take(name, 1, since=f"2026-11-21T12:00:0{number}Z")
    told.slots.leave("a")
    assert told.turns == ["b"]
    assert told.take("c", 1, since="2026-11-21T12:00:02Z") == (False, 2)
    assert told.take("b", 1, since="2026-11-21T12:00:01Z") == (True, 0)
    assert told.take("c", 1, since="2026-11-21T12:00:02Z") == (False, 1)


def test_who_comes_late_does_not_overtake_who_was_called(told: Told) -> None:
    told.take("a", 1)
    told.take("b", 1, since="2026-11-21T12:00:01Z")
    told.slots.leave("a")
    assert told.take("late", 1, since="2026-11-21T12:00:09Z") == (False, 2)


def test_a_higher_limit_calls_those_who_wait(told: Told) -> None:
    for number, name in enumerate("abcd"):
        told.take(name, 1, since=f"2026-11-21T12:00:0{number}Z")
    assert told.take("d", 3, since="2026-11-21T12:00:03Z") == (False, 3)
    assert told.turns == ["b", "c"]


def test_one_place_goes_from_namespace_to_namespace(told: Told) -> None:
    line = [*((f"a{number}", "a") for number in range(4)), ("b0", "b"), ("b1", "b"), ("c0", "c")]
    where = {
        name: {"namespace": namespace, "since": f"2026-11-21T12:00:0{place}Z"} for place, (name, namespace) in enumerate(line)
    }
    for name in where:
        told.take(name, 1, **where[name])
    turns = ["a0"]
    while len(turns) < len(line):
        told.slots.leave(turns[-1])
        turns += [name for name in where if name not in turns and told.take(name, 1, **where[name])[0]]
    assert turns == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_leaving_twice_or_unknown_is_nothing(told: Told) -> None:
    told.take("a", 1)
    told.slots.leave("a")
    told.slots.leave("a")
    told.slots.leave("never")
    assert told.slots.counts(RUNNER) == (0, 0)


def launched(name: str, **status: Any) -> dict[str, Any]:
    runner = {"namespace": "ns", "name": "default"}
    return {
        "metadata": {"uid": name, "namespace": "ns", "name": name},
        "status": {"phase": "Running", "jobName": "j", "runner": runner, **status},
    }


def test_after_a_restart_what_runs_keeps_its_place(told: Told) -> None:
    told.slots.seed(launched("a"), None)
    told.slots.seed(launched("b", phase="Completed"), None)
    told.slots.seed(launched("c", phase="Paused", suspended=True), None)
    assert told.slots.counts(RUNNER) == (1, 0)
    assert told.take("d", 1) == (False, 1)


def test_after_a_restart_who_waited_is_not_overtaken_by_who_asks_first(told: Told) -> None:
    old = {"metadata": {"uid": "old", "namespace": "ns", "name": "old", "creationTimestamp": "2026-11-21T12:00:00Z"}}
    told.slots.seed({**old, "status": {"phase": "Queued", "queuePosition": 1}}, RUNNER)
    assert told.take("young", 1, since="2026-11-21T12:00:09Z") == (False, 2)
    assert told.take("old", 1) == (True, 0)


def test_a_resumed_run_is_not_kept_waiting(told: Told) -> None:
    told.take("a", 1)
    told.slots.hold(RUNNER, "resumed", "ns")
    assert told.slots.counts(RUNNER) == (2, 0)
    told.take("b", 1)
    told.slots.leave("a")
    assert told.turns == []
    told.slots.leave("resumed")
    assert told.turns == ["b"]


def test_an_execution_that_changes_its_runner_leaves_the_old_one(told: Told) -> None:
    told.take("a", 1)
    other = ("ns", "other")
    assert told.slots.take(other, 1, execution("a")).granted
    assert told.slots.counts(RUNNER) == (0, 0)
    assert told.slots.counts(other) == (1, 0)


def test_after_a_restart_who_was_pinned_and_waits_has_no_place(told: Told) -> None:
    told.slots.seed(launched("a", phase="Queued", queuePosition=1), RUNNER)
    assert told.slots.counts(RUNNER) == (0, 1)


def test_a_long_line_costs_next_to_nothing(told: Told) -> None:
    names = [f"{number:04}" for number in range(3000)]
    told.take("first", 1)
    where = {name: {"namespace": name[-1], "since": f"2026-11-21T12:{name[:2]}:{name[2:]}Z"} for name in names}
    comparisons = 0

    class Counted(str):
        def __lt__(self, other: str) -> bool:
            nonlocal comparisons
            comparisons += 1
            return str.__lt__(self, other)

    for name in names:
        since = Counted(where[name]["since"])
        told.slots.take(RUNNER, 1, Waiting(name, where[name]["namespace"], name, since))
    assert comparisons < 40 * len(names)
