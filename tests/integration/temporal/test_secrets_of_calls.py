"""Secrets that are not in Temporal: the worker that makes a call asks for them when it authenticates."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from temporalio.client import Client
from tests import canaries
from tests.integration.calls.server import Server, answering, http_server

from workflow_runner.cli.stigmer_records import NoRecords
from workflow_runner.dsl.templates import Json
from workflow_runner.errors import Unavailable
from workflow_runner.hosts.local import Source
from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.activities import SecretsOf
from workflow_runner.hosts.temporal.client import connect
from workflow_runner.hosts.temporal.run import TemporalRun
from workflow_runner.hosts.temporal.worker import RunWorker
from workflow_runner.interpreter.outcome import Completed, Faulted, Outcome
from workflow_runner.settings.temporal import TemporalSettings

CALL = """\
document: {{dsl: 1.0.3, namespace: test, name: call, version: 1.0.0}}
use: {{secrets: [TOKEN, ZONE]}}
do:
  - ask:
      call: http
      with:
        method: get
        endpoint: {{uri: '{url}/', authentication: {{bearer: {{token: '${{ $secrets.TOKEN }}'}}}}}}
      output: {{as: '${{ $secrets.ZONE }}'}}
"""


async def outcome(client: Client, server: Server, secrets_of: SecretsOf) -> Outcome:
    """The document, run as a runner does that has no keys: started here, and worked on by whoever asks for secrets."""
    run = TemporalRun(
        client,
        Source(CALL.format(url=server.url), "call.yaml"),
        {},
        task_queue="engine",
        execution_id="wfx-1",
        run_id="",
        secrets={},
        plain={"ZONE": "eu"},
        report=lambda number, event: None,
    )
    async with RunWorker(client, "engine", secrets=secrets_of):
        return await asyncio.wait_for(run.run(), 60)


async def test_the_worker_asks_for_them_until_it_is_answered(temporal: str) -> None:
    asked: list[str] = []

    async def secrets_of(execution_id: str) -> Mapping[str, Json]:
        asked.append(execution_id)
        if len(asked) == 1:
            raise Unavailable("Stigmer is away", code="stigmer.unavailable")
        return {"TOKEN": canaries.BEARER}

    client = await connect(TemporalSettings(temporal))
    async with http_server(answering(body="{}", content_type="application/json")) as server:
        assert await outcome(client, server, secrets_of) == Completed("eu")
    assert [seen.headers["authorization"] for seen in server.seen] == [f"Bearer {canaries.BEARER}"]
    assert asked == ["wfx-1", "wfx-1"]
    history: Any = await client.get_workflow_handle(names.run_id("wfx-1")).fetch_history()
    assert canaries.found_in("".join(repr(event) for event in history.events)) == []


async def test_without_anybody_to_ask_the_call_says_so(temporal: str) -> None:
    client = await connect(TemporalSettings(temporal))
    async with http_server(answering()) as server:
        ended = await outcome(client, server, NoRecords().secrets_of)
    assert isinstance(ended, Faulted)
    assert str(ended.problem.detail).startswith("temporal.secrets-unavailable: ")
    assert "give the worker STIGMER_SERVICE_ENDPOINT" in str(ended.problem.detail)
    assert server.seen == []
