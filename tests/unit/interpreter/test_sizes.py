"""Bounds on the data of a run: what shares its parts is measured as if it were written out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.interpreter.virtual import run

from workflow_runner.dsl.problems import RUNTIME, WorkflowFault
from workflow_runner.interpreter.sizes import DEEPEST, LARGEST, Sizes

DOUBLING = "do: [{{l: {{for: {{in: '[range(40)]'}}, do: [{{s: {0}}}]}}}}]"


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def wide(doublings: int) -> Any:
    value: Any = "x" * 1000
    for _ in range(doublings):
        value = {"a": value, "b": value}
    return value


@pytest.mark.parametrize(
    "task",
    [
        "{set: {a: '${ . }', b: '${ . }'}}",
        "{set: '${ . }', output: {as: {a: '${ . }', b: ['${ . }']}}}",
        "{input: {from: {a: '${ . }', b: '${ . }'}}, set: '${ . }'}",
        "{fork: {branches: [{a: {set: '${ . }'}}, {b: {set: '${ . }'}}]}}",
        "{set: '${ . }', export: {as: {a: '${ $context }', b: '${ $context }', c: '${ . }'}}}",
    ],
    ids=["set", "output", "input", "fork", "export"],
)
def test_data_that_double_each_time_are_refused_in_time(task: str) -> None:
    fault = run(DOUBLING.format(task), {"x": 1}).fault
    assert (fault["type"], fault["status"]) == (RUNTIME, 500)
    assert "larger than 32 MiB" in str(fault["detail"])
    assert str(fault["instance"]).startswith("/do/0/l")


def test_arguments_of_calls_are_bounded() -> None:
    parts = ", ".join(f"p{number}: '${{ . }}'" for number in range(40))
    call = f"{{call: http, with: {{method: post, endpoint: 'http://x.test/', body: {{{parts}}}}}}}"
    fault = run(f"do: [{{c: {call}}}]", "x" * 1_000_000).fault
    assert "larger than 32 MiB" in str(fault["detail"])


def test_data_become_so_deep() -> None:
    document = "do: [{l: {for: {in: '[range($workflow.input.n)]'}, do: [{s: {set: {a: '${ . }'}}}], output: {as: '1'}}}]"
    assert run(document, {"n": DEEPEST - 1}).output == 1
    fault = run(document, {"n": DEEPEST}).fault
    assert (fault["type"], f"more than {DEEPEST} levels" in str(fault["detail"])) == (RUNTIME, True)


@pytest.mark.parametrize(("levels", "fits"), [(DEEPEST, True), (DEEPEST + 1, False), (900, False)])
def test_what_comes_from_outside_has_the_same_bounds(levels: int, fits: bool) -> None:
    call = "do: [{c: {call: http, with: {method: get, endpoint: 'http://x.test/'}}}]"
    by_input, by_answer = run("do: []", nested(levels)), run(call, answer=lambda _: nested(levels))
    if fits:
        assert by_input.output == by_answer.output == nested(levels)
    else:
        assert by_input.fault["instance"] == "/input"
        assert (by_answer.fault["type"], by_answer.fault["instance"]) == (RUNTIME, "/do/0/c")


def test_an_error_of_size_can_be_caught() -> None:
    task = "{try: [{s: {set: {a: '${ . }', b: '${ . }'}}}], catch: {do: [{h: {set: '${ $error.status }', then: end}}]}}"
    assert run(DOUBLING.format(task), {"x": 1}).output == 500


def test_large_data_may_be_passed_on() -> None:
    document = (
        "do: [{l: {for: {in: '[range(200)]'}, do: [{s: {set: {list: '${ .list }', n: '${ $item }'}}}], output: {as: .n}}}]"
    )
    assert run(document, {"list": list(range(300_000))}).output == 199


@pytest.mark.parametrize("value", [wide(0), wide(5), [1, 2.5, True, None, "x"], {"a": {"b": []}, "": [{}] * 50}, []])
def test_a_measure_is_near_the_size_of_the_text(value: Any) -> None:
    sizes = Sizes()
    sizes.check(value, "it")
    if isinstance(value, dict | list):
        weight, _ = sizes._measure(value, "it", 1)
        assert 0.4 * len(json.dumps(value)) <= weight <= 2 * len(json.dumps(value)) + 10


def test_the_bound_is_where_it_is_said() -> None:
    sizes = Sizes()
    sizes.check(["x" * (LARGEST - 100)], "it")
    with pytest.raises(WorkflowFault, match="it is larger than 32 MiB"):
        sizes.check(["x" * LARGEST], "it")


def test_measures_are_remembered_for_few_values() -> None:
    sizes = Sizes()
    for number in range(100):
        sizes.check([number, "x" * 1_000_000], "it")
    assert len(sizes._known) <= 16
    assert sum(weight for _, weight, _ in sizes._known.values()) <= LARGEST
    for number in range(4):
        sizes.check([number, "x" * (LARGEST - 1000)], "it")
    assert len(sizes._known) == 2
