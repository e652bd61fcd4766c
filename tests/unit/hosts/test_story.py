"""What the log of a run's pod tells."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from workflow_runner.dsl.problems import RUNTIME, Problem
from workflow_runner.hosts.story import log_event
from workflow_runner.interpreter.events import Event, EventType

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def told(caplog: pytest.LogCaptureFixture, level: int, *events: Event) -> list[str]:
    caplog.set_level(level, "workflow_runner.hosts.story")
    for event in events:
        log_event(event)
    return [record.getMessage() for record in caplog.records]


def test_info_tells_the_run_and_what_went_wrong(caplog: pytest.LogCaptureFixture) -> None:
    events = [Event(kind, NOW, 0) for kind in EventType]
    assert told(caplog, logging.INFO, *events) == [
        "workflow started",
        "workflow paused",
        "workflow resumed",
        "workflow completed",
        "workflow failed",
        "workflow cancelled",
        "task failed",
        "task retried",
    ]


def test_debug_tells_every_task(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, logging.DEBUG, Event(EventType.TASK_STARTED, NOW, 0)) == ["task started"]


def test_a_failure_is_told_once_with_its_place_and_never_with_data(caplog: pytest.LogCaptureFixture) -> None:
    event = Event(EventType.TASK_FAILED, NOW, 0, reference="/do/0/a", output={"card": "4711"})
    event.error, event.message = Problem.standard(RUNTIME, "no such host"), "no such host"
    told(caplog, logging.INFO, event)
    [record] = caplog.records
    assert vars(record)["task"] == "/do/0/a"
    assert "no such host" in vars(record)["error"]
    assert "reason" not in vars(record)
    assert "4711" not in str(vars(record))
