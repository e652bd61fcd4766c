"""Readers that do not read, and many callers at once."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc
from tests.integration.calls.server import answering, http_server
from tests.integration.serve.conftest import Serve
from tests.integration.serve.served import ENDS, SECONDS, Served, ascending, descendants, request, resident
from tests.until import until

from workflow_runner.hosts.execution_events import MOST_EVENTS
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as older

MANY_EVENTS = "do: [{loop: {for: {in: '[range(100000)]'}, do: [{pass: {set: {n: 1}}}]}}]"
MIB = 1024 * 1024


async def test_readers_that_do_not_read_hold_nothing_up_and_cost_little(served: Served) -> None:
    """200,000 events, with two who have asked for them and take one."""
    await served.start_run("do: [{step: {set: {n: 1}}}]", "warm")
    await served.end("warm")
    before = resident(served.pid)
    executing = aiter(served.open(_narrow(served)).execution.Execute(request(MANY_EVENTS)))
    assert (await anext(executing)).sequence_number == 1
    subscribed = aiter(served.open(_narrow(served)).query.Subscribe(older.SubscribeRequest(execution_id="run-1")))
    assert (await anext(subscribed)).sequence_number == 1
    most = before

    async def ended() -> bool:
        nonlocal most
        most = max(most, resident(served.pid))
        return (await served.status()).status in ENDS

    await until(ended, 200)
    assert (await served.status()).last_sequence_number > 200_000
    assert most - before < 120 * MIB, f"{(most - before) / MIB:.0f} MiB more"
    for reader in (executing, subscribed):
        async with asyncio.timeout(SECONDS):
            rest = [event async for event in reader]
        numbers = [event.sequence_number for event in rest]
        assert ascending(numbers)
        assert rest[-1].event_type == "workflow_completed"
        assert len(numbers) < 200_000, "what was not read in time was left out"


def _narrow(served: Served) -> grpc.aio.Channel:
    """A channel of its own that takes in little without being read."""
    return grpc.aio.insecure_channel(
        served.address, options=[("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
    )


async def test_events_are_kept_within_bounds(served: Served) -> None:
    await served.start_run("do: [{loop: {for: {in: '[range(3000)]'}, do: [{pass: {set: {n: 1}}}]}}]")
    await served.end()
    story = await served.story()
    assert len(story) <= MOST_EVENTS + 1
    assert (story[0].event_type, story[-1].event_type) == ("workflow_started", "workflow_completed")
    assert ascending([event.sequence_number for event in story])


async def test_a_thousand_calls_at_once_are_a_thousand_runs(served: Served) -> None:
    async with http_server(answering()) as world:
        text = f"do: [{{once: {{call: http, with: {{method: post, endpoint: '${{ \"{world.url}/\" + $workflow.id }}'}}}}}}]"
        ids = [f"run-{number}" for number in range(1000)]
        answers = await asyncio.gather(*(served.start_run(text, each) for each in ids))
        assert [answer.workflow_execution_id for answer in answers] == ids
        await until(lambda: len(world.seen) >= 1000, SECONDS)
        ended = Counter([(await served.end(each)).status for each in ids])
        assert ended == {"completed": 1000}
        assert Counter(seen.path for seen in world.seen) == {f"/{each}": 1 for each in ids}
        assert len({seen.headers["idempotency-key"] for seen in world.seen}) == 1000


async def test_expressions_of_many_runs_share_a_few_processes(served: Served) -> None:
    """Programs that may not end by themselves run in children: four of them, not one for each run."""
    text = "do: [{reduce: {set: {n: '${ [limit(3; repeat(1))] | add }'}}}]"
    await served.start_run(text, "first")
    ids = [f"run-{number}" for number in range(60)]
    await asyncio.gather(*(served.start_run(text, each) for each in ids))
    for each in ids:
        ended = await served.end(each)
        assert (ended.status, ended.output.struct_value["n"]) == ("completed", 3)
    assert 1 <= sum("jq_worker" in command for command in descendants(served.pid)) <= 4


async def test_one_runs_endless_expressions_do_not_keep_the_others_from_theirs(serve: Serve) -> None:
    served = await serve()
    endless = ", ".join(f"{{b{number}: {{set: {{n: '${{ [repeat(1)] }}'}}}}}}" for number in range(20))
    await served.start_run(f"do: [{{wide: {{fork: {{branches: [{endless}]}}}}}}]", "endless")
    await served.reaches("running", execution_id="endless")
    await served.start_run("do: [{reduce: {set: {n: '${ [limit(3; repeat(1))] | add }'}}}]", "quick")
    assert (await served.end("quick")).status == "completed"
    await served.cancel("endless")
