"""`call: http` over aiohttp (five times faster a request than httpx2, with the same start-up time).

`calls.Calls` makes one HttpCalls for a host. Arguments, from interpreter/tasks/call_http.py:
`method`, `uri` (no template any more), `headers`, `query`, `body` (when there is one), `output` (raw,
content, response) and `redirect`. Errors say what was asked of whom, never with user names,
passwords, query strings or headers, where secrets are.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode

import aiohttp
from msgspec import Struct
from yarl import URL

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
LARGEST_BODY = 8 * 1024 * 1024
"""The most bytes of a request's or a response's body (of the response: unpacked)."""

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORM = "application/x-www-form-urlencoded"


class _Request(Struct):
    method: str
    url: URL
    headers: dict[str, str]
    body: bytes | None
    output: str
    redirect: bool

    def __str__(self) -> str:
        """For messages: without what may be secret."""
        return f"{self.method} {self.url.with_user(None).with_query(None).with_fragment(None)}"


class _Answer(Struct):
    status: int
    reason: str
    headers: dict[str, str]
    content_type: str
    charset: str
    body: bytes


class HttpCalls:
    """A client for http calls: keeps connections, no cookies, follows no redirect."""

    def __init__(
        self,
        *,
        total_seconds: float = TOTAL_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
        largest_body: int = LARGEST_BODY,
    ) -> None:
        self._largest = largest_body
        self._total, self._connect = total_seconds, connect_seconds
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=total_seconds, connect=connect_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "workflow-runner"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def call(self, arguments: Mapping[str, Json], *, idempotency_key: str) -> Json:
        """Send one request and give what `output` asks for. Raises WorkflowFault.

        Faults: `timeout` at a deadline; `authentication` for 401, `authorization` for 403 and
        `communication` with the status for others outside 200–299 (200–399 with `redirect`);
        `communication` 500 when there is no usable answer; `configuration` for an unusable request.
        """
        request = self._request(arguments, idempotency_key)
        answer = await self._exchange(request)
        _check_status(request, answer)
        match request.output:
            case "raw":
                return base64.b64encode(answer.body).decode()
            case "response":
                return _described(request, answer)
            case _:
                return _content(request, answer)

    def _request(self, arguments: Mapping[str, Json], idempotency_key: str) -> _Request:
        given = cast("dict[str, Any]", arguments)
        method = given["method"].upper()
        url = _url(given["uri"])
        if given["query"]:
            url = url.extend_query({name: _text(value) for name, value in given["query"].items()})
        headers = {name: _text(value) for name, value in given["headers"].items()}
        for name in headers:
            if not _HEADER_NAME.fullmatch(name):
                raise _fault(CONFIGURATION, f"{name!r:.80} cannot be the name of a header")
        known = {name.lower(): value for name, value in headers.items()}
        body = None
        if "body" in given:
            body, content_type = _body(given["body"], known.get("content-type", ""))
            if "content-type" not in known:
                headers["Content-Type"] = content_type
        if method not in _IDEMPOTENT and "idempotency-key" not in known:
            headers["Idempotency-Key"] = idempotency_key
        request = _Request(method, url, headers, body, given["output"], given["redirect"])
        if body is not None and len(body) > self._largest:
            raise _fault(VALIDATION, f"the body of {request} has {len(body)} bytes; at most {self._largest} are sent")
        return request

    async def _exchange(self, request: _Request) -> _Answer:
        try:
            async with self._session.request(
                request.method, request.url, headers=request.headers, data=request.body, allow_redirects=False
            ) as response:
                return _Answer(
                    response.status,
                    response.reason or "",
                    dict(response.headers),
                    response.content_type.lower() if "Content-Type" in response.headers else "",
                    response.charset or "utf-8",
                    await self._read(request, response),
                )
        except TimeoutError as error:
            limit = f"no connection within {self._connect:g} s or no whole answer within {self._total:g} s"
            raise _fault(TIMEOUT, f"{request}: {limit}") from error
        except ValueError as error:
            raise _fault(CONFIGURATION, f"{request}: the method, the address or a header cannot be sent") from error
        except aiohttp.ClientError as error:
            raise _fault(COMMUNICATION, f"{request}: {_reason(error)}") from error
        except OSError as error:
            raise _fault(COMMUNICATION, f"{request}: {_system_reason(error)}") from error

    async def _read(self, request: _Request, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > self._largest:
                raise _fault(COMMUNICATION, f"the answer to {request} has more than {self._largest} bytes")
            parts.append(part)
        return b"".join(parts)


def _url(text: str) -> URL:
    try:
        url = URL(text)
    except ValueError as error:
        raise _fault(CONFIGURATION, "the endpoint is not a valid address") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise _fault(CONFIGURATION, "the endpoint must be an http or https address with a host")
    return url


def _text(value: Json) -> str:
    """Query parameters and headers: strings as they are, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _body(value: Json, content_type: str) -> tuple[bytes, str]:
    """The bytes of a body, and the content type that goes with them where the author gave none."""
    if isinstance(value, str) and not _is_json(content_type):
        return value.encode(), "text/plain; charset=utf-8"
    if isinstance(value, dict) and content_type.split(";")[0].strip().lower() == _FORM:
        return urlencode({name: _text(item) for name, item in value.items()}).encode(), _FORM
    return json.dumps(value, ensure_ascii=False).encode(), "application/json"


def _is_json(content_type: str) -> bool:
    kind = content_type.split(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _check_status(request: _Request, answer: _Answer) -> None:
    status = answer.status
    if 200 <= status < (400 if request.redirect else 300):
        return
    type_ = {401: AUTHENTICATION, 403: AUTHORIZATION}.get(status, COMMUNICATION)
    said = f"{status} {answer.reason}".strip()
    raise WorkflowFault(
        Problem.standard(type_, f"{request} was answered with {said}", status=status, title=answer.reason or None)
    )


def _content(request: _Request, answer: _Answer) -> Json:
    """The body by its content type: JSON parsed, text as a string, anything else in base64, nothing as null."""
    if not answer.body:
        return None
    kind = answer.content_type
    if _is_json(kind):
        try:
            return cast("Json", json.loads(answer.body, parse_constant=_no_constant))
        except (ValueError, RecursionError) as error:
            raise _fault(COMMUNICATION, f"the answer to {request} says {kind} and is not JSON") from error
    if kind.startswith("text/") or kind in ("application/xml", _FORM) or kind.endswith("+xml"):
        try:
            return answer.body.decode(answer.charset, errors="replace")
        except LookupError:
            return answer.body.decode(errors="replace")
    return base64.b64encode(answer.body).decode()


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _described(request: _Request, answer: _Answer) -> Json:
    """The DSL reference's "HTTP Response"; credentials of the request are left out."""
    return {
        "request": {
            "method": request.method.lower(),
            "uri": str(request.url.with_user(None)),
            "headers": {name: value for name, value in request.headers.items() if name.lower() not in _SECRET_HEADERS},
        },
        "statusCode": answer.status,
        "headers": cast("Json", answer.headers),
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


def _fault(type_: str, detail: str) -> WorkflowFault:
    return WorkflowFault(Problem.standard(type_, detail))
