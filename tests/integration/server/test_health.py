"""The health endpoint, as a probe asks it."""

from __future__ import annotations

import aiohttp
import pytest

from workflow_runner.server.health import serve_health


@pytest.mark.parametrize(
    ("problem", "status"), [(None, 200), ("the watches have not started", 503)], ids=["ready", "not-ready"]
)
async def test_readiness_says_why_and_liveness_does_not_hang_on_it(problem: str | None, status: int) -> None:
    runner = await serve_health("127.0.0.1", 0, ready={"watches": lambda: problem})
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for path in ("/health", "/health/ready"):
                async with session.get(path) as answer:
                    body = await answer.json()
                    assert answer.status == status
                    assert body["problems"] == ({} if problem is None else {"watches": problem})
            async with session.get("/health/live") as answer:
                assert answer.status == 200
    finally:
        await runner.cleanup()
