"""The relay against a real Stigmer that is down, slow, refuses, hangs and drops: in order, complete, and fair."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from msgspec import field
from tests.integration.stigmer.conftest import DEADLINE, KEY, Running, event, plain
from tests.servers.stigmer import Behaviour, StigmerServer

from workflow_runner.stigmer.client import Backoff
from workflow_runner.stigmer.relay import Relay


@pytest.fixture
async def other() -> AsyncIterator[StigmerServer]:
    """A second destination."""
    async with StigmerServer(api_key=KEY) as server:
        yield server


def offer_all(relay: Relay, key: str, numbers: range) -> None:
    for number in numbers:
        assert relay.offer(key, event(number, execution=key))


async def test_a_run_is_delivered_in_order_and_its_watermark_follows(running: Running, stigmer: StigmerServer) -> None:
    running.relay.track("run-1", plain(stigmer), 0)
    offer_all(running.relay, "run-1", range(1, 51))
    assert running.relay.delivery("run-1").pending == 50
    assert await running.relay.delivered("run-1", 50, 20)
    assert stigmer.numbers("run-1") == list(range(1, 51))
    delivery = running.relay.delivery("run-1")
    assert (delivery.delivered_sequence, delivery.last_error, delivery.pending) == (50, None, 0)
    await running.until(lambda: "run-1" in running.changed)
    # Coalesced: far fewer calls than events.
    assert len(running.changed) < 25


async def test_what_is_offered_before_the_relay_runs_is_delivered_when_it_does(stigmer: StigmerServer) -> None:
    relay = Relay(changed=lambda key: None)
    relay.track("run-1", plain(stigmer), 2)
    assert not relay.offer("run-1", event(2))
    assert relay.offer("run-1", event(3))
    task = asyncio.create_task(relay.run())
    assert await relay.delivered("run-1", 3, 20)
    assert stigmer.numbers("run-1") == [3]
    await relay.close()
    await task


async def test_stigmer_down_for_a_whole_run_then_back_gets_everything_in_order(
    running: Running, stigmer: StigmerServer
) -> None:
    await stigmer.down()
    keys = [f"run-{number}" for number in range(10)]
    for key in keys:
        running.relay.track(key, plain(stigmer), 0)
        offer_all(running.relay, key, range(1, 31))
    await running.until(lambda: any(running.relay.delivery(key).last_error for key in keys))
    errors = [running.relay.delivery(key).last_error for key in keys]
    assert any("UNAVAILABLE" in error for error in errors if error)
    assert all(running.relay.delivery(key).delivered_sequence == 0 for key in keys)
    assert not await running.relay.delivered("run-0", 1, 0.05)
    await stigmer.up()
    for key in keys:
        assert await running.relay.delivered(key, 30, 20)
        assert stigmer.numbers(key) == list(range(1, 31))
        assert running.relay.delivery(key).last_error is None


async def test_lost_answers_repeat_an_event_with_its_number_and_nothing_overtakes(
    running: Running, stigmer: StigmerServer
) -> None:
    running.relay.track("run-1", plain(stigmer), 0)
    stigmer.behaviour = Behaviour("drop", sequence=3)
    offer_all(running.relay, "run-1", range(1, 7))
    await stigmer.until(lambda: 3 in stigmer.numbers("run-1"))
    stigmer.behaviour = Behaviour()
    assert await running.relay.delivered("run-1", 6, 20)
    numbers = stigmer.numbers("run-1")
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, 7))
    assert Counter(numbers)[3] >= 2
    repeats = [sent for sent in stigmer.arrived if sent.sequence_number == 3]
    assert all(repeat == repeats[0] for repeat in repeats)


@pytest.mark.parametrize("mode", ["hang", "status", "refuse", "down"])
async def test_one_bad_destination_does_not_delay_another(
    running: Running, stigmer: StigmerServer, other: StigmerServer, mode: str
) -> None:
    stigmer.behaviour = Behaviour(mode)
    if mode == "down":
        await stigmer.down()
    for number in range(50):
        running.relay.track(f"bad-{number}", plain(stigmer), 0)
        offer_all(running.relay, f"bad-{number}", range(1, 4))
    running.relay.track("good", plain(other), 0)
    offer_all(running.relay, "good", range(1, 21))
    assert await running.relay.delivered("good", 20, DEADLINE * 0.9)
    assert other.numbers("good") == list(range(1, 21))


async def test_a_destination_that_is_down_is_asked_once_and_not_once_an_execution(
    running: Running, stigmer: StigmerServer
) -> None:
    stigmer.behaviour = Behaviour("status")
    keys = [f"run-{number}" for number in range(200)]
    for key in keys:
        running.relay.track(key, plain(stigmer), 0)
        offer_all(running.relay, key, range(1, 3))
    # The first wave is what max_concurrent lets out, three attempts each; after it come single probes.
    await stigmer.until(lambda: len(stigmer.calls) >= 32 * 3)
    first_wave = len(stigmer.calls)
    await stigmer.until(lambda: len(stigmer.calls) >= first_wave + 9)
    assert len({key for key, _ in stigmer.calls}) <= 32 + 3
    stigmer.behaviour = Behaviour()
    for key in keys:
        assert await running.relay.delivered(key, 2, 20)
        assert stigmer.numbers(key) == [1, 2]


async def test_executions_take_turns(stigmer: StigmerServer) -> None:
    running = Running(max_concurrent=1)
    running.relay.track("long", plain(stigmer), 0)
    offer_all(running.relay, "long", range(1, 501))
    running.relay.track("short", plain(stigmer), 0)
    assert await running.relay.delivered("long", 5, 20)
    before = len(stigmer.numbers("long"))
    offer_all(running.relay, "short", range(1, 4))
    assert await running.relay.delivered("short", 3, 20)
    assert len(stigmer.numbers("long")) <= before + 6
    await running.close()


async def test_executions_are_served_side_by_side(running: Running, stigmer: StigmerServer) -> None:
    stigmer.behaviour = Behaviour(seconds=0.2)
    for number in range(30):
        running.relay.track(f"run-{number}", plain(stigmer), 0)
        offer_all(running.relay, f"run-{number}", range(1, 2))
    await stigmer.until(lambda: len(stigmer.calls) == 30)
    # All 30 came before the first was answered.
    assert len(stigmer.arrived) == 0


class Scripted(Backoff, frozen=True):
    """Answers what it is told to, and remembers for how many failures it was asked."""

    answers: list[float] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    def seconds(self, failures: int) -> float:
        self.asked.append(failures)
        return self.answers.pop(0) if self.answers else 3600.0


async def test_when_a_destination_is_back_everybody_goes_on_at_once(stigmer: StigmerServer) -> None:
    # The lane's pause and that of the first execution are short; all others would wait for an hour.
    backoff = Scripted(1, 1, [0.3, 0.01])
    running = Running(retry=backoff)
    stigmer.behaviour = Behaviour("status")
    keys = [f"run-{number}" for number in range(20)]
    for key in keys:
        running.relay.track(key, plain(stigmer), 0)
        offer_all(running.relay, key, range(1, 3))
    await running.until(lambda: len(backoff.asked) == 21)
    # However many failed together, the lane has failed once.
    assert backoff.asked == [1] * 21
    stigmer.behaviour = Behaviour()
    for key in keys:
        assert await running.relay.delivered(key, 2, 20)
    await running.close()


async def test_pauses_grow_with_every_failed_round_and_begin_anew_after_a_success(stigmer: StigmerServer) -> None:
    backoff = Scripted(1, 1, [0.01] * 100)
    running = Running(retry=backoff)
    stigmer.behaviour = Behaviour("status")
    running.relay.track("run-1", plain(stigmer), 0)
    offer_all(running.relay, "run-1", range(1, 2))
    await stigmer.until(lambda: len(stigmer.calls) > 9)
    stigmer.behaviour = Behaviour()
    assert await running.relay.delivered("run-1", 1, 20)
    # The lane's and the execution's, in turn.
    assert backoff.asked[:6] == [1, 1, 2, 2, 3, 3]
    asked = len(backoff.asked)
    stigmer.behaviour = Behaviour("status")
    offer_all(running.relay, "run-1", range(2, 3))
    calls = len(stigmer.calls)
    await stigmer.until(lambda: len(stigmer.calls) > calls + 3)
    assert backoff.asked[asked : asked + 2] == [1, 1]
    await running.close()


async def test_a_higher_watermark_for_a_tracked_execution_drops_what_it_covers(stigmer: StigmerServer) -> None:
    relay = Relay(changed=lambda key: None)
    relay.track("run-1", plain(stigmer), 0)
    offer_all(relay, "run-1", range(1, 6))
    relay.track("run-1", plain(stigmer), 3)
    assert relay.delivery("run-1").delivered_sequence == 3
    assert relay.delivery("run-1").pending == 2
    task = asyncio.create_task(relay.run())
    assert await relay.delivered("run-1", 5, 20)
    assert stigmer.numbers("run-1") == [4, 5]
    await relay.close()
    await task


async def test_a_higher_watermark_leaves_what_is_on_its_way(running: Running, stigmer: StigmerServer) -> None:
    stigmer.behaviour = Behaviour(seconds=0.5)
    running.relay.track("run-1", plain(stigmer), 0)
    offer_all(running.relay, "run-1", range(1, 6))
    await stigmer.until(lambda: len(stigmer.calls) == 1)
    running.relay.track("run-1", plain(stigmer), 3)
    assert running.relay.delivery("run-1").delivered_sequence == 3
    assert running.relay.delivery("run-1").pending == 3
    assert await running.relay.delivered("run-1", 5, 20)
    assert stigmer.numbers("run-1") == [1, 4, 5]


async def test_a_refused_event_is_left_out_and_those_behind_it_arrive(running: Running, stigmer: StigmerServer) -> None:
    stigmer.behaviour = Behaviour("refuse", message="I do not like it", sequence=2)
    running.relay.track("run-1", plain(stigmer), 0)
    offer_all(running.relay, "run-1", range(1, 5))
    assert await running.relay.delivered("run-1", 4, 20)
    assert stigmer.numbers("run-1") == [1, 3, 4]
    assert Counter(stigmer.calls)[("run-1", 2)] == 3
    error = running.relay.delivery("run-1").last_error
    assert error is not None
    assert "left out after 3 refusals: event 2" in error
    assert "I do not like it" in error
    assert KEY not in error


async def test_it_tells_how_each_destination_stands_and_what_became_of_calls(running: Running, stigmer: StigmerServer) -> None:
    told: list[tuple[str, bool]] = []
    running.relay.reported = lambda endpoint, result, seconds: told.append((result, seconds is not None))
    assert running.relay.stands() == []
    await stigmer.down()
    running.relay.track("run-1", plain(stigmer), 0)
    for number in (1, 2):
        late = event(number, execution="run-1")
        late.timestamp_ms = 1_000 * number
        running.relay.offer("run-1", late)
    await running.until(lambda: running.relay.delivery("run-1").last_error is not None)
    [stand] = running.relay.stands()
    assert (stand.endpoint, stand.pending, stand.oldest_ms) == (plain(stigmer).endpoint, 2, 1_000)
    assert stand.trouble is not None
    await stigmer.up()
    assert await running.relay.delivered("run-1", 2, 20)
    [stand] = running.relay.stands()
    assert (stand.pending, stand.oldest_ms, stand.trouble) == (0, None, None)
    assert {("failed", True), ("delivered", True)} == set(told)
    stigmer.behaviour = Behaviour("refuse", sequence=3)
    running.relay.offer("run-1", event(3, execution="run-1"))
    assert await running.relay.delivered("run-1", 3, 20)
    assert told[-4:] == [("refused", True)] * 3 + [("left-out", False)]


async def test_what_is_coalesced_is_told(stigmer: StigmerServer) -> None:
    relay, told = Relay(changed=lambda key: None, max_pending_per_execution=3), Counter[str]()
    relay.reported = lambda endpoint, result, seconds: told.update([result])
    relay.track("run-1", plain(stigmer), 0)
    offer_all(relay, "run-1", range(1, 6))
    assert told == {"coalesced": 2}


async def test_an_execution_refused_altogether_costs_one_call_an_event(running: Running, stigmer: StigmerServer) -> None:
    stigmer.behaviour = Behaviour("status", code="NOT_FOUND")
    running.relay.track("run-1", plain(stigmer), 0)
    offer_all(running.relay, "run-1", range(1, 101))
    assert await running.relay.delivered("run-1", 100, 20)
    assert len(stigmer.calls) == 102
    assert stigmer.arrived == []


async def test_a_wrong_key_keeps_everything_until_it_is_mended(running: Running, stigmer: StigmerServer) -> None:
    running.relay.track("run-1", plain(stigmer, key="the-old-key-0815"), 0)
    offer_all(running.relay, "run-1", range(1, 6))
    await running.until(lambda: running.relay.delivery("run-1").last_error is not None)
    delivery = running.relay.delivery("run-1")
    assert "UNAUTHENTICATED" in str(delivery.last_error)
    assert "0815" not in str(delivery.last_error)
    assert (delivery.delivered_sequence, delivery.pending) == (0, 5)
    # Mended at the server: nobody tells the relay.
    stigmer.api_key = "the-old-key-0815"
    assert await running.relay.delivered("run-1", 5, 20)
    assert stigmer.numbers("run-1") == [1, 2, 3, 4, 5]


async def test_a_call_to_the_old_destination_that_outlasts_its_client_holds_nothing_up(
    running: Running, stigmer: StigmerServer, other: StigmerServer
) -> None:
    stigmer.behaviour = Behaviour("status", code="PERMISSION_DENIED", seconds=1.0)
    running.relay.track("run-1", plain(stigmer), 0)
    offer_all(running.relay, "run-1", range(1, 6))
    await stigmer.until(lambda: len(stigmer.calls) == 1)
    # An unused client is closed after a tenth of the time that this call takes.
    running.relay.track("run-1", plain(other), 0)
    assert await running.relay.delivered("run-1", 5, 20)
    assert other.numbers("run-1") == [1, 2, 3, 4, 5]


async def test_a_new_destination_takes_over_what_waits(running: Running, stigmer: StigmerServer, other: StigmerServer) -> None:
    stigmer.behaviour = Behaviour("status", code="PERMISSION_DENIED")
    running.relay.track("run-1", plain(stigmer), 0)
    offer_all(running.relay, "run-1", range(1, 6))
    await running.until(lambda: running.relay.delivery("run-1").last_error is not None)
    running.relay.track("run-1", plain(other), 0)
    assert await running.relay.delivered("run-1", 5, 20)
    assert other.numbers("run-1") == [1, 2, 3, 4, 5]
    assert running.relay.delivery("run-1").last_error is None


async def test_one_poisoned_execution_does_not_hold_up_the_others_of_its_destination(
    running: Running, stigmer: StigmerServer
) -> None:
    stigmer.behaviour = Behaviour("status", code="INTERNAL", only="poison")
    for key in ("poison", "run-1", "run-2"):
        running.relay.track(key, plain(stigmer), 0)
        offer_all(running.relay, key, range(1, 101))
    assert await running.relay.delivered("run-1", 100, 20)
    assert await running.relay.delivered("run-2", 100, 20)
    poisoned = running.relay.delivery("poison")
    assert (poisoned.delivered_sequence, poisoned.pending) == (0, 100)
    stigmer.behaviour = Behaviour()
    assert await running.relay.delivered("poison", 100, 20)
    assert stigmer.numbers("poison") == list(range(1, 101))


async def test_under_pressure_task_events_go_and_the_story_stays(stigmer: StigmerServer) -> None:
    running = Running(max_pending_per_execution=100)
    await stigmer.down()
    running.relay.track("run-1", plain(stigmer), 0)
    kinds = {
        1: "workflow_started",
        2: "workflow_validated",
        700: "task_failed",
        1500: "workflow_paused",
        2000: "workflow_completed",
    }
    for number in range(1, 2001):
        running.relay.offer("run-1", event(number, kinds.get(number, "task_completed")))
    assert running.relay.delivery("run-1").pending == 100
    await stigmer.up()
    assert await running.relay.delivered("run-1", 2000, 20)
    numbers = stigmer.numbers("run-1")
    assert numbers == sorted(set(numbers))
    assert set(kinds) <= set(numbers)
    await running.close()


async def test_clients_are_shared_and_closed_when_unused(running: Running, stigmer: StigmerServer) -> None:
    for key in ("run-1", "run-2"):
        running.relay.track(key, plain(stigmer), 0)
        offer_all(running.relay, key, range(1, 3))
        assert await running.relay.delivered(key, 2, 20)
    assert len(running.clients) == 1
    running.relay.forget("run-1")
    running.relay.forget("run-2")
    await running.until(lambda: running.closed == [plain(stigmer)])
    running.relay.track("run-3", plain(stigmer), 0)
    offer_all(running.relay, "run-3", range(1, 2))
    assert await running.relay.delivered("run-3", 1, 20)
    assert len(running.clients) == 2


async def test_a_forgotten_execution_gives_its_place_to_others(stigmer: StigmerServer) -> None:
    running = Running(max_concurrent=1)
    stigmer.behaviour = Behaviour("hang", only="stuck")
    running.relay.track("stuck", plain(stigmer), 0)
    running.relay.track("run-1", plain(stigmer), 0)
    offer_all(running.relay, "stuck", range(1, 2))
    await stigmer.until(lambda: ("stuck", 1) in stigmer.calls)
    offer_all(running.relay, "run-1", range(1, 2))
    waiting = asyncio.create_task(running.relay.delivered("stuck", 1, 20))
    await asyncio.sleep(0)
    running.relay.forget("stuck")
    assert await waiting is False
    assert await running.relay.delivered("run-1", 1, DEADLINE * 0.9)
    with pytest.raises(KeyError):
        running.relay.delivery("stuck")
    assert not running.relay.offer("stuck", event(2))
    await running.close()


async def test_closing_while_calls_hang_is_quick_and_closes_the_clients(stigmer: StigmerServer) -> None:
    running = Running()
    stigmer.behaviour = Behaviour("hang")
    running.relay.track("run-1", plain(stigmer), 0)
    offer_all(running.relay, "run-1", range(1, 3))
    await stigmer.until(lambda: len(stigmer.calls) == 1)
    async with asyncio.timeout(DEADLINE * 0.9):
        await running.close()
    assert running.closed == [plain(stigmer)]
    assert running.relay.delivery("run-1").delivered_sequence == 0


async def test_a_cancelled_run_ends_and_closes_its_clients(stigmer: StigmerServer) -> None:
    running = Running()
    stigmer.behaviour = Behaviour("hang")
    running.relay.track("run-1", plain(stigmer), 0)
    offer_all(running.relay, "run-1", range(1, 3))
    await stigmer.until(lambda: len(stigmer.calls) == 1)
    running._task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running._task
    assert running.closed == [plain(stigmer)]
    await running.relay.close()
