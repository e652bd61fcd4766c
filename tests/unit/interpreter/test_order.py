"""The life of one task: what is evaluated when, over what, and what expressions may mention."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.interpreter.virtual import run


class TestDataFlow:
    def test_each_task_gets_the_output_of_the_one_before(self) -> None:
        story = run(
            """
            do:
              - a: {set: {n: "${ .n + 1 }"}}
              - b: {set: {n: "${ .n * 10 }"}}
            """,
            {"n": 1},
        )
        assert story.output == {"n": 20}
        assert story.lines == ["started a", "completed a", "started b", "completed b", "workflow_completed"]

    def test_the_workflow_transforms_its_input_and_output(self) -> None:
        story = run(
            """
            input: {from: .order}
            output: {as: "{whole: ., raw: $workflow.input}"}
            do:
              - a: {set: "${ .id }"}
            """,
            {"order": {"id": 7}},
        )
        assert story.output == {"whole": 7, "raw": {"order": {"id": 7}}}

    def test_a_task_transforms_input_then_output_then_exports(self) -> None:
        story = run(
            """
            do:
              - a:
                  input: {from: .inner}
                  set: {seen: "${ . }", input: "${ $input }", raw: "${ $task.input }"}
                  output: {as: "{out: .seen, before: $task.output.seen, input: $input}"}
                  export: {as: "{exported: ., output: $output}"}
              - b: {set: {data: "${ . }", context: "${ $context }"}}
            """,
            {"inner": 5},
        )
        out = {"out": 5, "before": 5, "input": 5}
        assert story.output == {"data": out, "context": {"exported": out, "output": out}}

    def test_context_starts_empty_and_keeps_what_was_exported_last(self) -> None:
        story = run(
            """
            do:
              - a: {set: "${ $context }", export: {as: "$context + {a: 1}"}}
              - b: {set: "${ $context }", export: {as: "$context + {b: 2}"}}
              - c: {set: "${ $context }"}
            """
        )
        assert story.output == {"a": 1, "b": 2}

    def test_transformations_may_be_objects(self) -> None:
        story = run(
            """
            do:
              - a:
                  input: {from: {x: "${ .n }"}}
                  set: "${ .x }"
                  output: {as: {y: "${ . }", fixed: true}}
            """,
            {"n": 3},
        )
        assert story.output == {"y": 3, "fixed": True}

    def test_a_value_that_looks_like_an_expression_is_not_evaluated_again(self) -> None:
        story = run('do: [{a: {set: {x: "${ .text }"}}}, {b: {set: "${ .x }"}}]', {"text": "${ 1 + 1 }"})
        assert story.output == "${ 1 + 1 }"

    def test_integers_that_no_program_touches_keep_their_digits(self) -> None:
        story = run("do: [{a: {set: {n: 123456789012345678901}}}, {b: {do: [{c: {wait: PT1S}}]}}]")
        assert story.output == {"n": 123456789012345678901}


class TestCondition:
    def test_a_skipped_task_passes_its_input_on_and_nothing_else_of_it_counts(self) -> None:
        story = run(
            """
            do:
              - a:
                  if: ${ .go }
                  input: {from: error("never")}
                  set: {x: 1}
                  output: {as: error("never")}
                  export: {as: error("never")}
                  then: end
              - b: {set: "${ [., $context] }"}
            """,
            {"go": False},
        )
        assert story.output == [{"go": False}, {}]
        assert story.lines == ["skipped a", "started b", "completed b", "workflow_completed"]
        assert (story.counts.skipped, story.counts.started, story.counts.completed) == (1, 1, 1)

    @pytest.mark.parametrize(
        ("value", "runs"), [(True, True), (0, True), ("", True), ([], True), (False, False), (None, False)]
    )
    def test_only_false_and_null_do_not_hold(self, value: Any, runs: bool) -> None:
        assert (run("do: [{a: {if: ., set: ran}}]", value).output == "ran") is runs

    def test_the_condition_sees_the_raw_input(self) -> None:
        assert run("do: [{a: {if: .x == 1, input: {from: .y}, set: '${ . }'}}]", {"x": 1, "y": 2}).output == 2


class TestArguments:
    def test_task_and_workflow_and_runtime_describe_themselves(self) -> None:
        story = run("do: [{a: {set: {t: '${ $task }', w: '${ $workflow }', r: '${ $runtime }'}}}]", {"in": 1})
        got: Any = story.output
        started = {"iso8601": "2026-01-01T00:00:00Z", "epoch": {"seconds": 1767225600, "milliseconds": 1767225600000}}
        assert got["t"]["name"] == "a"
        assert got["t"]["reference"] == "/do/0/a"
        assert got["t"]["definition"] == {"set": {"t": "${ $task }", "w": "${ $workflow }", "r": "${ $runtime }"}}
        assert got["t"]["input"] == {"in": 1}
        assert got["t"]["startedAt"] == started
        assert got["w"]["id"] == "exec-1"
        assert got["w"]["definition"]["document"]["name"] == "test"
        assert (got["w"]["input"], got["w"]["startedAt"]) == ({"in": 1}, started)
        assert got["r"] == {"name": "workflow-runner", "version": "9.9", "metadata": {}}

    def test_startedAt_is_when_the_task_began(self) -> None:  # noqa: N802 - the language's own name
        story = run("do: [{a: {wait: PT5S}}, {b: {set: '${ $task.startedAt.epoch.seconds }'}}]")
        assert story.output == 1767225605

    def test_secrets_may_be_used_anywhere(self) -> None:
        story = run(
            """
            use: {secrets: [token]}
            do:
              - a: {if: $secrets.token.v == 1, input: {from: $secrets.token}, set: "${ [., $secrets.token] }"}
            """,
            secrets={"token": {"v": 1}, "undeclared": 2},
        )
        assert story.output == [{"v": 1}, {"v": 1}]

    def test_a_declared_secret_without_a_value_is_an_authorization_error_where_it_is_used(self) -> None:
        story = run(
            """
            use: {secrets: [token, other]}
            do: [{a: {set: 1}}, {b: {set: "${ $secrets.token }"}}]
            """,
            secrets={"other": 1},
        )
        assert story.fault["type"] == "https://serverlessworkflow.io/spec/1.0.0/errors/authorization"
        assert (story.fault["status"], story.fault["instance"]) == (403, "/do/1/b")
        assert "token" in str(story.fault["detail"])


class TestFaults:
    @pytest.mark.parametrize(
        "task",
        [
            "{if: error(1), set: 1}",
            "{input: {from: error(1)}, set: 1}",
            "{set: '${ error(1) }'}",
            "{set: 1, output: {as: error(1)}}",
            "{set: 1, export: {as: error(1)}}",
        ],
        ids=["if", "input", "task", "output", "export"],
    )
    def test_a_failing_expression_of_a_task_faults_at_the_task(self, task: str) -> None:
        story = run(f"do: [{{a: {task}}}, {{b: {{set: 1}}}}]")
        assert story.fault["type"] == "https://serverlessworkflow.io/spec/1.0.0/errors/expression"
        assert (story.fault["status"], story.fault["instance"]) == (400, "/do/0/a")
        assert story.lines == ["started a", "failed a", "workflow_failed"]
        assert story.events[1].error == story.events[2].error
        assert (story.counts.started, story.counts.failed) == (1, 1)

    @pytest.mark.parametrize("where", ["input: {from: error(1)}", "output: {as: error(1)}"])
    def test_a_failing_expression_of_the_workflow_faults_at_its_pointer(self, where: str) -> None:
        story = run(f"{where}\ndo: [{{a: {{set: 1}}}}]")
        pointer = "/input/from" if where.startswith("input") else "/output/as"
        assert story.fault["instance"] == pointer
