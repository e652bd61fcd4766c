"""What a launched pod keeps for the operator, and what it gives up for room."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from workflow_runner.hosts.buffer import FAILED_BOUND_FACTOR, SUPERSEDED, Buffer, Kept
from workflow_runner.interpreter.events import Event, EventType

NOW = datetime.now(UTC)


def add(buffer: Buffer, *types: EventType) -> None:
    for type_ in types:
        buffer.add(Event(type_, NOW, 0))


def unsent(buffer: Buffer) -> list[int]:
    return [number for number, _ in buffer.unsent_events()]


def test_events_are_numbered_from_one_and_unsent_until_said_otherwise() -> None:
    buffer = Buffer(most=10)
    add(buffer, EventType.WORKFLOW_STARTED, EventType.TASK_STARTED)
    assert (buffer.last, buffer.unsent, unsent(buffer)) == (2, 2, [1, 2])
    buffer.sent = 1
    assert (buffer.unsent, unsent(buffer)) == (1, [2])


def test_a_rewind_offers_again_what_is_not_delivered() -> None:
    buffer = Buffer(most=10)
    add(buffer, *[EventType.TASK_STARTED] * 5)
    buffer.sent = 5
    buffer.forget(2)
    assert unsent(buffer) == []
    buffer.rewind()
    assert (unsent(buffer), len(buffer)) == ([3, 4, 5], 3)


def test_a_watermark_beyond_the_last_event_or_below_the_last_one_is_harmless() -> None:
    buffer = Buffer(most=10)
    add(buffer, EventType.WORKFLOW_STARTED)
    buffer.forget(2**63 - 1)
    buffer.forget(0)
    add(buffer, EventType.WORKFLOW_COMPLETED)
    assert (buffer.delivered, unsent(buffer)) == (1, [2])


def test_the_oldest_superseded_events_go_first() -> None:
    buffer = Buffer(most=4)
    add(buffer, EventType.WORKFLOW_STARTED, *[EventType.TASK_STARTED, EventType.TASK_COMPLETED] * 5)
    assert unsent(buffer) == [1, 9, 10, 11]


def test_failures_stay_above_the_bound_but_not_without_end() -> None:
    buffer = Buffer(most=10)
    add(buffer, EventType.WORKFLOW_STARTED, *[EventType.TASK_FAILED] * 500, EventType.WORKFLOW_FAILED)
    assert len(buffer) == 10 * FAILED_BOUND_FACTOR
    assert (unsent(buffer)[0], unsent(buffer)[-1]) == (1, 502)


@given(
    types=st.lists(st.sampled_from(EventType), max_size=300),
    most=st.integers(min_value=1, max_value=20),
    delivered=st.lists(st.integers(min_value=0, max_value=400), max_size=20),
)
def test_nothing_but_superseded_events_is_lost_whatever_the_watermark_does(
    types: list[EventType], most: int, delivered: list[int]
) -> None:
    buffer = Buffer(most=most)
    step = max(1, len(types) // max(1, len(delivered)))
    for number, type_ in enumerate(types, 1):
        add(buffer, type_)
        if number % step == 0 and delivered:
            buffer.forget(min(delivered.pop(), number))
    buffer.rewind()
    must_stay = {number for number, type_ in enumerate(types, 1) if type_ not in SUPERSEDED and number > buffer.delivered}
    if len(must_stay) <= most * FAILED_BOUND_FACTOR:
        kept = unsent(buffer)
        assert kept == sorted(set(kept))
        assert must_stay <= set(kept)
        assert all(number > buffer.delivered for number in kept)
        assert len(kept) <= max(most, len(must_stay))


def test_another_buffer_goes_on_with_the_numbers_that_events_had() -> None:
    first = Buffer(most=10)
    add(first, *[EventType.TASK_STARTED] * 5, EventType.WORKFLOW_PAUSED)
    first.forget(3)
    second = Buffer(most=10, kept=first.kept)
    assert (second.last, unsent(second)) == (6, [4, 5, 6])
    second.skip_to(1000)
    second.skip_to(7)
    add(second, EventType.WORKFLOW_RESUMED)
    assert unsent(second) == [4, 5, 6, 1001]
    second.forget(5)
    assert (unsent(second), second.kept.last) == ([6, 1001], 1001)
    second.forget(1001)
    assert (unsent(second), second.kept) == ([], Kept(1001))


def test_what_was_kept_is_bounded_again() -> None:
    first = Buffer(most=100)
    add(first, EventType.WORKFLOW_STARTED, *[EventType.TASK_STARTED] * 50)
    second = Buffer(most=4, kept=first.kept)
    assert unsent(second) == [1, 49, 50, 51]
    assert second.last == 51


def test_a_gap_of_a_million_numbers_costs_nothing() -> None:
    buffer = Buffer(most=10)
    for _ in range(1000):
        buffer.skip_to(buffer.last + 1_000_000)
        add(buffer, EventType.TASK_STARTED)
        assert len(unsent(buffer)) <= 10
        buffer.forget(buffer.last)
        buffer.rewind()


def test_adding_does_not_slow_down_with_what_is_kept() -> None:
    def cost(buffer: Buffer) -> float:
        event = Event(EventType.TASK_STARTED, NOW, 0)
        took = []
        for _ in range(20):
            began = time.perf_counter()
            for _ in range(1000):
                buffer.add(event)
            took.append(time.perf_counter() - began)
        return min(took)

    empty, crowded = Buffer(most=1_000_000), Buffer(most=10_000)
    add(crowded, *[EventType.TASK_FAILED] * 9_000)
    assert cost(crowded) < 5 * cost(empty)
