"""A real HTTP server on the loopback interface for tests, whose answers the tests write themselves."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """A request as it arrived; header names are in lower case."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """Where the server is, and what it was asked."""

    url: str
    seen: list[Seen] = field(default_factory=list)


@contextlib.asynccontextmanager
async def http_server(answer: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve every path and method with `answer`."""

    async def record(request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        path = request.raw_path.split("?")[0]
        server.seen.append(Seen(request.method, path, list(request.query.items()), headers, await request.read()))
        return await answer(request)

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", record)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    server = Server(f"http{'s' if tls is not None else ''}://127.0.0.1:{runner.addresses[0][1]}")
    try:
        yield server
    finally:
        await runner.cleanup()


def answering(
    status: int = 200, body: bytes | str | None = None, content_type: str | None = None, headers: dict[str, str] | None = None
) -> Handler:
    """Always the same answer."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        content = body.encode() if isinstance(body, str) else body
        all_headers = dict(headers or {})
        if content_type is not None:
            all_headers["Content-Type"] = content_type
        return web.Response(status=status, body=content, headers=all_headers)

    return answer
