"""`call: http` over aiohttp (five times faster a request than httpx2, with the same start-up time).

`calls.Calls` makes one HttpCalls for a host. Arguments, from interpreter/tasks/call_http.py:
`method`, `uri` (no template any more), `headers`, `query`, `body` (when there is one), `output` (raw,
content, response) and `redirect`; other protocols over http may say `encoded`: the URI is sent as it is. Errors
say what was asked of whom, never with user names, passwords, query strings or headers, where secrets are.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlencode

import aiohttp

from workflow_runner import telemetry
from workflow_runner.calls.addresses import DEFAULT_RULES, AddressRefused, AddressRules, refused
from workflow_runner.calls.authentication import Authenticator
from workflow_runner.calls.connections import SharedSession, check_literal
from workflow_runner.calls.messages import UNWRITABLE, address_of, fault, is_json, json_bytes
from workflow_runner.calls.messages import Answer as Answer
from workflow_runner.calls.messages import Request as Request
from workflow_runner.dsl.json_text import read_json
from workflow_runner.dsl.problems import (
    AUTHENTICATION,
    AUTHORIZATION,
    COMMUNICATION,
    CONFIGURATION,
    TIMEOUT,
    VALIDATION,
    Problem,
    WorkflowFault,
)
from workflow_runner.dsl.templates import Json

TOTAL_SECONDS = 60.0
CONNECT_SECONDS = 10.0
MOST_CONNECTIONS = 500
"""At the same time, of all runs with the same rules: calls beyond that wait, within their own deadline."""
LARGEST_BODY = 8 * 1024 * 1024
"""The most bytes of a request's or a response's body (of the response: unpacked)."""

_LONG = 512 * 1024
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORM = "application/x-www-form-urlencoded"
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class HttpCalls:
    """A client for http calls: keeps connections, no cookies, follows no redirect, goes to no address that is refused.

    `authenticator` has the credentials of all its calls, for other protocols too.
    """

    def __init__(
        self,
        *,
        total_seconds: float = TOTAL_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
        largest_body: int = LARGEST_BODY,
        addresses: AddressRules | None = None,
    ) -> None:
        self._largest = largest_body
        self._total, self._connect = total_seconds, connect_seconds
        self._addresses = addresses or DEFAULT_RULES
        self.authenticator = Authenticator(self._exchange)
        self._connections: SharedSession | None = SharedSession.acquire(self._addresses, limit=MOST_CONNECTIONS)
        self._session = self._connections.inner
        self._places = self._connections.places
        self._limits = self._within(total_seconds)

    async def close(self) -> None:
        """Close the connections, once."""
        connections, self._connections = self._connections, None
        if connections is not None:
            try:
                await self.authenticator.close()
            finally:
                await connections.release()

    async def call(
        self,
        arguments: Mapping[str, Json],
        *,
        idempotency_key: str,
        content: bytes | None = None,
        authentication: Mapping[str, Json] | None = None,
    ) -> Json:
        """Send one request and give what `output` asks for. Raises WorkflowFault.

        Faults: `timeout` at a deadline; `authentication` for 401, `authorization` for 403 and
        `communication` with the status for others outside 200–299 (200–399 with `redirect`);
        `communication` 500 when there is no usable answer; `configuration` for an unusable request.
        `content` is for other protocols over http: the body as it is to be sent, whose type is among the headers.
        `authentication` is a policy with its values (calls/authentication.py).
        """
        request, answer = await self.send(
            arguments, idempotency_key=idempotency_key, content=content, authentication=authentication
        )
        check_status(request, answer)
        match request.output:
            case "raw":
                return base64.b64encode(answer.body).decode()
            case "response":
                return _described(request, answer)
            case _:
                return _content(request, answer)

    async def send(
        self,
        arguments: Mapping[str, Json],
        *,
        idempotency_key: str,
        content: bytes | None = None,
        authentication: Mapping[str, Json] | None = None,
    ) -> tuple[Request, Answer]:
        """The same as far as the answer, whatever its status; for other modules of this package."""
        request = self._request(arguments, idempotency_key, content)
        if authentication is None:
            return request, await self._exchange(request)
        return request, await self.authenticator.send(authentication, request)

    def _request(self, arguments: Mapping[str, Json], idempotency_key: str, content: bytes | None) -> Request:
        given = cast("dict[str, Any]", arguments)
        method = given["method"].upper()
        url = address_of(given["uri"], encoded=given.get("encoded") is True)
        if given["query"]:
            url = url.extend_query({name: _text(value) for name, value in given["query"].items()})
        headers: dict[str, str] = {}
        for name, value in given["headers"].items():
            if not _HEADER_NAME.fullmatch(name):
                raise fault(CONFIGURATION, f"{name!r:.80} cannot be the name of a header")
            headers[name] = _text(value)
        known = {name.lower(): value for name, value in headers.items()}
        if "authorization" in known:
            url = url.with_user(None)  # the library sends no two credentials, and the header was written for this call
        body = content
        if content is None and "body" in given:
            try:
                body, content_type = _body(given["body"], known.get("content-type", ""))
            except ValueError as error:
                raise fault(VALIDATION, f"the body for {method} cannot be written: {UNWRITABLE}") from error
            if "content-type" not in known:
                headers["Content-Type"] = content_type
        if method not in _IDEMPOTENT and "idempotency-key" not in known:
            headers["Idempotency-Key"] = idempotency_key
        request = Request(method, url, headers, body, given["output"], given["redirect"])
        if body is not None and len(body) > self._largest:
            raise fault(VALIDATION, f"the body of {request} has {len(body)} bytes; at most {self._largest} are sent")
        return request

    async def _exchange(self, request: Request) -> Answer:
        total = request.seconds or self._total
        check_literal(self._addresses, request, request.url)
        try:
            limits = await self._place(total)
            try:
                async with self._session.request(
                    request.method,
                    request.url,
                    headers=request.headers,
                    data=_sendable(request.body),
                    allow_redirects=False,
                    ssl=request.tls or True,
                    timeout=limits,
                ) as response:
                    return Answer(
                        response.status,
                        response.headers,
                        response.content_type.lower() if "Content-Type" in response.headers else "",
                        response.charset or "utf-8",
                        await self._read(request, response),
                    )
            finally:
                self._places.leave()
        except TimeoutError as error:
            limit = f"no connection within {self._connect:g} s or no whole answer within {total:g} s"
            raise fault(TIMEOUT, f"{request}: {limit}") from error
        except aiohttp.ClientConnectorCertificateError as error:  # a ValueError, too
            raise fault(COMMUNICATION, f"{request}: {_reason(error)}") from error
        except ValueError as error:
            raise fault(CONFIGURATION, f"{request}: the method, the address or a header cannot be sent") from error
        except aiohttp.ClientConnectorDNSError as error:
            if isinstance(error.os_error, AddressRefused):
                raise refused(request, error.os_error.host, error.os_error.why) from error
            raise fault(COMMUNICATION, f"{request}: {_reason(error)}") from error
        except aiohttp.ClientError as error:
            raise fault(COMMUNICATION, f"{request}: {_reason(error)}") from error
        except OSError as error:
            raise fault(COMMUNICATION, f"{request}: {_system_reason(error)}") from error

    async def _place(self, total: float) -> aiohttp.ClientTimeout:
        """Wait for one of the places; what is left of the call's time. Raises TimeoutError."""
        if self._places.take():
            return self._limits if total == self._total else self._within(total)
        began = time.monotonic()
        await self._places.wait(total)
        left = total - (time.monotonic() - began)
        if left <= 0:
            self._places.leave()
            raise TimeoutError
        return self._within(left)

    def _within(self, total: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=total, sock_connect=self._connect)

    async def _read(self, request: Request, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size, largest = 0, request.largest or self._largest
        content = response.content
        while part := await content.readany():
            size += len(part)
            if size > largest:
                raise fault(COMMUNICATION, f"the answer to {request} has more than {largest} bytes")
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _text(value: Json) -> str:
    """Query parameters and headers: strings as they are, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _sendable(body: bytes | None) -> io.BytesIO | bytes | None:
    """A body as the client wants it: what is long it sends piece by piece, so that others have their turn in between."""
    return io.BytesIO(body) if body is not None and len(body) > _LONG else body


def _body(value: Json, content_type: str) -> tuple[bytes, str]:
    """The bytes of a body, and the content type that goes with them where the author gave none."""
    if isinstance(value, str) and not is_json(content_type):
        return value.encode(), "text/plain; charset=utf-8"
    if isinstance(value, dict) and content_type.split(";")[0].strip().lower() == _FORM:
        return urlencode({name: _text(item) for name, item in value.items()}).encode(), _FORM
    return json_bytes(value), "application/json"


def check_status(request: Request, answer: Answer) -> None:
    """Raise WorkflowFault unless the status is a success (see HttpCalls.call)."""
    status = answer.status
    if 200 <= status < (400 if request.redirect else 300):
        return
    type_ = {401: AUTHENTICATION, 403: AUTHORIZATION}.get(status, COMMUNICATION)
    # The phrase of the standard: a server's own words may repeat what it was sent.
    phrase = _PHRASES.get(status, "")
    said = f"{status} {phrase}".strip()
    raise WorkflowFault(Problem.standard(type_, f"{request} was answered with {said}", status=status, title=phrase or None))


def _content(request: Request, answer: Answer) -> Json:
    """The body by its content type: JSON parsed, text as a string, anything else in base64, nothing as null."""
    if not answer.body:
        return None
    kind = answer.content_type
    if is_json(kind):
        try:
            return read_json(answer.body)
        except (ValueError, RecursionError) as error:
            raise fault(COMMUNICATION, f"the answer to {request} says {kind} and is not JSON") from error
    if kind.startswith("text/") or kind in ("application/xml", _FORM) or kind.endswith("+xml"):
        try:
            return answer.body.decode(answer.charset, errors="replace")
        except LookupError:
            return answer.body.decode(errors="replace")
    return base64.b64encode(answer.body).decode()


def _described(request: Request, answer: Answer) -> Json:
    """The DSL reference's "HTTP Response"; credentials of the request are left out: headers that are named for them, and
    whatever holds a secret."""
    headers = {
        name: value
        for name, value in request.headers.items()
        if not (telemetry.names_a_secret(name) or telemetry.conceals(value))
    }
    return {
        "request": {
            "method": request.method.lower(),
            "uri": telemetry.redact(str(request.url.with_user(None))),
            "headers": cast("Json", headers),
        },
        "statusCode": answer.status,
        "headers": cast("Json", answer.joined_headers()),
        "content": _content(request, answer),
    }


def _reason(error: aiohttp.ClientError) -> str:
    """What went wrong, in words that cannot hold a secret: never the library's own message."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "the host's name is not known"
        case aiohttp.ClientConnectorCertificateError():
            return "the server's certificate does not verify"
        case aiohttp.ClientConnectorSSLError() | aiohttp.ClientSSLError():
            return "no TLS connection could be made"
        case aiohttp.ClientConnectorError():
            return f"no connection ({_system_reason(error.os_error)})"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientConnectionResetError():
            return "the server closed the connection without an answer"
        case aiohttp.ClientPayloadError():
            return "the answer broke off"
        case aiohttp.InvalidURL():
            return "the address is not valid"
        case _:
            return f"the server's answer is not HTTP ({type(error).__name__})"


def _system_reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__
