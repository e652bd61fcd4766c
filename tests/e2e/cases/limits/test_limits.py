"""A runner takes no more than its limit at a time, from all namespaces in turn, and nothing new while it is paused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.harness.kube import Execution, Namespace

Json = dict[str, Any]


@pytest.fixture
def home(namespace: Namespace, case: Path) -> Namespace:
    """The runner's own namespace."""
    namespace.apply(case / "runner.yaml")
    return namespace


def test_one_at_a_time_and_namespaces_take_turns(home: Namespace, new_namespace: Callable[[], Namespace], case: Path) -> None:
    away = new_namespace()
    ref = {"name": "narrow", "namespace": home.name}
    holder = home.start(case / "long.yaml", runnerRef=ref)
    holder.wait_phase("Running")
    second = home.start(case / "short.yaml", "second", runnerRef=ref)
    _wait_queued(second, 1)
    stranger = away.start(case / "short.yaml", "stranger", runnerRef=ref)
    _wait_queued(stranger, 1)  # its namespace has none that runs
    third = home.start(case / "short.yaml", "third", runnerRef=ref)
    _wait_queued(third, 3)
    _wait_runner(home, active=1, queued=3, ready=("True", "Ready"))

    third.patch(cancelled=True)
    assert "startTime" not in third.wait_phase("Cancelled")
    assert third.jobs() == []
    assert holder.status["phase"] == "Running"

    holder.patch(cancelled=True)
    ends = {execution.name: execution.wait_phase("Completed") for execution in (second, stranger)}
    assert ends["stranger"]["completionTime"] <= ends["second"]["startTime"], "whose namespace had none goes first"
    assert all("queuePosition" not in status for status in ends.values())
    _wait_runner(home, active=0, queued=0, ready=("True", "Ready"))


def test_a_paused_runner_drains(home: Namespace, case: Path) -> None:
    ref = {"name": "narrow"}
    home.patch("wfr", "narrow", {"limits": None})
    before = home.start(case / "long.yaml", runnerRef=ref)
    before.wait_phase("Running")
    home.patch("wfr", "narrow", {"paused": True})
    _wait_runner(home, active=1, queued=0, ready=("True", "Paused"))
    after = home.start(case / "short.yaml", runnerRef=ref)
    told = after.wait_condition("Completed", "False", "RunnerPaused")
    assert "is paused; the run starts when it is not any more" in told["message"]
    assert after.status["phase"] == "Queued"
    assert (before.status["phase"], after.jobs()) == ("Running", [])
    home.patch("wfr", "narrow", {"paused": False})
    after.wait_phase("Completed")
    assert before.status["phase"] == "Running"


def _wait_queued(execution: Execution, position: int) -> None:
    status = execution.wait_phase("Queued")
    assert status["queuePosition"] == position
    assert execution.condition("Completed")["reason"] == "MaxConcurrentExecutions"


def _wait_runner(namespace: Namespace, *, active: int, queued: int, ready: tuple[str, str]) -> None:
    def until(runner: Json) -> bool:
        status = runner.get("status") or {}
        found = [(item["status"], item["reason"]) for item in status.get("conditions", []) if item["type"] == "Ready"]
        return found == [ready] and (status["activeExecutions"], status["queuedExecutions"]) == (active, queued)

    namespace.wait("wfr", "narrow", until, f"{active} run and {queued} wait, and it is {ready}")
