"""`evaluate.mode: loose`: strings are expressions when they can be."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.interpreter.virtual import run

from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.dsl.templates import Expression, Json
from workflow_runner.expressions.evaluate import evaluate_here

LOOSE = "evaluate: {mode: loose}\n"


def value(text: str, input_: Any = None, **options: Any) -> Json:
    story = run(f"{LOOSE}use: {{secrets: [s]}}\ndo: [{{t: {{set: {{v: {text}}}}}}}]", input_, **options)
    assert isinstance(story.output, dict)
    return story.output["v"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".n", 5),
        ("'${ .n }'", 5),
        (".n + 1", 6),
        ("'[.n, $task.name]'", [5, "t"]),
        ("'\"quoted\"'", "quoted"),
        ("'true'", True),
        ("'7'", 7),
        ("hello", "hello"),
        ("hello world", "hello world"),
        ("'https://x.test/{id}'", "https://x.test/{id}"),
        (".n.m", ".n.m"),
        ("'${ .n.m }'", "${ .n.m }"),
        ("'[range(3)] | .[9] | error'", "[range(3)] | .[9] | error"),
        ("'.n, .n'", ".n, .n"),
        ("now", "now"),
        ("$nothing", "$nothing"),
        ("$secrets.s", "hidden"),
        ("$secrets.undeclared", "$secrets.undeclared"),
        ("'( '", "( "),
        ("''", ""),
        ("{deep: [.n, text]}", {"deep": [5, "text"]}),
    ],
)
def test_a_string_is_what_it_evaluates_to_or_itself(text: str, expected: Json) -> None:
    assert value(text, {"n": 5}, secrets={"s": "hidden"}) == expected


def test_a_missing_secret_is_an_error_all_the_same() -> None:
    assert run(f"{LOOSE}use: {{secrets: [s]}}\ndo: [{{t: {{set: {{v: $secrets.s}}}}}}]").fault["status"] == 403


def test_a_marked_expression_that_does_not_compile_is_invalid() -> None:
    with pytest.raises(DocumentErrors):
        value("'${ .n + }'")


def test_conditions_and_filters_fail_as_in_strict_mode() -> None:
    for task in ("{if: .n.m, set: {a: 1}}", "{set: {a: 1}, output: {as: .a.b}}", "{for: {in: .n.m}, do: []}"):
        assert str(run(f"{LOOSE}do: [{{t: {task}}}]", {"n": 5}).fault["type"]).endswith("/expression")


def test_in_every_place_of_a_task() -> None:
    story = run(
        f"""
        {LOOSE}
        do:
          - a: {{wait: .wait}}
          - b:
              call: http
              with: {{method: post, endpoint: .url, headers: {{X: .wait, Y: text}}, query: .query, body: {{n: .n, m: [.n]}}}}
              timeout: {{after: .wait}}
              output: {{as: {{got: ., text: some text}}}}
          - c: {{set: .got}}
          - d: {{raise: {{error: {{type: 'https://e.test/', status: 507, detail: .n, title: Not found}}}}}}
        """,
        {"wait": "PT2S", "url": "http://x.test/", "query": {"q": 1}, "n": 5},
        answer=lambda _: {"n": "said"},
    )
    assert story.elapsed == 2
    arguments = story.calls[0].arguments
    assert (arguments["method"], arguments["uri"], arguments["query"]) == ("post", "http://x.test/", {"q": 1})
    assert arguments["headers"] == {"X": "PT2S", "Y": "text"}
    assert arguments["body"] == {"n": 5, "m": [5]}
    assert (story.fault["detail"], story.fault["title"]) == ("said", "Not found")


def test_a_uri_template_stays_one() -> None:
    document = f"{LOOSE}do: [{{t: {{call: http, with: {{method: get, endpoint: 'http://x.test/{{id}}'}}}}}}]"
    story = run(document, {"id": 7}, answer=lambda _: None)
    assert story.calls[0].arguments["uri"] == "http://x.test/7"


def test_programs_of_other_languages_are_not_expressions() -> None:
    document = f"{LOOSE}do: [{{t: {{run: {{shell: {{command: date, arguments: [.n, ls]}}}}}}}}]"
    story = run(document, {"n": 5}, answer=lambda _: {"code": 0, "stdout": "", "stderr": ""})
    assert (story.calls[0].arguments["command"], story.calls[0].arguments["arguments"]) == ("date", ["5", "ls"])


def test_only_so_many_strings_are_tried() -> None:
    members = ", ".join(f"a{number}: text{number}" for number in range(3001))
    with pytest.raises(DocumentErrors, match="at most 3,000 are compiled"):
        run(f"{LOOSE}do: [{{t: {{set: {{{members}}}}}}}]")
    same = ", ".join(f"a{number}: text" for number in range(3001))
    assert isinstance(run(f"{LOOSE}do: [{{t: {{set: {{{same}}}}}}}]").output, dict)


def test_in_strict_mode_they_are_text() -> None:
    assert run("evaluate: {mode: strict, language: jq}\ndo: [{t: {set: {v: .n}}}]", {"n": 5}).output == {"v": ".n"}


def test_where_nobody_can_wait_it_is_the_same() -> None:
    assert evaluate_here(Expression(".n.m", otherwise=".n.m"), {"n": 5}, {}) == ".n.m"
