"""The asyncio host: the same stories as in virtual time, in real time and under real control."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from tests.integration.calls.server import answering, http_server
from tests.integration.hosts.recorder import STEERING, Recorder, local_run, short
from tests.unit.interpreter import virtual

from workflow_runner.dsl.templates import Json
from workflow_runner.errors import InvalidDocument
from workflow_runner.hosts.local import LocalRun, run_document
from workflow_runner.interpreter import frame_codec
from workflow_runner.interpreter.events import Event, EventType
from workflow_runner.interpreter.outcome import Cancelled, Completed, Faulted

BEGINNING = ["workflow_started", "workflow_validating", "workflow_validated"]

STEPS = """
    do:
      - a: {set: "${ . + 1 }"}
      - group: {do: [{b: {set: "${ . + 1 }"}}, {skip: {if: 1 == 2, set: no}}]}
      - loop: {for: {in: "[1, 2]"}, do: [{c: {set: "${ . + $item }"}}]}
      - guard: {try: [{r: {raise: {error: {type: 'https://e.test/', status: 501}}}}], catch: {do: [{h: {set: "${ . + 1 }"}}]}}
      - w: {wait: PT0.01S}
    """

WAITING = "do: [{w: {wait: PT1H}}, {after: {set: done}}]"

SAME_STORIES: dict[str, tuple[str, Any]] = {
    "steps": (STEPS, 0),
    "retries": (
        """
        do:
          - t:
              try: [{a: {set: "${ error(\\"no\\") }"}}]
              catch: {retry: {delay: PT0.01S, backoff: {linear: {}}, limit: {attempt: {count: 3}}}, do: [{h: {set: 1}}]}
        """,
        0,
    ),
    "attempt deadline": (
        """
        do:
          - t:
              try: [{slow: {do: [{w: {wait: PT1H}}]}}]
              catch: {retry: {limit: {attempt: {count: 2, duration: PT0.02S}}}, do: [{h: {set: "${ $error.status }"}}]}
        """,
        0,
    ),
    "nested attempt deadlines": (
        """
        do:
          - outer:
              try: [{inner: {try: [{w: {wait: PT1H}}], catch: {retry: {limit: {attempt: {count: 1, duration: PT0.5H}}}}}}]
              catch: {retry: {limit: {attempt: {count: 1, duration: PT0.02S}}}, do: [{h: {set: caught}}]}
        """.replace("PT0.5H", "PT30M"),
        0,
    ),
    "fault": ("do: [{a: {do: [{r: {raise: {error: {type: 'https://e.test/', status: 507}}}}]}}]", 0),
    "unbounded jq": ("do: [{a: {set: '${ [range(5)] | add }'}}]", 0),
}


@pytest.mark.parametrize("name", SAME_STORIES)
async def test_both_hosts_tell_the_same_story(name: str) -> None:
    document, input_ = SAME_STORIES[name]
    expected = await asyncio.to_thread(virtual.run, document, input_)
    recorder = Recorder()
    run = local_run(document, input_, report=recorder)
    assert await run.run() == expected.outcome
    assert recorder.lines == BEGINNING + [short(event) for event in expected.events]
    assert [event.progress for event in recorder.events[3:]] == [event.progress for event in expected.events]
    assert run.counts == expected.counts


class TestEnds:
    async def test_run_document_tells_the_whole_story_and_gives_the_output(self) -> None:
        recorder = Recorder()
        outcome = await run_document(
            virtual.HEADER + "do: [{a: {set: {token: '${ $secrets.s }', id: '${ $workflow.id }'}}}]\nuse: {secrets: [s]}",
            "doc.yaml",
            None,
            execution_id="exec-7",
            run_id="1",
            secrets={"s": "v"},
            report=recorder,
        )
        assert outcome == Completed({"token": "v", "id": "exec-7"})
        assert recorder.lines == [*BEGINNING, "started a", "completed a", "workflow_completed"]
        assert recorder.events[-1].output == {"token": "v", "id": "exec-7"}
        assert recorder.events[-1].progress == 100

    async def test_a_fault_is_an_outcome(self) -> None:
        recorder = Recorder()
        outcome = await local_run("do: [{r: {raise: {error: {type: 'https://e.test/', status: 507}}}}]", report=recorder).run()
        assert isinstance(outcome, Faulted)
        assert (outcome.problem.status, outcome.problem.instance) == (507, "/do/0/r")
        assert recorder.events[-1].error == outcome.problem

    async def test_an_invalid_document_is_told_as_failed_with_its_code_and_raised(self) -> None:
        recorder = Recorder()
        with pytest.raises(InvalidDocument) as caught:
            await local_run("do: [{a: {nonsense: 1}}]", report=recorder).run()
        assert recorder.lines == ["workflow_started", "workflow_validating", "workflow_failed"]
        assert recorder.events[-1].code == caught.value.code
        assert recorder.events[-1].error is not None

    async def test_a_listener_that_fails_changes_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken(_event: Event) -> None:
            raise RuntimeError("broken listener")

        assert await local_run("do: [{a: {set: 1}}]", report=broken).run() == Completed(1)
        assert "broken listener" in caplog.text

    async def test_cancelling_whoever_awaits_the_run_stops_the_run(self) -> None:
        recorder = Recorder()
        waiter = asyncio.create_task(local_run(WAITING, report=recorder).run())
        await recorder.until("started w")
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    async def test_a_run_goes_on_from_its_written_state(self) -> None:
        first = Recorder()
        run = local_run(STEPS, 0, report=first)
        ended = asyncio.create_task(run.run())
        await first.until("completed group")
        run.pause()
        await first.until("workflow_paused")
        written = json.dumps(frame_codec.encode(run.frame))
        run.cancel()
        await ended
        told = first.lines[: first.lines.index("workflow_paused")]

        second = Recorder()
        continued = local_run(STEPS, 0, report=second, start_from=frame_codec.decode(json.loads(written)))
        whole = Recorder()
        outcome = await local_run(STEPS, 0, report=whole).run()
        assert await continued.run() == outcome
        assert second.lines[0] == "workflow_resumed", "it was written in a pause, and nobody asks for one any more"
        assert told + second.lines[1:] == whole.lines
        assert continued.counts.started == sum(event.type is EventType.TASK_STARTED for event in whole.events)


class TestPause:
    async def steer(self, number: int) -> tuple[bool, Recorder, Any]:
        """Pause at an event, see that nothing goes on, resume."""

        def pause(told: int) -> None:
            if told == number:
                run.pause("for a test")

        recorder = Recorder(pause)
        run = local_run(STEPS, 0, report=recorder)
        task = asyncio.create_task(run.run())
        took_effect = asyncio.create_task(recorder.until("workflow_paused"))
        await asyncio.wait([task, took_effect], return_when=asyncio.FIRST_COMPLETED)
        paused = run.paused
        if paused:
            before = len(recorder.events)
            for _ in range(50):
                await asyncio.sleep(0)
            assert (len(recorder.events), run.paused) == (before, True)
            run.resume()
        outcome = await task
        took_effect.cancel()
        assert not run.paused
        return paused, recorder, outcome

    async def test_at_every_event_it_holds_before_the_next_task_and_changes_nothing(self) -> None:
        whole = Recorder()
        expected = await local_run(STEPS, 0, report=whole).run()
        took_effect = 0
        for number in range(len(whole.events)):
            paused, recorder, outcome = await self.steer(number)
            assert outcome == expected
            assert [short(event) for event in recorder.events if event.type not in STEERING] == whole.lines
            steering = [event.type for event in recorder.events if event.type in STEERING]
            assert steering == ([EventType.WORKFLOW_PAUSED, EventType.WORKFLOW_RESUMED] if paused else [])
            took_effect += paused
        assert took_effect > len(whole.events) / 2

    async def test_the_reason_is_told(self) -> None:
        _, recorder, _ = await self.steer(4)
        (paused,) = [event for event in recorder.events if event.type is EventType.WORKFLOW_PAUSED]
        assert (paused.message, paused.status) == ("for a test", "paused")

    async def test_a_wait_is_held_at_once_and_ends_only_after_resume(self) -> None:
        recorder = Recorder()
        run = local_run("do: [{w: {wait: PT0.2S}}, {after: {set: 1}}]", report=recorder)
        task = asyncio.create_task(run.run())
        await recorder.until("started w")
        run.pause()
        await recorder.until("workflow_paused")
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            await asyncio.sleep(0.01)
            assert recorder.lines[-1] == "workflow_paused"
        run.resume()
        assert await task == Completed(1)

    async def test_a_wait_that_is_resumed_early_still_waits_the_rest(self) -> None:
        recorder = Recorder()
        run = local_run("do: [{w: {wait: PT0.3S}}]", report=recorder)
        started = time.monotonic()
        task = asyncio.create_task(run.run())
        await recorder.until("started w")
        run.pause()
        await recorder.until("workflow_paused")
        run.resume()
        await task
        assert time.monotonic() - started >= 0.3

    async def test_a_running_call_finishes_first(self) -> None:
        arrived, answer = asyncio.Event(), asyncio.Event()

        async def slow(_request: Any) -> Any:
            arrived.set()
            await answer.wait()
            return await answering(body="5", content_type="application/json")(_request)

        async with http_server(slow) as server:
            recorder = Recorder()
            run = local_run(
                f"""
                do:
                  - c: {{call: http, with: {{method: get, endpoint: '{server.url}'}}}}
                  - after: {{set: "${{ . + 1 }}"}}
                """,
                report=recorder,
            )
            task = asyncio.create_task(run.run())
            await arrived.wait()
            run.pause()
            assert not run.paused
            answer.set()
            await recorder.until("workflow_paused")
            assert recorder.lines[-2:] == ["completed c", "workflow_paused"]
            run.resume()
            assert await task == Completed(6)

    async def test_time_held_does_not_count_against_an_attempt(self) -> None:
        recorder = Recorder()
        run = local_run(
            """
            do:
              - t:
                  try: [{a: {wait: PT0.05S}}, {b: {wait: PT0.05S}}]
                  catch: {retry: {limit: {attempt: {count: 1, duration: PT0.4S}}}}
            """,
            "in",
            report=recorder,
        )
        task = asyncio.create_task(run.run())
        await recorder.until("started a")
        run.pause()
        await recorder.until("workflow_paused")
        # Longer than the limit: what is tested is that this time does not count.
        await asyncio.sleep(0.5)
        run.resume()
        assert await task == Completed("in")

    async def test_a_pause_taken_back_before_it_took_effect_leaves_no_trace(self) -> None:
        recorder = Recorder()
        run = local_run("do: [{a: {set: 1}}]", report=recorder)
        run.pause()
        run.pause()
        run.resume()
        run.resume()
        assert await run.run() == Completed(1)
        assert "workflow_paused" not in recorder.lines

    async def test_pausing_before_the_start_holds_before_the_first_task(self) -> None:
        recorder = Recorder()
        run = local_run("do: [{a: {set: 1}}]", report=recorder)
        run.pause("early")
        task = asyncio.create_task(run.run())
        await recorder.until("workflow_paused")
        assert recorder.lines == [*BEGINNING, "workflow_paused"]
        run.resume()
        assert await task == Completed(1)

    async def test_steering_a_run_that_has_ended_does_nothing(self) -> None:
        recorder = Recorder()
        run = local_run("do: [{a: {set: 1}}]", report=recorder)
        await run.run()
        before = list(recorder.lines)
        run.pause()
        run.cancel()
        run.resume()
        await asyncio.sleep(0)
        assert recorder.lines == before
        assert not run.paused


class TestCancel:
    async def cancelled_at(self, number: int) -> tuple[Recorder, Any]:
        def cancel(told: int) -> None:
            if told == number:
                run.cancel("for a test")
                run.cancel("a later reason does not replace it")

        recorder = Recorder(cancel)
        run = local_run(STEPS, 0, report=recorder)
        return recorder, await run.run()

    async def test_at_every_event_it_stops_the_run_and_runs_no_handler(self) -> None:
        whole = Recorder()
        expected = await local_run(STEPS, 0, report=whole).run()
        for number in range(len(whole.events)):
            recorder, outcome = await self.cancelled_at(number)
            if number == len(whole.events) - 1:
                assert outcome == expected
                continue
            if outcome == expected:
                # No await was left after this event: the run had ended before it could be stopped.
                assert recorder.lines == whole.lines
                continue
            assert outcome == Cancelled("for a test")
            assert recorder.lines[:-1] == whole.lines[: len(recorder.lines) - 1]
            assert (recorder.lines[-1], recorder.events[-1].message) == ("workflow_cancelled", "for a test")

    @pytest.mark.parametrize(
        "document",
        [
            WAITING,
            "do: [{t: {try: [{w: {wait: PT1H}}], catch: {do: [{h: {set: handled}}]}}}]",
            "do: [{t: {try: [{w: {wait: PT1H}}], catch: {retry: {limit: {attempt: {duration: PT1H}}}}}}]",
        ],
        ids=["wait", "try", "attempt limit"],
    )
    async def test_a_wait_is_broken_off(self, document: str) -> None:
        recorder = Recorder()
        run = local_run(document, report=recorder)
        task = asyncio.create_task(run.run())
        await recorder.until("started w")
        run.cancel("enough")
        assert await asyncio.wait_for(task, 5) == Cancelled("enough")
        assert recorder.lines[-2:] == ["started w", "workflow_cancelled"]

    async def test_a_retry_delay_is_broken_off(self) -> None:
        recorder = Recorder()
        run = local_run("do: [{t: {try: [{a: {set: '${ error(1) }'}}], catch: {retry: {delay: PT1H}}}}]", report=recorder)
        task = asyncio.create_task(run.run())
        await recorder.until("retried t")
        run.cancel()
        assert await asyncio.wait_for(task, 5) == Cancelled("")

    async def test_a_running_call_is_broken_off(self) -> None:
        arrived = asyncio.Event()

        async def never(_request: Any) -> Any:
            arrived.set()
            await asyncio.Event().wait()

        async with http_server(never) as server:
            recorder = Recorder()
            run = local_run(
                f"""
                do:
                  - t:
                      try: [{{c: {{call: http, with: {{method: get, endpoint: '{server.url}'}}}}}}]
                      catch: {{do: [{{h: {{set: handled}}}}]}}
                """,
                report=recorder,
            )
            task = asyncio.create_task(run.run())
            await arrived.wait()
            run.cancel("enough")
            assert await asyncio.wait_for(task, 5) == Cancelled("enough")
        assert recorder.lines[-1] == "workflow_cancelled"
        assert "started h" not in recorder.lines

    async def test_it_wins_over_pause(self) -> None:
        recorder = Recorder()
        run = local_run(WAITING, report=recorder)
        task = asyncio.create_task(run.run())
        await recorder.until("started w")
        run.pause()
        await recorder.until("workflow_paused")
        run.cancel("enough")
        assert await asyncio.wait_for(task, 5) == Cancelled("enough")
        assert recorder.lines[-2:] == ["workflow_paused", "workflow_cancelled"]
        assert not run.paused

    async def test_before_the_start_nothing_runs(self) -> None:
        recorder = Recorder()
        run = local_run(WAITING, report=recorder)
        run.cancel("never mind")
        assert await run.run() == Cancelled("never mind")
        assert recorder.lines == ["workflow_cancelled"]

    async def test_a_loop_that_never_waits_stops_soon(self) -> None:
        recorder = Recorder()
        run = local_run("do: [{l: {for: {in: .}, do: [{a: {set: 1}}]}}]", list(range(1_000_000)), report=recorder)
        task = asyncio.create_task(run.run())
        await recorder.until("completed a[100]")
        run.cancel()
        assert await asyncio.wait_for(task, 60) == Cancelled("")
        assert run.counts.completed < 100_000, "the loop gave way long before its end"


class TestEventLoop:
    async def longest_gap(self, run: LocalRun, task: asyncio.Task[Any]) -> float:
        longest, last = 0.0, time.monotonic()
        while not task.done():
            await asyncio.sleep(0)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        return longest

    async def test_a_loop_that_never_waits_lets_others_run(self) -> None:
        items: Json = list(range(5000))
        run = local_run("do: [{l: {for: {in: .}, do: [{a: {set: '${ $item }'}}]}}]", items, report=lambda _event: None)
        task = asyncio.create_task(run.run())
        assert await self.longest_gap(run, task) < 0.25
        assert task.result() == Completed(4999)

    async def test_a_program_that_never_ends_lets_others_run_and_can_be_cancelled(self) -> None:
        recorder = Recorder()
        run = local_run("do: [{a: {set: '${ last(repeat(1)) }'}}]", report=recorder)
        task = asyncio.create_task(run.run())
        await recorder.until("started a")
        run.cancel("enough")
        assert await asyncio.wait_for(task, 10) == Cancelled("enough")
