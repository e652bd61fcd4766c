"""docs/language.md names what the code knows: task kinds, what is not supported yet, functions that are refused."""

from __future__ import annotations

import re
from pathlib import Path

from workflow_runner.dsl.fields import STANDARD_VARIABLES
from workflow_runner.dsl.jq_tokens import FORBIDDEN_FUNCTIONS
from workflow_runner.dsl.read_tasks import KINDS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "language.md").read_text()
_OF_MODULES = {"import", "include", "modulemeta", "get_search_list", "get_jq_origin", "get_prog_origin"}


def test_every_kind_of_task_is_in_its_column() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| Tasks |"))
    _, _, supported, later, _ = row.split("|")
    assert {kind for kind in KINDS if f"`{kind}`" in later} - {"call"} == set()
    assert {kind for kind in KINDS if re.search(rf"`{kind}\b", supported)} == set(KINDS)


def test_every_supported_kind_has_an_example() -> None:
    texts = [path.read_text() for path in (ROOT / "examples" / "tasks").glob("*/*.yaml")]
    for kind in KINDS:
        assert any(re.search(rf"^ +{kind}:", text, re.MULTILINE) for text in texts), kind


def test_every_function_that_is_refused_is_named() -> None:
    assert {name for name in FORBIDDEN_FUNCTIONS if f"`{name}`" not in PAGE} == _OF_MODULES


def test_every_variable_is_in_the_table() -> None:
    assert {name for name in STANDARD_VARIABLES if f"`${name}`" not in PAGE} == set()
