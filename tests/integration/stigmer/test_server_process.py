"""The test server as a process of its own, as the end-to-end cases use it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import SecretStr
from tests.integration.stigmer.conftest import KEY, event
from tests.until import until

from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecutionStatus
from workflow_runner.server.tls import new_authority, serving_certificate
from workflow_runner.stigmer.client import Backoff, CallbackClient, Destination
from workflow_runner.stigmer.queries import Queries, QueryRefused
from workflow_runner.stigmer.relay import Relay


@dataclass
class Process:
    """The running server."""

    process: asyncio.subprocess.Process
    destination: Destination
    folder: Path

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "events.jsonl").read_text().splitlines()]

    def states(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "states.jsonl").read_text().splitlines()]

    def behave(self, **behaviour: object) -> None:
        (self.folder / "control.json").write_text(json.dumps(behaviour))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Process]:
    authority = new_authority()
    key, chain = serving_certificate(authority, ["localhost"])
    (tmp_path / "tls.key").write_bytes(key)
    (tmp_path / "tls.crt").write_bytes(chain)
    options = ["--listen", "localhost:0", "--api-key", KEY, "--events", str(tmp_path / "events.jsonl")]
    options += ["--tls-cert", str(tmp_path / "tls.crt"), "--tls-key", str(tmp_path / "tls.key")]
    options += ["--control", str(tmp_path / "control.json"), "--states", str(tmp_path / "states.jsonl")]
    (tmp_path / "resources.json").write_text(json.dumps({"workflows": [{"metadata": {"id": "wf-1", "name": "Order"}}]}))
    options += ["--resources", str(tmp_path / "resources.json")]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.servers.stigmer", *options, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        said = (await process.stdout.readline()).decode()
    assert said.startswith("listening localhost:")
    destination = Destination(said.split()[1], SecretStr(KEY), ca_pem=authority.certificate)
    yield Process(process, destination, tmp_path)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        assert await process.wait() == 0


async def test_it_takes_events_goes_away_and_comes_back_when_told_to(server: Process) -> None:
    changes = asyncio.Event()
    relay = Relay(changed=lambda key: changes.set(), retry=Backoff(first=0.05, most=0.2))
    task = asyncio.create_task(relay.run())
    relay.track("run-1", server.destination, 0)
    relay.offer("run-1", event(1, "workflow_started"))
    assert await relay.delivered("run-1", 1, 20)
    assert server.events() == [
        {
            "workflowExecutionId": "run-1",
            "eventType": "workflow_started",
            "taskName": "step",
            "status": "completed",
            "sequenceNumber": "1",
        }
    ]
    server.behave(mode="down")
    numbers = iter(range(2, 1000))
    async with asyncio.timeout(30):
        # Some more may arrive before it looks at its control file.
        while relay.delivery("run-1").last_error is None:
            relay.offer("run-1", event(last := next(numbers)))
            changes.clear()
            await changes.wait()
    relay.offer("run-1", event(last := next(numbers), "workflow_completed"))
    server.behave(mode="take")
    assert await relay.delivered("run-1", last, 30)
    arrived = [int(line["sequenceNumber"]) for line in server.events()]
    assert arrived == sorted(arrived)
    assert set(arrived) == set(range(1, last + 1))
    await relay.close()
    await task


async def test_it_takes_states_answers_queries_and_changes_its_key_when_told_to(server: Process) -> None:
    client = CallbackClient(replace(server.destination, api="status"), deadline_seconds=10)
    await client.report(event(1), WorkflowExecutionStatus(error="it broke"))
    assert server.states() == [{"executionId": "run-1", "status": {"error": "it broke"}}]
    async with Queries(server.destination) as queries:
        assert (await queries.workflow("wf-1")).metadata.name == "Order"
    server.behave(api_key="another-key-4711")
    async with Queries(replace(server.destination, api_key=SecretStr("another-key-4711"))) as queries:

        async def taken() -> bool:
            try:
                return (await queries.workflow("wf-1")).metadata.id == "wf-1"
            except QueryRefused:
                return False

        await until(taken, 20)
    await client.close()
