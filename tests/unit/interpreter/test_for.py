"""`for`: what passes give each other, what their tasks may mention, and how a loop ends early."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.interpreter.virtual import run


def test_each_pass_gets_the_output_of_the_one_before_and_the_loops_variables() -> None:
    story = run(
        """
        do:
          - loop:
              for: {each: pet, at: n, in: .pets}
              do:
                - add: {set: {pets: [], names: '${ .names + [[$n, $pet]] }'}}
        """,
        {"pets": ["a", "b"], "names": []},
    )
    assert story.output == {"pets": [], "names": [[0, "a"], [1, "b"]]}


def test_item_and_index_are_the_names_by_default() -> None:
    assert run("do: [{l: {for: {in: '[5, 6]'}, do: [{a: {set: '${ [$item, $index] }'}}]}}]").output == [6, 1]


def test_events_of_a_pass_say_which() -> None:
    story = run("do: [{o: {for: {in: '[1, 2]'}, do: [{i: {for: {in: '[7]'}, do: [{a: {set: 1}}]}}]}}]")
    assert story.lines == [
        "started o",
        "started i[0]",
        "started a[0.0]",
        "completed a[0.0]",
        "completed i[0]",
        "started i[1]",
        "started a[1.0]",
        "completed a[1.0]",
        "completed i[1]",
        "completed o",
        "workflow_completed",
    ]


def test_an_inner_loops_variables_hide_the_outer_ones_only_inside() -> None:
    story = run(
        """
        do:
          - o:
              for: {in: "[1, 2]"}
              do:
                - i: {for: {in: "[10 * $item]"}, do: [{a: {set: "${ $item }"}}]}
                - b: {set: "${ [., $item] }"}
        """
    )
    assert story.output == [20, 2]


@pytest.mark.parametrize("collection", ["[]", ".none"])
def test_an_empty_loop_gives_its_input(collection: str) -> None:
    assert run(f"do: [{{l: {{for: {{in: '{collection}'}}, do: [{{a: {{set: 1}}}}]}}}}]", {"none": []}).output == {"none": []}


@pytest.mark.parametrize(
    ("value", "kind"), [(None, "null"), ("text", "a string"), (5, "a number"), ({}, "an object"), (True, "a boolean")]
)
def test_what_is_no_array_cannot_be_looped_over(value: Any, kind: str) -> None:
    fault = run("do: [{l: {for: {in: .}, do: [{a: {set: 1}}]}}]", value).fault
    assert (fault["status"], fault["instance"]) == (400, "/do/0/l")
    assert str(fault["type"]).endswith("/expression")
    assert kind in str(fault["detail"])


def test_while_is_asked_before_each_pass_over_the_data_so_far_with_the_loops_variables() -> None:
    story = run(
        """
        do:
          - l:
              for: {in: "[1, 2, 3, 4]"}
              while: . + $item < 7
              do: [{a: {set: "${ . + $item }"}}]
        """,
        0,
    )
    assert story.output == 6


def test_while_false_at_first_gives_the_input() -> None:
    assert run("do: [{l: {for: {in: '[1]'}, while: 1 == 2, do: [{a: {set: 1}}]}}]", "in").output == "in"


@pytest.mark.parametrize(
    ("then", "output"),
    [("continue", [1, 2, 3]), ("exit", [1, 2]), ("end", [1, 2])],
)
def test_directives_in_the_body(then: str, output: list[int]) -> None:
    story = run(
        f"""
        do:
          - l:
              for: {{in: "[1, 2, 3]"}}
              do:
                - a: {{set: "${{ . + [$item] }}"}}
                - leave: {{if: $item == 2, wait: PT0S, then: {then}}}
          - after: {{set: '${{ if type == "array" then . else error(1) end }}'}}
        """,
        [],
    )
    assert story.output == output
    assert ("started after" in story.lines) is (then != "end")


def test_the_loops_output_is_transformed_once() -> None:
    assert run("do: [{l: {for: {in: '[1, 2]'}, do: [{a: {set: '${ $item }'}}], output: {as: '[.]'}}}]").output == [2]


def test_tasks_in_loops_are_counted_once_a_pass() -> None:
    counts = run("do: [{l: {for: {in: '[1, 2, 3]'}, do: [{a: {if: $item != 2, set: 1}}]}}]").counts
    assert (counts.started, counts.completed, counts.skipped) == (3, 3, 1)
