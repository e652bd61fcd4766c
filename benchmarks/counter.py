"""A server on loopback, in a process of its own, that answers `/count?n=1` with `{"n": 2}`: what benchmarks call."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection

from aiohttp import web

_WAITING = 2_000
"""Connections that may come at once."""


def _serve(told: Connection) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"n": int(request.query["n"]) + 1})

    async def forever() -> None:
        application = web.Application()
        application.router.add_get("/count", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=_WAITING)
        await site.start()
        told.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(forever())


@contextlib.contextmanager
def counter() -> Iterator[str]:
    """The URL of such a server."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    server = context.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/count"
    finally:
        server.terminate()
        server.join()
