"""The HTTP endpoint that takes CloudEvents in (`run --listen`, and the operator's).

`POST` to any path, in any mode of the HTTP protocol binding. 202 when every event was taken by whoever wants it, also
when that is nobody (the answer says how many were taken): events are not kept for those who come later. 400, 413 or 415
for what is no event, 503 with Retry-After when there is no room for it now, and 401 where a token is needed. Nothing
waits for a run.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from aiohttp import web

from workflow_runner.hosts.cloud_events import LARGEST_BATCH, BadEvent, CloudEvent, events_of
from workflow_runner.hosts.event_bus import Offer

READ_SECONDS = 30.0
TAKE_SECONDS = 30.0
"""So long the events of one request may take to be handed on."""
MOST_REQUESTS = 64
LARGEST_AT_ONCE = 4 * LARGEST_BATCH
"""Requests at a time, and their bytes: as values they take many times as much."""
RETRY_AFTER_SECONDS = 1

Take: TypeAlias = Callable[[CloudEvent], Awaitable[Offer]]
"""Gets each event of a request; what became of it is part of the answer."""
Admit: TypeAlias = Callable[[str, str], Take | None]
"""What takes the events of a request by its path and its `Authorization`; None for one that may not send any."""


class EventEndpoint:
    """The endpoint at work; made by `serve_events`."""

    def __init__(self, admit: Admit, read_seconds: float) -> None:
        self._admit = admit
        self._read_seconds = read_seconds
        self._requests = self._bytes = 0
        application = web.Application(client_max_size=LARGEST_BATCH)
        application.router.add_post("/{path:.*}", self._post)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        self.port = 0

    async def start(self, listening: socket.socket) -> None:
        """Begin to answer."""
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()
        self.port = listening.getsockname()[1]

    async def close(self) -> None:
        """Answer no more."""
        await self._runner.cleanup()

    async def _post(self, request: web.Request) -> web.Response:
        take = self._admit(request.path, request.headers.get("Authorization", ""))
        if take is None:
            return _answer(401, {"error": "no token, or not the one for this path"}, {"WWW-Authenticate": "Bearer"})
        # One that does not tell its size may be as large as any.
        size = LARGEST_BATCH if request.content_length is None else min(request.content_length, LARGEST_BATCH)
        if self._requests >= MOST_REQUESTS or self._bytes + size > LARGEST_AT_ONCE:
            return _busy("too many requests at once")
        self._requests += 1
        self._bytes += size
        try:
            return await self._take_in(request, take)
        finally:
            self._requests -= 1
            self._bytes -= size

    async def _take_in(self, request: web.Request, take: Take) -> web.Response:
        try:
            async with asyncio.timeout(self._read_seconds):
                body = await request.read()
            events = events_of({name.lower(): value for name, value in request.headers.items()}, body)
        except TimeoutError:
            return _answer(
                408, {"error": f"the request was not whole within {self._read_seconds:g} s"}, {"Connection": "close"}
            )
        except web.HTTPRequestEntityTooLarge:
            return _answer(413, {"error": f"a request has at most {LARGEST_BATCH:,} bytes"}, {"Connection": "close"})
        except BadEvent as error:
            return _answer(error.status, {"error": str(error)})
        taken, until = 0, asyncio.get_running_loop().time() + TAKE_SECONDS
        for event in events:
            offer = await take(event)
            if offer.full or asyncio.get_running_loop().time() > until:
                # Those behind it come after it when it is sent again.
                return _busy("whoever listens, or may do so soon, cannot take the events now; send them again")
            taken += offer.taken > 0
        return _answer(202, {"events": len(events), "taken": taken})


def admitting(take: Callable[[CloudEvent], Offer], token: str | None) -> Admit:
    """Whoever bears the token may send to every path; everybody, where there is none."""

    async def taking(event: CloudEvent) -> Offer:
        return take(event)

    return lambda path, authorization: taking if token is None or _is_token(authorization, token) else None


async def listen_at(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one, and an empty host is every address. Raises OSError."""
    infos = await asyncio.get_running_loop().getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, address = infos[0][0], infos[0][4]
    return socket.create_server((str(address[0]), int(address[1])), family=family)


async def serve_events(listening: socket.socket, admit: Admit, *, read_seconds: float = READ_SECONDS) -> EventEndpoint:
    """Start the endpoint on a socket, which is its own from now on."""
    endpoint = EventEndpoint(admit, read_seconds)
    try:
        await endpoint.start(listening)
    except BaseException:
        listening.close()
        raise
    return endpoint


def _is_token(header: str, token: str) -> bool:
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _busy(error: str) -> web.Response:
    return _answer(503, {"error": error}, {"Retry-After": str(RETRY_AFTER_SECONDS)})


def _answer(status: int, body: Mapping[str, str | int], headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(body, status=status, headers=headers)
