"""Connections of aiohttp that go to no address that the rules refuse. `calls.http` makes them, and `hosts.event_sink`.

Names are resolved by `connector`; an address that stands in the URL itself is not resolved, and `check_literal` judges it.
Proxies and netrc files of the environment are not used, since no session here is told to trust it.
"""

from __future__ import annotations

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL as URL

from workflow_runner.calls.addresses import AddressRefused as AddressRefused
from workflow_runner.calls.addresses import AddressRules as AddressRules


def connector(rules: AddressRules, *, limit: int) -> aiohttp.TCPConnector:
    """At most `limit` connections at a time; where all of a name's addresses are refused, AddressRefused comes out as
    the `os_error` of a ClientConnectorDNSError."""
    return aiohttp.TCPConnector(resolver=_Resolver(rules), limit=limit)


def check_literal(rules: AddressRules, asked: object, url: URL) -> None:
    """Raise WorkflowFault for an address in the URL that may not be called. `asked` is what for, in messages."""
    # Both spellings: which of them is connected to is for the library to say.
    for host in dict.fromkeys((url.host or "", url.raw_host or "")):
        if ":" in host or host.replace(".", "").isdigit():
            rules.check(asked, host, host)


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
