"""`raise`, `try` and retries, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.interpreter.virtual import run

from workflow_runner.dsl.problems import COMMUNICATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.effects import Call

ERROR = "{type: 'https://errors.test/a', status: 418, title: Teapot, detail: short}"


class TestRaise:
    def test_an_error_reaches_the_top_with_the_pointer_of_the_task_that_raised_it(self) -> None:
        story = run(f"do: [{{x: {{do: [{{r: {{raise: {{error: {ERROR}}}}}}}]}}}}]")
        assert story.fault == {
            "type": "https://errors.test/a",
            "status": 418,
            "title": "Teapot",
            "detail": "short",
            "instance": "/do/0/x/do/0/r",
        }
        assert story.lines == ["started x", "started r", "failed r", "failed x", "workflow_failed"]
        assert "Teapot" in story.events[2].message

    def test_an_instance_that_the_author_gave_is_kept(self) -> None:
        story = run("do: [{r: {raise: {error: {type: 'https://e.test/', status: 501, instance: /mine}}}}]")
        assert story.fault["instance"] == "/mine"

    def test_members_may_be_expressions(self) -> None:
        story = run(
            """
            do:
              - r:
                  raise:
                    error: {type: "${ .t }", status: 400, title: "${ .n }", detail: "${ .none }"}
            """,
            {"t": "https://e.test/x", "n": 5},
        )
        assert story.fault == {"type": "https://e.test/x", "status": 400, "title": "5", "instance": "/do/0/r"}

    def test_a_reusable_error_is_raised_by_its_name(self) -> None:
        story = run(f"use: {{errors: {{teapot: {ERROR}}}}}\ndo: [{{r: {{raise: {{error: teapot}}}}}}]")
        assert (story.fault["status"], story.fault["instance"]) == (418, "/do/0/r")


def guarded(catch: str, error: str = ERROR) -> str:
    return f"""
        do:
          - guard:
              try:
                - before: {{set: {{inside: true}}}}
                - fail: {{raise: {{error: {error}}}}}
              catch: {catch}
          - after: {{set: "${{ {{after: .}} }}"}}
        """


class TestCatch:
    def test_without_an_error_the_output_is_the_blocks(self) -> None:
        assert run("do: [{t: {try: [{a: {set: 1}}], catch: {do: [{b: {set: 2}}]}}}]").output == 1

    def test_a_swallowed_error_gives_the_trys_input(self) -> None:
        story = run(guarded("{}"), {"in": 1})
        assert story.output == {"after": {"in": 1}}
        assert story.lines == [
            "started guard",
            "started before",
            "completed before",
            "started fail",
            "failed fail",
            "completed guard",
            "started after",
            "completed after",
            "workflow_completed",
        ]

    @pytest.mark.parametrize(
        ("catch", "caught"),
        [
            ("{errors: {with: {type: 'https://errors.test/a'}}}", True),
            ("{errors: {with: {type: 'https://errors.test/a', status: 418}}}", True),
            ("{errors: {with: {type: 'https://errors.test/a', status: 419}}}", False),
            ("{errors: {with: {type: 'https://errors.test/b'}}}", False),
            ("{errors: {with: {title: Teapot}}}", True),
            ("{errors: {with: {instance: /do/0/guard/try/1/fail}}}", True),
            ("{errors: {with: {instance: /do/0}}}", False),
            ("{when: $error.status == 418}", True),
            ("{when: $error.status == 419}", False),
            ("{exceptWhen: $error.status == 418}", False),
            ("{exceptWhen: $error.status == 419}", True),
            ("{when: 1 == 1, exceptWhen: 1 == 1}", False),
            ('{as: problem, when: $problem.detail == "short"}', True),
            ("{when: .in == 1}", True),
            ("{errors: {with: {status: 419}}, when: 1 == 1}", False),
        ],
    )
    def test_errors_are_chosen_by_filter_and_conditions(self, catch: str, caught: bool) -> None:
        story = run(guarded(catch), {"in": 1})
        if caught:
            assert story.output == {"after": {"in": 1}}
        else:
            assert (story.fault["status"], story.fault["instance"]) == (418, "/do/0/guard/try/1/fail")
            assert story.lines[-3:] == ["failed fail", "failed guard", "workflow_failed"]

    def test_the_handler_gets_the_trys_input_and_the_error(self) -> None:
        story = run(guarded('{do: [{h: {set: "${ [., $error.status, $error.instance] }"}}]}'), {"in": 1})
        assert story.output == {"after": [{"in": 1}, 418, "/do/0/guard/try/1/fail"]}
        assert "started h" in story.lines

    def test_the_error_goes_by_the_name_that_was_chosen(self) -> None:
        assert run(guarded('{as: problem, do: [{h: {set: "${ $problem.title }"}}]}')).output == {"after": "Teapot"}

    def test_an_error_in_the_handler_goes_on(self) -> None:
        story = run(guarded("{do: [{h: {raise: {error: {type: 'https://errors.test/h', status: 501}}}}]}"))
        assert story.fault["instance"] == "/do/0/guard/catch/do/0/h"

    def test_a_failing_condition_is_an_error_of_the_try(self) -> None:
        story = run(guarded("{when: error(1)}"))
        assert (story.fault["status"], story.fault["instance"]) == (400, "/do/0/guard")

    def test_an_outer_try_catches_what_an_inner_one_lets_go(self) -> None:
        story = run(
            f"""
            do:
              - outer:
                  try:
                    - inner:
                        try: [{{r: {{raise: {{error: {ERROR}}}}}}}]
                        catch: {{errors: {{with: {{status: 501}}}}}}
                  catch: {{do: [{{h: {{set: "${{ $error.instance }}"}}}}]}}
            """
        )
        assert story.output == "/do/0/outer/try/0/inner/try/0/r"

    def test_failing_expressions_are_caught_too(self) -> None:
        story = run(
            """
            do:
              - t:
                  try: [{a: {set: '${ error("x") }'}}]
                  catch:
                    errors: {with: {type: https://serverlessworkflow.io/spec/1.0.0/errors/expression, status: 400}}
                    do: [{h: {set: "${ $error.instance }"}}]
            """
        )
        assert story.output == "/do/0/t/try/0/a"

    def test_end_inside_a_try_is_no_error(self) -> None:
        story = run("do: [{t: {try: [{a: {set: 1, then: end}}], catch: {do: [{h: {set: 2}}]}}}, {b: {set: 3}}]")
        assert story.output == 1
        assert story.lines == ["started t", "started a", "completed a", "completed t", "workflow_completed"]

    def test_exit_leaves_the_block_or_the_handler(self) -> None:
        assert run(
            "do: [{t: {try: [{a: {set: 1, then: exit}}, {b: {set: 2}}], catch: {}}}, {c: {set: '${ [.] }'}}]"
        ).output == [1]
        assert run(guarded("{do: [{h: {set: 1, then: exit}}, {i: {set: 2}}]}")).output == {"after": 1}


class Unsteady:
    """Answers calls: fails so many times, then gives how often it was asked."""

    def __init__(self, failures: int, status: int = 503) -> None:
        self.asked = 0
        self.failures = failures
        self.status = status

    def __call__(self, _request: Call) -> Json:
        self.asked += 1
        if self.asked <= self.failures:
            raise WorkflowFault(Problem.standard(COMMUNICATION, f"failure {self.asked}", status=self.status))
        return self.asked


def retried(retry: str, more: str = "") -> str:
    return f"""
        do:
          - t:
              try:
                - get: {{call: http, with: {{method: post, endpoint: 'http://x.test/'}}}}
              catch:
                retry: {retry}
                {more}
        """


class TestRetry:
    @pytest.mark.parametrize(
        ("retry", "sleeps"),
        [
            ("{}", [0, 0, 0]),
            ("{delay: PT2S}", [2, 2, 2]),
            ("{delay: {seconds: 2}, backoff: {constant: {}}}", [2, 2, 2]),
            ("{delay: PT2S, backoff: {linear: {}}}", [2, 4, 6]),
            ("{delay: PT2S, backoff: {exponential: {}}}", [2, 4, 8]),
            ("{delay: PT2S, jitter: {from: PT1S, to: PT3S}}", [4, 4, 4]),
            ("{jitter: {from: PT0S, to: PT1S}}", [0.5, 0.5, 0.5]),
            ("{delay: '${ .pause }'}", [3, 3, 3]),
        ],
    )
    def test_delays_follow_backoff_and_jitter(self, retry: str, sleeps: list[float]) -> None:
        story = run(retried(retry), {"pause": "PT3S"}, answer=Unsteady(3))
        assert story.output == 4
        assert story.sleeps == sleeps

    @pytest.mark.parametrize(("chance", "sleep"), [(0.0, 1), (0.25, 1.5), (0.999, 2.998)])
    def test_jitter_lies_between_its_bounds_by_chance(self, chance: float, sleep: float) -> None:
        story = run(retried("{jitter: {from: PT1S, to: PT3S}}"), answer=Unsteady(1), chance=chance)
        assert story.sleeps == [pytest.approx(sleep)]

    def test_each_retry_is_told_with_the_error_and_runs_the_whole_block_again(self) -> None:
        story = run(
            """
            do:
              - t:
                  try: [{a: {set: "${ . + 1 }"}}, {get: {call: http, with: {method: get, endpoint: 'http://x.test/'}}}]
                  catch: {retry: {delay: PT1S}}
            """,
            0,
            answer=Unsteady(1),
        )
        assert story.lines == [
            "started t",
            "started a",
            "completed a",
            "started get",
            "failed get",
            "retried t",
            "started a",
            "completed a",
            "started get",
            "completed get",
            "completed t",
            "workflow_completed",
        ]
        told = story.events[5]
        assert "attempt 2" in told.message
        assert "failure 1" in told.message
        assert (told.error is not None and told.error.status, story.counts.retried) == (503, 1)

    def test_retries_carry_the_same_idempotency_key(self) -> None:
        keys = {call.idempotency_key for call in run(retried("{}"), answer=Unsteady(2)).calls}
        assert len(keys) == 1

    def test_the_limit_of_attempts_includes_the_first(self) -> None:
        answer = Unsteady(99)
        story = run(retried("{limit: {attempt: {count: 3}}}"), answer=answer)
        assert (answer.asked, story.fault["detail"]) == (3, "failure 3")
        assert story.fault["instance"] == "/do/0/t/try/0/get"

    def test_the_limit_of_duration_bounds_all_attempts(self) -> None:
        answer = Unsteady(99)
        story = run(retried("{delay: PT4S, limit: {duration: PT10S}}"), answer=answer)
        assert (answer.asked, story.elapsed) == (3, 8)

    def test_when_retries_are_used_up_the_handler_runs(self) -> None:
        story = run(retried("{limit: {attempt: {count: 2}}}", 'do: [{h: {set: "${ $error.detail }"}}]'), answer=Unsteady(99))
        assert story.output == "failure 2"

    @pytest.mark.parametrize(
        ("retry", "asked"),
        [
            ("{when: $error.status == 503}", 3),
            ("{when: $error.status == 500}", 1),
            ("{exceptWhen: $error.status == 503}", 1),
            ("{exceptWhen: $error.status == 500}", 3),
        ],
    )
    def test_conditions_say_whether_to_retry_at_all(self, retry: str, asked: int) -> None:
        answer = Unsteady(2)
        story = run(retried(retry, "do: [{h: {set: handled}}]"), answer=answer)
        assert answer.asked == asked
        assert story.output == ("handled" if asked == 1 else 3)

    def test_what_is_not_caught_is_not_retried(self) -> None:
        answer = Unsteady(1)
        story = run(retried("{}", "errors: {with: {status: 500}}"), answer=answer)
        assert (answer.asked, story.fault["status"]) == (1, 503)

    def test_a_reusable_policy_is_used_by_its_name(self) -> None:
        document = "use: {retries: {calm: {delay: PT7S}}}" + retried("calm")
        assert run(document.replace("\n        ", "\n"), answer=Unsteady(1)).sleeps == [7]

    def test_delays_cannot_overflow(self) -> None:
        story = run(retried("{delay: P9000D, backoff: {exponential: {}}, limit: {attempt: {count: 9}}}"), answer=Unsteady(8))
        assert max(story.sleeps) == 36500 * 86400

    def test_an_attempt_that_takes_too_long_is_stopped_and_is_a_timeout(self) -> None:
        story = run(
            """
            do:
              - t:
                  try:
                    - group: {do: [{a: {wait: PT30S}}]}
                  catch:
                    errors: {with: {type: https://serverlessworkflow.io/spec/1.0.0/errors/timeout, status: 408}}
                    retry: {limit: {attempt: {count: 2, duration: PT10S}}}
                    do: [{h: {set: "${ $error.instance }"}}]
            """
        )
        assert story.output == "/do/0/t"
        assert story.elapsed == 20
        assert story.lines[:7] == [
            "started t",
            "started group",
            "started a",
            "failed a",
            "failed group",
            "retried t",
            "started group",
        ]
        assert story.counts.started == story.counts.completed + story.counts.failed

    def test_an_attempt_within_its_limit_is_left_alone(self) -> None:
        document = "do: [{t: {try: [{a: {wait: PT9S}}], catch: {retry: {limit: {attempt: {duration: PT10S}}}}}}]"
        assert run(document, {"x": 1}).output == {"x": 1}


class TestWait:
    @pytest.mark.parametrize(
        ("wait", "seconds"),
        [
            ("PT5S", 5),
            ("P1DT1H", 90000),
            ("{days: 1, hours: 2, minutes: 3, seconds: 4, milliseconds: 500}", 93784.5),
            ("'${ .for }'", 90),
            ("PT0S", 0),
        ],
    )
    def test_time_passes_and_the_input_comes_out(self, wait: str, seconds: float) -> None:
        story = run(f"do: [{{w: {{wait: {wait}}}}}]", {"for": "PT1M30S"})
        assert (story.elapsed, story.output) == (seconds, {"for": "PT1M30S"})

    @pytest.mark.parametrize("value", [5, "soon", None, {}])
    def test_an_expression_that_gives_no_duration_is_an_expression_error(self, value: Any) -> None:
        fault = run("do: [{w: {wait: '${ . }'}}]", value).fault
        assert str(fault["type"]).endswith("/expression")
        assert fault["instance"] == "/do/0/w"
