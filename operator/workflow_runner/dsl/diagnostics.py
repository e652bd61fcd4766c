"""What is wrong with a document, and where: the messages of the loader and of validation.

The command line prints them, the operator puts them into conditions. Codes are listed in docs/codes.md.
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


def place_in(file: str, position: Position, pointer: str) -> str:
    """`file:line:column`, or `file:pointer` in an object."""
    return f"{file}:{position.line}:{position.column}" if position.line else f"{file}:{pointer or '/'}"


class Diagnostic(Struct, frozen=True):
    """One message about a document.

    `line` and `column` count from 1, and are 0 when the document was an object rather than text; then the
    place is `pointer`, the JSON pointer of the value that is meant. `hint` is how to mend it, where that can be said
    of this very place ("did you mean 'set'?"); docs/codes.md says it for every code.
    """

    severity: Severity
    code: str
    message: str
    file: str
    line: int
    column: int
    pointer: str
    hint: str = ""

    @property
    def place(self) -> str:
        """`file:line:column`, or `file:pointer` of an object."""
        return place_in(self.file, Position(self.line, self.column), self.pointer)

    @property
    def text(self) -> str:
        """The message with its hint."""
        return f"{self.message}: {self.hint}" if self.hint else self.message

    def __str__(self) -> str:
        return f"{self.place}: {self.code}: {'warning: ' if self.severity == 'warning' else ''}{self.text}"


class DocumentErrors(InvalidDocument):
    """A document has errors. `diagnostics` are all that were found, warnings too, in the document's order."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = list(diagnostics)
        errors = [diagnostic for diagnostic in self.diagnostics if diagnostic.severity == "error"]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{errors[0]}{more}", code=errors[0].code)


class Findings:
    """Collects the diagnostics of one document.

    With `runnable` false it is enough that the document is one of the language: what this version cannot run yet is
    told as a warning. `start` is the place of what is said about the whole of a text.
    """

    def __init__(self, file: str, *, runnable: bool = True) -> None:
        self.file = file
        self.runnable = runnable
        self.start = NOWHERE
        self.variables: set[str] = set()
        """Names of the variables that loops and catches define, wherever in the document."""
        self._found: dict[tuple[int, int, str, str, str], Diagnostic] = {}
        self._failed = False

    def error(self, code: str, message: str, pointer: str, position: Position = NOWHERE, *, hint: str = "") -> None:
        """Note something that makes the document invalid. `hint` is how to mend it."""
        if not self.runnable and code.endswith(".not-supported-yet"):
            self.warning(code, message, pointer, position, hint=hint)
            return
        self._failed = True
        self._add("error", code, message, pointer, position, hint)

    def warning(self, code: str, message: str, pointer: str, position: Position = NOWHERE, *, hint: str = "") -> None:
        """Note something that is probably not meant, but can be run."""
        self._add("warning", code, message, pointer, position, hint)

    def undefined(
        self, code: str, what: str, name: str, known: Iterable[str], pointer: str, position: Position, *, remedy: str
    ) -> None:
        """Note a name that nothing in the document has: "there is no retry policy 'oftn'".

        The hint is the closest of the `known` names, or else `remedy` ("define it under use.retries").
        """
        hint = self.suggestion(name, known) or remedy
        self.error(code, f"there is no {what} {name!r}", pointer, position, hint=hint)

    def _add(self, severity: Severity, code: str, message: str, pointer: str, position: Position, hint: str) -> None:
        message, hint = _clipped(message), _clipped(hint)
        position = position if position.line else self.start
        found = Diagnostic(severity, code, message, self.file, position.line, position.column, pointer, hint)
        if len(self._found) < 20 * MOST or severity == "error":
            self._found.setdefault((position.line, position.column, pointer, code, message), found)

    def suggestion(self, name: str, known: Iterable[str]) -> str:
        """`did you mean 'x'?` for the known name that is closest, in whatever case it is written, or nothing.

        Only for the first mistakes of a document and for names that a person may have typed: comparing is slow.
        """
        if len(self._found) >= MOST or len(name) > _LONGEST_NAME:
            return ""
        from difflib import get_close_matches  # only a document with mistakes pays for this import

        lowered = {other.lower(): other for other in islice(known, _MOST_NAMES) if len(other) <= _LONGEST_NAME}
        close = get_close_matches(name.lower(), lowered, n=1)
        return f"did you mean {lowered[close[0]]!r}?" if close else ""

    @property
    def failed(self) -> bool:
        """True when there is an error among them."""
        return self._failed

    def sorted(self) -> list[Diagnostic]:
        """The first of them, by position; never without an error when there is one."""
        ordered = sorted(_without_consequences(list(self._found.values())), key=lambda d: (d.line, d.column))
        kept = ordered[:MOST]
        if self._failed and all(diagnostic.severity == "warning" for diagnostic in kept):
            kept = [diagnostic for diagnostic in ordered if diagnostic.severity == "error"][:MOST]
        return kept

    def raise_errors(self) -> None:
        """Raise DocumentErrors when there is an error."""
        if self._failed:
            raise DocumentErrors(self.sorted())


def _without_consequences(found: list[Diagnostic]) -> list[Diagnostic]:
    """What is left when a member that is missing goes unsaid where it is only misspelled, or stands in the wrong place."""
    strays = [each for each in found if each.code in ("property.unknown", "property.misplaced")][:MOST]

    def follows(missing: Diagnostic) -> bool:
        name = missing.message.partition(" needs ")[2]
        return any(
            stray.pointer.startswith(f"{missing.pointer}/")
            and (
                (name in stray.hint and stray.pointer.count("/") == missing.pointer.count("/") + 1)
                or (stray.code == "property.misplaced" and stray.message.startswith(f"{name} "))
            )
            for stray in strays
        )

    return [each for each in found if each.code != "property.missing" or not follows(each)]


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"
