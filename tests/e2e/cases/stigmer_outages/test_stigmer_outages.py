"""Whatever Stigmer does, runs take no notice; what matters is told when it is itself again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import tests.e2e.harness.stigmer as stigmer_process
from tests.e2e.cluster import Cluster
from tests.e2e.harness.fleet import runner, story_of
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.stigmer import API_KEY, Stigmer

pytestmark = pytest.mark.stress

Json = dict[str, Any]

TROUBLES: dict[str, Json] = {
    "down": {"mode": "down"},
    "refusing": {"mode": "refuse", "message": "not today"},
    "failing": {"mode": "status", "code": "UNAVAILABLE"},
    "hanging": {"mode": "hang"},
    "dropping": {"mode": "drop"},
    "slow": {"mode": "take", "seconds": 1.5},
}
ERRORS = {
    "down": ("UNAVAILABLE",),
    "refusing": ("not today",),
    "failing": ("UNAVAILABLE", "told to"),
    "hanging": ("DEADLINE_EXCEEDED",),
    "dropping": ("UNAVAILABLE",),
}
RUN_SECONDS = 60.0
"""Much less than any of these Stigmers needs for 1,600 events; much more than a run needs."""
STORY = ["workflow_started", "workflow_validating", "workflow_validated", "workflow_completed"]


@pytest.fixture
def troubled(cluster: Cluster, operator: Operator, namespace: Namespace, tmp_path: Path) -> Iterator[dict[str, Stigmer]]:
    """A Stigmer a trouble, and a runner of its name that reports there."""
    with ExitStack() as stack:
        servers: dict[str, Stigmer] = {}
        for name, behaviour in TROUBLES.items():
            (folder := tmp_path / name).mkdir()
            servers[name] = stack.enter_context(stigmer_process.serving(cluster, folder))
            servers[name].behave(**behaviour)
            namespace.apply(runner(name, stigmer=servers[name].spec))
        servers["down"].lend_key(namespace)
        yield servers


def _failures(events: list[Json]) -> list[Json]:
    """Those of the task that raises, without those of the tasks around it."""
    return [event for event in events if event["eventType"] == "task_failed" and event["taskReference"].endswith("/fails")]


@pytest.mark.timeout(600)
def test_no_run_waits_and_all_that_matters_is_told_afterwards(
    operator: Operator, troubled: dict[str, Stigmer], namespace: Namespace, case: Path
) -> None:
    runs = {name: namespace.start(case / "execution.yaml", name, runnerRef={"name": name}) for name in TROUBLES}
    for run in runs.values():
        status = run.wait_phase("Completed", seconds=RUN_SECONDS)
        assert status["output"] == {"total": 800}
        assert status["taskCounts"]["completed"] == 1 + 3 + 1 + 800
    for name, words in ERRORS.items():
        assert API_KEY not in str(_error_told(runs[name], words))

    down, silent = runs["down"], troubled["down"]
    owed = [event["type"] for event in down.status["callback"]["owed"]]
    assert [kind for kind in owed if kind.startswith("workflow_")] == STORY
    assert owed.count("task_failed") >= 3
    assert not silent.events(down.status["executionId"])

    for name, server in troubled.items():
        server.behave("take")
        _all_is_told(runs[name], server, name)
    assert API_KEY not in operator.logs()


def _error_told(run: Execution, words: tuple[str, ...]) -> Json:
    def tells(status: Json) -> bool:
        return all(word in status["callback"].get("lastError", "") for word in words)

    return run.wait(tells, f"status tells {words}")


def _all_is_told(run: Execution, server: Stigmer, name: str) -> None:
    status = run.wait(lambda status: "owed" not in status["callback"], f"{name}: nothing is owed any more", 90)
    if name == "refusing":
        # What it refused again and again was left out, which status still tells.
        assert "left out" in status["callback"]["lastError"]
        return
    events = server.told(status["executionId"], "workflow_completed")
    assert "lastError" not in status["callback"], name
    assert story_of(events) == STORY, name
    assert len(_failures(events)) == 3, name
    assert int(events[-1]["sequenceNumber"]) == status["callback"]["deliveredSequence"], name
