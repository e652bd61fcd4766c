"""Executions of a process that serves on Temporal, in this process: which take room there, and which are left to Temporal."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
from tests.integration.temporal.runs import document
from tests.servers.temporal import shared_temporal_server
from tests.until import until

from workflow_runner.hosts.documents import Documents
from workflow_runner.hosts.executions import Caller, StartRequest, TooMany
from workflow_runner.hosts.kept_executions import Bounds
from workflow_runner.hosts.temporal import executions as module
from workflow_runner.hosts.temporal.client import connect
from workflow_runner.hosts.temporal.executions import TemporalExecutions
from workflow_runner.hosts.temporal.worker import RunWorker
from workflow_runner.settings.temporal import TemporalSettings

WAITS = document("do: [{w: {wait: PT10M}}]")
SOMEBODY = Caller()


@pytest.fixture
async def served() -> AsyncIterator[TemporalExecutions]:
    """With room for one, and a worker for its queue."""
    settings = TemporalSettings(await shared_temporal_server(), engine_task_queue=str(uuid.uuid4()))
    client = await connect(settings)
    made = TemporalExecutions(Documents(), client, settings, bounds=Bounds(live=1))
    async with RunWorker(client, settings.engine_task_queue):
        yield made
        await made.close(5)


async def begin(served: TemporalExecutions) -> str:
    return (await served.start(StartRequest("", WAITS), SOMEBODY)).execution_id


async def test_a_run_that_nobody_follows_here_takes_no_room(
    served: TemporalExecutions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever followed it may have gone on to another process with it, and come back with something new."""
    first = await begin(served)
    with pytest.raises(TooMany):
        await begin(served)
    monkeypatch.setattr(module, "TIDY_SECONDS", 0.0)
    second = await begin(served)
    for id_ in (first, second):
        await served.cancel(id_, "the test is over", SOMEBODY, force=True)


async def test_a_run_that_nobody_asks_after_is_left_and_found_again(
    served: TemporalExecutions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIDY_SECONDS", 0.1)
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.5)
    first = await begin(served)
    await served.go_on()
    await until(lambda: served.live == 0, 20)
    assert (await served.status(first, SOMEBODY)).status == "running"
    await served.cancel(first, "the test is over", SOMEBODY, force=True)
