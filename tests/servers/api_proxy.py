"""A proxy in front of a real API server that does to requests what bad days do to them.

In a test: `with ApiProxy(server, tls) as proxy`; clients use `proxy.kubeconfig(path)`. It runs in a thread with an event
loop of its own, speaks plain HTTP on loopback, and holds the rights (a client certificate in `tls`). `proxy.faults` may
be replaced at any time and holds for requests that come from then on; `down`, `up` and `cut_watches` act at once.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
import threading
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import aiohttp
from aiohttp import web
from yarl import URL

Result = TypeVar("Result")

STATUS = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "told to"}
EXPIRED = {"type": "ERROR", "object": {**STATUS, "code": 410, "reason": "Expired"}}
_NOT_PASSED_ON = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}
_START_SECONDS = 10.0


@dataclass(frozen=True, eq=False)
class Fault:
    """What happens to `share` of the requests that fit.

    answer: `status` with `headers`, and the API server hears nothing. late-answer: the same, but the API server has done
    it. reset: the connection breaks. hang: no answer ever. expired: a watch that is told at once that its version is gone.
    """

    kind: Literal["answer", "late-answer", "reset", "hang", "expired"]
    methods: str = "GET|POST|PUT|PATCH|DELETE"
    path: str = ".*"
    """A regular expression that fits the path, without the query."""
    watches: bool | None = None
    """True: watches only; False: everything else."""
    share: float = 1.0
    most: int | None = None
    """So many times, and then not any more; another one that is like it counts anew."""
    status: int = 503
    headers: tuple[tuple[str, str], ...] = ()

    def fits(self, request: web.Request) -> bool:
        return (
            re.fullmatch(self.methods, request.method) is not None
            and re.fullmatch(self.path, request.path) is not None
            and self.watches in (None, is_watch(request))
        )


def is_watch(request: web.Request) -> bool:
    return request.query.get("watch") in ("true", "1")


@dataclass(eq=False)
class ApiProxy:
    """Use it as a context manager."""

    server: str
    tls: ssl.SSLContext = field(repr=False)
    seed: int = 0
    faults: Sequence[Fault] = ()
    done: Counter[str] = field(default_factory=Counter)
    """How often each kind of fault was done; "cut" counts watches that were cut."""
    passed: int = 0
    """How many requests got the API server's own answer."""
    port: int = 0
    _times: Counter[Fault] = field(default_factory=Counter)
    _watches: dict[web.StreamResponse, asyncio.Transport] = field(default_factory=dict)
    _transports: set[asyncio.Transport] = field(default_factory=set)

    def __enter__(self) -> Self:
        self._random = random.Random(self.seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api-proxy", daemon=True)
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return sum(not transport.is_closing() for transport in list(self._watches.values()))

    def kubeconfig(self, path: Path) -> Path:
        """Writes one that leads here."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        }
        path.write_text(json.dumps(content))
        return path

    def down(self) -> None:
        """Nobody listens any more, and every connection is broken."""
        self._call(self._close())

    def up(self) -> None:
        """On the same port as before."""
        self._call(self._listen())

    def cut_watches(self, *, expired: bool = False) -> int:
        """Ends every watch that is open, with or without the news that its version is gone; how many there were."""
        return self._call(self._cut(expired))

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    # What follows runs in the thread.

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.tls, limit=0),
            skip_auto_headers=["Accept-Encoding"],
            timeout=aiohttp.ClientTimeout(None),
        )
        application = web.Application(client_max_size=8 * 1024**2)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        await self._site.stop()
        for transport in list(self._transports):
            transport.abort()

    async def _stop(self) -> None:
        await self._close()
        await self._runner.cleanup()
        await self._session.close()

    async def _cut(self, expired: bool) -> int:
        watches = [(response, transport) for response, transport in self._watches.items() if not transport.is_closing()]
        for response, transport in watches:
            self.done["cut"] += 1
            if expired:
                await response.write(json.dumps(EXPIRED).encode() + b"\n")
                await response.write_eof()
            transport.close()
        return len(watches)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        self._transports = {known for known in self._transports if not known.is_closing()} | {transport}
        fault = next((item for item in self.faults if self._hits(item, request)), None)
        if fault is None:
            self.passed += 1
            return await self._pass_on(request, transport)
        self.done[fault.kind] += 1
        self._times[fault] += 1
        match fault.kind:
            case "reset":
                transport.abort()
            case "hang":
                await asyncio.Event().wait()
            case "expired":
                return web.Response(body=json.dumps(EXPIRED).encode() + b"\n", content_type="application/json")
            case "late-answer":
                await self._pass_on(request, transport)
        return web.json_response({**STATUS, "code": fault.status}, status=fault.status, headers=dict(fault.headers))

    def _hits(self, fault: Fault, request: web.Request) -> bool:
        if fault.most is not None and self._times[fault] >= fault.most:
            return False
        return fault.fits(request) and self._random.random() < fault.share

    async def _pass_on(self, request: web.Request, transport: asyncio.Transport) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON}
        url = URL(f"{self.server}{request.raw_path}", encoded=True)
        async with self._session.request(request.method, url, data=await request.read() or None, headers=headers) as answer:
            passed = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
            if not is_watch(request):
                return web.Response(status=answer.status, body=await answer.read(), headers=passed)
            response = web.StreamResponse(status=answer.status, headers=passed)
            await response.prepare(request)
            self._watches[response] = transport
            try:
                async for data in answer.content.iter_any():
                    await response.write(data)
            except (ConnectionError, aiohttp.ClientError):
                pass  # cut, by whichever side
            finally:
                del self._watches[response]
            return response
