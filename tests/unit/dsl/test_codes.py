"""Every code that the source can give is in docs/codes.md, and nothing else is; every code about a document has a case."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.unit.dsl.cases import ALL

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "operator" / "workflow_runner"
_FAMILIES = """
auth call cluster dev document duration endpoint event execution expression frame input payload property reference run
schedule schema secret settings sink snapshot state stigmer switch task temporal then variable yaml
"""
_CODE = re.compile(rf"(?:{'|'.join(_FAMILIES.split())})\.[a-z0-9]+(?:-[a-z0-9]+)*")
_PRINTED = re.compile(rf"workflow-runner: ({_CODE.pattern}): ")
_NO_CODES = {"event.with", "input.from", "schedule.on", "temporal.db"}  # strings that only look like codes


def codes_in(tree: ast.AST) -> Iterator[str]:
    """All strings that look like codes, in messages that the command line prints too; and `code = "internal"` and the like."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _CODE.fullmatch(node.value) and node.value not in _NO_CODES:
                yield node.value
            yield from _PRINTED.findall(node.value)
        match node:
            case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))):
                yield code


def test_every_family_of_codes_is_searched_for() -> None:
    """A code given by keyword, in a family that is not listed above, would otherwise go unnoticed."""
    given = {
        keyword.value.value
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    }
    assert {code for code in given if not _CODE.fullmatch(code)} == set()


def source_codes(folder: Path) -> set[str]:
    return {
        code for path in folder.rglob("*.py") if "proto" not in path.parts for code in codes_in(ast.parse(path.read_text()))
    }


def documented() -> dict[str, str]:
    """The rows of the tables of docs/codes.md: code → meaning."""
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", (ROOT / "docs" / "codes.md").read_text(), re.MULTILINE)
    return dict(rows)


def test_every_code_of_the_source_is_documented() -> None:
    found = source_codes(SOURCE)
    assert {"yaml.duplicate-key", "document.invalid", "internal"} <= found, "the search itself is broken"
    assert sorted(found - documented().keys()) == []


def test_no_code_is_documented_that_does_not_exist() -> None:
    assert sorted(documented().keys() - source_codes(SOURCE)) == []


def test_every_documented_code_says_what_it_means_and_what_to_do() -> None:
    for code, row in documented().items():
        meaning, _, remedy = row.partition(" | ")
        assert len(meaning) > 15, code
        assert len(remedy) > 5, code


def test_every_code_about_a_document_has_a_case_with_its_place() -> None:
    about_documents = source_codes(SOURCE / "dsl") | source_codes(SOURCE / "expressions")
    shown = {code for case in ALL for _, _, code, _ in case.expected}
    elsewhere = {
        "document.too-large",
        "document.too-deep",
        "document.too-many-expressions",
        "document.too-many-patterns",
        "yaml.not-utf8",
    }  # test_hostile has them, in documents too large for a table
    assert sorted(about_documents - shown - elsewhere) == []
