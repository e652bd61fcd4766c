"""What an outbox keeps, in which order, and what it gives up for room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.stigmer.client import Backoff
from workflow_runner.stigmer.outbox import FAILED_BOUND_FACTOR, SUPERSEDED, Outbox

KINDS = [*sorted(SUPERSEDED), "task_failed", "workflow_paused", "workflow_resumed"]


def event(number: int, kind: str = "task_completed") -> WorkflowProgressEvent:
    return WorkflowProgressEvent(sequence_number=number, event_type=kind)


def drain(outbox: Outbox) -> list[int]:
    numbers = []
    while len(outbox):
        numbers.append(outbox.hold().sequence_number)
        outbox.done()
    return numbers


def test_events_leave_in_the_order_of_their_numbers_whatever_order_they_came_in() -> None:
    outbox = Outbox(delivered=0, most=10)
    assert all(outbox.offer(event(number)) for number in (3, 1, 2, 5, 4))
    assert drain(outbox) == [1, 2, 3, 4, 5]
    assert outbox.delivered == 5


def test_an_event_that_is_known_under_way_or_delivered_is_not_taken_twice() -> None:
    outbox = Outbox(delivered=4, most=10)
    assert not outbox.offer(event(4))
    assert outbox.offer(event(5))
    assert outbox.offer(event(7))
    assert not outbox.offer(event(7))
    outbox.hold()
    assert not outbox.offer(event(5))
    outbox.done()
    assert not outbox.offer(event(5))
    # Between the two: late, and still owed.
    assert outbox.offer(event(6))
    assert drain(outbox) == [6, 7]


def test_a_released_event_stays_the_next_one() -> None:
    outbox = Outbox(delivered=0, most=10)
    outbox.offer(event(1))
    outbox.hold()
    outbox.release()
    assert (outbox.delivered, outbox.hold().sequence_number) == (0, 1)


def test_the_oldest_superseded_event_goes_first_and_never_the_one_under_way() -> None:
    outbox = Outbox(delivered=0, most=3)
    for number in (1, 2, 3):
        outbox.offer(event(number))
    outbox.hold()
    outbox.offer(event(4))
    outbox.offer(event(5))
    assert drain(outbox) == [1, 4, 5]
    assert outbox.coalesced == 2


def test_numbers_that_were_coalesced_at_the_end_are_owed_no_more() -> None:
    outbox = Outbox(delivered=0, most=2)
    outbox.offer(event(1, "workflow_started"))
    outbox.offer(event(2, "task_failed"))
    outbox.offer(event(3))
    assert drain(outbox) == [1, 2]
    assert outbox.delivered == 3


def test_failures_stay_above_the_bound_but_not_without_end() -> None:
    outbox = Outbox(delivered=0, most=10)
    outbox.offer(event(1, "workflow_started"))
    for number in range(2, 500):
        outbox.offer(event(number, "task_failed"))
    outbox.offer(event(500, "workflow_completed"))
    assert len(outbox) == 10 * FAILED_BOUND_FACTOR
    numbers = drain(outbox)
    assert (numbers[0], numbers[-1]) == (1, 500)


def test_a_higher_watermark_from_elsewhere_drops_what_it_covers() -> None:
    outbox = Outbox(delivered=0, most=10)
    for number in range(1, 6):
        outbox.offer(event(number))
    outbox.hold()
    outbox.skip_to(3)
    outbox.skip_to(2)
    outbox.done()
    assert (outbox.delivered, drain(outbox)) == (3, [4, 5])


def test_where_the_newest_only_is_owed_it_takes_the_place_of_all_that_wait_and_of_none_that_is_on_its_way() -> None:
    outbox = Outbox(delivered=0, most=1000, newest_only=True)
    assert all(outbox.offer(event(number)) for number in (1, 2, 5))
    assert not outbox.offer(event(4))
    assert (len(outbox), outbox.hold().sequence_number) == (1, 5)
    assert outbox.offer(event(6, "workflow_completed"))
    assert not outbox.offer(event(5))
    outbox.release()
    # What did not get across is not tried again: there is a newer one.
    assert outbox.hold().sequence_number == 6
    outbox.done()
    assert (len(outbox), outbox.delivered, outbox.coalesced) == (0, 6, 0)


def test_giving_one_up_keeps_the_newer_ones() -> None:
    outbox = Outbox(delivered=0, most=1000, newest_only=True)
    outbox.offer(event(1))
    outbox.hold()
    outbox.offer(event(2, "workflow_completed"))
    outbox.release()
    outbox.give_up(1)
    assert (outbox.delivered, drain(outbox)) == (1, [2])


@given(numbers=st.lists(st.integers(min_value=1, max_value=50), max_size=60), deliver=st.lists(st.integers(0, 2), max_size=60))
def test_the_newest_is_delivered_last_whatever_happens_and_order_never_goes_back(
    numbers: list[int], deliver: list[int]
) -> None:
    outbox = Outbox(delivered=0, most=1, newest_only=True)
    left: list[int] = []
    for place, number in enumerate(numbers):
        outbox.offer(event(number))
        what = deliver[place] if place < len(deliver) else 0
        if what and len(outbox):
            held = outbox.hold().sequence_number
            if what == 1:
                left.append(held)
                outbox.done()
            else:
                outbox.release()
        assert len(outbox) <= 2
    left += drain(outbox)
    assert left == sorted(set(left))
    assert left[-1:] == ([max(numbers)] if numbers else [])


@given(
    kinds=st.lists(st.sampled_from(KINDS), max_size=200),
    most=st.integers(min_value=1, max_value=20),
    deliver=st.lists(st.booleans(), max_size=200),
)
def test_nothing_but_superseded_events_is_ever_lost_and_order_holds(kinds: list[str], most: int, deliver: list[bool]) -> None:
    outbox = Outbox(delivered=0, most=most)
    left: list[int] = []
    for number, kind in enumerate(kinds, 1):
        outbox.offer(event(number, kind))
        if number <= len(deliver) and deliver[number - 1] and len(outbox):
            left.append(outbox.hold().sequence_number)
            outbox.done()
    must_stay = {number for number, kind in enumerate(kinds, 1) if kind not in SUPERSEDED}
    # The bound for failures is far off with so few events and is tested above.
    if len(must_stay) <= most * FAILED_BOUND_FACTOR:
        left += drain(outbox)
        assert left == sorted(set(left))
        assert must_stay <= set(left)
        assert outbox.delivered == len(kinds)


@pytest.mark.parametrize(("failures", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (9, 8.0), (10_000, 8.0)])
def test_backoff_is_drawn_between_nothing_and_a_growing_bound(failures: int, longest: float) -> None:
    drawn = [Backoff(first=0.5, most=8.0).seconds(failures) for _ in range(300)]
    assert min(drawn) >= 0
    assert max(drawn) <= longest
    # Drawn over the whole range, or pods and replicas march in step.
    assert min(drawn) < longest * 0.2
    assert max(drawn) > longest * 0.8
