"""The live runs: which pod is listened to, and what the pod is told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from workflow_runner.controller.runs import Runs
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2
from workflow_runner.reconcile.live import ControlAnswer, Desired, End, LiveRun
from workflow_runner.stigmer.relay import Relay

Json = dict[str, Any]
OLD, NEW = "2026-11-21T12:00:00Z", "2026-11-21T12:05:00Z"


def batch(*numbers: int, continued: bool | None = None, kind: str = "task_started") -> sink_pb2.ProgressBatch:
    """With `continued` it is the first batch of a stream."""
    events = [
        io_pb2.WorkflowProgressEvent(sequence_number=number, event_type=kind, task_reference="/do/0/a") for number in numbers
    ]
    run = None if continued is None else sink_pb2.Run(continued=continued)
    return sink_pb2.ProgressBatch(run=run, events=events)


def runs_with(run: LiveRun, newest: Json | None = None) -> Runs:
    runs = Runs(Relay(changed=lambda key: None), lambda uid: None, lambda uid: False, lambda uid: newest)
    runs.begin("u", run, None, delivered=0)
    return runs


def test_after_a_restart_a_replaced_pod_does_not_oust_the_one_at_work() -> None:
    run = LiveRun.from_status({"executionId": "u", "attempt": 2, "podName": "new", "callback": {"sourceSequence": 5}})
    runs = runs_with(run, {"metadata": {"name": "new", "creationTimestamp": NEW}})
    assert runs.take("u", "old", OLD, batch(900)) == 0
    assert runs.take("u", "new", NEW, batch(6)) == 6
    assert (run.attempt, run.pod_name) == (2, "new")


def test_a_new_pod_is_listened_to_before_the_watch_has_shown_it() -> None:
    run = LiveRun(execution_id="u", attempt=1)
    runs = runs_with(run, {"metadata": {"name": "old", "creationTimestamp": OLD}})
    assert runs.take("u", "old", OLD, batch(1, 2)) == 2
    assert runs.take("u", "new", NEW, batch(1)) == 1
    assert (run.attempt, run.base_sequence) == (2, 2)


def test_a_write_of_an_earlier_attempt_moves_no_watermark() -> None:
    run = LiveRun(execution_id="u", attempt=1)
    runs = runs_with(run)
    runs.take("u", "old", OLD, batch(100))
    runs.take("u", "new", NEW, batch(1))
    runs.recorded("u", 1, 100)
    assert runs.watermarks("u") == (0, 0)
    runs.recorded("u", 2, 1)
    assert runs.watermarks("u") == (1, 1)


MILLION = 1_000_000


@pytest.mark.parametrize("restarted", [False, True], ids=["same-operator", "restarted-operator"])
def test_a_pod_that_goes_on_changes_nothing_but_the_pod(restarted: bool) -> None:
    run = LiveRun(execution_id="u", attempt=3, base_sequence=50)
    runs = runs_with(run)
    runs.take("u", "old", OLD, batch(1, kind="workflow_started"))
    runs.take("u", "old", OLD, batch(2, 3))
    runs.recorded("u", 3, 3)
    if restarted:
        status = {
            "executionId": "u",
            "attempt": 3,
            "podName": "old",
            "progress": 20,
            "startTime": OLD,
            "taskCounts": {"started": 2},
            "tasks": run.tasks.entries(),
            "callback": {"sourceSequence": 3, "baseSequence": 50},
        }
        run = LiveRun.from_status(status)
        runs = runs_with(run)
    before = (run.start, run.tasks.entries(), run.counts, run.progress)
    # It sends what was not acknowledged, then its own; the old one is dead, or thought to be.
    assert runs.take("u", "new", NEW, batch(3, continued=True)) == 3
    assert (run.start, run.tasks.entries(), run.counts, run.progress) == before
    assert runs.watermarks("u") == (3, 3)
    assert runs.take("u", "new", NEW, batch(MILLION + 4)) == MILLION + 4
    assert runs.take("u", "old", OLD, batch(4, 5)) == 0
    assert (run.attempt, run.base_sequence, run.pod_name, run.source_sequence) == (3, 50, "new", MILLION + 4)
    # The task that ran in both is there once.
    assert [(entry["reference"], entry["status"]) for entry in run.tasks.entries()] == [("/do/0/a", "Running")]


def test_counts_of_a_pod_that_goes_on_are_its_own() -> None:
    run = LiveRun(execution_id="u", attempt=1)
    runs = runs_with(run)
    for pod, started in (("old", 7), ("new", 5)):
        taken = batch(1, continued=pod == "new")
        taken.counts.started = started
        runs.take("u", pod, OLD, taken)
    assert run.counts["started"] == 5


def test_the_answer_of_a_pod_that_is_gone_does_not_suspend_the_next_one() -> None:
    run = LiveRun(execution_id="u", attempt=1)
    runs = runs_with(run)
    runs.take("u", "old", OLD, sink_pb2.ProgressBatch(control={"generation": 2, "result": "applied", "suspendable": True}))
    assert run.answer == ControlAnswer(2, "Applied", "", True)
    runs.take("u", "new", NEW, batch(continued=True))
    assert run.answer is None


def test_a_task_that_starts_ends_a_pause_that_nobody_ended() -> None:
    run = LiveRun(execution_id="u", attempt=1)
    runs = runs_with(run)
    runs.take("u", "old", OLD, batch(1, kind="workflow_paused"))
    runs.take("u", "new", NEW, batch(continued=True))
    paused = [run.paused]
    runs.take("u", "new", NEW, batch(MILLION))
    assert [*paused, run.paused] == [True, False]
    assert run.urgent


def test_numbers_towards_stigmer_never_meet_however_pods_and_operators_follow_each_other() -> None:
    """An operator is killed before it writes status; pods went on for each other; then the run is lost."""
    status = {"executionId": "u", "attempt": 1, "podName": "a", "callback": {"sourceSequence": 10, "baseSequence": 0}}
    told: set[int] = set()
    former = LiveRun.from_status(status)
    for pod, number in (("a", 900_000), ("b", 1_900_000), ("c", 2_900_000)):
        assert former.pod_is(pod, continued=pod != "a")
        event = io_pb2.WorkflowProgressEvent(sequence_number=number, event_type="task_started")
        assert former.ingest(event)
        told.add(former.outward(event).sequence_number)
    now = LiveRun.from_status(status)
    end = now.outward(now.conclude(End("Failed", datetime.now(UTC), error={"type": "t", "status": 500})))
    assert end.sequence_number > max(told)


def test_only_a_change_of_the_desired_state_is_published() -> None:
    runs = runs_with(LiveRun(execution_id="u", attempt=1))
    told: list[str] = []
    runs.published = told.append
    runs.desire("u", Desired("Pause", "", 2))
    runs.desire("u", Desired("Pause", "", 2))
    assert told == ["u"]
