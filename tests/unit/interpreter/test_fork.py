"""`fork`: all and compete, what branches see of each other, and how they end."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.interpreter.virtual import START, Story, VirtualEffects, line, no_calls, read, run

from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.evaluate import JqRequest
from workflow_runner.expressions.schemas import SchemaRequest
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.events import EventType
from workflow_runner.interpreter.frames import WorkflowFrame
from workflow_runner.interpreter.interpret import interpret
from workflow_runner.interpreter.outcome import Completed, Faulted

RAISE = "{raise: {error: {type: 'https://e.test/', status: %d}}}"


def forked(branches: str, *, compete: bool = False, more: str = "") -> str:
    """A document of one fork and a task after it."""
    return f"""
        output: {{as: "{{out: ., context: $context}}"}}
        do:
          - f: {{fork: {{compete: {str(compete).lower()}, branches: [{branches}]}}{more}}}
          - after: {{set: "${{ . }}"}}
        """


def waiting(seconds: float, then: str) -> str:
    """A branch's task that waits and then does something."""
    return f"{{do: [{{w: {{wait: PT{seconds}S}}}}, {{x: {then}}}]}}"


def out(story: Story) -> Json:
    assert isinstance(story.output, dict)
    return story.output["out"]


def context(story: Story) -> Json:
    assert isinstance(story.output, dict)
    return story.output["context"]


def events_of(story: Story, name: str) -> list[str]:
    return [line(event).partition(" ")[0] for event in story.events if event.task_name == name]


class TestAll:
    def test_outputs_come_in_the_order_of_declaration_whoever_ends_first(self) -> None:
        story = run(forked(f"{{a: {waiting(3, '{set: a}')}}}, {{b: {{set: b}}}}, {{c: {waiting(1, '{set: c}')}}}"), 0)
        assert out(story) == ["a", "b", "c"]

    def test_branches_run_at_the_same_time(self) -> None:
        story = run(forked(", ".join(f"{{b{n}: {{wait: PT10S}}}}" for n in range(5))), "in")
        assert (story.elapsed, story.most_at_once) == (10, 5)
        assert out(story) == ["in"] * 5
        lines = story.lines
        assert lines.index("started b4") < lines.index("completed b0")

    def test_each_gets_the_transformed_input_and_transforms_its_output(self) -> None:
        branches = "{a: {set: '${ . + 1 }', output: {as: '[.]'}}}, {b: {input: {from: . * 2}, set: '${ [., $input] }'}}"
        story = run(forked(branches, more=", input: {from: . + 10}, output: {as: '{both: .}'}"), 1)
        assert out(story) == {"both": [[12], [22, 22]]}

    def test_a_branch_that_is_skipped_gives_its_input(self) -> None:
        assert out(run(forked("{a: {if: . > 1, set: 5}}, {b: {set: 6}}"), 1)) == [1, 6]

    def test_one_branch_that_fails_cancels_the_others_and_is_the_error_of_the_fork(self) -> None:
        inner = f"{{inner: {{fork: {{branches: [{{deep: {waiting(9, '{set: 1}')}}}]}}}}}}"
        branches = f"{{slow: {waiting(5, '{set: 1}')}}}, {{done: {{set: 2}}}}, {{bad: {waiting(1, RAISE % 507)}}}, {inner}"
        story = run(forked(branches))
        assert (story.fault["status"], story.fault["instance"]) == (507, "/do/0/f/fork/branches/2/bad/do/1/x")
        assert story.elapsed == 1
        assert events_of(story, "slow") == ["started", "cancelled"]
        assert events_of(story, "deep") == events_of(story, "inner") == ["started", "cancelled"]
        assert events_of(story, "done") == ["started", "completed"]
        assert events_of(story, "bad") == events_of(story, "f") == ["started", "failed"]
        assert story.lines[-2:] == ["failed f", "workflow_failed"]

    def test_the_fault_of_a_branch_can_be_caught_around_the_fork(self) -> None:
        story = run(
            f"""
            do:
              - t:
                  try: [{{f: {{fork: {{branches: [{{a: {{wait: PT9S}}}}, {{b: {RAISE % 507}}}]}}}}}}]
                  catch: {{do: [{{h: {{set: "${{ [., $error.status] }}"}}}}]}}
            """,
            "in",
        )
        assert story.output == ["in", 507]
        assert story.elapsed == 0

    def test_a_retry_around_it_runs_all_branches_again(self) -> None:
        story = run(
            f"""
            do:
              - t:
                  try: [{{f: {{fork: {{branches: [{{a: {{set: 1}}}}, {{b: {RAISE % 507}}}]}}}}}}]
                  catch: {{retry: {{delay: PT1S, limit: {{attempt: {{count: 3}}}}}}, do: [{{h: {{set: 9}}}}]}}
            """
        )
        assert story.output == 9
        assert Counter(events_of(story, "a")) == {"started": 3, "completed": 3}

    def test_of_two_that_fail_the_first_to_fail_counts(self) -> None:
        story = run(forked(f"{{late: {waiting(2, RAISE % 501)}}}, {{soon: {waiting(1, RAISE % 502)}}}"))
        assert story.fault["status"] == 502


class TestCompete:
    def test_the_first_to_complete_gives_the_output_and_the_others_are_cancelled(self) -> None:
        branches = f"{{slow: {waiting(5, '{set: slow}')}}}, {{quick: {waiting(1, '{set: quick}')}}}"
        story = run(forked(branches, compete=True))
        assert out(story) == "quick"
        assert story.elapsed == 1
        assert events_of(story, "slow") == ["started", "cancelled"]
        assert events_of(story, "f") == ["started", "completed"]
        cancelled = next(event for event in story.events if event.task_name == "slow" and event.status == "cancelled")
        assert (cancelled.type, cancelled.reference) == (EventType.TASK_CANCELLED, "/do/0/f/fork/branches/0/slow")

    def test_a_branch_that_fails_is_out_of_the_race(self) -> None:
        branches = f"{{bad: {RAISE % 507}}}, {{good: {waiting(5, '{set: good}')}}}"
        story = run(forked(branches, compete=True))
        assert (out(story), story.elapsed) == ("good", 5)
        assert story.counts.failed == 1

    def test_when_all_fail_the_first_that_is_declared_gives_the_error(self) -> None:
        story = run(forked(f"{{late: {waiting(2, RAISE % 501)}}}, {{soon: {RAISE % 502}}}", compete=True))
        assert (story.fault["status"], story.elapsed) == (501, 2)

    def test_of_branches_that_complete_at_once_the_first_declared_wins(self) -> None:
        assert out(run(forked("{a: {set: a}}, {b: {set: b}}", compete=True))) == "a"

    def test_only_the_winner_exports(self) -> None:
        quick = waiting(1, "{set: q, export: {as: '$context + {q: .}'}}")
        branches = (
            f"{{quick: {quick}}},"
            "{early: {do: [{e: {set: e, export: {as: '$context + {e: .}'}}}, {w: {wait: PT9S}}]}}"
        )
        story = run(forked(branches, compete=True))
        assert context(story) == {"q": "q"}


class TestFlow:
    def test_exit_ends_the_branch(self) -> None:
        branches = "{a: {do: [{x: {set: a, then: exit}}, {never: {set: never}}]}}, {b: {set: b, then: exit}}"
        assert out(run(forked(branches))) == ["a", "b"]

    def test_end_ends_the_workflow_with_the_output_of_the_branch(self) -> None:
        branches = f"{{slow: {waiting(5, '{set: slow}')}}}, {{ends: {waiting(1, '{set: over, then: end}')}}}"
        story = run(forked(branches))
        assert (out(story), story.elapsed) == ("over", 1)
        assert events_of(story, "slow") == ["started", "cancelled"]
        assert events_of(story, "after") == []
        assert events_of(story, "f") == ["started", "completed"]

    def test_end_in_a_race_ends_the_workflow_too(self) -> None:
        assert out(run(forked("{a: {set: over, then: end}}, {b: {wait: PT1S}}", compete=True))) == "over"

    def test_a_goto_stays_in_its_branch(self) -> None:
        branches = "{a: {do: [{up: {set: '${ . + 1 }'}}, {s: {switch: [{more: {when: . < 3, then: up}}]}}]}}, {b: {set: 0}}"
        assert out(run(forked(branches), 0)) == [3, 0]

    def test_a_branch_may_repeat_itself(self) -> None:
        story = run(forked("{a: {switch: [{no: {when: 1 == 2, then: a}}, {d: {then: exit}}]}}"), 7)
        assert out(story) == [7]

    def test_nested_forks(self) -> None:
        inner = f"{{inner: {{fork: {{compete: true, branches: [{{x: {{wait: PT9S}}}}, {{y: {waiting(1, '{set: y}')}}}]}}}}}}"
        story = run(forked(f"{inner}, {{b: {{wait: PT4S}}}}"), 0)
        assert out(story) == ["y", 0]
        assert story.elapsed == 4

    def test_for_in_fork_and_fork_in_for(self) -> None:
        loop = "{for: {in: '[1, 2]'}, do: [{add: {set: '${ . + $item }'}}]}"
        assert out(run(forked(f"{{a: {loop}}}, {{b: {loop}}}"), 0)) == [3, 3]
        story = run(
            """
            do:
              - l:
                  for: {in: "[1, 2]"}
                  do:
                    - f: {fork: {branches: [{a: {set: "${ [.[], $item] }"}}, {b: {set: "${ $index }"}}]}}
            """,
            [],
        )
        assert story.output == [[[1], 0, 2], 1]
        assert [line(event) for event in story.events if event.task_name == "a"] == [
            "started a[0]",
            "completed a[0]",
            "started a[1]",
            "completed a[1]",
        ]


class TestContext:
    def test_what_branches_add_is_there_afterwards_in_the_order_of_declaration(self) -> None:
        late = waiting(5, "{set: 1, export: {as: '$context + {both: \"late\", late: 1}'}}")
        branches = f"{{late: {late}}}, {{soon: {{set: 2, export: {{as: '$context + {{both: \"soon\", soon: 2}}'}}}}}}"
        assert context(run(forked(branches))) == {"both": "soon", "late": 1, "soon": 2}

    def test_a_branch_sees_its_own_exports_and_not_those_of_others(self) -> None:
        own = waiting(5, "{set: '${ $context }'}")
        branches = (
            f"{{other: {{set: 1, export: {{as: '$context + {{other: 1}}'}}}}}}, {{blind: {own}}},"
            "{own: {do: [{e: {set: 2, export: {as: '{own: .}'}}}, {x: {set: '${ $context }'}}]}}"
        )
        story = run(forked(branches))
        assert out(story) == [1, {}, {"own": 2}]

    def test_an_export_that_does_not_ask_for_the_context_replaces_it(self) -> None:
        branches = "{a: {set: 1, export: {as: '{a: .}'}}}, {b: {set: 2, export: {as: '{b: .}'}}}"
        assert context(run(forked(branches))) == {"b": 2}

    @pytest.mark.parametrize(
        ("before", "exports", "expected"),
        [
            ("{a: 1, b: 2}", ["$context | del(.a)", "$context + {c: 3}"], {"b": 2, "c": 3}),
            ("{a: 1}", ["$context + {a: true}", "$context + {c: 3}"], {"a": True, "c": 3}),
            ("{a: [1]}", ["$context | .a += [2]", "$context + {a: [1]}"], {"a": [1, 2]}),
            ("[1]", ["$context + [2]", "$context"], [1, 2]),
            ("[1]", ["$context + [2]", "$context + [3]"], [1, 3]),
            ("{a: 1}", ["[$context]", "$context + {c: 3}"], {"a": 1, "c": 3}),
        ],
    )
    def test_members_that_a_branch_left_alone_stay_as_others_have_them(
        self, before: str, exports: list[str], expected: Json
    ) -> None:
        branches = ", ".join(f"{{b{n}: {{set: 1, export: {{as: '{export}'}}}}}}" for n, export in enumerate(exports))
        document = forked(branches).replace("do:", f"do:\n          - first: {{set: 1, export: {{as: '{before}'}}}}", 1)
        assert json.dumps(context(run(document))) == json.dumps(expected)

    def test_exports_of_a_nested_fork_count_in_its_branch(self) -> None:
        inner = "{fork: {branches: [{x: {set: 1, export: {as: '$context + {x: 1}'}}}, {y: {set: 2}}]}}"
        branches = f"{{a: {{do: [{{i: {inner}}}, {{s: {{set: '${{ $context }}'}}}}]}}}}, {{b: {{wait: PT1S}}}}"
        story = run(forked(branches), 0)
        assert (out(story), context(story)) == ([{"x": 1}, 0], {"x": 1})

    def test_a_replacement_in_a_nested_fork_replaces_outside_too(self) -> None:
        inner = "{fork: {branches: [{x: {set: 1, export: {as: '{x: 1}'}}}]}}"
        branches = f"{{a: {{set: 0, export: {{as: '$context + {{a: 1}}'}}}}}}, {{b: {inner}}}"
        assert context(run(forked(branches))) == {"x": 1}

    def test_a_fork_that_fails_exports_nothing(self) -> None:
        story = run(
            f"""
            output: {{as: $context}}
            do:
              - t:
                  try: [{{f: {{fork: {{branches: [{{a: {{set: 1, export: {{as: '{{a: 1}}'}}}}}}, {{b: {RAISE % 500}}}]}}}}}}]
                  catch: {{do: []}}
            """
        )
        assert story.output == {}

    def test_the_end_of_the_workflow_in_a_branch_lets_count_what_had_completed(self) -> None:
        ends = waiting(1, "{set: 2, export: {as: '$context + {b: 2}'}, then: end}")
        branches = (
            "{a: {set: 1, export: {as: '$context + {a: 1}'}}},"
            "{c: {do: [{x: {set: 1, export: {as: '{c: 1}'}}}, {w: {wait: PT9S}}]}},"
            f"{{b: {ends}}}"
        )
        assert context(run(forked(branches))) == {"a": 1, "b": 2}


def test_calls_of_branches_have_keys_of_their_own_that_stay() -> None:
    def answer(request: Call) -> Json:
        return request.reference

    call = "{call: http, with: {method: post, endpoint: 'http://x.test/'}}"
    stories: list[Any] = [run(forked(f"{{a: {call}}}, {{b: {call}}}"), answer=answer) for _ in range(2)]
    keys = [[request.idempotency_key for request in story.calls] for story in stories]
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 2
    assert out(stories[0]) == ["/do/0/f/fork/branches/0/a", "/do/0/f/fork/branches/1/b"]


def test_a_fork_is_one_task_of_the_progress() -> None:
    story = run(forked(f"{{a: {waiting(1, '{set: 1}')}}}, {{b: {{set: 2}}}}"))
    inside = [event.progress for event in story.events if "/fork/" in event.reference]
    assert set(inside) == {0}
    assert [event.progress for event in story.events if event.task_name == "f"] == [0, 50]


def test_two_hundred_branches() -> None:
    story = run(forked(", ".join(f"{{b{n}: {{set: '${{ {n} }}'}}}}" for n in range(200))))
    assert out(story) == list(range(200))


class LazyEffects(VirtualEffects):
    """Lets all branches end before it says that one has raised: no host has to be quicker."""

    async def gather(self, branches: Sequence[Coroutine[Any, Any, None]]) -> None:
        ended = await asyncio.gather(*branches, return_exceptions=True)
        for failure in ended:
            if failure is not None:
                raise failure


class SlowEffects(VirtualEffects):
    """Needs a minute for a program."""

    async def evaluate(self, request: JqRequest | SchemaRequest) -> Json:
        await self.sleep(self.clock() + timedelta(minutes=1))
        return await super().evaluate(request)


def interpreted(text: str, effects: VirtualEffects) -> Completed | Faulted:
    frame = WorkflowFrame(raw_input=None, started_at=START)
    return asyncio.run(interpret(read(text), frame, effects, execution_id="e", run_id="1", secrets={}, version="9"))


class TestOtherHosts:
    def test_a_race_has_one_winner_also_where_others_complete_before_they_are_stopped(self) -> None:
        branches = ", ".join(f"{{{name}: {{set: {name}, export: {{as: '$context + {{{name}: 1}}'}}}}}}" for name in ("a", "b"))
        outcome = interpreted(forked(branches, compete=True), LazyEffects(no_calls))
        assert outcome == Completed({"out": "a", "context": {"a": 1}})

    def test_the_first_that_fails_counts_also_where_another_one_fails_before_it_is_stopped(self) -> None:
        outcome = interpreted(forked(f"{{a: {RAISE % 501}}}, {{b: {RAISE % 502}}}"), LazyEffects(no_calls))
        assert isinstance(outcome, Faulted)
        assert outcome.problem.status == 501

    def test_what_was_cancelled_is_told_once_when_a_time_limit_passes_after_the_race(self) -> None:
        effects = SlowEffects(no_calls)
        branches = f"{{slow: {{wait: PT9S}}}}, {{quick: {waiting(1, '{set: q}')}}}"
        more = ", timeout: {after: PT5S}, output: {as: '[range(2)]'}"
        assert isinstance(interpreted(forked(branches, compete=True, more=more), effects), Faulted)
        assert [line(event) for event in effects.events if event.task_name == "slow"] == ["started slow", "cancelled slow"]
