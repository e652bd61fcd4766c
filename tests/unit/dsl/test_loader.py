"""What the loader, validation and the jq compiler say about documents, and exactly where."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.dsl.cases import ALL, HEADER, Case

from workflow_runner.dsl.diagnostics import Diagnostic, DocumentErrors
from workflow_runner.expressions.documents import read_document


def diagnose(source: str | bytes | dict[str, Any]) -> list[Diagnostic]:
    """Everything that is said about a document."""
    try:
        return read_document(source, "test.yaml")[1]
    except DocumentErrors as error:
        return error.diagnostics


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_every_mistake_is_told_where_it_is(case: Case) -> None:
    found = diagnose(case.text)
    assert [(d.line, d.column, d.code) for d in found] == [expected[:3] for expected in case.expected]
    for diagnostic, (_, _, _, part) in zip(found, case.expected, strict=True):
        assert part in diagnostic.text


def test_a_message_reads_file_line_column_code() -> None:
    (diagnostic,) = diagnose(HEADER + "do: []\nouptut: {}\n")
    assert str(diagnostic) == "test.yaml:3:1: property.unknown: a workflow has no 'ouptut': did you mean 'output'?"


def test_a_warning_says_so_and_leaves_the_document_valid() -> None:
    workflow, (diagnostic,) = read_document(HEADER + "do:\n  - a: {set: {x: 'a ${ .b }'}}\n", "w.yaml")
    assert diagnostic.severity == "warning"
    assert str(diagnostic).startswith("w.yaml:3:18: expression.embedded: warning: ")
    assert len(workflow.do) == 1


def test_places_in_an_object_are_pointers() -> None:
    document = {
        "document": {"dsl": "1.0.3", "namespace": "a", "name": "b", "version": "1.0.0"},
        "do": [{"a/b": {"set": {"x": 1}, "then": "c"}}, {"d": {"set": {"x": "${ nope }"}}}],
    }
    found = [str(diagnostic) for diagnostic in diagnose(document)]
    assert found[0].startswith("test.yaml:/do/0/a~1b/then: then.unknown-target: ")
    assert found[1].startswith("test.yaml:/do/1/d/set/x: expression.invalid: ")
    assert len(found) == 2


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({1: 2}, "test.yaml:/: document.not-json: the key 1 is not a string"),
        ({"a": {"b": object()}}, "test.yaml:/a/b: document.not-json: a object is not JSON"),
        ({"a": float("nan")}, "test.yaml:/a: document.not-json: JSON has no such number"),
        ({"a": ["\ud800"]}, "test.yaml:/a/0: document.not-json: character 1 is half of a surrogate pair"),
        ({"a": [[0] * 60_000, [0] * 60_000]}, "test.yaml:/a: document.too-large: "),
    ],
    ids=["a key", "a value", "a number", "a string", "the size"],
)
def test_an_object_must_be_json(document: dict[str, Any], expected: str) -> None:
    assert str(diagnose(document)[0]).startswith(expected)


def test_an_object_nested_too_deeply_is_refused() -> None:
    document: dict[str, Any] = {}
    for _ in range(2000):
        document = {"a": document}
    assert [d.code for d in diagnose(document)] == ["document.too-deep"]


def test_a_document_in_json_has_the_same_positions() -> None:
    text = json.dumps({"document": {}, "do": [{"a": {"set": {"x": "${ now }"}}}], "x": "\U0001f600"}, indent=1)
    found = diagnose(text)
    assert {(d.code, text.splitlines()[d.line - 1][d.column - 1 :].strip()) for d in found} == {
        ("property.missing", "{},"),
        ("expression.forbidden", 'now }"'),
        ("property.unknown", '"x": "\\ud83d\\ude00"'),
    }


def test_a_key_twice_in_json_is_told() -> None:
    found = diagnose('{"document": {"dsl": "1.0.3",\n "dsl": 2}}')
    assert [(d.line, d.column) for d in found if d.code == "yaml.duplicate-key"] == [(2, 2)]


def test_yaml_that_begins_with_a_brace_is_yaml() -> None:
    workflow, _ = read_document("{document: {dsl: 1.0.3, namespace: a, name: b, version: 1.0.0}, do: [c: {set: {d: 1}}]}")
    assert [task.name for task in workflow.do] == ["c"]


def test_at_most_fifty_are_told_and_an_error_is_among_them() -> None:
    tasks = "".join(f"  - t{number}: {{set: {{x: 'a ${{ .b }}'}}}}\n" for number in range(80))
    found = diagnose(HEADER + "do:\n" + tasks + "  - last: {set: 5}\n")
    assert len(found) <= 50
    assert [d.severity for d in found] == ["error"]


def test_the_first_error_names_the_exception() -> None:
    with pytest.raises(DocumentErrors, match=r"test.yaml:2:5: .* \(and 1 more\)") as caught:
        read_document(HEADER + "do: 5\nx: 1\n", "test.yaml")
    assert caught.value.code == "property.wrong-type"
