"""Documents that were checked, and what was found: what `validate` makes and its reports read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from workflow_runner.cli.documents import STANDARD_INPUT, read_file
from workflow_runner.dsl.diagnostics import Diagnostic, DocumentErrors
from workflow_runner.errors import InvalidInput
from workflow_runner.expressions.documents import read_document

MOST_FILES = 10_000
"""At most so many documents are taken out of folders."""

_ENDINGS = (".yaml", ".yml", ".json")
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_MANIFEST = re.compile(rb"\A(?=[\s\S]*^apiVersion:)(?=[\s\S]*^kind:)(?![\s\S]*^document:)", re.MULTILINE)
_WORD = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|\$?[^\s,:{}\[\]"']+""")


class Checked(Struct, frozen=True):
    """One document: `workflow` is `namespace/name:version` of a valid one; `trouble` is why a file could not be read."""

    name: str
    lines: Sequence[str]
    diagnostics: Sequence[Diagnostic]
    workflow: str | None = None
    trouble: InvalidInput | None = None

    @property
    def valid(self) -> bool:
        """Whether it can be run; warnings do not count."""
        return self.workflow is not None

    def width(self, diagnostic: Diagnostic) -> int:
        """How many characters of its line a diagnostic is about: a word or a string, at least one."""
        if not 0 < diagnostic.line <= len(self.lines):
            return 1
        match = _WORD.match(self.lines[diagnostic.line - 1], diagnostic.column - 1)
        return len(match[0]) if match else 1


def counts(checked: Iterable[Checked]) -> tuple[int, int]:
    """How many errors and warnings there are; a file that cannot be read is an error."""
    errors = warnings = 0
    for one in checked:
        errors += sum(found.severity == "error" for found in one.diagnostics) + (one.trouble is not None)
        warnings += sum(found.severity == "warning" for found in one.diagnostics)
    return errors, warnings


def check_all(paths: Iterable[Path]) -> Iterator[Checked]:
    """Check files, and the documents in folders, one after the other."""
    for path in paths:
        if path != STANDARD_INPUT and path.is_dir():
            yield from _check_folder(path)
        else:
            yield check(path)


def check(path: Path) -> Checked:
    """Check one file (- is standard input)."""
    try:
        source, name = read_file(path)
    except InvalidInput as error:
        return Checked(str(path), [], [], trouble=error)
    return _check(source, name)


def _check(source: bytes, name: str) -> Checked:
    lines = _BREAK.split(source.decode("utf-8-sig", errors="replace"))
    try:
        workflow, warnings = read_document(source, name, runnable=False)
    except DocumentErrors as error:
        return Checked(name, lines, error.diagnostics)
    head = workflow.document
    return Checked(name, lines, warnings, f"{head.namespace}/{head.name}:{head.version}")


def _check_folder(folder: Path) -> Iterator[Checked]:
    """Every YAML and JSON file in a folder and the folders in it, but hidden ones and manifests of Kubernetes."""
    count = 0
    for path in _files(folder):
        try:
            source, name = read_file(path)
        except InvalidInput as error:
            yield Checked(str(path), [], [], trouble=error)
            continue
        if _MANIFEST.match(source):
            continue
        count += 1
        if count > MOST_FILES:
            yield Checked(str(folder), [], [], trouble=InvalidInput(f"{folder} has more than {MOST_FILES:,} documents"))
            return
        yield _check(source, name)
    if count == 0:
        yield Checked(str(folder), [], [], trouble=InvalidInput(f"{folder} has no documents", code="input.missing"))


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in sorted(files) if name.endswith(_ENDINGS) and not name.startswith("."))
