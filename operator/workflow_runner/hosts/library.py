"""The documents that `run: workflow` finds: those in some folders. The command line makes one Library a run.

Files are looked at when a workflow is asked for, and again for the next one: they may have changed. Only a file that has
the workflow's name in it is read, and only the one that is chosen is checked.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.dsl.nodes import InvalidText
from workflow_runner.dsl.problems import CONFIGURATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.dsl.text_reader import read_text
from workflow_runner.expressions.documents import read_document

LATEST = "latest"
MOST_FILES = 1000
MOST_FOLDERS = 1000
LARGEST_FILE = 1024 * 1024

_ENDINGS = (".yaml", ".yml", ".json")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?")


class _Found(NamedTuple):
    version: str
    path: Path
    definition: dict[str, Json]


class Library:
    """The documents in `folders`, and those in `trees` and all folders below them. Of two that are the same workflow the
    first counts."""

    def __init__(self, folders: Sequence[Path], trees: Sequence[Path] = ()) -> None:
        self._folders = tuple(folders)
        self._trees = tuple(trees)
        self._checked: dict[tuple[Path, str], dict[str, Json]] = {}

    async def find(self, namespace: str, name: str, version: str) -> dict[str, Json]:
        """The document of this version, or of the highest one for "latest". Raises WorkflowFault (`configuration`: 404 when
        there is none)."""
        return await asyncio.to_thread(self._find, namespace, name, version)

    def _find(self, namespace: str, name: str, version: str) -> dict[str, Json]:
        found: dict[str, _Found] = {}
        for one in self._candidates(namespace, name):
            found.setdefault(one.version, one)
        if version == LATEST and found:
            chosen = max(found.values(), key=lambda one: _order(one.version))
        elif version in found:
            chosen = found[version]
        else:
            known = f"; there is {', '.join(sorted(found))}" if found else ""
            folders = ", ".join(str(folder) for folder in (*self._folders, *self._trees)) or "no folder"
            detail = f"there is no workflow {namespace}/{name} of the version {version} in {folders}{known}"
            raise WorkflowFault(Problem.standard(CONFIGURATION, detail, status=404))
        try:
            read_document(chosen.definition, str(chosen.path))
        except DocumentErrors as error:
            detail = f"the workflow {namespace}/{name} cannot be run: {error}"
            raise WorkflowFault(Problem.standard(CONFIGURATION, detail)) from error
        # The same object each time: what is made from it is then made once.
        key = (chosen.path, chosen.version)
        if self._checked.get(key) != chosen.definition:
            self._checked[key] = chosen.definition
        return self._checked[key]

    def _candidates(self, namespace: str, name: str) -> Iterator[_Found]:
        for path in self._files():
            try:
                with path.open("rb") as file:
                    text = file.read(LARGEST_FILE + 1)
                if len(text) > LARGEST_FILE or name.encode() not in text:
                    continue
                root, complaints = read_text(text)
            except (OSError, InvalidText, DocumentErrors):
                continue
            header: Any = root.json.get("document") if isinstance(root.json, dict) and not complaints else None
            if isinstance(header, dict) and (header.get("namespace"), header.get("name")) == (namespace, name):
                assert isinstance(root.json, dict)  # noqa: S101 - it has a header
                yield _Found(str(header.get("version")), path, root.json)

    def _files(self) -> Iterator[Path]:
        return islice(self._all_files(), MOST_FILES)

    def _all_files(self) -> Iterator[Path]:
        folders = chain(self._folders, *(_below(tree) for tree in self._trees))
        for folder in islice(folders, MOST_FOLDERS):
            with suppress(OSError):
                yield from sorted(path for path in folder.iterdir() if path.suffix in _ENDINGS and path.is_file())


def _below(tree: Path) -> Iterator[Path]:
    """A folder and those below it."""
    for folder, inner, _ in os.walk(tree):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield Path(folder)


def _order(version: str) -> tuple[object, ...]:
    """Semantic versions in their order; what is none comes first."""
    match = _VERSION.match(version)
    if match is None:
        return (False,)
    numbers = tuple(int(match[part]) for part in (1, 2, 3))
    if match[4] is None:
        return (True, numbers, True)
    parts = tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in match[4].split("."))
    return (True, numbers, False, parts)
