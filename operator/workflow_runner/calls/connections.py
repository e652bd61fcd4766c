"""Connections of aiohttp that go to no address that the rules refuse. `calls.http` makes them, and `hosts.event_sink`.

Names are resolved by `connector`; an address that stands in the URL itself is not resolved, and `check_literal` judges it.
Proxies and netrc files of the environment are not used, since no session here is told to trust it.
"""

from __future__ import annotations

import asyncio
import socket
from typing import ClassVar

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL as URL

from workflow_runner.calls.addresses import DEFAULT_RULES as DEFAULT_RULES
from workflow_runner.calls.addresses import AddressRefused as AddressRefused
from workflow_runner.calls.addresses import AddressRules as AddressRules
from workflow_runner.calls.places import Places


def connector(rules: AddressRules, *, limit: int) -> aiohttp.TCPConnector:
    """At most `limit` connections at a time, or with 0 as many as there are calls.

    Where all of a name's addresses are refused, AddressRefused comes out as the `os_error` of a ClientConnectorDNSError.
    """
    return aiohttp.TCPConnector(resolver=_Resolver(rules), limit=limit)


class SharedSession:
    """The connections that all who have the same rules share in one event loop: a process may have a thousand runs.

    A connection carries no credentials from one run to another: they go with each request, no cookie is kept, and one
    that was made with a client certificate is kept apart by the library. Call `release` once; the last one closes them.
    """

    _all: ClassVar[dict[tuple[object, ...], SharedSession]] = {}

    def __init__(self, key: tuple[object, ...], inner: aiohttp.ClientSession, limit: int) -> None:
        self._key = key
        self._users = 0
        self.inner = inner
        self.places = Places(limit)

    @classmethod
    def acquire(cls, rules: AddressRules, *, limit: int) -> SharedSession:
        """The one of this event loop."""
        key = (asyncio.get_running_loop(), rules.entries, limit)
        shared = cls._all.get(key)
        if shared is None:
            session = aiohttp.ClientSession(
                connector=connector(rules, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "workflow-runner"},
            )
            shared = cls._all[key] = cls(key, session, limit)
        shared._users += 1
        return shared

    async def release(self) -> None:
        """It is not used any more by whoever acquired it."""
        self._users -= 1
        if self._users == 0:
            del self._all[self._key]
            await self.inner.close()


def check_literal(rules: AddressRules, asked: object, url: URL) -> None:
    """Raise WorkflowFault for an address in the URL that may not be called. `asked` is what for, in messages."""
    raw = url.raw_host or ""
    if rules.is_passed(raw):
        return
    # Both spellings: which of them is connected to is for the library to say.
    for host in {url.host or "", raw}:
        if ":" in host or host.replace(".", "").isdigit():
            rules.check(asked, host, host)
    rules.passed(raw)


class _Resolver(AbstractResolver):
    """Resolves names to the addresses that may be called: the very ones that are then connected to."""

    def __init__(self, rules: AddressRules) -> None:
        self._rules = rules
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """Raises AddressRefused where none of a name's addresses may be called."""
        found = await self._inner.resolve(host, port, family)
        allowed = self._rules.allowed(host, [one["host"] for one in found])
        left = [one for one in found if one["host"] in allowed]
        if not left:
            raise OSError("the name has no address")
        return left

    async def close(self) -> None:
        """Nothing is open."""
