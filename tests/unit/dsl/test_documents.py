"""Folders of documents: those in `valid` have no mistakes, each in `wrong` has the one that it is named for, and no other.

The first line of a wrong document is the place where the mistake is told. What would be too large for a file is made here.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.dsl.cases import HEADER
from tests.unit.dsl.test_codes import ROOT
from tests.unit.dsl.test_loader import diagnose

from workflow_runner.dsl.model import MOST_BRANCHES
from workflow_runner.dsl.read_tasks import KINDS
from workflow_runner.dsl.unsupported import CALL_ARGUMENTS
from workflow_runner.expressions.documents import MAX_EXPRESSIONS, MAX_PATTERNS, read_document
from workflow_runner.graph.build import build
from workflow_runner.graph.mermaid import to_mermaid
from workflow_runner.graph.svg import to_svg

HERE = Path(__file__).parent
VALID = sorted((HERE / "valid").iterdir())
WRONG = sorted((HERE / "wrong").iterdir())
LATER = "later-"
"""So begin the names of valid documents that this version cannot run."""

_PATTERNS = ", ".join(f"p{number}: {{pattern: ^x}}" for number in range(MAX_PATTERNS + 1))
_BRANCHES = ", ".join(f"b{number}: {{wait: PT1S}}" for number in range(MOST_BRANCHES + 1))
LARGE = {
    "document.too-large": ("x" * (1024 * 1024 + 1), (1, 1)),
    "document.too-deep": ("a: " + "[" * 200, (1, 131)),
    "document.too-many-expressions": (
        HEADER + "do:\n" + "".join(f"  - t{n}: {{set: {{x: '${{ {n} }}'}}}}\n" for n in range(MAX_EXPRESSIONS + 1)),
        (1, 1),
    ),
    "document.too-many-patterns": (
        HEADER + f"input: {{schema: {{document: {{properties: {{{_PATTERNS}}}}}}}}}\ndo: []\n",
        (1, 1),
    ),
    "task.too-many-branches": (HEADER + f"do:\n  - many: {{fork: {{branches: [{_BRANCHES}]}}}}\n", (3, 29)),
    "expression.too-long": (HEADER + f"do:\n  - long: {{if: '.a{' | .a' * 4000}', set: {{x: 1}}}}\n", (3, 17)),
}
ELSEWHERE = {"document.invalid", "document.too-costly"}
"""One stands in for the others where only one can be told; the other is given by the operator, which has the limits."""


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_document_has_no_mistakes(path: Path) -> None:
    workflow, warnings = read_document(path.read_bytes(), path.name, runnable=False)
    codes = {warning.code for warning in warnings}
    assert codes == ({"task.not-supported-yet"} if path.name.startswith(LATER) else set()), list(map(str, warnings))
    assert [code for code in diagnosed(path) if code not in codes] == []
    assert to_mermaid(build(workflow))
    assert to_svg(build(workflow))


def diagnosed(path: Path) -> list[str]:
    """The codes of everything that is said before a run."""
    return [found.code for found in diagnose(path.read_bytes())]


def test_the_valid_documents_have_every_kind_of_task_and_call() -> None:
    texts = "\n".join(path.read_text() for path in VALID)
    assert [kind for kind in KINDS if not re.search(rf"\b{kind}\"?:", texts)] == []
    assert [name for name in CALL_ARGUMENTS if f"call: {name}" not in texts] == []


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_a_wrong_document_has_the_mistake_that_it_is_named_for(path: Path) -> None:
    source = path.read_bytes()
    place = re.match(rb"# (\d+):(\d+)\n", source)
    assert place is not None
    assert [(found.code, found.line, found.column) for found in diagnose(source)] == [(path.stem, int(place[1]), int(place[2]))]


@pytest.mark.parametrize("code", LARGE)
def test_a_large_document_has_the_mistake_that_it_is_made_for(code: str) -> None:
    text, place = LARGE[code]
    assert [(found.code, (found.line, found.column)) for found in diagnose(text)] == [(code, place)]


def test_no_code_about_documents_lacks_a_document() -> None:
    page = (ROOT / "docs" / "codes.md").read_text()
    parts = [part for part in page.split("\n## ") if part.startswith("Documents: ")]
    codes = {code for part in parts for code in re.findall(r"^\| `([^`]+)` \|", part, re.MULTILINE)}
    assert len(codes) > 50
    assert sorted(codes - {path.stem for path in WRONG} - set(LARGE) - ELSEWHERE) == []
    assert sorted({path.stem for path in WRONG} - codes) == []
