"""Who calls a service of ours: asked by calls.py before anything else of a call.

An `Authenticate` takes the call's Bearer token (None where there is none) and gives the caller; it raises Unauthenticated,
or Temporary where that cannot be found out now.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from workflow_runner import telemetry
from workflow_runner.cluster import Cluster
from workflow_runner.errors import InvalidInput, Unauthenticated
from workflow_runner.hosts.executions import Caller

MOST_KEYS = 100
LARGEST_KEY = 4096
LARGEST_TOKEN = 16 * 1024
CACHE_SECONDS = 60.0
REFUSAL_SECONDS = 5.0
MOST_KNOWN = 2000
REVIEWS_AT_ONCE = 16

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


class ClusterTokens:
    """Tokens of the cluster's users and service accounts, as its API server takes them. Answers hold for CACHE_SECONDS; the
    tokens themselves are not kept."""

    def __init__(self, cluster: Cluster, audience: str | None = None) -> None:
        """Without an audience: the API server's own, which is what `kubectl create token` makes."""
        self._cluster, self._audience = cluster, audience
        self._known: OrderedDict[bytes, tuple[float, Caller | None]] = OrderedDict()
        self._reviews = asyncio.Semaphore(REVIEWS_AT_ONCE)

    async def __call__(self, token: str | None) -> Caller:
        """Whose token it is. Raises Unauthenticated, or ClusterError where the API server cannot be asked."""
        if not token or len(token) > LARGEST_TOKEN:
            raise Unauthenticated("no token: send `authorization: Bearer …`", code="auth.no-token")
        digest, now = hashlib.sha256(token.encode()).digest(), time.monotonic()
        known = self._known.get(digest)
        if known is None or known[0] < now:
            async with self._reviews:
                caller = _reviewed(await self._cluster.review_token(token, self._audience))
            known = (now + (CACHE_SECONDS if caller is not None else REFUSAL_SECONDS), caller)
            self._known[digest] = known
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        if known[1] is None:
            raise Unauthenticated("the cluster does not know this token", code="auth.bad-token")
        return known[1]


def either(keys: Authenticate, tokens: Authenticate) -> Authenticate:
    """A key, else a token of the cluster."""

    async def authenticate(token: str | None) -> Caller:
        try:
            return await keys(token)
        except Unauthenticated:
            return await tokens(token)

    return authenticate


def _reviewed(status: dict[str, Any]) -> Caller | None:
    user = status.get("user") or {}
    if not status.get("authenticated") or not user.get("username"):
        return None
    extra = {str(name): tuple(map(str, values)) for name, values in (user.get("extra") or {}).items()}
    return Caller(str(user["username"]), tuple(map(str, user.get("groups") or ())), str(user.get("uid", "")), extra)
