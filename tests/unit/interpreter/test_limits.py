"""Bounds of docs/language.md ("Limits") that no other table has: what a document may make a run do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.interpreter.virtual import HEADER, run

from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.dsl.problems import CONFIGURATION, RUNTIME, VALIDATION
from workflow_runner.dsl.read_events import MOST_FILTERS
from workflow_runner.expressions.documents import read_document
from workflow_runner.expressions.schemas import LARGEST_SCHEMA
from workflow_runner.interpreter.tasks.call_function import DEEPEST, MOST_NESTED
from workflow_runner.interpreter.tasks.listen import LARGEST_OUTPUT


def test_what_a_listener_consumes_has_so_many_characters() -> None:
    events = [
        {"specversion": "1.0", "id": str(number), "source": "/s", "type": "t", "data": "x" * 6_000_000} for number in range(3)
    ]
    arrivals: Any = [(number + 1, event) for number, event in enumerate(events)]
    fault = run("do: [{l: {listen: {to: {any: [], until: '. | length > 100'}}}}]", arrivals=arrivals).fault
    assert (fault["type"], f"{LARGEST_OUTPUT:,}" in str(fault["detail"])) == (RUNTIME, True)


def test_a_listener_has_so_many_filters() -> None:
    def document(count: int) -> str:
        filters = ", ".join(f"{{with: {{type: t{number}}}}}" for number in range(count))
        return f"{HEADER}do: [{{l: {{listen: {{to: {{any: [{filters}]}}}}}}}}]\n"

    read_document(document(MOST_FILTERS), "test.yaml")
    with pytest.raises(DocumentErrors, match=f"at most {MOST_FILTERS} are compared"):
        read_document(document(MOST_FILTERS + 1), "test.yaml")


def chain(length: int) -> str:
    """Functions that call each other, and a task that calls the first."""
    functions = [f"f{number}: {{call: f{number + 1}}}" for number in range(length - 1)] + [f"f{length - 1}: {{set: {{x: 1}}}}"]
    return f"use: {{functions: {{{', '.join(functions)}}}}}\ndo: [{{c: {{call: f0}}}}]"


def test_functions_are_so_deep_in_each_other() -> None:
    assert run(chain(MOST_NESTED)).output == {"x": 1}
    fault = run(chain(MOST_NESTED + 1)).fault
    assert (fault["type"], f"at most {MOST_NESTED} and {DEEPEST}" in str(fault["detail"])) == (CONFIGURATION, True)


def test_a_function_is_inside_so_many_tasks() -> None:
    def document(levels: int) -> str:
        inner = "{call: f}"
        for _ in range(levels):
            inner = f"{{do: [{{d: {inner}}}]}}"
        return f"use: {{functions: {{f: {{set: {{x: 1}}}}}}}}\ndo: [{{a: {inner}}}]"

    assert run(document(40)).output == {"x": 1}
    with pytest.raises((DocumentErrors, AssertionError)):
        assert run(document(DEEPEST + 1)).output == {"x": 1}


def test_a_fetched_schema_has_so_many_characters() -> None:
    document = "do: [{a: {input: {schema: {resource: {endpoint: 'http://x.test/'}}}, set: {x: 1}}}]"
    large = {"type": "object", "description": "x" * LARGEST_SCHEMA}
    fault = run(document, {}, answer=lambda _: large).fault
    assert (fault["type"], f"{LARGEST_SCHEMA:,}" in str(fault["detail"])) == (CONFIGURATION, True)


def test_an_event_has_so_many_characters() -> None:
    document = "do: [{e: {emit: {event: {with: {source: /s, type: t, data: '${ . }'}}}}}]"
    fault = run(document, "x" * 1_100_000, answer=lambda _: None).fault
    assert (fault["type"], "at most 1,048,576" in str(fault["detail"])) == (VALIDATION, True)
    assert json.loads(json.dumps(run(document, "small", answer=lambda _: None).output))["data"] == "small"
