"""`validate --format text`: each finding with its line of source, a caret below it, and how to mend it.

The first line of a finding is `file:line:column: code: message`, which editors and scripts can read.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from typing import TextIO

from workflow_runner.cli.checked import Checked, counts
from workflow_runner.cli.codes_page import remedy
from workflow_runner.dsl.diagnostics import MOST, Diagnostic

_WIDEST = 110
_COLOURS = {"error": "31", "warning": "33", "bold": "1", "blue": "34", "dim": "2"}


class TextReport:
    """Findings go to one stream, the names of valid documents to another; colours only to a terminal."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out, self._err = out, err
        self._coloured = err.isatty() and not os.environ.get("NO_COLOR")
        self._count = 0

    def tell(self, one: Checked) -> None:
        """One document."""
        self._count += 1
        if one.trouble is not None:
            print(f"workflow-runner: {one.trouble.code}: {one.trouble}", file=self._err)
        for diagnostic in one.diagnostics:
            self._tell(diagnostic, one)
        if len(one.diagnostics) >= MOST:
            print(f"{printable(one.name)}: these are the first {MOST}; there may be more", file=self._err)
        if one.valid:
            self._err.flush()
            print(f"{one.name}: {one.workflow} is valid", file=self._out, flush=True)

    def close(self, checked: Iterable[Checked]) -> None:
        """The closing count."""
        errors, warnings = counts(checked)
        print(f"{_many(self._count, 'document')}: {_many(errors, 'error')}, {_many(warnings, 'warning')}", file=self._err)

    def _tell(self, diagnostic: Diagnostic, one: Checked) -> None:
        mark = self._paint("warning: ", "warning") if diagnostic.severity == "warning" else ""
        code = self._paint(diagnostic.code, diagnostic.severity)
        head = f"{self._paint(printable(diagnostic.place), 'bold')}: {code}: {mark}{printable(diagnostic.message)}"
        print(head, file=self._err)
        margin = " " * 4
        if 0 < diagnostic.line <= len(one.lines):
            source, before, width = excerpt(one.lines[diagnostic.line - 1], diagnostic.column, one.width(diagnostic))
            margin = " " * max(4, len(str(diagnostic.line)) + 1)
            number, bar = self._paint(f"{diagnostic.line:>{len(margin)}}", "blue"), self._paint("|", "blue")
            caret = self._paint("^" * width, diagnostic.severity)
            print(f"{number} {bar} {source}\n{margin} {bar} {before}{caret}", file=self._err)
        print(f"{margin} {self._paint('=', 'blue')} {printable(diagnostic.hint or remedy(diagnostic.code))}", file=self._err)

    def _paint(self, text: str, colour: str) -> str:
        return f"\033[{_COLOURS[colour]}m{text}\033[0m" if self._coloured else text


def excerpt(line: str, column: int, width: int) -> tuple[str, str, int]:
    """The part of a line that is shown, what fills the line below up to the column, and how many columns are marked."""
    start = max(0, column - 1 - _WIDEST // 2) if len(line) > _WIDEST else 0
    shown = line[start : start + _WIDEST]
    ahead = "…" if start else ""
    at = column - 1 - start
    before = ahead + printable(shown[:at])
    marked = shown[at : at + width]
    after = "…" if start + _WIDEST < len(line) else ""
    return before + printable(shown[at:]) + after, " " * _columns(before), max(1, _columns(printable(marked)))


def printable(text: str) -> str:
    """The text without what a terminal would obey; tabs become spaces."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if one == "\t" else one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def _columns(text: str) -> int:
    """The columns of a terminal that a text takes: East Asian letters take two, combining marks none."""
    return sum(0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF") for one in text)


def _many(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"
