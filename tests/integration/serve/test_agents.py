"""`workflow-runner serve` asks Stigmer's agents, and a process that goes on with a run finds what the one before it asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests import canaries
from tests.integration.serve.conftest import Serve
from tests.integration.serve.served import SECONDS, Served
from tests.servers.agents import AgentServer

ASKS = "do: [{review: {call: agent, with: {agent: reviewer, message: Review this}}}]"


@pytest.fixture
async def stigmer() -> AsyncIterator[AgentServer]:
    async with AgentServer(canaries.STIGMER_KEY) as running:
        yield running


@pytest.fixture
async def served(serve: Serve, stigmer: AgentServer, tmp_path: Path) -> Served:
    """Knows Stigmer, keeps state, and does not wait long for calls when it stops."""
    (tmp_path / "key").write_text(canaries.STIGMER_KEY)
    return await serve(
        STIGMER_SERVICE_ENDPOINT=stigmer.listen,
        STIGMER_SERVICE_USE_TLS="false",
        STIGMER_SERVICE_API_KEY_FILE=str(tmp_path / "key"),
        WORKFLOW_RUNNER_STATE_FOLDER=str(tmp_path / "state"),
        WORKFLOW_RUNNER_STOP_SECONDS="1",
    )


async def test_an_agent_is_asked_once_though_the_process_stops_meanwhile(served: Served, stigmer: AgentServer) -> None:
    await served.start_run(ASKS)
    await stigmer.until(lambda: stigmer.streams == 1, SECONDS)
    assert await served.stop() == 0
    assert stigmer.deleted == []
    await served.start()
    await stigmer.until(lambda: stigmer.called.count("list") == 2, SECONDS)
    await stigmer.end("aex-1", "Fine.")
    ended = await served.end()
    assert ended.status == "completed"
    assert ended.output.string_value == "Fine."
    assert stigmer.called.count("create") == 1


async def test_a_run_that_is_cancelled_ends_the_agents_execution(served: Served, stigmer: AgentServer) -> None:
    await served.start_run(ASKS)
    await stigmer.until(lambda: stigmer.streams == 1, SECONDS)
    await served.cancel()
    assert (await served.end()).status == "cancelled"
    await stigmer.until(lambda: stigmer.deleted == ["aex-1"], SECONDS)
