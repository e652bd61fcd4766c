"""What is wrong with a document, and where: the messages of the loader and of validation.

The command line prints them, the operator puts them into conditions. Codes are listed in docs/errors.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Literal, TypeAlias

from msgspec import Struct

from workflow_runner.dsl.templates import NOWHERE, Position
from workflow_runner.errors import InvalidDocument

Severity: TypeAlias = Literal["error", "warning"]

MOST = 50
"""At most this many diagnostics of one document are kept."""

_LONGEST_MESSAGE = 500
_LONGEST_NAME = 80
_MOST_NAMES = 500


class Diagnostic(Struct, frozen=True):
    """One message about a document.

    `line` and `column` count from 1, and are 0 when the document was an object rather than text; then the
    place is `pointer`, the JSON pointer of the value that is meant.
    """

    severity: Severity
    code: str
    message: str
    file: str
    line: int
    column: int
    pointer: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else f"{self.file}:{self.pointer or '/'}"
        message = f"warning: {self.message}" if self.severity == "warning" else self.message
        return f"{place}: {self.code}: {message}"


class DocumentErrors(InvalidDocument):
    """A document has errors. `diagnostics` are all that were found, warnings too, in the document's order."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = list(diagnostics)
        errors = [diagnostic for diagnostic in self.diagnostics if diagnostic.severity == "error"]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{errors[0]}{more}", code=errors[0].code)


class Findings:
    """Collects the diagnostics of one document."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[tuple[int, int, str, str, str], Diagnostic] = {}
        self._failed = False

    def error(self, code: str, message: str, pointer: str, position: Position = NOWHERE) -> None:
        """Note something that makes the document invalid."""
        self._failed = True
        self._add("error", code, message, pointer, position)

    def warning(self, code: str, message: str, pointer: str, position: Position = NOWHERE) -> None:
        """Note something that is probably not meant, but can be run."""
        self._add("warning", code, message, pointer, position)

    def _add(self, severity: Severity, code: str, message: str, pointer: str, position: Position) -> None:
        if len(message) > _LONGEST_MESSAGE:
            message = message[: _LONGEST_MESSAGE - 1] + "…"
        found = Diagnostic(severity, code, message, self.file, position.line, position.column, pointer)
        if len(self._found) < 20 * MOST or severity == "error":
            self._found.setdefault((position.line, position.column, pointer, code, message), found)

    def hint(self, name: str, known: Iterable[str]) -> str:
        """`: did you mean 'x'?` for the known name that is closest, or nothing.

        Only for the first mistakes of a document and for names that a person may have typed: comparing is slow.
        """
        if len(self._found) >= MOST or len(name) > _LONGEST_NAME:
            return ""
        from difflib import get_close_matches  # only a document with mistakes pays for this import

        close = get_close_matches(name, [other for other in islice(known, _MOST_NAMES) if len(other) <= _LONGEST_NAME], n=1)
        return f": did you mean {close[0]!r}?" if close else ""

    @property
    def failed(self) -> bool:
        """True when there is an error among them."""
        return self._failed

    def sorted(self) -> list[Diagnostic]:
        """The first of them, by position; never without an error when there is one."""
        ordered = sorted(self._found.values(), key=lambda d: (d.line, d.column))
        kept = ordered[:MOST]
        if self._failed and all(diagnostic.severity == "warning" for diagnostic in kept):
            kept = [diagnostic for diagnostic in ordered if diagnostic.severity == "error"][:MOST]
        return kept

    def raise_errors(self) -> None:
        """Raise DocumentErrors when there is an error."""
        if self._failed:
            raise DocumentErrors(self.sorted())
