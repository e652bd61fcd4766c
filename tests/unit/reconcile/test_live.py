"""The fold of a run's events."""

from __future__ import annotations

import pytest
from tests.unit.reconcile.conftest import NOW, UID, event

from workflow_runner.crd.execution import MAX_TASKS
from workflow_runner.reconcile.live import MAX_OWED, UNWRITTEN, End, LiveRun


def test_a_repeated_event_is_taken_in_once(live: LiveRun) -> None:
    assert live.ingest(event(1, "task_started", task_reference="/do/0/a"))
    assert not live.ingest(event(1, "task_started", task_reference="/do/0/a"))
    assert len(live.tasks.entries()) == 1


def test_nothing_counts_after_the_end(live: LiveRun) -> None:
    live.ingest(event(1, "workflow_completed"), b"1")
    assert not live.ingest(event(2, "workflow_failed"))
    assert live.end is not None
    assert live.end.phase == "Completed"


def test_progress_never_goes_back(live: LiveRun) -> None:
    live.ingest(event(1, "task_completed", task_progress=60))
    live.ingest(event(2, "task_started", task_progress=40))
    assert live.progress == 60


def test_a_million_tasks_leave_a_bounded_list_with_the_failed_ones(live: LiveRun) -> None:
    for number in range(1, 2001):
        kind = "task_failed" if number in (3, 700) else "task_completed"
        live.ingest(event(number, kind, task_name="step", task_reference="/do/0/for/do/0/step", task_iteration=str(number)))
    entries = live.tasks.entries()
    assert len(entries) == MAX_TASKS
    assert [entry["iteration"] for entry in entries if entry["status"] == "Failed"] == ["3", "700"]
    assert entries[-1]["iteration"] == "2000"


def test_a_replaced_pod_starts_a_new_attempt_with_numbers_that_go_on(live: LiveRun) -> None:
    live.pod_is("pod-a")
    live.ingest(event(1, "workflow_started"))
    live.ingest(event(2, "task_started", task_reference="/do/0/a"))
    assert live.pod_is("pod-b")
    again = event(1, "workflow_started")
    assert live.ingest(again)
    assert (live.attempt, live.outward(again).sequence_number, live.outward(again).attempt) == (2, 3, 2)
    assert not live.pod_is("pod-a")


def test_a_restarted_operator_owes_what_status_says(live: LiveRun) -> None:
    live.ingest(event(1, "workflow_started"))
    live.ingest(event(2, "task_started", task_reference="/do/0/a"))
    live.ingest(
        event(3, "task_failed", task_reference="/do/0/a", task_name="a", error={"type": "t", "status": 400, "message": "no"})
    )
    live.ingest(event(4, "workflow_failed", error={"type": "t", "status": 400, "message": "no"}))
    status = {"executionId": UID, "attempt": 1, "callback": {"sourceSequence": 4, "owed": list(live.owed.values())}}
    restored = LiveRun.from_status(status)
    assert [(item.sequence_number, item.event_type) for item in restored.owed_events()] == [
        (1, "workflow_started"),
        (3, "task_failed"),
        (4, "workflow_failed"),
    ]
    assert restored.owed_events()[1].error.message == "no"


def test_what_is_owed_is_bounded_and_keeps_phase_changes(live: LiveRun) -> None:
    live.ingest(event(1, "workflow_started"))
    for number in range(2, 3 * MAX_OWED):
        live.ingest(event(number, "task_failed", task_reference="/do/0/a"))
    assert len(live.owed) == MAX_OWED
    assert 1 in live.owed


def test_the_operators_own_end_takes_the_next_number(live: LiveRun) -> None:
    live.ingest(event(7, "workflow_started"))
    told = live.outward(live.conclude(End("Failed", NOW, "lost", error={"type": "t", "status": 500, "title": "lost"})))
    assert (told.sequence_number, told.event_type, told.error.message) == (8, "workflow_failed", "lost")


STATUS = {"executionId": UID, "attempt": 1, "podName": "old", "callback": {"sourceSequence": 4, "baseSequence": 100}}


def test_after_a_restart_the_end_has_the_number_that_the_pod_gave_it() -> None:
    """The former operator may have told Stigmer the same end, and much before it, without writing that down."""
    run = LiveRun.from_status(STATUS)
    told = run.outward(run.conclude(End("Completed", NOW, output=1, sequence=37)))
    assert told.sequence_number == 137


def test_after_a_restart_an_end_of_the_operators_own_takes_a_number_that_was_used_for_nothing() -> None:
    run = LiveRun.from_status(STATUS)
    told = run.outward(run.conclude(End("Failed", NOW, error={"type": "t", "status": 500})))
    assert told.sequence_number == 104 + UNWRITTEN


def test_after_a_restart_a_new_pods_numbers_begin_above_all_that_were_used() -> None:
    run = LiveRun.from_status(STATUS)
    run.pod_is("new")
    first = event(1, "workflow_started")
    run.ingest(first)
    assert run.outward(first).sequence_number > 104 + UNWRITTEN - 1


BEGINNING = ["workflow_started", "workflow_validating", "workflow_validated"]


@pytest.mark.parametrize("heard", range(4))
def test_a_run_of_which_only_the_end_was_seen_is_told_from_its_beginning(live: LiveRun, heard: int) -> None:
    for number, kind in enumerate(BEGINNING[:heard], 1):
        live.ingest(event(number, kind))
    end = End("Completed", NOW, output=1, sequence=30, start=NOW)
    assert [(item.sequence_number, item.event_type) for item in live.untold_beginning(end)] == list(enumerate(BEGINNING, 1))[
        heard:
    ]
    assert live.start is not None
    assert live.conclude(end).sequence_number == 30
    assert [item.event_type for item in live.owed_events()] == [*BEGINNING, "workflow_completed"]


@pytest.mark.parametrize(("last", "told"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 3)])
def test_no_more_is_told_than_there_was_before_the_end(live: LiveRun, last: int, told: int) -> None:
    assert len(live.untold_beginning(End("Failed", NOW, sequence=last))) == told
