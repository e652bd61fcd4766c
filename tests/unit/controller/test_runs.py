"""The live runs: which pod is listened to, and what the pod is told."""

from __future__ import annotations

from typing import Any

from workflow_runner.controller.runs import Runs
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2
from workflow_runner.reconcile.live import Desired, LiveRun
from workflow_runner.stigmer.relay import Relay

Json = dict[str, Any]
OLD, NEW = "2026-11-21T12:00:00Z", "2026-11-21T12:05:00Z"


def batch(*numbers: int) -> sink_pb2.ProgressBatch:
    events = [io_pb2.WorkflowProgressEvent(sequence_number=number, event_type="task_started") for number in numbers]
    return sink_pb2.ProgressBatch(events=events)


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


def test_only_a_change_of_the_desired_state_is_published() -> None:
    runs = runs_with(LiveRun(execution_id="u", attempt=1))
    told: list[str] = []
    runs.published = told.append
    runs.desire("u", Desired("Pause", "", 2))
    runs.desire("u", Desired("Pause", "", 2))
    assert told == ["u"]
