"""What a run on Temporal outlives: its worker, again and again, and the server."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from temporalio.api.enums.v1 import EventType as EventKind
from temporalio.api.history.v1 import HistoryEvent
from tests.integration.calls.server import Seen, http_server
from tests.integration.temporal.runs import Setting, setting, worker_processes
from tests.servers.temporal import free_port, shared_temporal_server, temporal_server
from tests.until import until

from workflow_runner.hosts.temporal import names
from workflow_runner.interpreter.events import EventType
from workflow_runner.interpreter.outcome import Completed

pytestmark = pytest.mark.long

TASKS, KILLS, SEED = 200, 50, 20261122


async def _slowly(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(0.05)  # so that some calls are under way when their worker dies
    return web.json_response({"ok": True})


def _calls(url: str) -> str:
    """200 tasks: calls one after the other, half of them in forks of two."""
    one = f"{{call: http, with: {{method: post, endpoint: '{url}/n', body: {{n: '${{ $i }}'}}}}}}"
    return f"""
        do:
          - all:
              for: {{each: i, in: "${{ [range({TASKS // 4})] }}"}}
              do:
                - a: {one}
                - b: {one}
                - f: {{fork: {{branches: [{{c: {one}}}, {{d: {one}}}]}}}}
        output: {{as: "${{ {{done: true}} }}"}}
        """


@pytest.mark.timeout(900)
async def test_fifty_kills_of_the_worker_cost_no_effect_and_repeat_no_finished_task() -> None:
    address = await shared_temporal_server()
    chance = random.Random(SEED)
    async with http_server(_slowly) as server:
        here = await setting(address)
        queue = execution_id = f"kills-{random.randrange(10**9)}"
        async with (
            worker_processes(address, queue, 2) as workers,
            here.following(_calls(server.url), execution_id=execution_id, queue=queue) as run,
        ):
            kills = 0
            while kills < KILLS and not run.task.done():
                wanted = min(TASKS, len(server.seen) + chance.randint(0, 5))
                await until(lambda wanted=wanted: len(server.seen) >= wanted or run.task.done(), 60)  # type: ignore[misc]
                await asyncio.sleep(chance.uniform(0, 0.06))
                await workers.kill_one()
                kills += 1
            assert await run.outcome(120) == Completed({"done": True})
        assert kills >= KILLS * 0.8, "the run was over before it was killed often enough"
        await _check_effects(here, execution_id, server.seen)


async def test_a_server_that_restarts_on_its_database_loses_nothing(tmp_path: Path) -> None:
    database, port = tmp_path / "temporal.db", free_port()
    async with http_server(_slowly) as effects:
        async with temporal_server(database=database, port=port) as address:
            here = await setting(address)
            running = here.running(_calls(effects.url))
            run = await running.__aenter__()
            await until(lambda: len(effects.seen) >= 20)
        try:
            assert not run.task.done()
            async with temporal_server(database=database, port=port):
                assert await run.outcome(120) == Completed({"done": True})
                await _check_effects(here, run.execution_id, effects.seen)
                await running.__aexit__(None, None, None)
        except BaseException:
            run.task.cancel()
            raise


async def test_a_worker_that_comes_late_goes_on_with_a_paused_run() -> None:
    here = await setting(await shared_temporal_server())
    text = "do: [{one: {set: {a: 1}}}, {w: {wait: PT1S}}, {two: {set: {b: '${ .a + 1 }'}}}]"
    async with here.running(text) as run:
        await run.told(EventType.TASK_STARTED, "w")
        run.run.pause("for the night")
        await run.told(EventType.WORKFLOW_PAUSED)
        run.run.cancel(goes_on=True)
        await run.outcome()
        queue = run.execution_id
    async with (
        worker_processes(here.client.service_client.config.target_host, queue),
        here.following(text, execution_id=queue, queue=queue) as second,
    ):
        await until(lambda: second.run.paused, 30)
        second.run.resume()
        assert await second.outcome() == Completed({"b": 2})


async def _check_effects(here: Setting, execution_id: str, seen: list[Seen]) -> None:
    """Each effect has one key; no call was made again once Temporal knew its end."""
    keys = [request.headers["idempotency-key"] for request in seen]
    assert len(set(keys)) == TASKS
    bodies: dict[str, set[bytes]] = {}
    for request in seen:
        bodies.setdefault(request.headers["idempotency-key"], set()).add(request.body)
    assert all(len(each) == 1 for each in bodies.values())
    handle = here.client.get_workflow_handle(names.run_id(execution_id))
    begun: dict[str, int] = {}
    converter = here.client.data_converter
    scheduled: dict[int, str] = {}
    ended = 0
    async for event in handle.fetch_history_events():
        if event.event_type == EventKind.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            key = await _key(event, converter)
            if key:
                scheduled[event.event_id] = key
                begun[key] = begun.get(key, 0) + 1
        elif event.event_type == EventKind.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            ended += event.activity_task_completed_event_attributes.scheduled_event_id in scheduled
    # One activity a call, each completed once: what was finished was not scheduled again.
    assert (len(begun), set(begun.values()), ended) == (TASKS, {1}, TASKS)


async def _key(event: HistoryEvent, converter: Any) -> str | None:
    attributes = event.activity_task_scheduled_event_attributes
    if attributes.activity_type.name != names.CALL:
        return None
    [argument] = await converter.decode(attributes.input.payloads)
    return str(argument["idempotencyKey"])
