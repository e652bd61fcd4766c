"""`timeout` of tasks and of the workflow, and what a pause does to moments, in virtual time."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from tests.unit.interpreter.virtual import START, Stopped, VirtualEffects, halves, line, no_calls, read, run

from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter import frame_codec
from workflow_runner.interpreter.frames import WorkflowFrame
from workflow_runner.interpreter.interpret import interpret
from workflow_runner.interpreter.outcome import Completed, Faulted

TIMEOUT = "https://serverlessworkflow.io/spec/1.0.0/errors/timeout"

KINDS = {
    "wait": "wait: PT9S",
    "do": "do: [{w: {wait: PT9S}}]",
    "for": "for: {in: '[1, 2, 3]'}, do: [{w: {wait: PT3S}}]",
    "try": "try: [{w: {wait: PT9S}}], catch: {do: []}",
    "retries": "try: [{x: {set: '${ error(1) }'}}], catch: {retry: {delay: PT3S}}",
    "handler": "try: [{x: {set: '${ error(1) }'}}], catch: {do: [{w: {wait: PT9S}}]}",
    "fork": "fork: {branches: [{a: {wait: PT9S}}, {b: {set: 1}}, {c: {do: [{d: {wait: PT8S}}]}}]}",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_of_any_kind_ends_at_its_time_limit(kind: str) -> None:
    story = run(f"do: [{{t: {{timeout: {{after: PT5S}}, {KINDS[kind]}}}}}]")
    assert story.fault == {
        "type": TIMEOUT,
        "status": 408,
        "title": "Timeout",
        "detail": "the task took longer than its `timeout` allows",
        "instance": "/do/0/t",
    }
    assert story.elapsed == 5
    begun = [line(event) for event in story.events if event.type == "task_started"]
    ended = [line(event) for event in story.events if event.type in ("task_completed", "task_failed")]
    assert sorted(name.split()[1] for name in begun) == sorted(name.split()[1] for name in ended), "each task ends once"
    assert story.lines[-2:] == ["failed t", "workflow_failed"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_that_ends_in_time_is_not_affected(kind: str) -> None:
    limited = run(
        f"do: [{{t: {{timeout: {{after: PT60S}}, {KINDS[kind]}}}}}]".replace(
            "retry: {", "retry: {limit: {attempt: {count: 2}}, "
        )
    )
    free = run(f"do: [{{t: {{{KINDS[kind]}}}}}]".replace("retry: {", "retry: {limit: {attempt: {count: 2}}, "))
    assert limited.lines == free.lines
    assert limited.elapsed == free.elapsed


def test_a_try_around_it_catches_it_and_one_inside_does_not() -> None:
    story = run(
        """
        do:
          - outer:
              try:
                - t: {timeout: {after: PT1S}, try: [{w: {wait: PT9S}}], catch: {do: [{never: {set: 1}}]}}
              catch: {errors: {with: {status: 408}}, do: [{h: {set: "${ $error.instance }"}}]}
        """
    )
    assert story.output == "/do/0/outer/try/0/t"


def test_the_limit_begins_with_the_task_and_covers_each_visit_anew() -> None:
    story = run(
        """
        do:
          - again: {timeout: {after: PT3S}, do: [{w: {wait: PT2S}}, {x: {set: "${ . + 1 }"}}]}
          - s: {switch: [{more: {when: . < 4, then: again}}]}
        """,
        0,
    )
    assert (story.output, story.elapsed) == (4, 8)


def test_the_tighter_of_nested_limits_passes_first() -> None:
    story = run("do: [{a: {timeout: {after: PT2S}, do: [{b: {timeout: {after: PT9S}, wait: PT20S}}]}}]")
    assert story.fault["instance"] == "/do/0/a"
    story = run("do: [{a: {timeout: {after: PT9S}, do: [{b: {timeout: {after: PT2S}, wait: PT20S}}]}}]")
    assert story.fault["instance"] == "/do/0/a/do/0/b"


def test_no_time_at_all_is_too_little() -> None:
    story = run("do: [{a: {timeout: {after: PT0S}, set: 1}}]")
    assert story.lines == ["started a", "failed a", "workflow_failed"]


def test_reusable_limits_and_limits_that_are_computed() -> None:
    use = "use: {timeouts: {soon: {after: {seconds: 2}}, said: {after: '${ .limit }'}}}\n"
    assert run(use + "do: [{a: {timeout: soon, wait: PT9S}}]").elapsed == 2
    assert run(use + "do: [{a: {timeout: said, wait: PT9S}}]", {"limit": "PT3S"}).elapsed == 3
    story = run(use + "do: [{a: {input: {from: .inner}, timeout: said, wait: PT9S}}]", {"inner": {"limit": {"seconds": 4}}})
    assert story.elapsed == 4
    assert run(use + "timeout: said\ndo: [{a: {wait: PT9S}}]", {"limit": "PT3S"}).elapsed == 3
    story = run(use + "do: [{a: {timeout: said, wait: PT9S}}]", {"limit": 5})
    assert (story.fault["type"], story.fault["instance"]) == (TIMEOUT.replace("timeout", "expression"), "/do/0/a")
    assert run("timeout: {after: '${ .x }'}\ndo: []", {}).fault["instance"] == "/timeout/after"


class TestWorkflow:
    DOCUMENT = """
        timeout: {after: PT5S}
        do:
          - a: {wait: PT3S}
          - t: {try: [{b: {do: [{c: {wait: PT3S}}]}}], catch: {do: [{never: {set: 1}}]}}
        """

    def test_its_limit_ends_the_run_whatever_is_running(self) -> None:
        story = run(self.DOCUMENT)
        assert (story.fault["type"], story.fault["status"], story.fault["instance"]) == (TIMEOUT, 408, "/timeout")
        assert story.elapsed == 5
        assert story.lines[-4:] == ["failed c", "failed b", "failed t", "workflow_failed"]

    def test_a_continued_run_keeps_its_limit(self) -> None:
        parts = halves(self.DOCUMENT, stop_at=4, seconds_later=60)
        assert parts is not None
        assert isinstance(parts.outcome, Faulted)
        assert parts.outcome.problem.instance == "/timeout"
        assert parts.sleeps_after == [], "its time had passed: nothing is begun"

    def test_a_continued_task_keeps_its_limit(self) -> None:
        document = "do: [{a: {timeout: {after: PT10S}, do: [{b: {wait: PT1S}}, {c: {wait: PT30S}}]}}]"
        parts = halves(document, stop_at=4, seconds_later=6)
        assert parts is not None
        assert isinstance(parts.outcome, Faulted)
        assert parts.after[-1].timestamp - START == timedelta(seconds=10)


def interpreted(text: str, frame: WorkflowFrame, effects: VirtualEffects) -> Completed | Faulted:
    return asyncio.run(interpret(read(text), frame, effects, execution_id="e", run_id="1", secrets={}, version="9"))


class TestTheHostsOwnLimit:
    @pytest.mark.parametrize(
        ("own", "host", "instance", "elapsed"),
        [("PT5S", 3, "/", 3), ("PT2S", 3, "/timeout", 2), ("PT99S", None, "/timeout", 99)],
    )
    def test_the_shorter_one_wins(self, own: str, host: int | None, instance: str, elapsed: float) -> None:
        effects = VirtualEffects(no_calls)
        limit = None if host is None else timedelta(seconds=host)
        frame = WorkflowFrame(raw_input=None, started_at=START, time_limit=limit)
        outcome = interpreted(f"timeout: {{after: {own}}}\ndo: [{{a: {{wait: PT999S}}}}]", frame, effects)
        assert isinstance(outcome, Faulted)
        assert (outcome.problem.type, outcome.problem.instance) == (TIMEOUT, instance)
        assert effects.time - START == timedelta(seconds=elapsed)

    def test_it_counts_from_the_start_of_the_run(self) -> None:
        effects = VirtualEffects(no_calls, at=START + timedelta(seconds=7))
        frame = WorkflowFrame(raw_input=None, started_at=START, time_limit=timedelta(seconds=10))
        assert isinstance(interpreted("do: [{a: {wait: PT999S}}]", frame, effects), Faulted)
        assert effects.time - START == timedelta(seconds=10)


class TestPausedTime:
    """A run that is paused for an hour takes an hour longer: no limit passes sooner, no wait ends sooner."""

    PAUSED = timedelta(hours=1)

    @pytest.mark.parametrize(
        "document",
        [
            "do: [{w: {wait: PT10S}}]",
            "do: [{a: {timeout: {after: PT10S}, do: [{w: {wait: PT99S}}]}}]",
            "timeout: {after: PT10S}\ndo: [{w: {wait: PT99S}}]",
            "do: [{t: {try: [{a: {set: '${ error(1) }'}}], catch: {retry: {delay: PT10S, limit: {attempt: {count: 2}}}}}}]",
            "do: [{t: {try: [{w: {wait: PT99S}}], catch: {retry: {limit: {attempt: {count: 1, duration: PT10S}}}}}}]",
            "do: [{t: {try: [{a: {do: [{w: {wait: PT4S}}, {x: {set: '${ error(1) }'}}]}}], "
            "catch: {retry: {limit: {duration: PT10S}}}}}]",
            "do: [{f: {fork: {branches: [{a: {wait: PT10S}}, {b: {timeout: {after: PT20S}, wait: PT7S}}]}}}]",
        ],
        ids=["wait", "task", "workflow", "retry delay", "attempt", "all attempts", "fork"],
    )
    def test_it_counts_for_nothing_whenever_the_pause_was(self, document: str) -> None:
        whole = VirtualEffects(no_calls)
        interpreted(document, WorkflowFrame(raw_input=0, started_at=START), whole)
        stop_at = 0
        while (elapsed := self.elapsed(document, stop_at)) is not None:
            assert elapsed == self.PAUSED + (whole.time - START), f"paused at await {stop_at}"
            stop_at += 1
        assert stop_at >= 2

    def elapsed(self, document: str, stop_at: int) -> timedelta | None:
        """How long a run takes that is paused at that await; None when it ends before."""
        frame = WorkflowFrame(raw_input=0, started_at=START)
        first = VirtualEffects(no_calls, stop_at=stop_at)
        try:
            interpreted(document, frame, first)
        except Stopped:
            pass
        else:
            return None
        written: Json = json.loads(json.dumps(frame_codec.encode(frame)))
        state = frame_codec.decode(written)
        state.paused = self.PAUSED
        second = VirtualEffects(no_calls, at=first.time + self.PAUSED)
        second.paused = self.PAUSED
        interpreted(document, state, second)
        return second.time - START
