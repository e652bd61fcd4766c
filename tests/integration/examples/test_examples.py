"""Every example runs on the local host, against a world of real local servers, and gives exactly what lies beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests import canaries
from tests.integration.examples.cases import Case, cases
from tests.integration.hosts.recorder import Recorder
from tests.servers.greeter import greeter_server
from tests.servers.world import GREETER_PORT, PORT, USER, World, world_server
from tests.until import until

from workflow_runner.cli.host import host_options
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.event_bus import EventBus
from workflow_runner.hosts.event_endpoint import admitting, listen_at, serve_events
from workflow_runner.hosts.local import LocalRun
from workflow_runner.interpreter.outcome import Completed, Faulted

SECRETS: dict[str, Any] = {
    "GREETING_KEY": canaries.WORKFLOW_SECRET,
    "PROFILE_LOGIN": {"username": USER, "password": canaries.URL_PASSWORD},
    "PROFILE_TOKEN": canaries.BEARER,
    "PROFILE_CLIENT": canaries.ENV_SECRET,
}


@contextlib.asynccontextmanager
async def world_for(text: str) -> AsyncIterator[str]:
    """The servers that an input names, on free ports: gives the input that names those."""
    async with contextlib.AsyncExitStack() as stack:
        if f"localhost:{PORT}" in text:
            world = World(password=canaries.URL_PASSWORD, token=canaries.BEARER, secret=canaries.ENV_SECRET)
            await stack.enter_async_context(world_server(world))
            text = text.replace(f"http://localhost:{PORT}", world.url)
        if str(GREETER_PORT) in text:
            greeter = await stack.enter_async_context(greeter_server())
            text = text.replace(str(GREETER_PORT), str(greeter.port))
        yield text


async def send(events: list[dict[str, Any]], port: int) -> None:
    """Send events one after the other, each again until the run takes it: that is when it has come to its listening."""
    async with aiohttp.ClientSession() as session:
        for event in events:

            async def taken(event: dict[str, Any] = event) -> bool:
                headers = {"Content-Type": "application/cloudevents+json"}
                async with session.post(f"http://127.0.0.1:{port}/", data=json.dumps(event), headers=headers) as answer:
                    assert answer.status == 202, await answer.text()
                    return bool((await answer.json())["taken"])

            await until(taken, 60)


async def outcome_of(case: Case) -> Completed | Faulted:
    """Run it."""
    recorder, bus = Recorder(), EventBus()
    workflow, warnings = read_document(case.document.read_text(), case.document.name)
    assert warnings == []
    async with world_for(case.input) as given:
        run = LocalRun(
            workflow,
            json.loads(given),
            execution_id="example",
            run_id="1",
            secrets=SECRETS,
            report=recorder,
            bus=bus,
            options=host_options(case.document),
        )
        endpoint = await serve_events(await listen_at("127.0.0.1", 0), admitting(bus.offer, None))
        sending = asyncio.create_task(send(case.events, endpoint.port))
        try:
            outcome = await run.run()
            # The run may end before the answer to its last event has arrived.
            await asyncio.wait([sending], timeout=10)
            assert sending.done(), "the run ended before its events were taken"
            await sending
        finally:
            sending.cancel()
            await endpoint.close()
    assert isinstance(outcome, Completed | Faulted)
    told = "\n".join(str(event) for event in recorder.events)
    assert canaries.found_in(told) == []
    return outcome


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
async def test_an_example_gives_what_lies_beside_it(case: Case) -> None:
    outcome = await outcome_of(case)
    if case.faults:
        assert isinstance(outcome, Faulted), outcome
        assert outcome.problem.to_dict() == case.expected
    else:
        assert isinstance(outcome, Completed), outcome
        assert outcome.output == case.expected
