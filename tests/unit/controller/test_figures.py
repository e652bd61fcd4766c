"""What two versions of an execution say of its run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from workflow_runner.controller.figures import milestones, runner_of, tally
from workflow_runner.controller.store import Store

Json = dict[str, Any]
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def execution(status: Json | None = None, **spec: Any) -> Json:
    metadata = {"name": "x", "namespace": "ns", "uid": "x", "resourceVersion": "1", "creationTimestamp": "2026-11-21T11:59:50Z"}
    return {"metadata": metadata, "spec": {"workflow": {"yaml": "x"}, **spec}, "status": status}


def said(before: Json | None, after: Json) -> list[tuple[str, float | None]]:
    found = milestones(execution(before), execution(after), now=NOW, runner="ns/r")
    return [(milestone.kind, milestone.seconds) for milestone in found]


PENDING = {"phase": "Pending"}
LAUNCHED = {**PENDING, "jobName": "j"}
RUNNING = {**LAUNCHED, "phase": "Running", "startTime": "2026-11-21T11:59:55Z"}
ENDED = {**RUNNING, "phase": "Failed", "completionTime": "2026-11-21T11:59:58Z"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, PENDING, []),
        (PENDING, LAUNCHED, [("launched", 10.0)]),
        (PENDING, {**PENDING, "podName": "p"}, [("launched", 10.0)]),
        (LAUNCHED, {**LAUNCHED, "podName": "p"}, []),
        (LAUNCHED, RUNNING, [("running", 5.0)]),
        (LAUNCHED, ENDED, [("running", 5.0), ("ended", 3.0)]),
        (RUNNING, ENDED, [("ended", 3.0)]),
        (ENDED, ENDED, []),
        (PENDING, {"phase": "Cancelled", "completionTime": "2026-11-21T11:59:58Z"}, [("ended", None)]),
        (LAUNCHED, {**LAUNCHED, "startTime": "2026-11-21T11:59:40Z"}, [("running", 0.0)]),
        (ENDED, {}, []),
    ],
    ids=[
        "accepted",
        "job-launched",
        "pod-launched",
        "its-pod-seen",
        "running",
        "over-at-once",
        "ended",
        "seen-again",
        "never-started",
        "clocks-differ",
        "status-wiped-by-hand",
    ],
)
def test_milestones(before: Json | None, after: Json, expected: list[tuple[str, float | None]]) -> None:
    assert said(before, after) == expected


def test_a_run_asked_for_by_a_new_run_id_waits_from_then_on() -> None:
    condition = {"type": "Reconciling", "lastTransitionTime": "2026-11-21T11:59:58Z"}
    again = {**PENDING, "runId": "2", "conditions": [condition]}
    assert said(again, {**again, "jobName": "j2"}) == [("launched", 2.0)]


@pytest.mark.parametrize(
    ("resource", "runner"),
    [
        (execution(), "operator/default"),
        (execution(runnerRef={"name": "fast"}), "ns/fast"),
        (execution(runnerRef={"name": "fast", "namespace": "operator"}), ""),
        (execution(runnerRef={"name": "made-up"}), ""),
        (execution({"runner": {"namespace": "ns", "name": "gone"}}), "ns/gone"),
    ],
    ids=["shared", "own", "elsewhere", "made-up", "accepted-before"],
)
def test_only_runners_that_exist_or_existed_are_named(resource: Json, runner: str) -> None:
    store = Store()
    for namespace, name in (("operator", "default"), ("ns", "fast")):
        store.see_runner({"metadata": {"namespace": namespace, "name": name}, "spec": {}}, deleted=False)
    assert runner_of(store, resource, "operator") == runner
    store.see_execution(resource, deleted=False)
    assert tally(store, "operator") == {("Pending", runner): 1}
