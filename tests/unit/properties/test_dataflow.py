"""Laws of the data flow: what filters do alone and one after the other, for any data."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.interpreter.virtual import run
from tests.unit.properties.documents import Doc, examples, values, workflow

from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.programs import compile_text, single_value

PROGRAMS = [".", "[.]", "{a: .}", "type", "[., .]", "tojson", "[.] | length", "null", "if . then . else [] end"]
programs = st.sampled_from(PROGRAMS)
PASS = {"set": "${ . }"}

few = settings(max_examples=examples(25))


def output(tasks: list[Doc], data: Json, **members: Any) -> Json:
    """The output of a run of a document with these tasks."""
    return run(workflow(tasks, **members), data).output


def jq(program: str, data: Json) -> Json:
    return single_value(compile_text(program), json.dumps(data))


@given(values)
@few
def test_the_identity_changes_nothing_anywhere(data: Json) -> None:
    same = {"input": {"from": "."}, "output": {"as": "."}}
    assert output([{"a": PASS | same}], data, **same) == data
    assert output([], data) == data
    assert output([{"a": {"do": []}}], data) == data


@given(values, programs, programs, programs, programs)
@few
def test_filters_are_applied_in_their_order(data: Json, before: str, first: str, second: str, after: str) -> None:
    task = {"input": {"from": first}, **PASS, "output": {"as": second}}
    found = output([{"a": task}], data, input={"from": before}, output={"as": after})
    assert found == jq(f"({before}) | ({first}) | ({second}) | ({after})", data)


@given(values, programs, programs)
@few
def test_tasks_one_after_the_other_compose_and_a_block_is_the_same(data: Json, first: str, second: str) -> None:
    tasks: list[Doc] = [{"a": PASS | {"output": {"as": first}}}, {"b": PASS | {"output": {"as": second}}}]
    flat = output(tasks, data)
    assert flat == jq(f"({first}) | ({second})", data)
    assert output([{"block": {"do": tasks}}], data) == flat
    assert output([{"block": {"try": tasks, "catch": {}}}], data) == flat
    assert output([{"block": {"for": {"in": "[0]"}, "do": tasks}}], data) == flat
    assert output([{"block": {"fork": {"compete": True, "branches": [{"one": {"do": tasks}}]}}}], data) == flat


@given(values, programs)
@few
def test_a_skipped_task_is_as_if_it_were_not_there(data: Json, program: str) -> None:
    skipped = PASS | {"if": "false", "input": {"from": "error"}, "output": {"as": program}, "export": {"as": program}}
    story = run(workflow([{"a": skipped | {"then": "end"}}, {"b": PASS}]), data)
    assert (story.output, story.context) == (data, {})


@given(st.lists(values, max_size=4), programs)
@few
def test_the_context_is_what_was_exported_last(exported: list[Json], program: str) -> None:
    tasks = [
        {f"t{number}": PASS | {"input": {"from": f"$workflow.input[{number}]"}, "export": {"as": program}}}
        for number in range(len(exported))
    ]
    expected = jq(program, exported[-1]) if exported else {}
    assert run(workflow(tasks), exported).context == expected
    assert output(tasks, exported, output={"as": "$context"}) == expected


@given(st.lists(values, max_size=6))
@few
def test_a_loop_is_a_fold(items: list[Json]) -> None:
    loop = {"for": {"each": "x", "at": "i", "in": "$workflow.input"}, "do": [{"add": {"set": "${ . + [[$i, $x]] }"}}]}
    assert output([{"loop": {"input": {"from": "[]"}, **loop}}], items) == [[at, item] for at, item in enumerate(items)]


@given(values, st.lists(programs, min_size=1, max_size=4))
@few
def test_a_fork_gives_every_branch_the_same_and_keeps_their_order(data: Json, chosen: list[str]) -> None:
    branches = [{f"b{number}": PASS | {"output": {"as": program}}} for number, program in enumerate(chosen)]
    assert output([{"f": {"fork": {"branches": branches}}}], data) == [jq(program, data) for program in chosen]


@given(values)
@few
def test_a_set_of_data_gives_them_untouched(data: Json) -> None:
    assert output([{"a": {"set": {"value": data}}}], None) == {"value": data}
