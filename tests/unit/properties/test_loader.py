"""Whatever is read, the answer is a workflow or DocumentErrors whose places, codes and sizes are right."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.dsl.test_codes import documented
from tests.unit.properties.documents import document, examples, stories

from workflow_runner.dsl.diagnostics import MOST, Diagnostic, DocumentErrors
from workflow_runner.expressions.documents import read_document

ROOT = Path(__file__).parents[3]
TEXTS = [path.read_text() for kind in ("tasks", "scenarios") for path in sorted((ROOT / "examples" / kind).glob("*/*.yaml"))]
CODES = documented()

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=4),
    max_leaves=12,
)
odd = anything | st.sampled_from(
    ["${ . }", "${", "${ now }", "PT1S", "exit", "${ $secrets.x }", {}, [], "http", "end", "*&", -1]
)


def said(source: str | bytes | dict[str, Any]) -> list[Diagnostic]:
    """What is said about a document; any exception but DocumentErrors is the bug that is looked for."""
    try:
        return read_document(source, "odd.yaml")[1]
    except DocumentErrors as error:
        refused = error
    assert any(found.severity == "error" for found in refused.diagnostics)
    assert len(str(refused)) < 2_000
    return refused.diagnostics


def check(found: list[Diagnostic], source: str | bytes | dict[str, Any]) -> None:
    assert len(found) <= MOST
    assert [(one.line, one.column) for one in found] == sorted((one.line, one.column) for one in found)
    for one in found:
        assert one.code in CODES
        assert one.file == "odd.yaml"
        assert len(one.text) < 1_100
        if isinstance(source, dict):
            assert (one.line, one.column) == (0, 0)
        else:
            assert one.line >= 1, one
            assert one.column >= 1, one


@given(st.binary(max_size=300))
def test_bytes(source: bytes) -> None:
    check(said(source), source)


@given(st.text(max_size=200) | st.text(alphabet="{}[]:,-&*!|>'\"#%@` \n\tabdo01.$\\~?<=", max_size=120))
@settings(max_examples=examples(200))
def test_texts(source: str) -> None:
    check(said(source), source)


@given(st.sampled_from(TEXTS), st.data())
@settings(max_examples=examples(200))
def test_a_text_with_a_part_cut_out_moved_or_doubled(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 40)))
        to = data.draw(st.integers(0, len(text)))
        part = text[start:end]
        text = text[:start] + text[end:]
        if data.draw(st.booleans()):
            text = text[:to] + part * data.draw(st.integers(1, 2)) + text[to:]
    check(said(text), text)


@given(st.dictionaries(st.text(max_size=6), anything, max_size=4))
def test_objects(source: dict[str, Any]) -> None:
    check(said(source), source)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a value."""
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            found += places(inner, (*path, at))
    return found


@given(stories(), st.data())
@settings(max_examples=examples(120), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_a_document_with_values_exchanged_renamed_or_taken_away(tasks: list[Any], data: st.DataObject) -> None:
    source = copy.deepcopy(document(tasks))
    for _ in range(data.draw(st.integers(1, 3))):
        found = places(source)[1:]
        if not found:
            break
        *path, last = data.draw(st.sampled_from(found))
        holder: Any = source
        for part in path:
            holder = holder[part]
        match data.draw(st.integers(0, 3)):
            case 0:
                holder[last] = data.draw(odd)
            case 1 if isinstance(holder, dict):
                holder[data.draw(st.text(max_size=8) | st.just(str(last) + "s"))] = holder.pop(last)
            case 2:
                del holder[last]
            case _:
                holder[last] = {str(last): holder[last]}
    check(said(source), source)
    try:
        text = json.dumps(source)
    except (TypeError, ValueError):
        return
    check(said(text), text)


def test_the_generated_documents_are_valid() -> None:
    """Else the tests of this folder would look at refusals only."""

    @given(stories())
    @settings(max_examples=examples(50), suppress_health_check=[HealthCheck.too_slow])
    def valid(tasks: list[Any]) -> None:
        assert [found for found in said(document(tasks)) if found.severity == "error"] == []

    valid()


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_document_read_as_json_says_the_same(text: str) -> None:
    workflow, warnings = read_document(text)
    again, others = read_document(json.dumps(workflow.definition))
    assert again.definition == workflow.definition
    assert [found.code for found in others] == [found.code for found in warnings]
    assert [task.reference for task in again.tasks()] == [task.reference for task in workflow.tasks()]
