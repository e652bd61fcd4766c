"""An authorization server for tests, and a resource that takes its tokens, over real HTTP on the loopback interface.

It gives a token only to a client that proves who it is in the way it is registered for, by a grant whose parameters
are right; everything else is refused with the error that RFC 6749 has for it. Assertions are verified.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import jwt
from aiohttp import web

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


class Refusal(Exception):
    """The token endpoint says no."""

    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(error)
        self.error = error
        self.status = status


@dataclass
class Client:
    """A registered client: how it has to prove who it is, and with what."""

    method: str
    secret: str = ""
    public_key: str = ""


@dataclass
class Issued:
    """A token and what it stands for."""

    client: str | None
    grant: str
    scope: str
    audience: list[str]
    subject: str | None
    actor: str | None
    ends: float
    active: bool = True


@dataclass
class AuthorizationServer:
    """The server's registrations, and what it has done. Change them to make it behave otherwise."""

    url: str = ""
    clients: dict[str, Client] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    """Authorization codes that nobody has used yet, with the user who gave them."""
    subjects: dict[tuple[str, str], str] = field(default_factory=dict)
    """Tokens of another world, by (token, type), with whom they stand for."""
    refreshing: dict[str, Issued] = field(default_factory=dict)
    encoding: str = "application/x-www-form-urlencoded"
    lifetime: float | None = 3600
    gives_refresh_tokens: bool = False
    rotates: bool = True
    """A refresh token is good once and brings the next; else it stays and brings none."""
    issuer: str | None = None
    """Tokens are JWTs of this issuer; else they are opaque and only introspection tells."""
    introspected_issuer: str = ""
    broken: tuple[int, str] | None = None
    """Answer the token endpoint's next requests so."""
    requests: list[dict[str, list[str]]] = field(default_factory=list)
    grants: list[str] = field(default_factory=list)
    issued: dict[str, Issued] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    """Assertions that were used: each only once."""

    def revoke(self) -> None:
        """No token is good any more."""
        for token in self.issued.values():
            token.active = False

    async def token(self, request: web.Request) -> web.StreamResponse:
        """The token endpoint."""
        text = await request.text()
        if self.broken is not None:
            return web.Response(status=self.broken[0], text=self.broken[1], content_type="application/json")
        try:
            parameters = self._parameters(request, text)
            self.requests.append(parameters)
            return web.json_response(self._give(request, parameters), headers={"Cache-Control": "no-store"})
        except Refusal as refusal:
            said = {"error": refusal.error, "error_description": f"not with what was sent: {text}"}
            return web.json_response(said, status=refusal.status)

    async def introspect(self, request: web.Request) -> web.StreamResponse:
        """RFC 7662."""
        parameters = {name: [value] for name, value in parse_qsl(await request.text())}
        try:
            self._client(request, parameters)
        except Refusal as refusal:
            return web.json_response({"error": refusal.error}, status=401)
        token = self.issued.get(_one(parameters, "token"))
        return web.json_response({"active": token is not None and token.active, "iss": self.introspected_issuer})

    async def discover(self, _request: web.Request) -> web.StreamResponse:
        """OpenID Connect's discovery; the endpoints are where nobody would guess them."""
        return web.json_response(
            {
                "issuer": self.issuer or self.url,
                "token_endpoint": f"{self.url}/protocol/token",
                "introspection_endpoint": f"{self.url}/protocol/introspect",
            }
        )

    async def resource(self, request: web.Request) -> web.StreamResponse:
        """What tokens open: tells what the token stands for."""
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        token = self.issued.get(value)
        if scheme != "Bearer" or token is None or not token.active or token.ends < time.monotonic():
            return web.Response(status=401)
        known = {name: getattr(token, name) for name in ("client", "grant", "scope", "audience", "subject", "actor")}
        return web.json_response(known)

    def _parameters(self, request: web.Request, text: str) -> dict[str, list[str]]:
        if request.content_type != self.encoding:
            raise Refusal("invalid_request", 415)
        found: dict[str, list[str]] = {}
        if self.encoding == "application/json":
            for name, value in json.loads(text).items():
                found[name] = value if isinstance(value, list) else [value]
        else:
            for name, value in parse_qsl(text, strict_parsing=True):
                found.setdefault(name, []).append(value)
        return found

    def _give(self, request: web.Request, parameters: dict[str, list[str]]) -> dict[str, Any]:
        client = self._client(request, parameters)
        grant = _one(parameters, "grant_type")
        subject = actor = None
        match grant:
            case "client_credentials":
                pass
            case "password":
                subject = _one(parameters, "username")
                if self.users.get(subject) != _one(parameters, "password"):
                    raise Refusal("invalid_grant")
            case "authorization_code":
                subject = self.codes.pop(_one(parameters, "code"), None)
                if subject is None:
                    raise Refusal("invalid_grant")
            case "refresh_token":
                given = _one(parameters, "refresh_token")
                old = self.refreshing.pop(given, None) if self.rotates else self.refreshing.get(given)
                if old is None or old.client != client:
                    raise Refusal("invalid_grant")
                subject = old.subject
            case "urn:ietf:params:oauth:grant-type:token-exchange":
                subject = self._party(parameters, "subject")
                actor = self._party(parameters, "actor") if "actor_token" in parameters else None
            case _:
                raise Refusal("unsupported_grant_type")
        return self._answer(
            Issued(client, grant, _some(parameters, "scope"), parameters.get("audience", []), subject, actor, 0)
        )

    def _party(self, parameters: dict[str, list[str]], which: str) -> str:
        who = self.subjects.get((_one(parameters, f"{which}_token"), _one(parameters, f"{which}_token_type")))
        if who is None:
            raise Refusal("invalid_request")
        return who

    def _answer(self, token: Issued) -> dict[str, Any]:
        lifetime = 3600.0 if self.lifetime is None else self.lifetime
        token.ends = time.monotonic() + lifetime
        if self.issuer is None:
            value = secrets.token_urlsafe(24)
        else:
            claims = {"iss": self.issuer, "jti": secrets.token_hex(8), "exp": int(time.time() + lifetime)}
            value = jwt.encode(claims, "k" * 32, algorithm="HS256")
        self.issued[value] = token
        self.grants.append(token.grant)
        said: dict[str, Any] = {"access_token": value, "token_type": "bearer"}
        if self.lifetime is not None:
            said["expires_in"] = self.lifetime
        if self.gives_refresh_tokens and (self.rotates or token.grant != "refresh_token"):
            said["refresh_token"] = secrets.token_urlsafe(24)
            self.refreshing[said["refresh_token"]] = token
        return said

    def _client(self, request: web.Request, parameters: dict[str, list[str]]) -> str | None:
        """Who the client is, proven in the one way that it is registered for."""
        ways = {
            "client_secret_basic": "Authorization" in request.headers,
            "client_secret_post": "client_secret" in parameters,
            "jwt": "client_assertion" in parameters,
        }
        used = [way for way, is_used in ways.items() if is_used]
        if len(used) > 1:
            raise Refusal("invalid_request")
        match used:
            case ["client_secret_basic"]:
                name, secret = self._basic(request)
            case ["jwt"]:
                return self._asserted(parameters)
            case _:
                name, secret = _one(parameters, "client_id"), _some(parameters, "client_secret")
        client = self.clients.get(name)
        method = used[0] if used else "none"
        if client is None or client.method != method or client.secret != secret:
            raise Refusal("invalid_client", 401)
        return name

    def _basic(self, request: web.Request) -> tuple[str, str]:
        scheme, _, encoded = request.headers["Authorization"].partition(" ")
        try:
            name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, ValueError) as error:
            raise Refusal("invalid_client", 401) from error
        if scheme != "Basic":
            raise Refusal("invalid_client", 401)
        return unquote_plus(name), unquote_plus(secret)

    def _asserted(self, parameters: dict[str, list[str]]) -> str:
        name = _one(parameters, "client_id")
        client = self.clients.get(name)
        if client is None or _one(parameters, "client_assertion_type") != ASSERTION:
            raise Refusal("invalid_client", 401)
        key, algorithm = (client.secret, "HS256") if client.method == "client_secret_jwt" else (client.public_key, "RS256")
        if client.method not in ("client_secret_jwt", "private_key_jwt"):
            raise Refusal("invalid_client", 401)
        try:
            claims = jwt.decode(
                _one(parameters, "client_assertion"),
                key,
                algorithms=[algorithm],
                audience=f"{self.url}/oauth2/token",
                issuer=name,
                options={"require": ["exp", "iat", "jti", "sub", "aud", "iss"]},
            )
        except jwt.InvalidTokenError as error:
            raise Refusal("invalid_client", 401) from error
        if claims["sub"] != name or claims["jti"] in self.seen or claims["exp"] - time.time() > 600:
            raise Refusal("invalid_client", 401)
        self.seen.append(claims["jti"])
        return name


def _one(parameters: dict[str, list[str]], name: str) -> str:
    values = parameters.get(name, [])
    if len(values) != 1 or not values[0]:
        raise Refusal("invalid_request")
    return values[0]


def _some(parameters: dict[str, list[str]], name: str) -> str:
    return _one(parameters, name) if name in parameters else ""


@contextlib.asynccontextmanager
async def authorization_server(**settings: Any) -> AsyncIterator[AuthorizationServer]:
    """The server with these settings, as long as the block runs."""
    server = AuthorizationServer(**settings)
    app = web.Application()
    for place in ("/oauth2/token", "/realms/one/auth/token", "/protocol/token"):
        app.router.add_post(place, server.token)
    for place in ("/oauth2/introspect", "/protocol/introspect"):
        app.router.add_post(place, server.introspect)
    app.router.add_get("/.well-known/openid-configuration", server.discover)
    app.router.add_route("*", "/resource", server.resource)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
