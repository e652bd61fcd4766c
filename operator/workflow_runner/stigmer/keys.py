"""The API key of a process that has it in a file: read again when it changes, or is refused. Built by cli.serve.

Kubernetes replaces a mounted Secret by moving a link, so that the file is another one all at once; other writers change it
in place. Either way every execution that is told of goes on with the new key.

    async with KeyFile(path, destination, relay) as keys:
        relay.track(execution, keys.destination, 0, state)
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec.structs import replace
from pydantic import SecretStr

from workflow_runner import telemetry
from workflow_runner.errors import InvalidInput
from workflow_runner.stigmer.client import Destination
from workflow_runner.stigmer.relay import Relay

LOOK_SECONDS = 5.0
"""How often the file is looked at; a stat, no more, while it stays the same."""
LARGEST_KEY = 16 * 1024

log = logging.getLogger(__name__)


def read_key(path: Path) -> SecretStr:
    """The key in a file, without white space around it. Raises InvalidInput (`stigmer.key-unusable`): it is not there, is
    empty, or holds what no header can hold."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_KEY + 1)
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from error
    try:
        text = data.decode("ascii").strip()
    except UnicodeDecodeError:
        text = "\n"
    telemetry.conceal(text)
    if not text:
        raise _unusable(path, "is empty")
    if not text.isprintable() or len(data) > LARGEST_KEY:
        raise _unusable(path, "holds what cannot be sent in a header")
    return SecretStr(text)


def _unusable(path: Path, why: str) -> InvalidInput:
    return InvalidInput(f"the file {path} with Stigmer's API key {why}", code="stigmer.key-unusable")


class KeyFile:
    """`destination` with the key from a file, kept up to date between `async with` and its end.

    The key that is there last stays in use while the file is missing or unusable: it is being replaced.
    """

    def __init__(self, path: Path, destination: Destination, relay: Relay, *, look_seconds: float = LOOK_SECONDS) -> None:
        """Reads the key; raises InvalidInput when there is none. `destination` is complete but for the key."""
        self._path = path
        self._relay = relay
        self._look_seconds = look_seconds
        self._seen = _identity(path)
        self._refused = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.destination = replace(destination, api_key=read_key(path))
        """Where to tell of a run that begins now."""

    async def __aenter__(self) -> Self:
        self._relay.refused = self._on_refused
        self._task = asyncio.create_task(self._watch(), name="stigmer key")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None  # noqa: S101 - entered
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._relay.refused = lambda destination: None

    def _on_refused(self, destination: Destination) -> None:
        if destination == self.destination:
            self._refused.set()
        elif replace(destination, api_key=self.destination.api_key) == self.destination:
            # Tracked with a key that has been replaced since.
            self._relay.redirect(destination, self.destination)

    async def _watch(self) -> None:
        while True:
            refused = await self._wait()
            identity = await asyncio.to_thread(_identity, self._path)
            if refused or identity != self._seen:
                self._seen = identity
                await self._read_again()

    async def _wait(self) -> bool:
        """Until it is time for a look; whether that is because the key was refused."""
        try:
            async with asyncio.timeout(self._look_seconds):
                await self._refused.wait()
        except TimeoutError:
            return False
        self._refused.clear()
        return True

    async def _read_again(self) -> None:
        try:
            key = await asyncio.to_thread(read_key, self._path)
        except InvalidInput as error:
            log.warning("Stigmer's API key cannot be read again; the former one stays in use", extra={"error": str(error)})
            return
        former = self.destination
        if key.get_secret_value() == former.api_key.get_secret_value():
            return
        self.destination = replace(former, api_key=key)
        self._relay.redirect(former, self.destination)
        log.info("Stigmer's API key was replaced", extra={"endpoint": former.endpoint})


def _identity(path: Path) -> tuple[int, int, int, int] | None:
    """What changes when a file, or the link to it, is replaced or written; None while there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
