"""How to mend what people get wrong most often: each mistake is told once, where it is, with what to write instead."""

from __future__ import annotations

import pytest
from tests.unit.dsl.cases import HEADER

from workflow_runner.dsl.diagnostics import Diagnostic, DocumentErrors
from workflow_runner.expressions.documents import read_document


def told(text: str) -> list[Diagnostic]:
    try:
        return read_document(text)[1]
    except DocumentErrors as error:
        return error.diagnostics


def lines(text: str) -> list[str]:
    """`line:column: code: hint` of what is told."""
    return [f"{each.line}:{each.column}: {each.code}: {each.hint}" for each in told(text)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("documnet: {}\ndo: []\n", "1:1: property.unknown: did you mean 'document'?"),
        ("do:\n  - a: {set: {x: 1}, then: END}\n", "2:28: then.unknown-target: did you mean 'end'?"),
        ("do:\n  - a:\n    set: {x: 1}\n", "2:5: task.bad-item: indent what belongs to 'a' further than its name"),
        (
            "do:\n  - a: {set: {x: 1}}\n    b: {set: {y: 1}}\n",
            "2:5: task.bad-item: begin each entry with a dash of its own: `- b: …`",
        ),
        ("do:\n  a: {set: {x: 1}}\n", "2:3: property.wrong-type: write a list: each entry begins with a dash, `- a: …`"),
        ("do:\n  - set: {x: 1}\n", "2:10: task.no-kind: the task needs a name of its own around it: `- name: {set: …}`"),
        ("do:\n  - a: {call: http, wiht: {}}\n", "2:21: property.unknown: did you mean 'with'?"),
        ("do:\n  - a: {for: {each: x, in: .a, do: []}}\n", "2:32: property.misplaced: it belongs in a for task, beside 'for'"),
        ("do:\n  - a: {wait: 5s}\n", "2:15: duration.invalid: write {seconds: 5}"),
        ("do:\n  - a: {wait: 250 ms}\n", "2:15: duration.invalid: write {milliseconds: 250}"),
        ("do:\n  - a: {wait: 3 mins}\n", "2:15: duration.invalid: write {minutes: 3}"),
        ("timeout: 1 hour\ndo: []\n", "1:10: reference.unknown-timeout: write {after: {hours: 1}}"),
        ("do:\n  - a: {set: {x: '${ lenght }'}}\n", "2:22: expression.invalid: did you mean 'length'?"),
        (
            "do:\n  - a: {set: {x: '${ map(.a; .b) }'}}\n",
            "2:22: expression.invalid: map takes 1 argument",
        ),
        ("do:\n  - a: {set: {x: '${ $contxt.a }'}}\n", "2:22: expression.unknown-variable: did you mean '$context'?"),
        (
            "do:\n  - a: {for: {each: order, in: .a}, do: [{b: {set: {x: '${ $ordr }'}}}]}\n",
            "2:60: expression.unknown-variable: did you mean '$order'?",
        ),
        (
            "do:\n  - a: {for: {each: order, in: .a}, do: []}\n  - b: {set: {x: '${ $order }'}}\n",
            "3:22: expression.unknown-variable: a loop or a catch defines it elsewhere; it is known only inside of that",
        ),
        ("do:\n  - a: {set: {x: '${ .a + 1'}}\n", "2:18: expression.embedded: write ${ .a + 1 }"),
        ("do:\n\t- a: {set: {x: 1}}\n", "2:1: yaml.syntax: indent with spaces"),
        ("do:\n  - a: @b\n", "2:8: yaml.syntax: put a string that begins with @, ` or % in quotes"),
    ],
)
def test_a_mistake_is_told_once_with_what_to_write(text: str, said: str) -> None:
    header = HEADER if "documnet" not in text else ""
    number, _, rest = said.partition(":")
    assert lines(header + text) == [f"{int(number) + header.count(chr(10))}:{rest}"]


def test_a_member_that_is_missing_is_told_where_none_is_misspelled() -> None:
    assert [each.message for each in told("do: []\n")] == ["a workflow needs 'document'"]
    both = told(HEADER + "do:\n  - a: {call: http, with: {metod: get}}\n")
    assert [each.message for each in both] == ["a call of http needs 'endpoint'", "a call of http has no 'metod'"]


@pytest.mark.parametrize("source", [".a |", ".a | # more", "[.a"])
def test_an_expression_that_ends_too_early_is_told_at_its_end(source: str) -> None:
    [found] = told(HEADER + f"do:\n  - a: {{set: {{x: '${{ {source} }}'}}}}\n")
    assert found.code == "expression.invalid"
    if "[" not in source:
        assert found.message == "jq cannot compile this expression: it ends too early"
        assert found.column == 22 + len(source)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "apiVersion: v1\nkind: ConfigMap\ndata: {}\n",
            "this is a manifest of Kubernetes (ConfigMap), not a workflow document",
        ),
        ("id: x\nspecVersion: '0.8'\nstates: []\n", "this is a workflow of Serverless Workflow 0.8"),
    ],
)
def test_what_is_something_else_is_told_in_one_sentence(text: str, message: str) -> None:
    [found] = told(text)
    assert (found.code, found.message, found.line, found.column) == ("document.other-kind", message, 1, 1)


def test_windows_line_ends_change_no_place() -> None:
    text = HEADER + "do:\n  - a:\n      sett: {x: 1}\n"
    assert lines(text.replace("\n", "\r\n")) == lines(text)
