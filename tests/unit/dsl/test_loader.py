"""What the loader, validation and the jq compiler say about documents, and exactly where."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.dsl.cases import ALL, Case

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
        assert part in diagnostic.message
