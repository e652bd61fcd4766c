"""Which addresses outgoing calls may go to: an operator's rules against documents that reach where they should not.

`cli` makes AddressRules from settings and options and hands them to the host; every protocol's module asks them for each
address *after* names were resolved, for the very addresses that it then connects to. So neither a name that
resolves to something else the next time nor one that resolves to an address inside helps anybody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from msgspec import Struct

from workflow_runner.dsl.problems import AUTHORIZATION, Problem, WorkflowFault
from workflow_runner.errors import InvalidInput

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

ALWAYS_DENIED = (
    "169.254.0.0/16",  # link-local: metadata and credentials of most clouds, node-local services
    "fe80::/10",
    "fd00:ec2::/32",  # AWS: metadata and credentials over IPv6
    "100.100.100.200/32",  # Alibaba Cloud: metadata
    "168.63.129.16/32",  # Azure: the host's agent
    "192.0.0.192/32",  # Oracle Cloud: metadata
)
"""Denied unless an allowed network lies within one of them: nobody opens these by allowing everything."""
_ALWAYS = tuple(ip_network(text) for text in ALWAYS_DENIED)
_MOST_REMEMBERED = 1_000

_NAME = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_ENTRY = "it is no host name, no *. with a domain, no address, no network such as 10.0.0.0/8, and not *"
_WITH_IPV4 = tuple(
    ip_network(text)
    for text in (
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of one's own; the IPv4 address is at the end where the prefix has 96 bits, as is usual
        "::ffff:0:0:0/96",  # translated
        "::/96",  # compatible, of old
    )
)
"""IPv6 addresses with an IPv4 address at their end, besides the mapped ones."""


class _Rules(Struct, frozen=True):
    names: frozenset[str]  # "api.example.com", "*.example.com"
    networks: tuple[Network, ...]
    everything: bool = False


class AddressRules:
    """Allowed and denied hosts. An entry is a name, `*.` and a domain, an address, a network (CIDR) or `*`.

    Denied is denied. What is left is allowed, or, where anything is listed as allowed, only that.
    """

    def __init__(self, allow: Sequence[str] = (), deny: Sequence[str] = ()) -> None:
        """Raises InvalidInput (`settings.invalid`) for an entry that is none of these."""
        self._allow = _read(allow) if allow else None
        self._deny = _read(deny)
        opened = self._allow.networks if self._allow is not None else ()
        self._opened = tuple(network for network in opened if any(_within(network, denied) for denied in _ALWAYS))
        self._refusals: dict[tuple[str, str], str | None] = {}
        self._passed: set[str] = set()
        self.entries = (tuple(allow), tuple(deny))
        """What it was made of: rules with the same entries are the same."""

    def refusal(self, host: str, address: str) -> str | None:
        """Why a connection to this address, which `host` (a name or the address itself) led to, may not be made; or None."""
        asked = (host, address)
        if asked not in self._refusals:
            if len(self._refusals) >= _MOST_REMEMBERED:
                self._refusals.clear()
            self._refusals[asked] = self._judged(host, address)
        return self._refusals[asked]

    def is_passed(self, host: str) -> bool:
        """Whether `passed` was said of a URL's host, as it is written there."""
        return host in self._passed

    def passed(self, host: str) -> None:
        """Remember that a URL's host is a name, or an address that may be called."""
        if len(self._passed) >= _MOST_REMEMBERED:
            self._passed.clear()
        self._passed.add(host)

    def _judged(self, host: str, address: str) -> str | None:
        try:
            found = _meant(ip_address(address))
        except ValueError:
            return f"{address!r:.80} is no address"
        name = host.lower().rstrip(".")
        for one in found:
            if self._deny.everything or _named(name, self._deny) or _in(one, self._deny.networks):
                return "it is denied"
            if _in(one, _ALWAYS) and not _in(one, self._opened):
                return "it is link-local or a cloud's metadata service, and not allowed by its own address"
            if self._allow is not None and not (
                self._allow.everything or _named(name, self._allow) or _in(one, self._allow.networks)
            ):
                return "it is not among those that are allowed"
        return None

    def allowed(self, host: str, addresses: Sequence[str]) -> list[str]:
        """Those of a name's addresses that may be called. Raises AddressRefused where there are some and none may be."""
        refusals = {address: self.refusal(host, address) for address in addresses}
        allowed = [address for address, refusal in refusals.items() if refusal is None]
        if refusals and not allowed:
            raise AddressRefused(host, next(iter(refusals.values())) or "")
        return allowed

    def check(self, asked: object, host: str, address: str) -> None:
        """Raise WorkflowFault (`authorization`) when the connection may not be made. `asked` is what for, in messages."""
        refusal = self.refusal(host, address)
        if refusal is not None:
            raise refused(asked, host, refusal)


def refused(asked: object, host: str, why: str) -> WorkflowFault:
    """The fault of a call to an address that the rules refuse."""
    code = "call.address-refused"
    shown = f"{host!r:.100}"
    detail = f"{code}: {asked}: the address of {shown} may not be called: {why} (docs/operations.md, outgoing calls)"
    return WorkflowFault(Problem.standard(AUTHORIZATION, detail))


class AddressRefused(OSError):
    """Raised in place of addresses inside of client libraries, which pass OSErrors on."""

    def __init__(self, host: str, why: str) -> None:
        super().__init__(why)
        self.host = host
        self.why = why


def _read(entries: Sequence[str]) -> _Rules:
    names: set[str] = set()
    networks: list[Network] = []
    everything = False
    for entry in entries:
        text = entry.strip().lower().rstrip(".")
        if text == "*":
            everything = True
            continue
        try:
            networks.append(ip_network(text.strip("[]")))
            continue
        except ValueError as error:
            if "/" in text or re.fullmatch(r"[0-9.]+", text) is not None or _NAME.fullmatch(text) is None:
                message = f"{entry!r:.100} cannot be allowed or denied: {_ENTRY}"
                raise InvalidInput(message, code="settings.invalid") from error
        names.add(text)
    return _Rules(frozenset(names), tuple(networks), everything)


def _meant(address: Address) -> tuple[Address, ...]:
    """The address, and those that stand for it or are inside of it: a rule for one of them is one for all."""
    if isinstance(address, IPv4Address):
        return (address, IPv4Address("127.0.0.1")) if address.is_unspecified else (address,)
    inside: IPv4Address | None = address.ipv4_mapped or address.sixtofour
    if inside is None and address.teredo is not None:
        inside = address.teredo[1]
    if inside is None and int(address) > 1 and any(address in network for network in _WITH_IPV4):
        inside = IPv4Address(int(address) & 0xFFFFFFFF)
    plain = IPv6Address(int(address))  # without a zone
    if inside is not None:
        # Mapped ones are the IPv4 address; the others are routed by whoever has a gateway for them.
        return _meant(inside) if address.ipv4_mapped else (plain, *_meant(inside))
    return (plain, IPv6Address("::1")) if plain.is_unspecified else (plain,)


def _in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def _named(name: str, rules: _Rules) -> bool:
    if name in rules.names:
        return True
    return any(name.endswith(rule[1:]) for rule in rules.names if rule.startswith("*."))


DEFAULT_RULES = AddressRules()
"""What holds where nobody says anything; one for all, since it remembers what it has judged."""
