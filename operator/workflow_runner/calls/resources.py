"""Documents of other languages that calls need first (OpenAPI, proto): got, read, and kept for the next call.

`calls.Calls` makes one Resources a host. What was read is kept for all hosts of the process, so that
a thousand runs read a document once: KEPT documents and KEPT_BYTES of text at most, the least recently used go first.
One that was got less than FRESH_SECONDS ago is used as it is. An older one is asked for again with its ETag and
Last-Modified, and is used when the server says that it has not changed (304). `Cache-Control: no-store` keeps it
from being kept. Credentials are part of a document's name here: nobody sees what others may.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from workflow_runner.calls.authentication import Policy
from workflow_runner.calls.http import HttpCalls, check_status
from workflow_runner.calls.messages import fault
from workflow_runner.dsl.problems import CONFIGURATION
from workflow_runner.dsl.templates import Json

FRESH_SECONDS = 60.0
KEPT = 64
KEPT_BYTES = 16 * 1024 * 1024

_T = TypeVar("_T")


class _Kept(Struct):
    value: Any
    size: int
    checked: float
    validators: dict[str, str]

    def __repr__(self) -> str:
        """Without the document, which not everybody may see."""
        return f"_Kept(size={self.size!r})"


class _Shelf:
    """What was read, by the digest of where it is and how it was got."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> _Kept | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: str, kept: _Kept) -> None:
        self.drop(key)
        self._kept[key] = kept
        self._bytes += kept.size
        while len(self._kept) > KEPT or self._bytes > KEPT_BYTES:
            self.drop(next(iter(self._kept)))

    def drop(self, key: str) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self._bytes -= old.size


_SHELF = _Shelf()


class Resources:
    """Gets documents for the calls of one host."""

    def __init__(self, http: HttpCalls, *, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._http = http
        self._fresh = fresh_seconds
        self._turns: dict[str, asyncio.Lock] = {}

    async def get(
        self,
        kind: str,
        uri: str,
        read: Callable[[bytes], Awaitable[_T]],
        *,
        largest: int,
        authentication: Mapping[str, Json] | None = None,
    ) -> _T:
        """What `read` makes of the document at an http, https or file URI. `kind` is its name in messages ("OpenAPI document").

        `largest` is the most bytes that it may have. Raises WorkflowFault: `configuration` for a document that is not there
        or too large, what http calls raise for servers, and whatever `read` raises.
        """
        key = hashlib.sha256(f"{kind}\0{uri}\0{Policy(authentication).key if authentication else ''}".encode()).hexdigest()
        turn = self._turns.setdefault(key, asyncio.Lock())
        try:
            async with turn:  # those who come meanwhile find it read
                if urlsplit(uri).scheme == "file":
                    return await self._file(key, kind, uri, read, largest)
                return await self._fetched(key, kind, uri, read, largest, authentication)
        finally:
            if not turn.locked():
                self._turns.pop(key, None)

    async def _file(self, key: str, kind: str, uri: str, read: Callable[[bytes], Awaitable[_T]], largest: int) -> _T:
        text, state = await asyncio.to_thread(_content, kind, uri, largest)
        kept = _SHELF.get(key)
        if kept is None or kept.validators != state:
            kept = _Kept(await read(text), len(text), 0.0, state)
            _SHELF.put(key, kept)
        return cast("_T", kept.value)

    async def _fetched(
        self,
        key: str,
        kind: str,
        uri: str,
        read: Callable[[bytes], Awaitable[_T]],
        largest: int,
        authentication: Mapping[str, Json] | None,
    ) -> _T:
        kept = _SHELF.get(key)
        if kept is not None and time.monotonic() - kept.checked < self._fresh:
            return cast("_T", kept.value)
        arguments: dict[str, Json] = {
            "method": "GET",
            "uri": uri,
            "headers": cast("Json", kept.validators if kept is not None else {}),
            "query": {},
            "output": "raw",
            "redirect": False,
        }
        request, answer = await self._http.send(arguments, idempotency_key="", authentication=authentication)
        now = time.monotonic()
        if answer.status == 304 and kept is not None:
            kept.checked = now
            return cast("_T", kept.value)
        check_status(request, answer)
        if len(answer.body) > largest:
            detail = f"the {kind} of {request} has {len(answer.body)} bytes, more than {largest}"
            raise fault(CONFIGURATION, detail)
        value = await read(answer.body)
        headers = {name.lower(): text for name, text in answer.joined_headers().items()}
        if "no-store" not in headers.get("cache-control", "").lower():
            validators = {"If-None-Match": headers.get("etag", ""), "If-Modified-Since": headers.get("last-modified", "")}
            _SHELF.put(key, _Kept(value, len(answer.body), now, {name: text for name, text in validators.items() if text}))
        else:
            _SHELF.drop(key)
        return value


def path_of(uri: str) -> Path:
    """The file that a `file:` URI means: `file:///a/b` is /a/b; `file://a/b` and `file:a/b` are below the working directory."""
    parts = urlsplit(uri)
    path = unquote(parts.path)
    if parts.netloc and parts.netloc != "localhost":
        path = f"{unquote(parts.netloc)}{path}"
    return Path(path)


def _content(kind: str, uri: str, largest: int) -> tuple[bytes, dict[str, str]]:
    """A file's content, and what tells whether it changed. Only regular files: others may never end."""
    path = path_of(uri)
    shown = f"the {kind} {str(path)!r:.200}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise fault(CONFIGURATION, f"{shown} is no file")
            text = file.read(largest + 1)
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "its name cannot be used"
        raise fault(CONFIGURATION, f"{shown} cannot be read: {reason}") from error
    if len(text) > largest:
        raise fault(CONFIGURATION, f"{shown} has more than {largest} bytes")
    return text, {"state": hashlib.sha256(text).hexdigest()}
