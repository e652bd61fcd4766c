"""Evaluating templates: values, variables, failures, and which programs leave the process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_runner.dsl.problems import AUTHORIZATION, EXPRESSION, WorkflowFault
from workflow_runner.dsl.templates import ArrayTemplate, Expression, Json, Literal, ObjectTemplate
from workflow_runner.expressions.evaluate import JqRequest, NeedsWorker, evaluate, evaluate_here, truthy
from workflow_runner.expressions.programs import EvaluationFailed, compile_text, single_value

DATA: Json = {"a": {"b": 1, "c": [1, 2, 3]}, "name": "Ada", "none": None, "yes": True}
VARIABLES: Mapping[str, Json] = {"context": {"n": 5}, "item": [1, 2], "secrets": {"token": "hush-hush"}}


def expression(source: str, *variables: str, secrets: tuple[str, ...] = ()) -> Expression:
    return Expression(source, variables, secrets)


async def no_worker(request: JqRequest) -> Json:
    raise AssertionError(f"nothing was to leave the process: {request.program}")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        (".", DATA),
        (" . ", DATA),
        (".a.b", 1),
        (".a.x", None),
        (".a.x.y", None),
        (".none.x", None),
        (".a.c[1]", 2),
        (".a.c | length", 3),
        ('"Hello \\(.name)"', "Hello Ada"),
        ("[.a.c[] | . * 2]", [2, 4, 6]),
        ("{name, n: .a.b}", {"name": "Ada", "n": 1}),
        ("empty", None),
        ("null", None),
        (".a.c | map(select(. > 1)) | add", 5),
        ("1.0", 1),
        ("0.1 + 0.2", 0.30000000000000004),
        ("nan", None),
        ("{a: [nan, 1]}", {"a": [None, 1]}),
        (". as {a: {b: $x}} | $x", 1),
        ("{now: 1, env: 2, input: 3} | .now + .env + .input", 6),
        ('"now"', "now"),
        ("1 # a comment", 1),
        (".a\n | .b", 1),
        ('"é" | length', 1),
        ('"\\u0000" | length', 1),
    ],
)
def test_programs_over_data(source: str, value: Json) -> None:
    result = evaluate_here(expression(source), DATA, {})
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("source", "variables", "value"),
    [
        ("$item", ("item",), [1, 2]),
        ("$context.n", ("context",), 5),
        ("$context.n + .a.b", ("context",), 6),
        ("$item | length", ("item",), 2),
        ("$context.n + ($item | add)", ("context", "item"), 8),
        ("[$item[] + $context.n]", ("context", "item"), [6, 7]),
        ("1 as $item | $item", ("item",), 1),
    ],
)
def test_programs_over_variables(source: str, variables: tuple[str, ...], value: Json) -> None:
    assert evaluate_here(expression(source, *variables), DATA, VARIABLES) == value


class Lazy(Mapping[str, Json]):
    """Variables that say which of them were looked up."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> Json:
        self.asked.append(name)
        return VARIABLES[name]

    def __iter__(self) -> Iterator[str]:
        return iter(VARIABLES)

    def __len__(self) -> int:
        return len(VARIABLES)


def test_only_the_variables_that_are_mentioned_are_looked_up() -> None:
    lazy = Lazy()
    evaluate_here(expression("$context.n + 1", "context"), DATA, lazy)
    evaluate_here(expression(".a.b + 1"), DATA, lazy)
    assert lazy.asked == ["context"]


def test_templates_are_evaluated_inside_and_literals_are_shared() -> None:
    fixed: Json = {"deep": [1]}
    template = ObjectTemplate(
        (
            ("fixed", Literal(fixed)),
            ("list", ArrayTemplate((expression(".name"), Literal(2)))),
            ("inner", ObjectTemplate((("x", expression("$item[0]", "item")),))),
        )
    )
    value = evaluate_here(template, DATA, VARIABLES)
    assert value == {"fixed": {"deep": [1]}, "list": ["Ada", 2], "inner": {"x": 1}}
    assert isinstance(value, dict)
    assert value["fixed"] is fixed


def test_what_comes_out_is_not_evaluated_again() -> None:
    assert evaluate_here(expression(".text"), {"text": "${ .name }"}, {}) == "${ .name }"


@pytest.mark.parametrize("source", [".big", ".", ".inner.big", "$item", "$item.big"])
def test_long_integers_keep_their_digits_where_jq_is_not_needed(source: str) -> None:
    big = 12345678901234567890123
    data: Json = {"big": big, "inner": {"big": big}}
    value = evaluate_here(expression(source, "item"), data, {"item": data})
    assert str(big) in str(value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (".name.x", 'Cannot index string with string ("x")'),
        (".a.c.x", 'Cannot index array with string ("x")'),
        (".yes.x.y", 'Cannot index boolean with string ("x")'),
        (".a.b.x", 'Cannot index number with string ("x")'),
        (".a.c[]", "more than one value"),
        ('error("no luck")', "no luck"),
        (".name + 1", "cannot be added"),
        ("{} | .a.b.c |= error", "null"),
    ],
)
def test_a_failure_is_an_expression_error_with_the_program_and_the_reason(source: str, said: str) -> None:
    with pytest.raises(WorkflowFault) as caught:
        evaluate_here(expression(source), DATA, {})
    problem = caught.value.problem
    assert (problem.type, problem.status, problem.instance) == (EXPRESSION, 400, None)
    assert problem.detail is not None
    assert problem.detail.startswith(f"${{ {source} }}: ")
    assert said in problem.detail


def test_messages_are_short() -> None:
    with pytest.raises(WorkflowFault) as caught:
        evaluate_here(expression("error(.text)"), {"text": "x" * 5000}, {})
    assert len(caught.value.problem.detail or "") < 500


def test_a_failure_of_a_program_with_secrets_tells_no_values() -> None:
    with pytest.raises(WorkflowFault) as caught:
        evaluate_here(expression("$secrets.token + 1", "secrets", secrets=("token",)), DATA, VARIABLES)
    assert "hush" not in str(caught.value.problem)
    assert "$secrets" in (caught.value.problem.detail or "")


def test_a_declared_secret_without_a_value_is_an_authorization_error() -> None:
    with pytest.raises(WorkflowFault) as caught:
        evaluate_here(expression("$secrets.key", "secrets", secrets=("key",)), DATA, VARIABLES)
    assert (caught.value.problem.type, caught.value.problem.status) == (AUTHORIZATION, 403)
    assert "key" in (caught.value.problem.detail or "")


async def test_programs_that_are_not_bounded_and_large_data_go_to_the_worker() -> None:
    requests: list[JqRequest] = []

    async def worker(request: JqRequest) -> Json:
        requests.append(request)
        return single_value(compile_text(request.program), request.payload)

    large: Json = {"text": "x" * 70_000}
    assert await evaluate(expression("[range(3)]"), 1, {}, worker) == [0, 1, 2]
    assert await evaluate(expression(".text | length"), large, {}, worker) == 70_000
    assert await evaluate(expression("$item.text | length", "item"), 1, {"item": large}, worker) == 70_000
    assert len(requests) == 3
    assert await evaluate(expression(".text"), large, {}, no_worker) == "x" * 70_000
    assert await evaluate(expression(".a + 1"), {"a": 1}, {}, no_worker) == 2


async def test_what_the_worker_refuses_is_an_expression_error() -> None:
    async def worker(_: JqRequest) -> Json:
        raise EvaluationFailed("it took longer than 10 seconds")

    with pytest.raises(WorkflowFault, match=r"\$\{ \[range\(3\)\] \}: it took longer") as caught:
        await evaluate(expression("[range(3)]"), 1, {}, worker)
    assert caught.value.problem.type == EXPRESSION


def test_who_cannot_wait_is_told_so() -> None:
    with pytest.raises(NeedsWorker):
        evaluate_here(expression("[range(3)]"), 1, {})


@pytest.mark.parametrize("depth", [2000, 100_000])
def test_data_nested_too_deeply_is_an_expression_error(depth: int) -> None:
    deep: Json = []
    for _ in range(depth):
        deep = [deep]
    with pytest.raises(WorkflowFault, match="nested too deeply"):
        evaluate_here(expression("length"), deep, {})


def test_a_program_that_jq_refuses_is_an_expression_error_when_nobody_checked_it() -> None:
    with pytest.raises(WorkflowFault, match=r"\$nope is not defined"):
        evaluate_here(expression("$nope + 1"), 1, {})


@pytest.mark.parametrize(
    ("value", "holds"),
    [(None, False), (False, False), (True, True), (0, True), ("", True), ([], True), ({}, True), ("false", True)],
)
def test_only_false_and_null_do_not_hold(value: Json, holds: bool) -> None:
    assert truthy(value) is holds


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@given(_json, st.lists(st.sampled_from("abcd"), max_size=3), st.booleans())
def test_paths_answer_as_jq_does(data: Any, members: list[str], of_a_variable: bool) -> None:
    path = "".join(f".{name}" for name in members)
    source = f"$item{path}" if of_a_variable else path or "."
    quick = outcome(source, data, of_a_variable)
    # The brackets make it a program that is no path, so that jq answers.
    assert quick == outcome(f"({source})", data, of_a_variable)


def outcome(source: str, data: Json, of_a_variable: bool) -> object:
    try:
        if of_a_variable:
            return evaluate_here(expression(source, "item"), None, {"item": data})
        return evaluate_here(expression(source), data, {})
    except WorkflowFault as fault:
        return (fault.problem.detail or "").split(": ", 1)[1]
