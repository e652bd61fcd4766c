"""Where a run goes next: do, switch, `then`, and how progress is counted."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.interpreter.virtual import run


class TestDo:
    def test_nested_tasks_run_in_order_and_their_last_output_is_the_tasks(self) -> None:
        story = run("do: [{outer: {do: [{a: {set: 1}}, {b: {set: '${ . + 1 }'}}]}}, {c: {set: '${ [.] }'}}]")
        assert story.output == [2]
        assert story.lines == [
            "started outer",
            "started a",
            "completed a",
            "started b",
            "completed b",
            "completed outer",
            "started c",
            "completed c",
            "workflow_completed",
        ]

    def test_references_are_pointers_into_the_document(self) -> None:
        story = run("do: [{x: {set: 1}}, {outer: {do: [{'a/b': {set: 1}}]}}]")
        assert story.events[3].reference == "/do/1/outer/do/0/a~1b"

    def test_an_empty_do_gives_its_input(self) -> None:
        assert run("do: [{a: {do: []}}]", {"x": 1}).output == {"x": 1}


class TestSwitch:
    DOCUMENT = """
        do:
          - choose:
              switch:
                - other: {then: c}
                - small: {when: . < 10, then: a}
                - large: {when: . > 100, then: b}
          - a: {set: a, then: exit}
          - b: {set: b, then: exit}
          - c: {set: c}
        """

    @pytest.mark.parametrize(("value", "output"), [(1, "a"), (1000, "b"), (50, "c")])
    def test_the_first_case_that_holds_is_followed_and_the_default_last(self, value: int, output: str) -> None:
        assert run(self.DOCUMENT, value).output == output

    @pytest.mark.parametrize(("then", "output"), [("", "next"), ("then: b,", "b")])
    def test_where_no_case_holds_the_tasks_own_then_or_the_next_task_follows(self, then: str, output: str) -> None:
        document = f"""
            do:
              - s: {{{then} switch: [{{x: {{when: 1 == 2, then: end}}}}]}}
              - a: {{set: next, then: exit}}
              - b: {{set: b}}
            """
        assert run(document).output == output

    def test_it_gives_its_input_through_its_own_output(self) -> None:
        story = run("do: [{s: {switch: [{x: {then: continue}}], output: {as: '[.]'}}}]", 1)
        assert story.output == [1]

    def test_cases_see_the_transformed_input(self) -> None:
        story = run("do: [{s: {input: {from: .n}, switch: [{x: {when: . == 1, then: end}}]}}, {a: {set: no}}]", {"n": 1})
        assert story.output == 1


class TestDirectives:
    @pytest.mark.parametrize(
        ("then", "output", "ran"),
        [
            ("continue", "b", ["a", "b", "inner", "after"]),
            ("exit", "a", ["a", "inner", "after"]),
            ("end", "a", ["a", "inner"]),
            ("c", "c", ["a", "c", "inner", "after"]),
        ],
    )
    def test_then_acts_within_its_own_list_and_end_on_the_workflow(self, then: str, output: str, ran: list[str]) -> None:
        story = run(
            f"""
            do:
              - inner:
                  do:
                    - a: {{set: a, then: {then}}}
                    - b: {{set: b, then: exit}}
                    - c: {{set: c}}
                  export: {{as: error("an ended container exports nothing")}}
                  if: 1 == 1
              - after: {{wait: PT0S}}
            """
            if then == "end"
            else f"""
            do:
              - inner:
                  do:
                    - a: {{set: a, then: {then}}}
                    - b: {{set: b, then: exit}}
                    - c: {{set: c}}
              - after: {{wait: PT0S}}
            """
        )
        assert story.output == output
        assert [event.task_name for event in story.events if event.type == "task_completed"] == ran

    def test_end_still_transforms_the_workflows_output(self) -> None:
        assert run("output: {as: '[.]'}\ndo: [{x: {do: [{a: {set: 1, then: end}}]}}]").output == [1]

    def test_going_back_visits_a_task_again(self) -> None:
        story = run(
            """
            do:
              - add: {set: "${ . + 1 }"}
              - again: {switch: [{more: {when: . < 3, then: add}}]}
            """,
            0,
        )
        assert story.output == 3
        assert story.lines.count("started add") == 3


class TestProgress:
    def progress(self, document: str, input_: Any = None) -> list[int]:
        return [event.progress for event in run(document, input_).events]

    def test_it_is_the_share_of_root_tasks_done(self) -> None:
        assert self.progress("do: [{a: {set: 1}}, {b: {if: 1 == 2, set: 1}}, {c: {do: [{d: {set: 1}}]}}, {e: {set: 1}}]") == [
            0, 25, 50, 50, 50, 50, 75, 75, 100, 100,
        ]  # fmt: skip

    def test_a_running_root_loop_counts_by_its_passes(self) -> None:
        story = self.progress("do: [{loop: {for: {in: '[1,2,3,4]'}, do: [{a: {set: 1}}]}}, {b: {set: 1}}]")
        assert story == [0, 0, 0, 12, 12, 25, 25, 37, 37, 50, 50, 100, 100]

    def test_a_loop_inside_a_root_task_does_not_count_by_its_passes(self) -> None:
        document = "do: [{o: {do: [{l: {for: {in: '[1, 2]'}, do: [{a: {set: 1}}]}}]}}, {b: {set: 1}}]"
        assert self.progress(document) == [0, 0, 0, 0, 0, 0, 0, 50, 50, 100, 100]

    def test_it_never_falls(self) -> None:
        story = self.progress("do: [{a: {set: '${ . + 1 }'}}, {b: {switch: [{x: {when: . < 3, then: a}}]}}]", 0)
        assert story == sorted(story)
        assert story[-1] == 100

    def test_leaving_early_completes_with_all_of_it(self) -> None:
        assert self.progress("do: [{a: {set: 1, then: end}}, {b: {set: 1}}]")[-1] == 100
