"""Runs of one process that hear one another's events, on the local host."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.integration.hosts.recorder import Recorder, local_run
from tests.until import until

from workflow_runner.hosts import event_bus
from workflow_runner.hosts.event_bus import MOST_WAITING, EventBus, Offer
from workflow_runner.interpreter import frame_codec
from workflow_runner.interpreter.outcome import Cancelled, Completed, Faulted
from workflow_runner.interpreter.subscriptions import Subscription

LISTENS = "do: [{l: {listen: {to: {one: {with: {type: said}}}}}}]"
SAYS = "do: [{e: {emit: {event: {with: {source: /here, type: said, data: '${ . }'}}}}}]"
LISTENING = "workflow_correlation_started l"


def event(type_: str, data: Any = None) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "1", "source": "/tests", "type": type_, "data": data}


async def test_a_run_hears_what_another_one_emits() -> None:
    bus, told = EventBus(), Recorder()
    hearing = asyncio.create_task(local_run(LISTENS, report=told, bus=bus).run())
    await told.until(LISTENING)
    said = await local_run(SAYS, 5, report=Recorder(), bus=bus).run()
    assert isinstance(said, Completed)
    assert await hearing == Completed([5])
    assert bus.subscriptions == []


async def test_runs_that_share_no_bus_hear_nothing_of_each_other() -> None:
    told = Recorder()
    run = local_run(LISTENS, report=told)
    hearing = asyncio.create_task(run.run())
    await told.until(LISTENING)
    await local_run(SAYS, 5, report=Recorder()).run()
    run.cancel()
    assert await hearing == Cancelled("")


async def test_many_runs_hear_one_event() -> None:
    bus, tellers = EventBus(), [Recorder() for _ in range(50)]
    hearing = [asyncio.create_task(local_run(LISTENS, report=told, bus=bus).run()) for told in tellers]
    for told in tellers:
        await told.until(LISTENING)
    assert bus.offer(event("said", 1)) == Offer(50, 0)
    assert await asyncio.gather(*hearing) == [Completed([1])] * 50


async def test_what_comes_while_it_is_paused_waits() -> None:
    bus, told = EventBus(), Recorder()
    document = "do: [{l: {listen: {to: {any: [], until: length == 2}}}}]"
    run = local_run(document, report=told, bus=bus)
    hearing = asyncio.create_task(run.run())
    await told.until(LISTENING)
    run.pause()
    await told.until("workflow_paused")
    for number in range(2):
        assert bus.offer(event("t", number)) == Offer(1, 0)
    assert run.paused
    run.resume()
    assert await hearing == Completed([0, 1])
    assert told.lines[-5:-2] == ["workflow_paused", "workflow_resumed", "workflow_correlation_completed l"]


async def test_a_pause_takes_effect_between_two_events_that_wait() -> None:
    bus, told = EventBus(), Recorder()
    document = "do: [{l: {listen: {to: {any: [], until: length == 2}}, foreach: {do: [{w: {wait: PT0.01S}}]}}}]"
    run = local_run(document, report=told, bus=bus)
    hearing = asyncio.create_task(run.run())
    await told.until(LISTENING)
    for number in range(2):
        bus.offer(event("t", number))
    run.pause()
    await told.until("workflow_paused")
    run.resume()
    assert await hearing == Completed([0, 1])


async def test_a_time_limit_does_not_pass_while_a_listening_run_is_paused() -> None:
    bus, told = EventBus(), Recorder()
    document = "do: [{l: {timeout: {after: PT0.3S}, listen: {to: {any: []}}}}]"
    run = local_run(document, report=told, bus=bus)
    hearing = asyncio.create_task(run.run())
    await told.until(LISTENING)
    run.pause()
    await told.until("workflow_paused")
    assert run.frame.tasks is not None and run.frame.tasks.task is not None  # noqa: PT018 - for the types
    deadline = run.frame.tasks.task.deadline
    assert deadline is not None
    await until(lambda: deadline < told.events[0].timestamp.now(deadline.tzinfo))
    run.resume()
    outcome = await hearing
    assert isinstance(outcome, Faulted)
    assert outcome.problem.status == 408
    assert (told.events[-1].timestamp - told.events[0].timestamp).total_seconds() > 0.3


async def test_a_run_goes_on_from_a_state_with_events_that_wait_and_hears_more() -> None:
    bus, told = EventBus(), Recorder()
    document = "do: [{l: {listen: {to: {any: [], until: length == 3}}, foreach: {do: [{w: {wait: PT0.2S}}]}}}]"
    run = local_run(document, report=told, bus=bus)
    hearing = asyncio.create_task(run.run())
    await told.until(LISTENING)
    for number in range(2):
        bus.offer(event("t", number))
    await told.until("started w[0]")
    state = frame_codec.decode(json.loads(json.dumps(frame_codec.encode(run.frame))))
    run.cancel()
    await hearing
    told = Recorder()
    going_on = asyncio.create_task(local_run(document, report=told, bus=bus, start_from=state).run())
    await until(lambda: bus.subscriptions != [])
    assert bus.offer(event("t", 2)) == Offer(1, 0)
    assert await going_on == Completed([0, 1, 2])
    assert LISTENING not in told.lines


async def test_a_full_queue_refuses_events_from_outside_and_others_get_theirs() -> None:
    bus = EventBus()
    slow, quick = Subscription([{}], []), Subscription([{"type": "t"}], [])
    bus.subscribe(slow)
    for number in range(MOST_WAITING):
        assert bus.offer(event("t", number)) == Offer(1, 0)
    bus.subscribe(quick)
    assert bus.offer(event("t")) == Offer(1, 1)
    assert bus.offer(event("other")) == Offer(0, 1)
    del slow.waiting[0]
    assert bus.offer(event("t")) == Offer(2, 0)


async def test_a_queue_is_bounded_by_its_size_too_and_always_takes_one() -> None:
    bus, subscription = EventBus(), Subscription([{}], [])
    bus.subscribe(subscription)
    assert bus.offer(event("t", "x" * event_bus.LARGEST_WAITING)) == Offer(1, 0)
    assert bus.offer(event("t")) == Offer(0, 1)
    subscription.waiting.clear()
    half = event("t", "x" * (event_bus.LARGEST_WAITING // 2 - 200))
    assert [bus.offer(half), bus.offer(half), bus.offer(half)] == [Offer(1, 0), Offer(1, 0), Offer(0, 1)]


async def test_an_emit_waits_for_a_listener_that_is_slower() -> None:
    count = MOST_WAITING + 50
    document = f"""
        do:
          - f:
              fork:
                branches:
                  - l:
                      listen: {{to: {{any: [{{with: {{type: t}}}}], until: {{one: {{with: {{type: end}}}}}}}}}}
                      foreach: {{do: [{{w: {{if: $index == 0, wait: PT0.2S}}}}], output: {{as: $item}}}}
                  - e:
                      do:
                        - many:
                            for: {{in: "[range({count})]"}}
                            do: [{{e: {{emit: {{event: {{with: {{source: /e, type: t, data: "${{ $item }}"}}}}}}}}}}]
                        - last: {{emit: {{event: {{with: {{source: /e, type: end}}}}}}}}
              output: {{as: ".[0]"}}
    """
    outcome = await local_run(document, report=Recorder()).run()
    assert outcome == Completed(list(range(count)))


async def test_an_emit_that_finds_no_room_is_a_communication_error() -> None:
    bus = EventBus(room_seconds=0.05)
    bus.subscribe(Subscription([{}], [event("t")] * MOST_WAITING))
    outcome = await local_run(SAYS, 5, report=Recorder(), bus=bus).run()
    assert isinstance(outcome, Faulted)
    assert (outcome.problem.type.rpartition("/")[2], outcome.problem.status) == ("communication", 503)
    assert "no room" in str(outcome.problem.detail)


@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_whoever_is_broken_off_listens_no_more(how: str) -> None:
    bus, told = EventBus(), Recorder()
    limit = "timeout: {after: PT0.05S}, " if how == "timeout" else ""
    run = local_run(f"do: [{{l: {{{limit}listen: {{to: {{any: []}}}}}}}}]", report=told, bus=bus)
    hearing = asyncio.create_task(run.run())
    await told.until(LISTENING)
    assert len(bus.subscriptions) == 1
    if how == "cancel":
        run.cancel()
    await hearing
    assert bus.subscriptions == []
