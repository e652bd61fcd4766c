"""`call: http`: the request that the interpreter asks its host for."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.interpreter.virtual import run

from workflow_runner.dsl.problems import COMMUNICATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.effects import Call


def asked(with_: str, input_: Any = None) -> dict[str, Any]:
    story = run(f"do: [{{c: {{call: http, with: {with_}}}}}]", input_, answer=lambda _: None)
    (call,) = story.calls
    assert (call.protocol, call.reference) == ("http", "/do/0/c")
    return dict(call.arguments)


def test_arguments_are_evaluated_over_the_tasks_input() -> None:
    got = asked(
        """{method: post, endpoint: "http://x.test/{id}", headers: {A: "${ .a }"}, query: {q: "${ .q }"},
            body: {whole: "${ . }"}, output: response, redirect: true}""",
        {"id": 7, "a": "x", "q": [1]},
    )
    assert got == {
        "method": "post",
        "uri": "http://x.test/7",
        "headers": {"A": "x"},
        "query": {"q": [1]},
        "body": {"whole": {"id": 7, "a": "x", "q": [1]}},
        "output": "response",
        "redirect": True,
    }


def test_what_is_not_given_has_the_languages_defaults() -> None:
    assert asked("{method: get, endpoint: 'http://x.test/'}") == {
        "method": "get",
        "uri": "http://x.test/",
        "headers": {},
        "query": {},
        "output": "content",
        "redirect": False,
    }


def test_headers_and_query_may_be_whole_expressions() -> None:
    got = asked("{method: get, endpoint: 'http://x.test/', headers: '${ .h }', query: '${ .q }'}", {"h": {"A": "1"}, "q": {}})
    assert (got["headers"], got["query"]) == ({"A": "1"}, {})


@pytest.mark.parametrize(
    ("endpoint", "uri"),
    [
        ("http://x.test/{id}/{name}", "http://x.test/5/a%20b%2F%C3%BC"),
        ("http://x.test/{yes}/{no}/{half}", "http://x.test/true/false/0.5"),
        ("http://x.test/{nothing}-{missing}-", "http://x.test/--"),
        ("http://x.test/{a.b}/{a-b}", "http://x.test/dot/dash"),
        ("http://x.test/{id,name}", "http://x.test/5,a%20b%2F%C3%BC"),
        ('${ "http://x.test/{id}?n=\\(.id)" }', "http://x.test/{id}?n=5"),
    ],
)
def test_uri_templates_take_top_level_properties(endpoint: str, uri: str) -> None:
    data = {"id": 5, "name": "a b/ü", "yes": True, "no": False, "half": 0.5, "nothing": None, "a.b": "dot", "a-b": "dash"}
    assert asked(f"{{method: get, endpoint: '{endpoint}'}}", data)["uri"] == uri


def test_input_that_is_no_object_has_no_properties() -> None:
    assert asked("{method: get, endpoint: 'http://x.test/{id}'}", [1])["uri"] == "http://x.test/"


@pytest.mark.parametrize(
    "with_",
    [
        "{method: get, endpoint: 'http://x.test/{list}'}",
        "{method: get, endpoint: '${ .list }'}",
        "{method: '${ .list }', endpoint: 'http://x.test/'}",
        "{method: get, endpoint: 'http://x.test/', headers: '${ .list }'}",
        "{method: get, endpoint: 'http://x.test/', query: '${ .list }'}",
    ],
    ids=["template", "endpoint", "method", "headers", "query"],
)
def test_values_of_the_wrong_kind_are_expression_errors(with_: str) -> None:
    fault = run(f"do: [{{c: {{call: http, with: {with_}}}}}]", {"list": []}).fault
    assert str(fault["type"]).endswith("/expression")
    assert (fault["status"], fault["instance"]) == (400, "/do/0/c")


def test_a_failing_call_faults_at_its_task() -> None:
    def refuse(_request: Call) -> Json:
        raise WorkflowFault(Problem.standard(COMMUNICATION, "no", status=503))

    story = run("do: [{c: {call: http, with: {method: get, endpoint: 'http://x.test/'}}}]", answer=refuse)
    assert (story.fault["status"], story.fault["instance"]) == (503, "/do/0/c")


def test_the_output_of_the_call_flows_on() -> None:
    document = "do: [{c: {call: http, with: {method: get, endpoint: 'http://x.test/'}, output: {as: .a}}}]"
    assert run(document, answer=lambda _: {"a": 1}).output == 1


def test_every_visit_of_every_task_has_its_own_idempotency_key() -> None:
    call = "{call: http, with: {method: post, endpoint: 'http://x.test/'}, output: {as: $input}}"
    story = run(
        f"""
        do:
          - loop: {{for: {{in: "[1, 2]"}}, do: [{{a: {call}}}, {{b: {call}}}]}}
          - group: {{do: [{{a: {call}}}], output: {{as: . + 1}}}}
          - again: {{switch: [{{more: {{when: . < 3, then: group}}}}]}}
        """,
        0,
        answer=lambda _: None,
    )
    keys = [call.idempotency_key for call in story.calls]
    assert len(keys) == 7
    assert len(set(keys)) == 7
    assert all(len(key) == 64 for key in keys)


def test_keys_of_other_executions_and_runs_differ() -> None:
    def key(**names: str) -> str:
        document = "do: [{c: {call: http, with: {method: post, endpoint: 'http://x.test/'}}}]"
        return run(document, answer=lambda _: None, **names).calls[0].idempotency_key

    assert len({key(), key(execution_id="other"), key(run_id="other")}) == 3
    assert key() == key()
