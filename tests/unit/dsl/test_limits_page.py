"""The table of limits in docs/language.md has the figures that the code has."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "language.md").read_text()
_UNITS = {"Ki": 1024, "KiB": 1024, "Mi": 1024**2, "MiB": 1024**2, "s": 1, "": 1}


def rows() -> list[tuple[str, str, str, str]]:
    table = PAGE.split("\n## Limits\n", 1)[1].split("\n## ", 1)[0]
    found = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table.splitlines() if line.startswith("|")]
    return [row for row in found[2:] if len(row) == 4]


def value_of(place: str) -> Any:
    """The value of `package.module.NAME`, or of a parameter's default (`package.module.Class` `parameter`)."""
    names = re.findall(r"`([^`]+)`", place)
    module, _, name = names[0].rpartition(".")
    found = getattr(importlib.import_module(f"workflow_runner.{module}"), name)
    return inspect.signature(found).parameters[names[1]].default if len(names) > 1 else found


def test_there_is_a_table() -> None:
    assert len(rows()) > 30


@pytest.mark.parametrize(("what", "bound", "beyond", "place"), rows(), ids=lambda cell: str(cell)[:40])
def test_each_bound_is_the_one_that_is_set(what: str, bound: str, beyond: str, place: str) -> None:
    number, _, unit = bound.partition(" ")
    assert value_of(place) == float(number.replace(",", "")) * _UNITS[unit], what
    assert beyond
