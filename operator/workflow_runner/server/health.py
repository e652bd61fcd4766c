"""Health over HTTP (`:3000/health`). Built by cli.operator.

`/health/live` says whether a restart would help, `/health/ready` whether all parts work, `/health` both. The
answer is 200 or 503, with the reasons as JSON; `notes` are reasons to look, which change neither.

The checks run in the operator's event loop twice a second; the answers come from a thread of their own, so
that a loop that is stuck does not keep anybody from hearing that it is. The thread also logs where it is stuck.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future

import structlog
from aiohttp import web
from msgspec import Struct, field

from workflow_runner.server.listening import listen

Check = Callable[[], str | None]
"""None when all is well, else what is not. Called in the event loop; must be quick."""

LOOK_SECONDS = 0.5
LATE_SECONDS = 10.0
MOST_FRAMES = 20

log = structlog.get_logger(__name__)


class _Sight(Struct, frozen=True):
    """What the checks said, and when."""

    at: float
    live: dict[str, str] = field(default_factory=dict)
    ready: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


class Health:
    """The endpoint at work; made by `serve_health`."""

    def __init__(
        self, live: Mapping[str, Check], ready: Mapping[str, Check], notes: Mapping[str, Check], late_seconds: float
    ) -> None:
        self._checks = (live, ready, notes)
        self._late_seconds = late_seconds
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._timer: asyncio.TimerHandle | None = None
        self._stop: Callable[[], None] = lambda: None
        self._thread: threading.Thread | None = None
        self._sight = _Sight(time.monotonic())
        self.port = 0

    async def start(self, port: int) -> None:
        """Looks for the first time, then listens. Raises InvalidInput when the port is taken."""
        self._look()
        listening = listen(port)
        self.port = listening.getsockname()[1]
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._answer(listening, started)), name="health", daemon=True
        )
        self._thread.start()
        await asyncio.wrap_future(started)

    async def close(self) -> None:
        """Ends looking and listening."""
        if self._timer is not None:
            self._timer.cancel()
        self._stop()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _look(self) -> None:
        self._sight = _Sight(time.monotonic(), *(_problems(checks) for checks in self._checks))
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    # What follows runs in the thread.

    async def _answer(self, listening: socket.socket, started: Future[None]) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        def stop_soon() -> None:
            loop.call_soon_threadsafe(stop.set)

        self._stop = stop_soon
        application = web.Application()
        for path, live, ready in (("/health", True, True), ("/health/live", True, False), ("/health/ready", False, True)):
            application.router.add_get(path, self._handler(live=live, ready=ready))
        runner = web.AppRunner(application, access_log=None)
        try:
            await runner.setup()
            await web.SockSite(runner, listening).start()
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result(None)
        watch = asyncio.create_task(self._watch())
        await stop.wait()
        watch.cancel()
        await runner.cleanup()

    def _handler(self, *, live: bool, ready: bool) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(_: web.Request) -> web.Response:
            sight, late = self._sight, self._late()
            problems = (sight.live if live else {}) | (sight.ready if ready else {}) | late
            body = {"status": "unavailable" if problems else "ok", "problems": problems, "notes": sight.notes}
            return web.json_response(body, status=503 if problems else 200)

        return handler

    def _late(self) -> dict[str, str]:
        seconds = time.monotonic() - self._sight.at
        if seconds < self._late_seconds:
            return {}
        return {"event-loop": f"the event loop has been stuck for {seconds:.0f} s"}

    async def _watch(self) -> None:
        """Says once where the loop is stuck, and once that it goes on."""
        stuck = False
        while True:
            await asyncio.sleep(min(1.0, self._late_seconds / 2))
            late = self._late()
            if late and not stuck:
                frame = sys._current_frames().get(self._loop_thread)
                frames = [f"{item.filename}:{item.lineno} {item.name}" for item in traceback.extract_stack(frame)]
                log.error("the event loop is stuck", frames=frames[-MOST_FRAMES:])
            elif stuck and not late:
                log.warning("the event loop goes on")
            stuck = bool(late)


async def serve_health(
    port: int,
    *,
    ready: Mapping[str, Check],
    live: Mapping[str, Check] | None = None,
    notes: Mapping[str, Check] | None = None,
    late_seconds: float = LATE_SECONDS,
) -> Health:
    """Starts the endpoint on every address of the machine; port 0 takes a free one. A loop that has not turned for
    `late_seconds` is neither live nor ready. Raises InvalidInput when the port is taken."""
    health = Health(live or {}, ready, notes or {}, late_seconds)
    await health.start(port)
    return health


def _problems(checks: Mapping[str, Check]) -> dict[str, str]:
    return {name: problem for name, check in checks.items() if (problem := check()) is not None}
