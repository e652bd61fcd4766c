"""Processes that serve, and the world that their workflows call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.integration.serve.served import Served

Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a process with these environment variables; at the end each has stopped well, and logged no secret."""
    started: list[Served] = []

    async def start(*arguments: str, **variables: str) -> Served:
        # Whoever keeps nothing has its runs to wait for.
        brief = {} if "WORKFLOW_RUNNER_STATE_FOLDER" in variables else {"WORKFLOW_RUNNER_STOP_SECONDS": "1"}
        served = Served(brief | variables, arguments)
        started.append(served)
        await served.start()
        return served

    yield start
    for served in started:
        await served.close()


@pytest.fixture
async def served(serve: Serve) -> Served:
    """One process without a state folder."""
    return await serve()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A folder for executions."""
    return tmp_path / "state"


@pytest.fixture
async def kept(serve: Serve, state: Path) -> Served:
    """One process with a state folder."""
    return await serve(WORKFLOW_RUNNER_STATE_FOLDER=str(state))
