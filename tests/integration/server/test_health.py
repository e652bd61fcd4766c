"""The health endpoint, as a probe asks it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.until import until

from workflow_runner.errors import InvalidInput
from workflow_runner.server.health import Check, Health, serve_health

Json = dict[str, Any]


@contextlib.asynccontextmanager
async def serving(**checks: dict[str, Check]) -> AsyncIterator[Health]:
    health = await serve_health(0, **{"ready": {}, **checks})  # type: ignore[arg-type]
    try:
        yield health
    finally:
        await health.close()


async def ask(health: Health, path: str, host: str = "127.0.0.1") -> tuple[int, Json]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{health.port}{path}") as answer:
        return answer.status, await answer.json()


async def answers(health: Health, path: str, status: int) -> bool:
    return (await ask(health, path))[0] == status


@pytest.mark.parametrize(
    ("problem", "status"), [(None, 200), ("the watches have not started", 503)], ids=["ready", "not-ready"]
)
async def test_readiness_says_why_and_liveness_does_not_hang_on_it(problem: str | None, status: int) -> None:
    async with serving(ready={"watches": lambda: problem}) as health:
        for path in ("/health", "/health/ready"):
            code, body = await ask(health, path)
            assert (code, body["problems"]) == (status, {} if problem is None else {"watches": problem})
        assert (await ask(health, "/health/live"))[0] == 200


async def test_what_a_restart_would_mend_is_not_live_and_not_healthy() -> None:
    async with serving(live={"queue": lambda: "no reconcile has ended for 700 s"}) as health:
        for path, status in (("/health", 503), ("/health/live", 503), ("/health/ready", 200)):
            assert (await ask(health, path))[0] == status


async def test_a_note_is_shown_and_changes_nothing() -> None:
    async with serving(notes={"stigmer": lambda: "stigmer:443: unreachable"}) as health:
        for path in ("/health", "/health/live", "/health/ready"):
            code, body = await ask(health, path)
            assert (code, body["notes"]) == (200, {"stigmer": "stigmer:443: unreachable"})


async def test_a_change_is_seen_without_asking_for_it() -> None:
    problems: list[str] = []
    async with serving(ready={"sink": lambda: problems[-1] if problems else None}) as health:
        assert (await ask(health, "/health/ready"))[0] == 200
        problems.append("the sink does not listen")
        await until(lambda: answers(health, "/health/ready", 503))


async def test_a_stuck_event_loop_is_told_by_a_thread_that_is_not() -> None:
    """The loop waits in a call that blocks until somebody has heard from the endpoint that it is stuck."""
    heard: list[Json] = []
    release = threading.Event()

    def probe(port: int) -> None:
        while not heard:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=5).close()
            except urllib.error.HTTPError as refusal:
                heard.append(json.loads(refusal.read()))
                refusal.close()
        release.set()

    health = await serve_health(0, ready={}, late_seconds=0.7)
    try:
        thread = threading.Thread(target=probe, args=(health.port,), daemon=True)
        thread.start()
        assert release.wait(30), "somebody hears of it"
        thread.join(10)
        assert "event-loop" in heard[0]["problems"]
        await until(lambda: answers(health, "/health/live", 200))
    finally:
        await health.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_it_answers_on_both_kinds_of_addresses(host: str) -> None:
    if host == "[::1]" and not socket.has_dualstack_ipv6():
        host = "127.0.0.1"  # a machine without IPv6 has this one only
    async with serving() as health:
        assert (await ask(health, "/health", host))[0] == 200


async def test_a_taken_port_is_named() -> None:
    async with serving() as health:
        with pytest.raises(InvalidInput, match=rf"port {health.port} cannot be listened on") as refusal:
            await serve_health(health.port, ready={})
    assert refusal.value.code == "settings.port-unusable"
