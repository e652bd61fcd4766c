"""Forks on asyncio: the same stories as in virtual time, pauses that all branches take part in, and breaking off."""

from __future__ import annotations

import asyncio
import gc
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.integration.calls.server import answering, http_server
from tests.integration.hosts.recorder import STEERING, Recorder, local_run
from tests.unit.interpreter import virtual

from workflow_runner.dsl.templates import Json
from workflow_runner.hosts.local import LocalRun
from workflow_runner.interpreter import frame_codec
from workflow_runner.interpreter.events import EventType
from workflow_runner.interpreter.frames import WorkflowFrame
from workflow_runner.interpreter.outcome import Cancelled, Completed, Faulted

RAISE = "{raise: {error: {type: 'https://e.test/', status: 507}}}"

SAME_STORIES: dict[str, str] = {
    "all": """
        output: {as: "[., $context]"}
        do:
          - f:
              fork:
                branches:
                  - a: {do: [{w: {wait: PT0.03S}}, {x: {set: "${ [range(2)] }", export: {as: "$context + {a: 1}"}}}]}
                  - b: {set: "${ $context }", export: {as: "$context + {b: 1}"}}
                  - c: {fork: {branches: [{d: {wait: PT0.01S}}, {e: {set: 5}}]}}
          - after: {set: "${ [., $context] }"}
        """,
    "a branch that fails": f"""
        do:
          - t:
              try:
                - f: {{fork: {{branches: [{{a: {{wait: PT1H}}}}, {{b: {{do: [{{w: {{wait: PT0.01S}}}}, {{r: {RAISE}}}]}}}}]}}}}
              catch: {{do: [{{h: {{set: "${{ $error.instance }}"}}}}]}}
        """,
    "a race": f"""
        do:
          - f: {{fork: {{compete: true, branches: [{{a: {{wait: PT1H}}}}, {{b: {RAISE}}}, {{c: {{wait: PT0.01S}}}}]}}}}
        """,
    "end": """
        do:
          - f: {fork: {branches: [{a: {wait: PT1H}}, {b: {do: [{w: {wait: PT0.01S}}, {e: {set: over, then: end}}]}}]}}
        """,
    "a time limit": """
        do:
          - t:
              try:
                - f:
                    timeout: {after: PT0.5S}
                    fork: {branches: [{a: {wait: PT1H}}, {b: {fork: {branches: [{c: {wait: PT1H}}, {d: {set: 1}}]}}}]}
              catch: {do: [{h: {set: "${ $error }"}}]}
        """,
    "the limit of the workflow": "timeout: {after: PT0.5S}\ndo: [{f: {fork: {branches: [{a: {wait: PT1H}}, {b: {set: 1}}]}}}]",
    "no time": "do: [{f: {timeout: {after: PT0S}, fork: {branches: [{a: {wait: PT1H}}]}}}]",
}


@pytest.mark.parametrize("name", SAME_STORIES)
async def test_both_hosts_tell_the_same_story(name: str) -> None:
    document = SAME_STORIES[name]
    expected = await asyncio.to_thread(virtual.run, document, {"n": 1})
    recorder = Recorder()
    run = local_run(document, {"n": 1}, report=recorder)
    assert await asyncio.wait_for(run.run(), 30) == expected.outcome
    assert virtual.told(recorder.events[3:]) == virtual.told(expected.events)
    assert run.counts == expected.counts
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_the_time_limit_of_the_execution_ends_the_run() -> None:
    recorder = Recorder()
    run = local_run("timeout: {after: PT1H}\ndo: [{a: {wait: PT1H}}]", report=recorder, timeout=timedelta(seconds=1))
    outcome = await asyncio.wait_for(run.run(), 30)
    assert isinstance(outcome, Faulted)
    assert (outcome.problem.status, outcome.problem.instance) == (408, "/")
    assert recorder.lines[-2:] == ["failed a", "workflow_failed"]
    state = frame_codec.decode(json.loads(json.dumps(frame_codec.encode(run.frame))))
    assert state.time_limit == timedelta(seconds=1)


BRANCHES = """
    do:
      - f:
          fork:
            branches:
              - a: {{wait: PT1H}}
              - b: {{fork: {{branches: [{{c: {{wait: PT1H}}}}, {{d: {{set: 1}}}}]}}}}
              - e: {{do: [{{call: {{call: http, with: {{method: get, endpoint: '{url}'}}}}}}, {{after: {{set: 2}}}}]}}
    """


class Server:
    """Answers calls when it is told to."""

    def __init__(self) -> None:
        self.arrived, self.answer = asyncio.Event(), asyncio.Event()

    async def __call__(self, request: Any) -> Any:
        self.arrived.set()
        await self.answer.wait()
        return await answering(body="5", content_type="application/json")(request)


class TestPause:
    async def test_it_takes_effect_when_every_branch_stands(self) -> None:
        written: list[WorkflowFrame] = []

        async def checkpointed(frame: WorkflowFrame) -> None:
            if frame.paused_since is not None:
                assert "workflow_paused" not in recorder.lines
                written.append(frame_codec.decode(json.loads(json.dumps(frame_codec.encode(frame)))))

        server = Server()
        async with http_server(server) as address:
            recorder = Recorder()
            run = local_run(BRANCHES.format(url=address.url), report=recorder, checkpointed=checkpointed)
            task = asyncio.create_task(run.run())
            await server.arrived.wait()
            await recorder.until("completed d")
            run.pause("for a test")
            for _ in range(50):
                await asyncio.sleep(0)
            assert "workflow_paused" not in recorder.lines, "a call is still running"
            server.answer.set()
            await recorder.until("workflow_paused")
            assert run.paused
            assert recorder.lines[-2:] == ["completed call", "workflow_paused"]
            (state,) = written
            assert state.paused_since is not None
            run.resume()
            await recorder.until("completed after")
            assert [line for line in recorder.lines if line.startswith("workflow_")][3:] == [
                "workflow_paused",
                "workflow_resumed",
            ]
            run.cancel()
            await task

    async def test_time_paused_counts_for_no_branch(self) -> None:
        recorder = Recorder()
        run = local_run(
            """
            timeout: {after: PT2S}
            do:
              - f:
                  timeout: {after: PT2S}
                  fork:
                    branches:
                      - a: {wait: PT0.4S}
                      - b: {timeout: {after: PT2S}, do: [{w: {wait: PT0.2S}}, {x: {wait: PT0.2S}}]}
                      - c: {try: [{w: {wait: PT0.4S}}], catch: {retry: {limit: {attempt: {count: 1, duration: PT2S}}}}}
            """,
            report=recorder,
        )
        task = asyncio.create_task(run.run())
        await recorder.until("started w")
        run.pause()
        await recorder.until("workflow_paused")
        # Longer than every limit: what is tested is that this time does not count.
        await asyncio.sleep(2.1)
        assert recorder.lines[-1] == "workflow_paused"
        run.resume()
        assert await task == Completed([None, None, None])
        assert run.frame.paused >= timedelta(seconds=2.1)

    async def test_it_takes_effect_when_the_last_branch_that_does_not_stand_ends(self) -> None:
        server = Server()
        async with http_server(server) as address:
            call = f"{{call: http, with: {{method: get, endpoint: '{address.url}'}}}}"
            recorder = Recorder()
            run = local_run(f"do: [{{f: {{fork: {{branches: [{{a: {{wait: PT0.2S}}}}, {{b: {call}}}]}}}}}}]", report=recorder)
            task = asyncio.create_task(run.run())
            await server.arrived.wait()
            run.pause()
            server.answer.set()
            await recorder.until("workflow_paused")
            assert recorder.lines[-2:] == ["completed b", "workflow_paused"]
            run.resume()
            assert await task == Completed([None, 5])

    async def test_one_that_is_taken_back_while_the_state_is_written_is_not_told(self) -> None:
        async def checkpointed(frame: WorkflowFrame) -> None:
            if frame.paused_since is not None:
                run.resume()

        recorder = Recorder(lambda told: run.pause() if told == 3 else None)
        run = local_run("do: [{w: {wait: PT0.01S}}]", "in", report=recorder, checkpointed=checkpointed)
        assert await asyncio.wait_for(run.run(), 30) == Completed("in")
        assert not STEERING & {event.type for event in recorder.events}
        assert run.frame.paused_since is None

    async def test_a_time_limit_that_begins_while_another_branch_stands_waits_for_the_end_of_the_pause(self) -> None:
        server = Server()
        async with http_server(server) as address:
            recorder = Recorder()
            run = local_run(
                f"""
                do:
                  - f:
                      fork:
                        branches:
                          - a: {{wait: PT1H}}
                          - b:
                              input: {{from: "[range(2)]"}}
                              timeout: {{after: PT0.1S}}
                              call: http
                              with: {{method: get, endpoint: '{address.url}'}}
                """,
                report=recorder,
            )
            task = asyncio.create_task(run.run())
            await recorder.until("started b")
            run.pause()
            await server.arrived.wait()
            # Longer than the limit.
            await asyncio.sleep(0.3)
            server.answer.set()
            await recorder.until("workflow_paused")
            assert recorder.lines[-2:] == ["completed b", "workflow_paused"]
            run.cancel()
            await task

    async def test_time_limits_go_on_after_a_pause(self) -> None:
        recorder = Recorder()
        run = local_run(
            "do: [{f: {timeout: {after: PT0.2S}, fork: {branches: [{a: {wait: PT1H}}, {b: {wait: PT1H}}]}}}]", report=recorder
        )
        task = asyncio.create_task(run.run())
        await recorder.until("started b")
        run.pause()
        await recorder.until("workflow_paused")
        run.resume()
        outcome = await asyncio.wait_for(task, 30)
        assert isinstance(outcome, Faulted)
        assert outcome.problem.instance == "/do/0/f"

    async def test_a_branch_that_stands_does_not_lose_time_to_one_that_still_calls(self) -> None:
        server = Server()
        async with http_server(server) as address:
            recorder = Recorder()
            run = local_run(
                f"""
                do:
                  - f:
                      fork:
                        branches:
                          - a: {{timeout: {{after: PT1S}}, do: [{{w: {{wait: PT0.2S}}}}]}}
                          - b: {{call: http, with: {{method: get, endpoint: '{address.url}'}}}}
                """,
                report=recorder,
            )
            task = asyncio.create_task(run.run())
            await server.arrived.wait()
            run.pause()
            # Longer than the limit of the branch that stands by now.
            await asyncio.sleep(1.1)
            assert not {"completed a", "failed a"} & set(recorder.lines)
            run.resume()
            server.answer.set()
            assert await task == Completed([None, 5])
        assert not STEERING & {event.type for event in recorder.events}

    async def test_a_pause_can_be_taken_back_and_asked_for_again_at_any_moment(self) -> None:
        """At each event: pause, back, pause, resume, in varying order; the story stays the same."""
        document = """
            do:
              - l:
                  for: {in: "[1, 2]"}
                  do:
                    - f:
                        fork:
                          branches: [{a: {do: [{w: {wait: PT0.005S}}, {x: {set: 1}}]}}, {b: {set: 2}}, {c: {wait: PT0.001S}}]
            """
        whole = Recorder()
        expected = await local_run(document, 0, report=whole).run()
        for number in range(len(whole.events)):
            recorder = Recorder(wobbling := Wobbling(number))
            wobbling.run = run = local_run(document, 0, report=recorder)
            outcome = await asyncio.wait_for(run.run(), 30)
            assert outcome == expected
            steering = [event.type for event in recorder.events if event.type in STEERING]
            assert steering == [EventType.WORKFLOW_PAUSED, EventType.WORKFLOW_RESUMED] * (len(steering) // 2)
            others = [event for event in recorder.events if event.type not in STEERING]
            assert virtual.told(others) == virtual.told(whole.events)

    async def test_cancel_wins_over_a_pause_of_several_branches(self) -> None:
        recorder = Recorder()
        run = local_run("do: [{f: {fork: {branches: [{a: {wait: PT1H}}, {b: {wait: PT1H}}]}}}]", report=recorder)
        task = asyncio.create_task(run.run())
        await recorder.until("started b")
        run.pause()
        await recorder.until("workflow_paused")
        run.cancel("enough")
        assert await asyncio.wait_for(task, 5) == Cancelled("enough")
        assert recorder.lines[-2:] == ["workflow_paused", "workflow_cancelled"]
        assert not run.paused
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    async def test_a_run_written_in_a_pause_goes_on_with_the_time_that_was_left(self) -> None:
        document = """
            do:
              - f:
                  fork:
                    branches:
                      - a: {timeout: {after: PT1M}, wait: PT0.4S}
                      - b: {do: [{x: {set: done}}, {w: {wait: PT0.4S}}]}
            """
        recorder = Recorder()
        run = local_run(document, report=recorder)
        task = asyncio.create_task(run.run())
        await recorder.until("started w")
        run.pause()
        await recorder.until("workflow_paused")
        written = hours_older(json.dumps(frame_codec.encode(run.frame)))
        run.cancel()
        await task

        second = Recorder()
        continued = local_run(document, report=second, start_from=frame_codec.decode(json.loads(written)))
        continued.pause("still")
        task = asyncio.create_task(continued.run())
        await second.until("workflow_paused")
        assert second.lines == ["workflow_paused"]
        continued.resume()
        assert await task == Completed([None, "done"])
        assert timedelta(hours=5) <= continued.frame.paused < timedelta(hours=6)
        assert "started x" not in second.lines
        assert second.lines[1] == "workflow_resumed"


def hours_older(written: str) -> str:
    """A state as it would be had the pod been away for five hours."""
    moments = re.compile(r"\d{4}-\d\d-\d\dT[^\"]+")
    return moments.sub(lambda moment: (datetime.fromisoformat(moment[0]) - timedelta(hours=5)).isoformat(), written)


class Wobbling:
    """At an event: asks for a pause, takes it back and asks again, resumes, pauses and resumes, some turns of the event
    loop apart."""

    run: LocalRun

    def __init__(self, number: int) -> None:
        self._number = number

    def __call__(self, told: int) -> None:
        if told == self._number:
            loop = asyncio.get_running_loop()
            self.run.pause()
            in_turns(loop, 2, [self.run.resume, self.run.pause])
            in_turns(loop, 5, [self.run.resume])
            in_turns(loop, 6, [self.run.pause])
            in_turns(loop, 9, [self.run.resume])


def in_turns(loop: asyncio.AbstractEventLoop, turns: int, steps: list[Callable[[], object]]) -> None:
    """Take steps after so many turns of the event loop."""
    if turns:
        loop.call_soon(in_turns, loop, turns - 1, steps)
    else:
        for step in steps:
            step()


class TestCheckpoints:
    async def test_before_each_task_the_state_is_shown_and_can_be_continued_from(self) -> None:
        document = SAME_STORIES["all"]
        written: list[str] = []

        async def checkpointed(frame: WorkflowFrame) -> None:
            await asyncio.sleep(0)
            written.append(json.dumps(frame_codec.encode(frame)))

        whole = Recorder()
        expected = await local_run(document, {"n": 1}, report=whole, checkpointed=checkpointed).run()
        assert len(written) == sum(event.type is EventType.TASK_STARTED for event in whole.events)
        for text in written:
            recorder = Recorder()
            assert await local_run(document, report=recorder, start_from=frame_codec.decode(json.loads(text))).run() == expected

    async def test_at_a_pause_and_at_its_end_it_is_shown_once_each_however_many_branches(self) -> None:
        shown: list[tuple[bool, bool]] = []

        async def checkpointed(frame: WorkflowFrame) -> None:
            await asyncio.sleep(0)
            shown.append((frame.paused_since is not None, run.paused))

        recorder = Recorder()
        run = local_run(
            "do: [{f: {fork: {branches: [{a: {wait: PT0.05S}}, {b: {wait: PT0.05S}}]}}}]",
            report=recorder,
            checkpointed=checkpointed,
        )
        task = asyncio.create_task(run.run())
        await recorder.until("started b")
        shown.clear()
        run.pause()
        await recorder.until("workflow_paused")
        assert shown == [(True, False)]
        run.resume()
        await task
        assert shown == [(True, False), (False, False)]

    @pytest.mark.parametrize("at", ["task", "pause"])
    async def test_what_it_raises_ends_the_run_as_a_failure_of_the_runner(self, at: str) -> None:
        async def checkpointed(frame: WorkflowFrame) -> None:
            if at == "task" or frame.paused_since is not None:
                raise RuntimeError("the volume is gone")

        recorder = Recorder(lambda told: run.pause() if told == 6 else None)
        run = local_run(
            "do: [{t: {try: [{f: {fork: {branches: [{a: {wait: PT1H}}, {b: {wait: PT1H}}]}}}], catch: {do: []}}}]",
            report=recorder,
            checkpointed=checkpointed,
        )
        with pytest.raises(RuntimeError, match="the volume is gone"):
            await asyncio.wait_for(run.run(), 30)
        assert recorder.lines[-1] == "workflow_failed"
        assert "workflow_paused" not in recorder.lines


class TestBreakingOff:
    async def test_a_call_of_a_branch_that_lost_is_broken_off(self) -> None:
        async with http_server(Server()) as server:
            run = local_run(
                f"""
                do:
                  - f:
                      fork:
                        compete: true
                        branches:
                          - a: {{call: http, with: {{method: get, endpoint: '{server.url}'}}}}
                          - b: {{wait: PT0.2S}}
                """,
                "in",
                report=Recorder(),
            )
            assert await asyncio.wait_for(run.run(), 30) == Completed("in")

    async def test_a_program_of_a_branch_that_lost_is_killed(self) -> None:
        run = local_run(
            "do: [{f: {fork: {compete: true, branches: [{a: {set: '${ def f: f; f }'}}, {b: {wait: PT0.3S}}]}}}]",
            "in",
            report=Recorder(),
        )
        assert await asyncio.wait_for(run.run(), 8) == Completed("in")

    async def test_branches_that_have_not_begun_when_another_one_fails_never_begin(self) -> None:
        recorder = Recorder()
        run = local_run(f"do: [{{f: {{fork: {{branches: [{{a: {RAISE}}}, {{b: {{wait: PT1H}}}}]}}}}}}]", report=recorder)
        assert isinstance(await asyncio.wait_for(run.run(), 30), Faulted)
        gc.collect()  # would complain of a coroutine that was left lying about
        assert recorder.lines[3:] == ["started f", "started a", "failed a", "failed f", "workflow_failed"]

    async def test_cancelling_the_run_breaks_off_every_branch(self) -> None:
        branches = ", ".join(f"{{b{number}: {{wait: PT1H}}}}" for number in range(50))
        recorder = Recorder()
        run = local_run(f"do: [{{f: {{fork: {{branches: [{branches}]}}}}}}]", report=recorder)
        task = asyncio.create_task(run.run())
        await recorder.until("started b49")
        run.cancel()
        assert await asyncio.wait_for(task, 5) == Cancelled("")
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


# A schema that takes twice as long with each of its levels.
DOUBLING: Json = {
    "$ref": "#/$defs/d0",
    "$defs": {"d60": {}, **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}},
}


class TestSchemas:
    async def test_a_schema_that_takes_for_ever_is_given_up_on_while_others_go_on(self) -> None:
        run = local_run(
            f"""
            do:
              - f:
                  fork:
                    compete: true
                    branches:
                      - a: {{set: {{x: 1}}, output: {{schema: {{document: {json.dumps(DOUBLING)}}}}}}}
                      - b: {{wait: PT0.3S}}
            """,
            "in",
            report=Recorder(),
        )
        assert await asyncio.wait_for(run.run(), 8) == Completed("in")

    async def test_a_resource_is_fetched_over_http(self) -> None:
        schema = '{"type": "object", "properties": {"n": {"pattern": "^a"}}}'
        async with http_server(answering(body=schema, content_type="application/schema+json")) as server:
            document = f"input: {{schema: {{resource: {{endpoint: '{server.url}/s.json'}}}}}}\ndo: [{{a: {{set: fine}}}}]"
            assert await local_run(document, {"n": "abc"}, report=Recorder()).run() == Completed("fine")
            outcome = await local_run(document, {"n": "xyz"}, report=Recorder()).run()
            assert isinstance(outcome, Faulted)
            assert outcome.problem.detail == 'the data do not match input.schema: /n: the value does not match "^a"'
