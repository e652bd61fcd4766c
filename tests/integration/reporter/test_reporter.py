"""The pod's side of the sink protocol against a real server: nothing lost, nothing reordered, nobody held up."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import time
from itertools import pairwise
from typing import Any, cast

import grpc
import pytest
from tests.integration.reporter.conftest import Pod, Token
from tests.servers.sink import UNSET, Sink, Watch

from workflow_runner.dsl.problems import Problem
from workflow_runner.hosts.reporter import BATCH_EVENTS, DesiredState
from workflow_runner.interpreter.events import EventType
from workflow_runner.server.tls import Authority, new_authority

STARTED, COMPLETED = EventType.TASK_STARTED, EventType.TASK_COMPLETED
BEGIN, END = EventType.WORKFLOW_STARTED, EventType.WORKFLOW_COMPLETED


async def test_a_run_arrives_numbered_whole_and_with_its_identity(pod: Pod, sink: Sink) -> None:
    await pod.reporter.start()
    assert await pod.reporter.first_desired_state(20) == DesiredState("Run", "", 1)
    pod.report(BEGIN, *[STARTED, COMPLETED] * 30, END)
    assert await pod.reporter.finish(20)
    assert sink.numbers == list(range(1, 63))
    first = sink.events[0]
    assert (first.workflow_execution_id, first.workflow_name, first.attempt) == ("run-1", "hello", 2)
    assert first.event_type == "workflow_started"
    for request in (sink.batches[0].run, sink.watches[0].run):
        assert (request.execution_uid, request.execution_id, request.attempt) == ("uid-1", "run-1", 2)
    assert sink.batches[-1].counts.started == 30
    assert set(sink.tokens) == {"Bearer token-number-one"}
    await pod.reporter.close()
    assert sink.ended == 1


async def test_events_made_before_the_dial_are_sent_with_it(pod: Pod, sink: Sink) -> None:
    pod.report(BEGIN, STARTED)
    await pod.reporter.start()
    await sink.until(lambda: sink.numbers == [1, 2])


async def test_task_events_go_in_batches(pod: Pod, sink: Sink) -> None:
    await pod.reporter.start()
    await sink.until(lambda: len(sink.batches) == 1)
    pod.report(*[STARTED, COMPLETED] * 20)
    for _ in range(20):
        await asyncio.sleep(0)
    assert sink.numbers == []
    await sink.until(lambda: len(sink.numbers) == 40)
    assert len(sink.batches) == 2


async def test_events_of_the_workflow_and_answers_do_not_wait_for_company(
    sink: Sink, authority: Authority, token: Token
) -> None:
    pod = Pod(sink, authority.certificate, token.path, batch_seconds=3600)
    await pod.reporter.start()
    for generation in range(1, 4):
        pod.report(STARTED, EventType.WORKFLOW_PAUSED)
        await sink.until(functools.partial(_has, sink, pod.made))
        pod.reporter.control_result(generation, "applied", "why")
        await sink.until(functools.partial(_answered, sink, generation))
    assert (sink.batches[-1].control.result, sink.batches[-1].control.reason) == ("applied", "why")
    await pod.reporter.close()


def _has(sink: Sink, number: int) -> bool:
    return number in sink.numbers


def _dialled(sink: Sink, streams: int) -> bool:
    return len(sink.streams) > streams - 1 and len(sink.watches) > 0


def _answered(sink: Sink, generation: int) -> bool:
    return sink.batches[-1].control.generation == generation


async def test_a_fast_loop_is_sent_in_full_batches(pod: Pod, sink: Sink) -> None:
    await pod.reporter.start()
    await sink.until(lambda: len(sink.batches) == 1)
    pod.report(*[STARTED, COMPLETED] * 400, END)
    assert await pod.reporter.finish(20)
    assert sink.numbers == list(range(1, 802))
    assert len(sink.batches) <= 1 + 801 // BATCH_EVENTS + 1


async def test_a_broken_stream_is_dialled_again_and_what_it_lost_sent_again(pod: Pod, sink: Sink) -> None:
    sink.break_after = 3
    await pod.reporter.start()
    for _ in range(6):
        pod.report(EventType.WORKFLOW_PAUSED)
        await sink.until(functools.partial(_has, sink, pod.made))
    pod.report(END)
    assert await pod.reporter.finish(20)
    assert len(sink.streams) > 2
    assert set(sink.numbers) == set(range(1, 8))
    for stream in sink.streams:
        numbers = [event.sequence_number for batch in stream for event in batch.events]
        assert numbers == sorted(set(numbers))


async def test_a_sink_that_restarts_gets_everything_above_the_watermark_again(pod: Pod, sink: Sink) -> None:
    sink.acknowledge = False
    await pod.reporter.start()
    pod.report(BEGIN, STARTED, COMPLETED, EventType.TASK_FAILED, STARTED)
    await sink.until(lambda: 5 in sink.numbers)
    await sink.tell(desired_state=Watch.DESIRED_STATE_RUN, generation=1, recorded_sequence=4, delivered_sequence=2)
    before = len(sink.streams)
    # The pod has taken it in once it says so.
    pod.reporter.control_result(1, "accepted")
    await sink.until(lambda: sink.batches[-1].control.generation == 1)
    await asyncio.wait_for(_until_delivered(pod, 2), 20)
    await sink.down()
    pod.report(COMPLETED, END)
    await sink.up()
    await sink.until(lambda: len(sink.streams) > before and 7 in sink.numbers)
    again = [event.sequence_number for batch in sink.streams[-1] for event in batch.events]
    assert again == [3, 4, 5, 6, 7]
    # An answer that was given before the restart is given again: the new sink does not know it.
    assert sink.streams[-1][0].control.generation == 1
    assert sink.streams[-1][0].run.execution_uid == "uid-1"
    assert not await pod.reporter.finish(0.05)
    await sink.tell(desired_state=Watch.DESIRED_STATE_RUN, generation=1, recorded_sequence=7, delivered_sequence=7)
    assert await pod.reporter.finish(20)


async def test_a_sink_that_is_away_from_the_start_costs_the_run_nothing(pod: Pod, sink: Sink) -> None:
    await sink.down()
    await pod.reporter.start()
    assert await pod.reporter.first_desired_state(0.1) is None
    pod.report(BEGIN, *[STARTED, COMPLETED] * 20, END)
    assert not await pod.reporter.finish(0.1)
    await sink.up()
    assert await pod.reporter.finish(20)
    assert sink.numbers == list(range(1, 43))


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED])
async def test_a_refused_token_is_read_again_and_told_once(
    pod: Pod, sink: Sink, token: Token, code: grpc.StatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    sink.refuse = code
    caplog.set_level(logging.INFO, logger="workflow_runner")
    await pod.reporter.start()
    pod.report(BEGIN, END)
    await sink.until(lambda: len(sink.tokens) >= 4)
    told = [record for record in caplog.records if record.__dict__.get("status") == code.name]
    # Once a stream, however often it is tried; and never with the token.
    assert len(told) == 2
    assert "token-number" not in caplog.text
    token.write("token-number-two")
    sink.refuse = UNSET
    assert await pod.reporter.finish(40)
    assert sink.tokens[-1] == "Bearer token-number-two"
    assert sink.numbers == [1, 2]


async def test_a_token_file_that_is_missing_at_first_is_waited_for(pod: Pod, sink: Sink, token: Token) -> None:
    token.remove()
    await pod.reporter.start()
    pod.report(BEGIN)
    assert await pod.reporter.first_desired_state(0.05) is None
    token.write("late-token")
    await sink.until(lambda: sink.numbers == [1])
    assert set(sink.tokens) == {"Bearer late-token"}


async def test_a_sink_that_does_not_read_holds_nobody_up_and_the_buffer_stays_bounded(pod: Pod, sink: Sink) -> None:
    sink.deaf = True
    await pod.reporter.start()
    await sink.until(lambda: len(sink.streams) == 1)
    took: list[float] = []
    for number in range(20_000):
        began = time.perf_counter()
        pod.report(COMPLETED if number % 2 else STARTED, message="x" * 100)
        took.append(time.perf_counter() - began)
        if number % 500 == 0:
            await asyncio.sleep(0)
    # Nearly all of them: other work shares the machine.
    assert sorted(took)[-200] < 0.001
    assert len(pod.reporter._buffer) <= 1000
    assert not await pod.reporter.finish(0.05)


async def test_under_pressure_only_superseded_events_go_and_the_totals_hold(
    sink: Sink, authority: Authority, token: Token
) -> None:
    pod = Pod(sink, authority.certificate, token.path, max_buffered=50)
    await sink.down()
    await pod.reporter.start()
    pod.report(BEGIN, *[STARTED, COMPLETED] * 500)
    pod.report(EventType.TASK_FAILED, EventType.WORKFLOW_PAUSED, EventType.WORKFLOW_RESUMED)
    pod.report(*[STARTED, COMPLETED] * 500, END)
    await sink.up()
    assert await pod.reporter.finish(20)
    assert sink.numbers == sorted(set(sink.numbers))
    assert {1, 1002, 1003, 1004, 2005} <= set(sink.numbers)
    assert len(sink.numbers) == 50
    assert sink.batches[-1].counts.started == 1000
    await pod.reporter.close()


async def test_desired_states_come_down_once_each_and_survive_a_reconnect(pod: Pod, sink: Sink) -> None:
    await pod.reporter.start()
    assert await pod.hears(1) == [DesiredState("Run", "", 1)]
    await sink.tell(desired_state=Watch.DESIRED_STATE_PAUSE, reason="lunch", generation=2)
    await pod.hears(2)
    watches = len(sink.watches)
    await sink.down()
    await sink.up()
    # It hears of the pause again, and then of something new.
    await sink.until(lambda: len(sink.watches) > watches)
    await sink.tell(desired_state=Watch.DESIRED_STATE_PAUSE, reason="lunch", generation=2, recorded_sequence=1)
    await sink.tell(desired_state=Watch.DESIRED_STATE_CANCEL, reason="enough", generation=3)
    assert (await pod.hears(3))[1:] == [DesiredState("Pause", "lunch", 2), DesiredState("Cancel", "enough", 3)]


async def test_a_word_from_a_newer_operator_is_passed_on_as_unknown(pod: Pod, sink: Sink) -> None:
    sink.answer = Watch(desired_state=cast("Any", 42), generation=9)
    await pod.reporter.start()
    assert await pod.reporter.first_desired_state(20) == DesiredState("Unknown", "", 9)


async def test_a_lower_watermark_from_a_restarted_operator_changes_nothing(pod: Pod, sink: Sink) -> None:
    sink.acknowledge = False
    await pod.reporter.start()
    pod.report(BEGIN, END)
    await sink.tell(desired_state=Watch.DESIRED_STATE_RUN, generation=1, recorded_sequence=2, delivered_sequence=2)
    assert await pod.reporter.finish(20)
    await sink.tell(desired_state=Watch.DESIRED_STATE_RUN, generation=2, recorded_sequence=0, delivered_sequence=0)
    await pod.hears(2)
    assert await pod.reporter.finish(0.05)


async def test_watermarks_beyond_every_event_mean_all_is_over(pod: Pod, sink: Sink) -> None:
    sink.acknowledge = False
    sink.answer = Watch(desired_state=Watch.DESIRED_STATE_CANCEL, recorded_sequence=2**63 - 1, delivered_sequence=2**63 - 1)
    await pod.reporter.start()
    await pod.reporter.first_desired_state(20)
    pod.report(BEGIN, END)
    assert await pod.reporter.finish(20)


async def test_a_callback_that_raises_does_not_end_the_watch(sink: Sink, authority: Authority, token: Token) -> None:
    pod = Pod(sink, authority.certificate, token.path)
    seen: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(str(context["exception"])))

    def fails(desired: DesiredState) -> None:
        raise RuntimeError(desired.state)

    pod.reporter._on_desired_state = fails
    await pod.reporter.start()
    pod.report(BEGIN, END)
    assert await pod.reporter.finish(20)
    await pod.reporter.close()
    assert seen == ["Run"]


async def test_an_output_travels_exactly_and_a_large_one_not_at_all(pod: Pod, sink: Sink) -> None:
    output = {"id": 9007199254740993, "text": "ä"}
    await pod.reporter.start()
    pod.report(END, output=output)
    assert await pod.reporter.finish(20)
    (batch,) = [batch for batch in sink.batches if batch.events]
    assert (json.loads(batch.output_json), batch.output_too_large) == (output, False)
    pod.report(END, output="x" * 300_000)
    assert await pod.reporter.finish(20)
    assert (sink.batches[-1].output_json, sink.batches[-1].output_too_large) == (b"", True)
    assert sink.events[-1].event_type == "workflow_completed"


@pytest.mark.parametrize(
    "fields",
    [
        {"output": {"n": 10**400}},
        {"message": "half a pair \ud800"},
        {"message": "x" * 5_000_000},
        {"error": Problem("about:blank", 400, "t", "/do/0", "d" * 5_000_000)},
    ],
    ids=["huge-number", "surrogate", "long-message", "long-error"],
)
async def test_data_that_no_message_can_hold_loses_the_details_and_not_the_event(
    pod: Pod, sink: Sink, fields: dict[str, object]
) -> None:
    await pod.reporter.start()
    pod.report(BEGIN)
    pod.report(END, **fields)
    assert await pod.reporter.finish(20)
    assert [event.event_type for event in sink.events] == ["workflow_started", "workflow_completed"]
    assert sink.events[-1].sequence_number == 2


async def test_many_large_events_are_split_into_messages_that_the_sink_takes(pod: Pod, sink: Sink) -> None:
    await pod.reporter.start()
    for _ in range(40):
        pod.report(EventType.TASK_FAILED, message="x" * 400_000)
    pod.report(END)
    assert await pod.reporter.finish(30)
    assert sink.numbers == list(range(1, 42))


async def test_a_stranger_with_another_certificate_hears_nothing(sink: Sink, token: Token) -> None:
    pod = Pod(sink, new_authority().certificate, token.path)
    await pod.reporter.start()
    pod.report(BEGIN, END)
    assert not await pod.reporter.finish(0.5)
    assert sink.tokens == []
    await pod.reporter.close()


async def test_closing_is_quick_whatever_the_sink_does(sink: Sink, authority: Authority, token: Token) -> None:
    sink.deaf = sink.mute = True
    for stop in (False, True):
        pod = Pod(sink, authority.certificate, token.path)
        await pod.reporter.start()
        pod.report(BEGIN)
        streams = len(sink.streams)
        if stop:
            await sink.down()
        else:
            await sink.until(functools.partial(_dialled, sink, streams))
        async with asyncio.timeout(3):
            await pod.reporter.close()


async def test_numbers_ascend_within_every_stream_under_random_breaks(pod: Pod, sink: Sink) -> None:
    sink.break_after = 4
    await pod.reporter.start()
    for number in range(300):
        pod.report(STARTED, COMPLETED)
        if number % 60 == 30:
            await sink.down()
            await sink.up()
        if number % 7 == 0:
            await asyncio.sleep(0.005)
    sink.break_after = 0
    pod.report(END)
    assert await pod.reporter.finish(30)
    assert set(sink.numbers) == set(range(1, 602))
    for stream in sink.streams:
        numbers = [event.sequence_number for batch in stream for event in batch.events]
        assert all(left < right for left, right in pairwise(numbers))


async def _until_delivered(pod: Pod, number: int) -> None:
    while pod.reporter._buffer.delivered < number:
        await pod.reporter._told.wait()


async def test_a_goodbye_is_no_interruption(pod: Pod, sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await pod.reporter.start()
    pod.report(BEGIN, END)
    assert await pod.reporter.finish(20)
    await pod.reporter.close()
    await sink.until(lambda: sink.ended == 1)
    assert [record.getMessage() for record in caplog.records if "interrupted" in record.getMessage()] == []
