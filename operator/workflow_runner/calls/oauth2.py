"""Tokens of OAuth 2 (RFC 6749, 7523, 7662, 8693) and of OpenID Connect's discovery, for `authentication.Authenticator`.

A token is asked for when it is first needed, kept until shortly before it ends, and then got by its refresh token
where there is one, else as the first time. Calls that need the same token at the same time share one request.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote_plus, urlencode

from msgspec import Struct
from yarl import URL

from workflow_runner import telemetry
from workflow_runner.calls.authentication import Policy
from workflow_runner.calls.messages import Answer, Exchange, Request, address_of, fault
from workflow_runner.dsl.problems import AUTHENTICATION, COMMUNICATION, WorkflowFault
from workflow_runner.dsl.read_authentication import CLIENT_AUTHENTICATIONS, ENCODINGS, GRANTS, needed_members
from workflow_runner.dsl.templates import Json

TOKEN_SECONDS = 30.0
"""A token endpoint has so long to answer."""
LARGEST_ANSWER = 1024 * 1024
UNKNOWN_LIFETIME = 300.0
"""Seconds that a token is kept which does not say how long it is good."""
MARGIN_SECONDS, MARGIN_SHARE = 30.0, 0.1
"""So long before its end a token is not used any more: the shorter of the two."""
MOST_KEPT = 1_000
LONGEST_TOKEN = 16 * 1024
"""Characters; what is longer no server takes in a header."""

DISCOVERY = "/.well-known/openid-configuration"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS = 60
_TOKEN = re.compile(r"[\x21-\x7e]+")
_ERROR_CODE = re.compile(r"[a-z][a-z_]{2,39}")


class Token(Struct):
    """An access token; `ends` is a moment of time.monotonic()."""

    scheme: str
    value: str
    ends: float
    refresh: str | None

    @property
    def header(self) -> str:
        """The `Authorization` header with this token."""
        return f"{self.scheme} {self.value}"

    @property
    def good(self) -> bool:
        """Whether it is still to be used."""
        return time.monotonic() < self.ends

    def __repr__(self) -> str:
        """Without the tokens; also in what is told of a task that obtained one."""
        return f"Token(ends={self.ends!r})"


class _Pending(Struct):
    """A request for a token, and how many wait for it."""

    task: asyncio.Task[Token]
    waiting: int = 0


class _Endpoints(Struct):
    token: URL
    introspection: URL | None
    issuer: str | None

    def __repr__(self) -> str:
        """Without the addresses, in which users and keys may stand."""
        return "_Endpoints()"


class Tokens:
    """The tokens of one host, by policy."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._kept: dict[str, Token] = {}
        self._pending: dict[str, _Pending] = {}

    async def token(self, policy: Policy) -> Token:
        """The token of a policy. Raises WorkflowFault.

        `authentication` when it is refused, `communication` or `timeout` when the server does not answer,
        `configuration` for a policy that cannot be used.
        """
        kept = self._kept.get(policy.key)
        if kept is not None and kept.good:
            return kept
        pending = self._pending.get(policy.key)
        if pending is None:
            pending = self._pending[policy.key] = _Pending(asyncio.create_task(self._renew(policy, kept)))
        pending.waiting += 1
        try:
            return await asyncio.shield(pending.task)
        finally:
            pending.waiting -= 1
            if not pending.waiting:
                # It has ended, or nobody wants it any more.
                pending.task.cancel()
                if self._pending.get(policy.key) is pending:
                    del self._pending[policy.key]

    def has(self, policy: Policy) -> bool:
        """Whether there is a token that may be some time old."""
        kept = self._kept.get(policy.key)
        return kept is not None and kept.good

    def forget(self, policy: Policy, header: str) -> None:
        """A server refused the token in this header: it is not used again."""
        kept = self._kept.get(policy.key)
        if kept is not None and kept.header == header:
            kept.ends = 0.0

    async def close(self) -> None:
        """Forget all tokens; requests on their way are broken off."""
        tasks = [pending.task for pending in self._pending.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._kept.clear()

    async def _renew(self, policy: Policy, old: Token | None) -> Token:
        token = await self._obtain(policy, old)
        self._kept.pop(policy.key, None)
        self._kept[policy.key] = token
        while len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return token

    async def _obtain(self, policy: Policy, old: Token | None) -> Token:
        endpoints = await self._endpoints(policy)
        if old is not None and old.refresh is not None:
            parameters = {"grant_type": "refresh_token", "refresh_token": old.refresh, **_scope(policy)}
            try:
                token = await self._ask(policy, endpoints, parameters)
            except WorkflowFault as refused:
                if refused.problem.type != AUTHENTICATION:
                    raise
            else:
                token.refresh = token.refresh or old.refresh
                return token
        return await self._ask(policy, endpoints, _grant(policy))

    async def _ask(self, policy: Policy, endpoints: _Endpoints, parameters: Mapping[str, str | list[str]]) -> Token:
        request = _request(policy, endpoints.token, parameters)
        answer = await self._exchange(request)
        said = _object(answer)
        if not 200 <= answer.status < 300:
            raise _refusal(request, answer, said)
        value = said.get("access_token")
        if not isinstance(value, str) or len(value) > LONGEST_TOKEN or _TOKEN.fullmatch(value) is None:
            raise fault(COMMUNICATION, f"the answer to {request} has no usable access_token")
        telemetry.conceal(value, passing=True)
        refresh = said.get("refresh_token")
        if isinstance(refresh, str) and len(refresh) > LONGEST_TOKEN:
            refresh = None
        if isinstance(refresh, str):
            telemetry.conceal(refresh, passing=True)
        await self._check_issuer(policy, endpoints, value)
        kind = said.get("token_type")
        scheme = kind if isinstance(kind, str) and re.fullmatch(r"[A-Za-z0-9-]{1,40}", kind) else "Bearer"
        return Token(
            "Bearer" if scheme.lower() in ("bearer", "n-a") else scheme,
            value,
            time.monotonic() + lifetime(said.get("expires_in")),
            refresh if isinstance(refresh, str) else None,
        )

    async def _endpoints(self, policy: Policy) -> _Endpoints:
        authority = policy.needed("authority").rstrip("/")
        if policy.scheme == "oidc" or authority.endswith(DISCOVERY):
            return await self._discovered(policy, authority)
        introspection = policy.text("endpoints.introspection") or "/oauth2/introspect"
        return _Endpoints(
            _below(authority, policy.text("endpoints.token") or "/oauth2/token"), _below(authority, introspection), None
        )

    async def _discovered(self, policy: Policy, authority: str) -> _Endpoints:
        url = authority if authority.endswith(DISCOVERY) else f"{authority}{DISCOVERY}"
        request = Request("GET", address_of(url, "the authority"), {"Accept": "application/json"}, None)
        request.seconds, request.largest = TOKEN_SECONDS, LARGEST_ANSWER
        answer = await self._exchange(request)
        said = _object(answer)
        if answer.status != 200:
            raise fault(COMMUNICATION, f"{request} was answered with {answer.status}", answer.status)
        token, introspection, issuer = (said.get(name) for name in ("token_endpoint", "introspection_endpoint", "issuer"))
        if not isinstance(token, str):
            raise fault(COMMUNICATION, f"the answer to {request} has no token_endpoint")
        issuers = policy.texts("issuers")
        if issuers and issuer not in issuers:
            raise fault(AUTHENTICATION, f"{request}: the issuer is none of those that the policy lists")
        return _Endpoints(
            address_of(token, "the token endpoint that was discovered"),
            address_of(introspection, "the introspection endpoint") if isinstance(introspection, str) else None,
            issuer if isinstance(issuer, str) else None,
        )

    async def _check_issuer(self, policy: Policy, endpoints: _Endpoints, token: str) -> None:
        """`issuers`: who issued the token says the token itself, or, of one that only its server can read, that server."""
        issuers = policy.texts("issuers")
        if not issuers:
            return
        issuer = _claims(token).get("iss")
        if issuer is None and endpoints.introspection is not None:
            request = _request(policy, endpoints.introspection, {"token": token, "token_type_hint": "access_token"})
            answer = await self._exchange(request)
            said = _object(answer)
            if answer.status != 200:
                raise _refusal(request, answer, said)
            issuer = said.get("iss") if said.get("active") is True else None
        if issuer not in issuers:
            raise fault(AUTHENTICATION, "the token was issued by none of the issuers that the policy lists")


def _below(authority: str, path: str) -> URL:
    """The reference: an endpoint is relative to the authority, whose own path stays."""
    whole = path if "://" in path else f"{authority}/{path.lstrip('/')}"
    return address_of(whole, "the token endpoint")


def _grant(policy: Policy) -> dict[str, str | list[str]]:
    """The parameters of the first request for a token."""
    grant = policy.one_of("grant", GRANTS, "")
    method = policy.one_of("client.authentication", CLIENT_AUTHENTICATIONS, "client_secret_post")
    for name, _ in needed_members(grant, method):
        policy.needed(name)
    parameters: dict[str, str | list[str]] = {"grant_type": grant, **_scope(policy)}
    audiences = policy.texts("audiences")
    if audiences:
        parameters["audience"] = audiences[0] if len(audiences) == 1 else audiences
    match grant:
        case "password":
            parameters |= {"username": policy.needed("username"), "password": policy.needed("password")}
        case "authorization_code":
            parameters["code"] = policy.needed("subject.token")
        case "refresh_token":
            parameters["refresh_token"] = policy.needed("subject.token")
    if grant in ("client_credentials", "password", _EXCHANGE):
        # With other grants than token exchange these are extensions of some servers.
        for party in ("subject", "actor"):
            token = policy.text(f"{party}.token")
            if token is not None:
                parameters |= {f"{party}_token": token, f"{party}_token_type": policy.needed(f"{party}.type")}
    return parameters


def _scope(policy: Policy) -> dict[str, str]:
    scopes = policy.texts("scopes")
    return {"scope": " ".join(scopes)} if scopes else {}


def _request(policy: Policy, url: URL, parameters: Mapping[str, str | list[str]]) -> Request:
    """A request to an endpoint of the authority, in which the client proves who it is as the policy says."""
    sent = dict(parameters)
    headers = {"Accept": "application/json"}
    client = policy.text("client.id")
    match policy.one_of("client.authentication", CLIENT_AUTHENTICATIONS, "client_secret_post"):
        case "client_secret_basic":
            pair = f"{quote_plus(policy.needed('client.id'))}:{quote_plus(policy.needed('client.secret'))}"
            encoded = base64.b64encode(pair.encode()).decode()
            telemetry.conceal(encoded, passing=True)
            headers["Authorization"] = f"Basic {encoded}"
        case "client_secret_jwt":
            sent |= _asserted(policy, policy.text("client.assertion") or _assertion(policy, url))
        case "private_key_jwt":
            sent |= _asserted(policy, policy.needed("client.assertion"))
        case "none":
            sent |= {"client_id": client} if client is not None else {}
        case _:
            secret = policy.text("client.secret")
            sent |= {"client_id": policy.needed("client.id")} | ({"client_secret": secret} if secret is not None else {})
    encoding = policy.one_of("request.encoding", ENCODINGS, ENCODINGS[0])
    headers["Content-Type"] = encoding
    body = json.dumps(sent) if encoding == "application/json" else urlencode(sent, doseq=True)
    return Request("POST", url, headers, body.encode(), seconds=TOKEN_SECONDS, largest=LARGEST_ANSWER)


def _asserted(policy: Policy, assertion: str) -> dict[str, str]:
    telemetry.conceal(assertion, passing=True)
    return {
        "client_id": policy.needed("client.id"),
        "client_assertion_type": _ASSERTION,
        "client_assertion": assertion,
    }


def _assertion(policy: Policy, audience: URL) -> str:
    """A JWT that the client signs with its secret by HS256 (RFC 7523, section 3)."""
    client, now = policy.needed("client.id"), int(time.time())
    claims = {
        "iss": client,
        "sub": client,
        "aud": str(audience.with_user(None).with_query(None)),
        "jti": str(uuid.uuid4()),
        "iat": now,
        "exp": now + _ASSERTION_SECONDS,
    }
    signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    signature = hmac.digest(policy.needed("client.secret").encode(), signed.encode(), "sha256")
    return f"{signed}.{_base64(signature)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _object(answer: Answer) -> dict[str, Json]:
    """The JSON object in an answer; an empty one where there is none."""
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Json]", said) if isinstance(said, dict) else {}


def _refusal(request: Request, answer: Answer, said: Mapping[str, Json]) -> WorkflowFault:
    """RFC 6749, 5.2: 400 and 401 say that no token is given. The code is one of a few words; descriptions may quote."""
    code = said.get("error")
    shown = f" ({telemetry.redact(code)})" if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
    detail = f"{request} was answered with {answer.status}{shown}"
    if answer.status in (400, 401, 403):
        return fault(AUTHENTICATION, detail)
    status = answer.status if answer.status >= 300 else None
    return fault(COMMUNICATION, detail, status)


def lifetime(said: Json) -> float:
    """How many seconds a token is used, by the `expires_in` that came with it."""
    try:
        seconds = float(cast("Any", said)) if said is not None and not isinstance(said, bool) else UNKNOWN_LIFETIME
    except (TypeError, ValueError, OverflowError):
        seconds = UNKNOWN_LIFETIME
    seconds = min(max(0.0, seconds), 365 * 86_400.0)  # in this order NaN is 0
    return seconds - min(MARGIN_SECONDS, seconds * MARGIN_SHARE)


def _claims(token: str) -> dict[str, Json]:
    """What a JWT says, unverified: the server that takes it verifies it. Nothing where it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
