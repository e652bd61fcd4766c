"""Runs in Temporal: processes that share a queue, of which each can be asked about every run, and goes on with the others'."""

from __future__ import annotations

import asyncio
import base64
import signal
from pathlib import Path

import aiohttp
import grpc
import pytest
from aiohttp import web
from tests.integration.calls.server import http_server
from tests.integration.cli.program import PROGRAM, environment
from tests.integration.serve.conftest import Serve
from tests.integration.serve.served import ON_LOOPBACK, SECONDS, ascending, output, refused
from tests.integration.serve.test_callbacks import stigmer, towards
from tests.integration.serve.test_state import calls_reach, effects
from tests.servers.stigmer import StigmerServer
from tests.servers.temporal import free_port, shared_temporal_server, temporal_server
from tests.until import until

__all__ = ["stigmer"]  # a fixture

CODE = grpc.StatusCode
HELLO = "do: [{step: {set: {message: Hello}}}]"
WAITING = "do: [{nap: {wait: PT10M}}]"
TOKEN = "a-secret-that-nobody-sees"
STEPS = 6
CHAIN = "do:\n" + "".join(
    f'  - s{step}: {{call: http, with: {{method: post, endpoint: \'${{ "URL/" + $workflow.id + "/{step}" }}\'}}}}\n'
    for step in range(STEPS)
)
_queues = iter(range(10_000))


@pytest.fixture
async def there() -> dict[str, str]:
    """The variables of processes that share a queue of their own at a server of everybody's."""
    return on_temporal(await shared_temporal_server())


def on_temporal(address: str) -> dict[str, str]:
    return {
        "WORKFLOW_RUNNER_ENGINE": "temporal",
        "TEMPORAL_SERVICE_ADDRESS": address,
        "TEMPORAL_WORKFLOW_EXECUTION_TASK_QUEUE": f"pool-{next(_queues)}",
        "TEMPORAL_HEARTBEAT_TIMEOUT_SECONDS": "2",
    }


def named(there: dict[str, str], name: str) -> str:
    """An id of an execution: the server is everybody's."""
    return f"{there['TEMPORAL_WORKFLOW_EXECUTION_TASK_QUEUE']}-{name}"


async def test_a_run_from_its_start_to_its_end(serve: Serve, there: dict[str, str]) -> None:
    served, id_ = await serve(**there), named(there, "hello")
    answer = await served.start_run(HELLO, id_)
    assert answer.temporal_workflow_id == f"stigmer/workflow-execution/run/{id_}"
    assert output(await served.end(id_)) == {"message": "Hello"}
    story = await served.story(id_)
    assert [event.sequence_number for event in story] == list(range(1, len(story) + 1))
    assert (story[0].event_type, story[-1].event_type) == ("workflow_started", "workflow_completed")
    assert {event.workflow_name for event in story} == {"test"}
    assert [event.sequence_number for event in await served.story(id_, after=3)] == list(range(4, len(story) + 1))
    again = await served.start_run(HELLO, id_)
    assert again.temporal_workflow_id == answer.temporal_workflow_id
    other = await refused(served.start_run(WAITING, id_))
    assert (other.code, other.reason) == (CODE.ALREADY_EXISTS, "execution.other-content")
    unknown = await refused(served.status(named(there, "nobody")))
    assert (unknown.code, unknown.reason) == (CODE.NOT_FOUND, "execution.unknown")


async def test_each_process_knows_what_another_one_accepted(serve: Serve, there: dict[str, str]) -> None:
    one, two = await serve(**there), await serve(**there)
    id_ = named(there, "known")
    await one.start_run(HELLO, id_)
    await one.end(id_)
    assert output(await two.end(id_)) == {"message": "Hello"}
    assert [event.event_type for event in await two.story(id_)] == [event.event_type for event in await one.story(id_)]
    other = await refused(two.start_run(WAITING, id_))
    assert other.reason == "execution.other-content"
    await two.start_run(HELLO, id_)


async def test_another_queue_s_runs_are_nobody_s(serve: Serve, there: dict[str, str]) -> None:
    id_ = named(there, "elsewhere")
    one = await serve(**there)
    other = await serve(**(there | {"TEMPORAL_WORKFLOW_EXECUTION_TASK_QUEUE": "pool-other"}))
    await one.start_run(WAITING, id_)
    assert (await refused(other.status(id_))).code is CODE.NOT_FOUND
    assert (await refused(other.cancel(id_, force=True))).code is CODE.NOT_FOUND
    await one.cancel(id_)
    await one.end(id_)


async def test_killed_in_the_middle_another_goes_on_where_it_was(serve: Serve, there: dict[str, str]) -> None:
    release = asyncio.Event()

    async def slowly(request: web.Request) -> web.Response:
        if request.path.endswith("/2"):
            await release.wait()
        return web.json_response({"path": request.path})

    async with http_server(slowly) as world:
        one, id_ = await serve(**there), named(there, "chain")
        await one.start_run(CHAIN.replace("URL", world.url), id_)
        await calls_reach(world, 3)
        two = await serve(**there)
        reading = asyncio.create_task(two.story(id_))
        await one.kill()
        release.set()
        story = await reading
        assert story[-1].event_type == "workflow_completed"
        assert ascending([event.sequence_number for event in story])
        assert [event.task_name for event in story if event.event_type == "task_completed"] == [f"s{n}" for n in range(STEPS)]
        found = effects(world)
        assert len(found) == STEPS
        assert all(len(keys) == 1 for keys in found.values())
        # What had been answered was not called again.
        assert [len([seen for seen in world.seen if seen.path.endswith(f"/{step}")]) for step in (0, 1)] == [1, 1]


async def test_the_same_process_again_goes_on(serve: Serve, there: dict[str, str]) -> None:
    served, id_ = await serve(**there), named(there, "again")
    await served.start_run("do: [{before: {set: {n: 1}}}, {nap: {wait: PT10M}}, {after: {set: {n: 2}}}]", id_)
    await served.pause(id_, "lunch")
    await served.reaches("paused", execution_id=id_)
    before = (await served.status(id_)).last_sequence_number
    assert await served.stop() == 0
    await served.start()
    status = await served.status(id_)
    assert (status.status, status.last_sequence_number) == ("paused", before)
    await served.resume(id_)
    await served.reaches("running", execution_id=id_)
    await served.cancel(id_, "enough")
    assert (await served.end(id_)).status == "cancelled"
    assert "enough" in (await served.story(id_))[-1].message


async def test_what_is_asked_of_any_process_reaches_the_run(serve: Serve, there: dict[str, str]) -> None:
    one, two = await serve(**there), await serve(**there)
    for number in range(4):  # whichever of the two has its worker
        id_ = named(there, f"steered-{number}")
        await one.start_run(WAITING, id_)
        await two.pause(id_)
        await asyncio.gather(one.reaches("paused", execution_id=id_), two.reaches("paused", execution_id=id_))
        await one.resume(id_)
        await asyncio.gather(one.reaches("running", execution_id=id_), two.reaches("running", execution_id=id_))
        await two.cancel(id_, "enough", force=number % 2 == 0)
        ends = await asyncio.gather(one.end(id_), two.end(id_))
        assert {end.status for end in ends} == {"cancelled"}
        late = await refused(one.pause(id_))
        assert (late.code, late.reason) == (CODE.FAILED_PRECONDITION, "execution.wrong-state")
        stories = await asyncio.gather(one.story(id_), two.story(id_))
        told = [[event.event_type for event in story] for story in stories]
        assert told[0] == told[1]


async def test_a_stubborn_run_is_ended_by_force(serve: Serve, there: dict[str, str]) -> None:
    stuck = asyncio.Event()

    async def never(_request: web.Request) -> web.Response:
        stuck.set()
        await asyncio.Event().wait()
        raise AssertionError("never")

    async with http_server(never) as world:
        served, id_ = await serve(**there), named(there, "stuck")
        await served.start_run(CHAIN.replace("URL", world.url), id_)
        await stuck.wait()
        await served.cancel(id_, "now", force=True)
        assert (await served.end(id_)).status == "cancelled"


async def test_secrets_go_to_temporal_encrypted_or_not_at_all(serve: Serve, there: dict[str, str], tmp_path: Path) -> None:
    text = "use: {secrets: [TOKEN]}\ndo: [{step: {set: {length: '${ $secrets.TOKEN | length }'}}}]"
    open_ = await serve(**there)
    said = await refused(open_.start_run(text, named(there, "plain"), env_vars={"TOKEN": "abcdef"}))
    assert (said.code, said.reason) == (CODE.INVALID_ARGUMENT, "temporal.secrets-unencrypted")
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "k1").write_text(base64.b64encode(bytes(32)).decode())
    sealed = await serve(**there, TEMPORAL_PAYLOAD_KEYS=str(keys))
    await open_.stop()
    id_ = named(there, "sealed")
    await sealed.start_run(text, id_, env_vars={"TOKEN": "abcdef"})
    assert output(await sealed.end(id_)) == {"length": 6}


async def test_no_process_shows_the_secrets_of_a_run(serve: Serve, there: dict[str, str], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "k1").write_text(base64.b64encode(bytes(32)).decode())
    sealed = there | {"TEMPORAL_PAYLOAD_KEYS": str(keys)}
    one, two, id_ = await serve(**sealed), await serve(**sealed), named(there, "quoting")
    error = "{type: 'https://example.com/e', status: 400, detail: '${ \"with \" + $secrets.TOKEN }'}"
    await one.start_run(
        f"use: {{secrets: [TOKEN]}}\ndo: [{{fail: {{raise: {{error: {error}}}}}}}]", id_, env_vars={"TOKEN": TOKEN}
    )
    for served in (one, two):
        status = await served.end(id_)
        assert status.status == "failed"
        assert "with " in status.error.detail
        told = f"{status} {await served.story(id_)} {served.log}"
        assert TOKEN not in told


async def test_a_question_after_an_old_run_tells_nobody_of_it_again(serve: Serve, there: dict[str, str]) -> None:
    one, id_ = await serve(**there), named(there, "old")
    await one.start_run(HELLO, id_)
    await one.end(id_)
    two = await serve(**there)
    assert output(await two.end(id_)) == {"message": "Hello"}
    assert len(one.lines("workflow completed")) == 1
    assert two.lines("workflow completed") == []


async def test_processes_see_the_environment_of_their_run(serve: Serve, there: dict[str, str]) -> None:
    served, id_ = await serve(**there), named(there, "environment")
    text = "do: [{say: {run: {shell: {command: 'printf %s-%s $COLOUR $SIZE', environment: {SIZE: own}}}}}]"
    await served.start_run(text, id_, env_vars={"COLOUR": "green", "SIZE": "given"})
    assert output(await served.end(id_)) == "green-own"


async def test_temporal_away_for_a_while(serve: Serve, tmp_path: Path) -> None:
    port, database = free_port(), tmp_path / "temporal.db"
    there = on_temporal(f"127.0.0.1:{port}")
    async with temporal_server(port=port, database=database):
        served, id_ = await serve(**there), named(there, "away")
        await served.start_run("do: [{nap: {wait: PT2S}}, {step: {set: {done: true}}}]", id_)
        await served.reaches("running", execution_id=id_)
    said = await refused(served.start_run(HELLO, named(there, "refused")))
    assert (said.code, said.reason) == (CODE.UNAVAILABLE, "temporal.unavailable")
    async with temporal_server(port=port, database=database):
        assert output(await served.end(id_)) == {"done": True}
        await served.start_run(HELLO, named(there, "afterwards"))
        assert output(await served.end(named(there, "afterwards"))) == {"message": "Hello"}


async def test_stigmer_hears_of_runs_that_an_earlier_process_accepted(
    serve: Serve, there: dict[str, str], stigmer: StigmerServer
) -> None:
    served, id_ = await serve(**there, **towards(stigmer)), named(there, "told")
    await served.start_run("do: [{nap: {wait: PT3S}}, {step: {set: {done: true}}}]", id_)
    await served.reaches("running", execution_id=id_)
    await served.kill()
    await served.start()  # nobody asks after the run
    await until(lambda: "workflow_completed" in [event.event_type for event in stigmer.events(id_)], SECONDS)
    assert served.lines("serving")[-1]["gone_on"] == 1


async def test_stigmer_hears_of_an_end_that_came_while_nobody_told_it(
    serve: Serve, there: dict[str, str], stigmer: StigmerServer
) -> None:
    teller, id_ = await serve(**there, **towards(stigmer)), named(there, "unheard")
    await teller.start_run("do: [{nap: {wait: PT3S}}, {step: {set: {done: true}}}]", id_)
    await teller.reaches("running", execution_id=id_)
    await teller.kill()
    silent = await serve(**there)
    await silent.end(id_)
    await teller.start()
    await until(lambda: "workflow_completed" in [event.event_type for event in stigmer.events(id_)], SECONDS)


async def test_how_many_tasks_wait_is_a_metric(serve: Serve, there: dict[str, str]) -> None:
    served = await serve(**there)
    queue = there["TEMPORAL_WORKFLOW_EXECUTION_TASK_QUEUE"]

    async def shown() -> bool:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{served.ports['metrics_port']}/metrics") as page,
        ):
            text = await page.text()
        return all(
            f'workflow_runner_temporal_task_queue_backlog{{kind="{kind}",task_queue="{queue}"}} 0.0' in text
            for kind in ("workflow", "activity")
        )

    await until(shown, SECONDS)


async def test_one_place_keeps_the_state(there: dict[str, str], tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "serve", "--state-folder", str(tmp_path / "state")),
        env=environment(**ON_LOOPBACK, **there),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 2, said
    assert b"settings.invalid" in said


async def test_without_temporal_it_ends_and_says_why() -> None:
    there = on_temporal(f"127.0.0.1:{free_port()}")
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "serve", env=environment(**ON_LOOPBACK, **there), stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode not in (0, -signal.SIGKILL), said
    assert b"temporal.unavailable" in said
    assert b"Traceback" not in said


async def test_full(serve: Serve, there: dict[str, str]) -> None:
    served = await serve(**there, WORKFLOW_RUNNER_MOST_EXECUTIONS="1")
    id_ = named(there, "first")
    await served.start_run(WAITING, id_)
    said = await refused(served.start_run(WAITING, named(there, "second")))
    assert (said.code, said.reason) == (CODE.RESOURCE_EXHAUSTED, "execution.too-many")
    await served.cancel(id_)
    await served.end(id_)
    await served.start_run(HELLO, named(there, "third"))
    await served.end(named(there, "third"))
