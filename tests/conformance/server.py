"""The HTTP server of a scenario, by TLS too where it is wanted: answers as the Given steps say, and keeps what it was asked
and told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.conformance.case import SECURE, SERVICE, Answer, Case, Request
from tests.servers.tls import Authority

EMITTED = "/-/emitted"
LIFECYCLE = "/-/lifecycle"


class Service:
    """Where the server is, what it was asked, and the CloudEvents that came to its two sinks."""

    def __init__(self, case: Case) -> None:
        self.url = self.secure_url = ""
        self.requests: list[Request] = []
        self.told: dict[str, list[Any]] = {EMITTED: [], LIFECYCLE: []}
        self.sink_types: set[str] = set()
        self._answers = {key: list(answers) for key, answers in case.answers.items()}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Every request comes here."""
        body = (await request.read()).decode(errors="replace")
        path = request.raw_path.split("?")[0]
        if path in self.told:
            self.told[path].append(json.loads(body))
            self.sink_types.add(request.content_type)
            return web.Response(status=202)
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Request(request.method, path, tuple(request.query.items()), headers, body, _client(request)))
        left = self._answers.get((request.method, path))
        if left is None:
            return web.Response(status=404, text="this scenario has no such answer")
        answer = left.pop(0) if len(left) > 1 else left[0]
        return await self._response(answer)

    async def _response(self, answer: Answer) -> web.StreamResponse:
        if answer.status is None:
            await asyncio.Event().wait()
        assert answer.status is not None
        headers = {name: self.placed(value) for name, value in answer.headers}
        if answer.content_type:
            headers["Content-Type"] = answer.content_type
        return web.Response(status=answer.status, body=self.placed(answer.body).encode(), headers=headers)

    def placed(self, text: str) -> str:
        """The text with the real addresses."""
        return text.replace(SERVICE, self.url).replace(SECURE, self.secure_url)


def _client(request: web.Request) -> str:
    shown = request.transport.get_extra_info("peercert") if request.transport else None
    return str(dict(pair[0] for pair in shown["subject"])["commonName"]) if shown else ""


@contextlib.asynccontextmanager
async def serve(case: Case, folder: Path, authority: Authority | None) -> AsyncIterator[Service]:
    """The server of a case on a free port of 127.0.0.1; with an authority, which vouches for it, by TLS on another one."""
    service = Service(case)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    if authority is not None:
        context = authority.server_context(folder, wants_clients=True)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        service.secure_url = f"https://127.0.0.1:{runner.addresses[1][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()
