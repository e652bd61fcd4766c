"""Documents that strangers hand in, read and kept: the next run of the same text begins at once. Used by local_executions."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict

from workflow_runner.dsl.diagnostics import Diagnostic, DocumentErrors
from workflow_runner.dsl.model import Workflow
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.checks import Checks

MOST_KEPT = 500
MOST_CHARACTERS = 8 * 1024 * 1024
"""Of the texts of all documents that are kept; what is made from them takes some ten times as much."""
FILE = "workflow_yaml"
"""What messages call a document that came in a message's field of this name."""


class Documents:
    """The newest documents, by their text. Close it when done."""

    def __init__(self, *, most: int = MOST_KEPT, most_characters: int = MOST_CHARACTERS) -> None:
        self._checks = Checks()
        self._most, self._most_characters = most, most_characters
        self._kept: OrderedDict[bytes, tuple[int, Workflow]] = OrderedDict()
        self._characters = 0
        self._reading: dict[bytes, asyncio.Task[Workflow]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def known(self, text: str) -> Workflow | None:
        """The workflow of a text that is kept."""
        found = self._kept.get(digest := _digest(text))
        if found is None:
            return None
        self._kept.move_to_end(digest)
        return found[1]

    async def read(self, text: str) -> Workflow:
        """The workflow of a text, validated. Raises DocumentErrors, checks.TooCostly, or Internal."""
        if (known := self.known(text)) is not None:
            return known
        digest = _digest(text)
        reading = self._reading.get(digest)
        if reading is None:
            reading = self._reading[digest] = asyncio.create_task(self._read(digest, text), name="read a document")
            reading.add_done_callback(lambda _: self._reading.pop(digest, None))
        # Whoever gives up does not take the document from the others.
        return await asyncio.shield(reading)

    async def close(self) -> None:
        """End what is being read."""
        reading = list(self._reading.values())
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        await asyncio.to_thread(self._checks.close)

    async def _read(self, digest: bytes, text: str) -> Workflow:
        found = await self._checks.call(_errors, text)
        if found:
            raise DocumentErrors(found)
        workflow, _ = await asyncio.to_thread(read_document, text, FILE, check=False)
        self._kept[digest] = (len(text), workflow)
        self._characters += len(text)
        while len(self._kept) > self._most or (self._characters > self._most_characters and len(self._kept) > 1):
            _, (characters, _) = self._kept.popitem(last=False)
            self._characters -= characters
        return workflow


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _errors(text: str) -> list[Diagnostic]:
    """What is wrong with a document; empty when nothing is. Runs in the child."""
    try:
        read_document(text, FILE)
    except DocumentErrors as error:
        return error.diagnostics
    except RecursionError:
        return [Diagnostic("error", "document.too-deep", "the document is nested too deeply", FILE, 1, 1, "")]
    return []
