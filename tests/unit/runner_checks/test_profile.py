"""Profiles: the documents that checks have runs made of."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.errors import InvalidInput
from workflow_runner.expressions.documents import read_document
from workflow_runner.runner_checks.profile import DEFAULT, NAMES, REQUIRED, read

GOOD: dict[str, Any] = {"succeeds": {"text": "a"}, "fails": {"text": "b"}, "long": {"text": "c"}}


def test_a_profile_needs_three_documents() -> None:
    found = read(GOOD, lambda name: name, "mine.yaml")
    assert (found.succeeds.text, found.fails.text, found.long.text) == ("a", "b", "c")
    assert found.overlong is None


def test_files_are_read_and_input_and_output_are_kept() -> None:
    given = GOOD | {"succeeds": {"file": "x.yaml", "input": {"n": 1}, "output": [1, None]}, "invalid": {"text": "d"}}
    found = read(given, lambda name: f"content of {name}", "mine.yaml")
    assert (found.succeeds.text, found.succeeds.input, found.succeeds.output) == ("content of x.yaml", {"n": 1}, [1, None])
    assert found.invalid.text == "d"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "mine.yaml: it is no object"),
        ([], "mine.yaml: it is no object"),
        ({**GOOD, "sucseeds": {}}, "mine.yaml: there is no 'sucseeds'; a profile has succeeds,"),
        ({"succeeds": {"text": "a"}, "fails": {"text": "b"}}, "mine.yaml: there is no 'long'"),
        ({**GOOD, "long": "c"}, "mine.yaml: long: it has `file` or `text`"),
        ({**GOOD, "long": {}}, "mine.yaml: long: it has `file` or `text`"),
        ({**GOOD, "long": {"text": "a", "file": "b"}}, "mine.yaml: long: it has `file` or `text`"),
        ({**GOOD, "long": {"text": "a", "inputs": {}}}, "mine.yaml: long: it has `file` or `text`"),
        ({**GOOD, "long": {"text": 5}}, "mine.yaml: long: `text` is no text"),
        ({**GOOD, "long": {"text": "a", "input": [1]}}, "mine.yaml: long: `input` is an object"),
        ({**GOOD, "long": {"text": "a", "input": {"x": float("nan")}}}, "mine.yaml: long: `input` is an object"),
        ({**GOOD, "long": yaml.safe_load("{text: a, output: 2026-11-21}")}, "mine.yaml: long: `input` is an object"),
    ],
)
def test_what_is_no_profile_is_refused_with_its_place(content: Any, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(content, lambda name: name, "mine.yaml")
    assert refused.value.message.startswith(said)
    assert refused.value.code == "input.bad-profile"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "invalid"])
def test_the_default_documents_are_valid(name: str) -> None:
    document = getattr(DEFAULT, name)
    workflow, warnings = read_document(document.text, name)
    assert (workflow.document.name, list(warnings)) == (name, [])


def test_the_default_invalid_document_is_refused() -> None:
    with pytest.raises(DocumentErrors):
        read_document(DEFAULT.invalid.text, "invalid")


def test_names_are_those_of_the_fields() -> None:
    assert DEFAULT.__struct_fields__ == NAMES
    assert set(REQUIRED) < set(NAMES)
