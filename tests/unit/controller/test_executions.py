"""What is told of an execution that was started by gRPC, from its resource alone; and what such a resource is called."""

from __future__ import annotations

import re
from typing import Any

import pytest

from workflow_runner.controller.event_logs import EventLogs
from workflow_runner.controller.executions import ClusterExecutions, _content, _end, _has_ended, _status
from workflow_runner.crd import group

Json = dict[str, Any]


def resource(phase: str = "Completed", **status: Any) -> Json:
    return {
        "metadata": {"name": "a", "namespace": "b", "uid": "u"},
        "spec": {"executionId": "e", "workflow": {"yaml": "…"}},
        "status": {
            "phase": phase,
            "progress": 100,
            "attempt": 2,
            "startTime": "2026-11-21T10:00:00Z",
            "completionTime": "2026-11-21T10:00:01Z",
            "callback": {"sourceSequence": 5, "baseSequence": 3},
            **status,
        },
    }


def test_the_end_is_made_from_status_for_an_operator_that_has_not_seen_it() -> None:
    event = _end("e", resource(output={"n": 1}))
    assert (event.event_type, event.status, event.sequence_number, event.attempt) == ("workflow_completed", "completed", 8, 2)
    assert event.output.struct_value.fields["n"].number_value == 1
    error = {"type": "https://example.com/bad", "status": 500, "title": "Bad", "detail": "so it is", "code": "x.y"}
    failed = _end("e", resource("Failed", error=error))
    assert (failed.event_type, failed.error.message, failed.error.code) == ("workflow_failed", "Bad: so it is", "x.y")


def test_a_subscriber_after_a_restart_hears_the_end_once() -> None:
    executions = ClusterExecutions.__new__(ClusterExecutions)
    executions._logs = EventLogs()
    ended = resource()
    assert [event.event_type for event in executions._known("e", ended, 0)] == ["workflow_completed"]
    assert list(executions._known("e", ended, 8)) == []
    executions._logs.open("u")
    executions._logs.told("u", _end("e", ended))
    assert [event.sequence_number for event in executions._known("e", ended, 0)] == [8]


def test_a_status_of_another_run_is_no_end() -> None:
    ended = resource()
    assert _has_ended(ended)
    ended["spec"]["runId"] = "second"
    assert not _has_ended(ended)
    ended["status"]["runId"] = "second"
    assert _has_ended(ended)


def test_how_it_stands() -> None:
    assert _status("e", {"spec": {}, "metadata": {}}).status == "pending"
    assert _status("e", resource("Queued")).status == "pending"
    paused = _status("e", resource("Paused"))
    assert (paused.status, paused.last_sequence_number) == ("paused", 8)
    assert paused.completed_at_ms - paused.started_at_ms == 1000


def test_the_same_request_is_told_from_another_one() -> None:
    spec = resource()["spec"]
    assert _content(spec) == _content({**spec, "paused": True, "runnerRef": {"name": "default"}})
    changes: list[Json] = [
        {"input": 1},
        {"workflow": {"yaml": "…!"}},
        {"runnerRef": {"name": "x"}},
        {"env": []},
        {"timeout": "1s"},
    ]
    for change in changes:
        assert _content(spec) != _content({**spec, **change})


@pytest.mark.parametrize("execution_id", ["test-123", "Ünï/côdé  ✓", "-", "a" * 256, "UPPER_lower.9"])
def test_every_id_has_a_name_that_kubernetes_takes(execution_id: str) -> None:
    name = group.name_of(execution_id)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name)
    assert len(name) <= 51, "room for what the names of Jobs and Secrets add"


def test_ids_that_look_alike_have_names_of_their_own() -> None:
    ids = ["a b", "a-b", "A-b", "a--b", "a_b"]
    assert len({group.name_of(each) for each in ids}) == len(ids)
