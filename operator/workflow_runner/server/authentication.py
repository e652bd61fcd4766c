"""Who calls a service of ours: asked by calls.py before anything else of a call.

An `Authenticate` takes the call's Bearer token (None where there is none) and gives the caller; it raises Unauthenticated,
or Temporary where that cannot be found out now.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from workflow_runner import telemetry
from workflow_runner.errors import InvalidInput, Unauthenticated
from workflow_runner.hosts.executions import Caller

MOST_KEYS = 100
LARGEST_KEY = 4096

Authenticate = Callable[[str | None], Awaitable[Caller]]


async def anybody(token: str | None) -> Caller:
    """Everybody may call: for a server that only its own machine reaches, or that certificates guard."""
    return Caller()


class StaticKeys:
    """Keys in files, named for whom they belong to: whoever shows a file's content is that user.

    A file that changes (a Secret that is rotated) holds from the next call on.
    """

    def __init__(self, path: Path, *, prefix: str = "") -> None:
        """`path` is a folder of such files, or one file. The user is `prefix` and the file's name. Raises InvalidInput where
        there is no key."""
        self._path, self._prefix = path, prefix
        self._read: dict[Path, tuple[tuple[int, int, int], bytes]] = {}
        if not self._keys():
            raise InvalidInput(f"there is no key in {path}", code="settings.invalid", hint="put one there, or none is let in")

    async def __call__(self, token: str | None) -> Caller:
        """The caller whose key the token is."""
        if not token:
            raise Unauthenticated("no key: send `authorization: Bearer …`", code="auth.no-token")
        shown = hashlib.sha256(token.encode()).digest()
        found = None
        for name, digest in self._keys().items():  # all of them: how long it takes tells nothing
            if hmac.compare_digest(shown, digest):
                found = name
        if found is None:
            raise Unauthenticated("the key is not one of this runner's", code="auth.bad-token")
        return Caller(user=f"{self._prefix}{found}")

    def _keys(self) -> Mapping[str, bytes]:
        try:
            files = sorted(self._path.iterdir())[:MOST_KEYS] if self._path.is_dir() else [self._path]
        except OSError:
            files = []
        keys = {}
        for file in files:
            if file.name.startswith("."):
                continue  # what Kubernetes puts beside the files of a Secret
            digest = self._digest(file)
            if digest is not None:
                keys[file.name] = digest
        return keys

    def _digest(self, file: Path) -> bytes | None:
        try:
            stat = file.stat()
            version = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            known = self._read.get(file)
            if known is not None and known[0] == version:
                return known[1]
            with file.open("rb") as stream:
                key = stream.read(LARGEST_KEY + 1).strip()
        except OSError:
            return None
        if not key or len(key) > LARGEST_KEY:
            return None
        telemetry.conceal(key.decode(errors="replace"))
        digest = hashlib.sha256(key).digest()
        self._read[file] = (version, digest)
        return digest
