"""What an execution keeps of itself, and what it lets go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from workflow_runner.dsl.templates import Json
from workflow_runner.hosts.buffer import Kept
from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.hosts.event_bus import EventBus
from workflow_runner.hosts.execution_events import LARGEST_KEPT_OUTPUT, rough_size
from workflow_runner.hosts.execution_store import Accepted, digest_of
from workflow_runner.hosts.executions import StartRequest, WrongState
from workflow_runner.hosts.local_execution import Ended, Environment, LocalExecution
from workflow_runner.interpreter.events import Event, EventType

NOW = datetime(2026, 11, 21, tzinfo=UTC)
REQUEST = StartRequest("run-1", "a document", {"n": 1}, {"A": "b"})


def ended(output: Json, *, left_out: bool = False) -> LocalExecution:
    """One that took two seconds in an earlier process."""
    events = (
        (1, Event(EventType.WORKFLOW_STARTED, NOW, 0)),
        (4, Event(EventType.WORKFLOW_COMPLETED, NOW + timedelta(seconds=2), 100, output=output)),
    )
    accepted = Accepted(REQUEST, digest_of(REQUEST), 0.0)
    environment = Environment(EventBus(), HostOptions())
    return LocalExecution(accepted, None, environment, lambda *_: None, ended=Ended(Kept(4, events), left_out))


def test_of_one_that_has_ended_the_request_is_let_go_and_known_again_by_its_digest() -> None:
    execution = ended({"n": 1})
    assert (execution.accepted.request.document, execution.accepted.request.environment) == ("", {})
    assert execution.accepted.digest == digest_of(REQUEST)
    assert (execution.status, execution.seconds, execution.last) == ("completed", 2.0, 4)
    with pytest.raises(WrongState):
        execution.pause("late")
    execution.cancel("late", force=True)
    assert execution.status == "completed"


@pytest.mark.parametrize(("size", "kept"), [(10, True), (100_000, False)], ids=["small", "large"])
def test_shrinking_leaves_how_it_ended_and_a_small_output(size: int, kept: bool) -> None:
    execution = ended("x" * size)
    assert execution.state().output.string_value == "x" * size
    before = execution.weight
    execution.shrink()
    assert execution.weight < before
    assert execution.state().HasField("output") is kept
    events, more = execution.events(0, 10)
    assert [(event.sequence_number, event.event_type, more) for event in events] == [(4, "workflow_completed", False)]


def test_an_output_that_was_left_out_is_not_told_as_null() -> None:
    execution = ended(None, left_out=True)
    assert not execution.state().HasField("output")
    assert not execution.events(0, 10)[0][-1].HasField("output")
    assert ended(None).state().HasField("output")


def test_sizes_are_told_apart_without_writing_anything_out() -> None:
    assert rough_size("x" * 10) == 12
    assert 20 < rough_size({"name": [1, True, None]}) < 60
    assert rough_size(["x" * 1000] * 1000) > LARGEST_KEPT_OUTPUT
    deep: Json = []
    for _ in range(5000):
        deep = [deep]
    assert rough_size(deep) > LARGEST_KEPT_OUTPUT


def test_digests_tell_requests_apart_by_everything_but_the_id() -> None:
    same = digest_of(StartRequest("other", "a document", {"n": 1}, {"A": "b"}))
    assert same == digest_of(REQUEST)
    others = [
        StartRequest("run-1", "another document", {"n": 1}, {"A": "b"}),
        StartRequest("run-1", "a document", {"n": 2}, {"A": "b"}),
        StartRequest("run-1", "a document", {"n": 1}, {"A": "c"}),
        StartRequest("run-1", "a document", {"n": 1}, {"A": "b"}, labels={"name": "x"}),
        StartRequest("run-1", "a document", {"n": 1}, {"A": "b"}, config={"timeout": "PT1S"}),
    ]
    assert len({digest_of(other) for other in others} | {same}) == 6
    awaited = StartRequest("run-1", "a document", {"n": 1}, {"A": "b"}, awaited=True)
    assert digest_of(awaited) == same, "whether somebody waits makes no other run"
