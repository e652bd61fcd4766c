"""Health over HTTP (`:3000/health`). Built by cli.operator.

`/health/live` says that the event loop turns, `/health/ready` that every part has started; `/health` is
both. Answers 200 or 503 with the reasons as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

Check = Callable[[], str | None]
"""None when all is well, else what is not."""


async def serve_health(host: str, port: int, *, ready: Mapping[str, Check]) -> web.AppRunner:
    """Starts the endpoint; `await runner.cleanup()` ends it. Raises OSError when the port is taken."""

    def answer(checks: Mapping[str, Check]) -> web.Response:
        problems = {name: problem for name, check in checks.items() if (problem := check()) is not None}
        return web.json_response(
            {"status": "unavailable" if problems else "ok", "problems": problems}, status=503 if problems else 200
        )

    async def live(_: web.Request) -> web.Response:
        return answer({})

    async def readiness(_: web.Request) -> web.Response:
        return answer(ready)

    application = web.Application()
    application.router.add_get("/health", readiness)
    application.router.add_get("/health/live", live)
    application.router.add_get("/health/ready", readiness)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
