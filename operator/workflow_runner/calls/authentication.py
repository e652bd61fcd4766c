"""Proving who makes a call: policies with all values (`interpreter.authentication.resolved`) to credentials.

`Authenticator.send` is for http (calls/http.py), `authorization` for other protocols and for `$authorization`,
`certificate` for protocols with a TLS of their own. Every value that is secret is concealed
in logs and errors before it is used. Messages name members, never their values.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct
from yarl import URL

from workflow_runner import telemetry
from workflow_runner.calls.messages import Answer, Exchange, Request, fault
from workflow_runner.dsl.problems import CONFIGURATION
from workflow_runner.dsl.templates import Json

if TYPE_CHECKING:
    from workflow_runner.calls.digest import Digest
    from workflow_runner.calls.oauth2 import Tokens

_T = TypeVar("_T")
_KEPT = 100
"""TLS contexts and digest states of so many policies are kept; the least recently used are made again."""

_CONCEALED = ("password", "token", "key", "passphrase", "client.secret", "client.assertion", "subject.token", "actor.token")


class Authorization(Struct, frozen=True):
    """What an `Authorization` header says: `parameter` is None where every request has another one (digest)."""

    scheme: str
    parameter: str | None

    @property
    def header(self) -> str:
        """The header's value."""
        return f"{self.scheme} {self.parameter}" if self.parameter is not None else self.scheme

    def __repr__(self) -> str:
        """Without the parameter, which is the secret."""
        return "Authorization()"


class Certificate(Struct, frozen=True):
    """A client certificate: PEM texts, the chain (own certificate first) and the key, which may be encrypted."""

    chain: str
    key: str
    passphrase: str | None

    def __repr__(self) -> str:
        """Without the key and its passphrase."""
        return "Certificate()"


class Policy:
    """One policy with its values. `key` tells policies apart and holds no secret in clear."""

    def __init__(self, carried: Mapping[str, Json]) -> None:
        self.scheme = str(carried["scheme"])
        members = carried["members"]
        self._members: Mapping[str, Json] = members if isinstance(members, dict) else {}
        for name in _CONCEALED:
            # Passing: a document may make any number of these up, and must not push out what `$secrets` holds.
            telemetry.conceal_all(self._members.get(name), passing=True)
        text = json.dumps([self.scheme, self._members], sort_keys=True)
        self.key = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

    def text(self, name: str) -> str | None:
        """A member that is a string; a number is taken as its digits. Raises WorkflowFault for other kinds."""
        value = self._members.get(name)
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:  # which holds the value
                why = "has half of a character (a lone surrogate)"
                raise fault(CONFIGURATION, f"{name} of {self.scheme} authentication {why}") from None
        if value is None or isinstance(value, str):
            return value or None
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise fault(CONFIGURATION, f"{name} of {self.scheme} authentication must be a string")

    def needed(self, name: str) -> str:
        """A member that there must be. Raises WorkflowFault."""
        value = self.text(name)
        if value is None:
            raise fault(CONFIGURATION, f"{self.scheme} authentication needs {name!r} (it is missing, null or empty)")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of strings: a member that is one, or those called "name.0", "name.1" and so on."""
        whole = self._members.get(name)
        found = whole if isinstance(whole, list) else []
        found = found or [value for key, value in self._members.items() if key.startswith(f"{name}.")]
        if (whole is not None and not isinstance(whole, list)) or not all(isinstance(one, str) for one in found):
            raise fault(CONFIGURATION, f"{name} of {self.scheme} authentication must be a list of strings")
        return [one for one in found if isinstance(one, str)]

    def one_of(self, name: str, choices: tuple[str, ...], default: str) -> str:
        """A member that is one of a few. Raises WorkflowFault."""
        value = self.text(name) or default
        if value not in choices:
            detail = f"{name} of {self.scheme} authentication must be one of {', '.join(choices)}"
            raise fault(CONFIGURATION, detail)
        return value


class Authenticator:
    """The credentials of one host's calls: keeps tokens, TLS contexts and states of digest. Close it with the host."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._tokens: Tokens | None = None
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()
        self._digests: OrderedDict[str, Digest] = OrderedDict()

    async def close(self) -> None:
        """Forget everything; requests for tokens that are on their way are broken off."""
        if self._tokens is not None:
            await self._tokens.close()
            self._tokens = None

    async def authorization(self, carried: Mapping[str, Json]) -> Authorization | None:
        """What the `Authorization` header of a call says; None for a certificate. May ask for a token.

        Raises WorkflowFault.
        """
        policy = Policy(carried)
        match policy.scheme:
            case "basic":
                pair = f"{_without_colon(policy)}:{policy.needed('password')}"
                encoded = base64.b64encode(pair.encode(errors="surrogatepass")).decode()
                telemetry.conceal(encoded, passing=True)
                return Authorization("Basic", encoded)
            case "bearer":
                return Authorization("Bearer", policy.needed("token"))
            case "digest":
                return Authorization("Digest", None)
            case "oauth2" | "oidc":
                token = await self._all_tokens().token(policy)
                return Authorization(token.scheme, token.value)
            case _:
                return None

    def certificate(self, carried: Mapping[str, Json]) -> Certificate | None:
        """The client certificate of a policy that is one. Raises WorkflowFault."""
        policy = Policy(carried)
        if policy.scheme != "certificate":
            return None
        return Certificate(policy.needed("certificate"), policy.needed("key"), policy.text("passphrase"))

    async def send(self, carried: Mapping[str, Json], request: Request) -> Answer:
        """Send a request with the credentials. Raises WorkflowFault.

        An `Authorization` that the document wrote itself stays. Where a server refuses a token that it has taken before,
        another one is asked for, once.
        """
        scheme = carried["scheme"]
        request.url = request.url.with_user(None)
        if scheme == "certificate":
            request.tls = await self._context(carried, request.url)
            return await self._exchange(request)
        if any(name.lower() == "authorization" for name in request.headers):
            return await self._exchange(request)
        if scheme == "digest":
            return await self._send_digested(Policy(carried), request)
        kept = self.keeps_token(carried)
        answer = await self._send_authorized(carried, request)
        if answer.status == 401 and kept:
            self.forget_token(carried, request.headers["Authorization"])
            answer = await self._send_authorized(carried, request)
        return answer

    def keeps_token(self, carried: Mapping[str, Json]) -> bool:
        """Whether `authorization` would give a token that it has given before, which a server may not take any more."""
        return self._tokens is not None and self._tokens.has(Policy(carried))

    def forget_token(self, carried: Mapping[str, Json], header: str) -> None:
        """A server refused this `Authorization`: the next one is another."""
        if self._tokens is not None:
            self._tokens.forget(Policy(carried), header)

    async def _send_authorized(self, carried: Mapping[str, Json], request: Request) -> Answer:
        authorization = await self.authorization(carried)
        if authorization is not None:
            request.headers["Authorization"] = authorization.header
        return await self._exchange(request)

    def _all_tokens(self) -> Tokens:
        if self._tokens is None:
            from workflow_runner.calls.oauth2 import Tokens

            self._tokens = Tokens(self._exchange)
        return self._tokens

    async def _send_digested(self, policy: Policy, request: Request) -> Answer:
        from workflow_runner.calls.digest import Digest

        username, password = _without_colon(policy), policy.needed("password")
        digest = _kept(self._digests, f"{policy.key} {request.url.origin()}", lambda: Digest(username, password))
        header = digest.header(request)
        if header is not None:
            request.headers["Authorization"] = header
        answer = await self._exchange(request)
        if answer.status == 401 and digest.challenged(answer):
            request.headers["Authorization"] = digest.header(request) or ""
            answer = await self._exchange(request)
        return answer

    async def _context(self, carried: Mapping[str, Json], url: URL) -> ssl.SSLContext:
        if url.scheme != "https":
            raise fault(CONFIGURATION, "a client certificate needs an https endpoint")
        certificate = self.certificate(carried)
        assert certificate is not None  # noqa: S101 - asked for this scheme only
        key = Policy(carried).key
        if key not in self._contexts:
            from workflow_runner.calls.certificates import client_context

            self._contexts[key] = await asyncio.to_thread(client_context, certificate)
        return _kept(self._contexts, key, ssl.create_default_context)


def _without_colon(policy: Policy) -> str:
    """The username: what stands before the first colon would be taken for it (RFC 7617)."""
    username = policy.needed("username")
    if ":" in username:
        raise fault(CONFIGURATION, f"username of {policy.scheme} authentication cannot have a colon")
    return username


def _kept(kept: OrderedDict[str, _T], key: str, make: Callable[[], _T]) -> _T:
    if key not in kept:
        kept[key] = make()
    kept.move_to_end(key)
    while len(kept) > _KEPT:
        kept.popitem(last=False)
    return kept[key]
