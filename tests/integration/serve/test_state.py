"""What outlives a process: with a state folder what was accepted goes on in the next one, however the first one ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path

import grpc
from aiohttp import web
from tests import canaries
from tests.integration.calls.server import Server, answering, http_server
from tests.integration.cli.program import call
from tests.integration.serve.conftest import Serve
from tests.integration.serve.served import ON_LOOPBACK, SECONDS, Served, ascending, output, refused, request
from tests.until import until

from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import io_pb2
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as older

CODE = grpc.StatusCode
HELLO = "do: [{step: {set: {message: Hello}}}]"
WAITING = "do: [{nap: {wait: PT10M}}]"
STEPS = 6
CHAIN = "do:\n" + "".join(
    f'  - s{step}: {{call: http, with: {{method: post, endpoint: \'${{ "URL/" + $workflow.id + "/{step}" }}\'}}}}\n'
    for step in range(STEPS)
)


def folders(state: Path) -> list[Path]:
    return sorted((state / "executions").iterdir())


def effects(world: Server) -> dict[str, set[str]]:
    """The keys of the calls by their paths."""
    found = defaultdict(set)
    for seen in world.seen:
        found[seen.path].add(seen.headers["idempotency-key"])
    return found


async def calls_reach(world: Server, number: int) -> None:
    """Wait until there were so many."""
    await until(lambda: len(world.seen) >= number, SECONDS)


def answered(answers: Counter[str], number: float) -> bool:
    """Whether more calls than that were taken."""
    return answers["OK"] > number


async def test_killed_again_and_again_no_finished_task_runs_again(kept: Served) -> None:
    chance = random.Random(7)
    async with http_server(answering()) as world:
        await kept.start_run(CHAIN.replace("URL", world.url).replace("do:\n", "do:\n  - nap: {wait: PT0.05S}\n"))
        for _ in range(5):
            calls = len(world.seen) + chance.randint(0, 1)
            await calls_reach(world, min(calls, STEPS))
            await kept.kill()
            await kept.start()
        assert (await kept.end()).status == "completed"
        paths = [seen.path for seen in world.seen]
        assert sorted(set(paths)) == [f"/run-1/{step}" for step in range(STEPS)]
        assert paths == sorted(paths), "nothing before the one that was interrupted"
        assert all(len(keys) == 1 for keys in effects(world).values()), "what is repeated has its first key"
    story = await kept.story()
    assert ascending([event.sequence_number for event in story])
    assert story[-1].event_type == "workflow_completed"


async def test_a_call_that_was_interrupted_is_made_again_under_its_key(kept: Served) -> None:
    hold = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/1") and not hold.is_set():
            await hold.wait()
        return web.Response()

    async with http_server(slow) as world:
        await kept.start_run(CHAIN.replace("URL", world.url))
        await until(lambda: len(world.seen) == 2, SECONDS)
        await kept.kill()
        hold.set()
        await kept.start()
        assert (await kept.end()).status == "completed"
        assert Counter(seen.path for seen in world.seen)["/run-1/0"] == 1
        assert Counter(seen.path for seen in world.seen)["/run-1/1"] == 2
        assert len(effects(world)["/run-1/1"]) == 1


async def test_restarted_under_load_nothing_is_lost_and_nothing_runs_twice(kept: Served) -> None:
    """1,000 callers, each of whom calls until there is an answer, while the process is stopped twice."""
    async with http_server(answering()) as world:
        text = CHAIN.replace("URL", world.url)
        text = text[: text.index("  - s2")] + "  - nap: {wait: PT0.5S}\n" + text[text.index("  - s5") :]
        ids = [f"run-{number}" for number in range(1000)]
        answers: Counter[str] = Counter()

        async def caller(each: str) -> None:
            while True:
                try:
                    await kept.start_run(text, each)
                except grpc.aio.AioRpcError as error:
                    # A call that nobody has looked at when the port closes is cancelled by gRPC.
                    if error.code() not in (CODE.UNAVAILABLE, CODE.CANCELLED):
                        raise
                    answers[error.code().name] += 1
                    await asyncio.sleep(0.05)
                else:
                    answers["OK"] += 1
                    return

        callers = [asyncio.create_task(caller(each)) for each in ids]
        for share in (0.2, 0.6):
            await until(partial(answered, answers, 1000 * share), SECONDS)
            assert await kept.stop() == 0
            await kept.start()
        await asyncio.gather(*callers)
        ended: Counter[str] = Counter()
        for each in ids:
            ended[(await kept.end(each)).status] += 1
        assert (ended, answers["OK"]) == ({"completed": 1000}, 1000)
        calls = effects(world)
        assert set(calls) == {f"/{each}/{step}" for each in ids for step in (0, 1, 5)}
        assert all(len(keys) == 1 for keys in calls.values())
        assert len(world.seen) == len(calls), "stopped as it should be, not one call was made again"


async def test_whoever_waits_is_told_that_the_runner_stops_and_finds_the_run_again(kept: Served) -> None:
    executing = kept.services.execution.Execute(request(WAITING))
    reading = asyncio.ensure_future(refused(executing))

    async def begun() -> bool:
        with contextlib.suppress(grpc.aio.AioRpcError):  # it is not accepted yet
            return (await kept.status()).status == "running"
        return False

    await until(begun)
    subscribed = asyncio.ensure_future(refused(kept.services.query.Subscribe(older.SubscribeRequest(execution_id="run-1"))))
    await kept.reaches("running")
    assert await kept.stop() == 0
    for said in (await reading, await subscribed):
        assert (said.code, said.reason) == (CODE.UNAVAILABLE, "execution.stopping")
    await kept.start()
    assert (await kept.status()).status == "running", "it is nobody's fault but the runner's"
    again = kept.services.execution.Execute(request(WAITING))
    await kept.cancel(reason="enough")
    async with asyncio.timeout(SECONDS):
        events = [event async for event in again]
    assert (events[0].event_type, events[-1].event_type) == ("workflow_started", "workflow_cancelled")


async def test_paused_stays_paused_and_cancelled_cancelled(kept: Served) -> None:
    await kept.start_run(WAITING, "paused")
    await kept.start_run(WAITING, "cancelled")
    await kept.pause("paused", "lunch")
    await kept.reaches("paused", execution_id="paused")
    await kept.cancel("cancelled", "enough")
    for end in (kept.kill, kept.stop):
        await end()
        await kept.start()
        await kept.reaches("paused", execution_id="paused")
        assert (await kept.end("cancelled")).status == "cancelled"
    await kept.resume("paused")
    await kept.reaches("running", execution_id="paused")
    await kept.stop()
    await kept.start()
    assert (await kept.status("paused")).status == "running", "resumed stays resumed"
    await kept.cancel("paused")
    assert (await kept.end("paused")).status == "cancelled"


async def test_ended_runs_answer_as_before(kept: Served) -> None:
    async with http_server(answering(500)) as world:
        await kept.start_run(HELLO, "well")
        await kept.start_run(f"do: [{{bad: {{call: http, with: {{method: get, endpoint: '{world.url}'}}}}}}]", "badly")
        before = [await kept.end("well"), await kept.end("badly")]
        assert [status.status for status in before] == ["completed", "failed"]
        for end in (kept.kill, kept.stop):
            await end()
            await kept.start()
            assert [await kept.status("well"), await kept.status("badly")] == before
            assert (await kept.story("well"))[-1].event_type == "workflow_completed"
        assert (await kept.start_run(HELLO, "well")).status == "running", "the same content gets the same answer"
        said = await refused(kept.services.execution.ExecuteAsync(request(WAITING, "well")))
        assert said.code is CODE.ALREADY_EXISTS
        assert len(world.seen) == 1


async def test_an_output_is_told_with_the_status_up_to_a_size_also_after_a_restart(kept: Served) -> None:
    def text(size: int) -> str:
        return f"do: [{{grow: {{set: {{text: '${{ \"x\" * {size} }}'}}}}}}]"

    for name, size in (("small", 100), ("medium", 100_000), ("large", 300_000)):
        await kept.start_run(text(size), name)
        assert (await kept.end(name)).status == "completed"
    for _ in range(2):
        assert [(await kept.status(name)).HasField("output") for name in ("small", "medium", "large")] == [True, True, False]
        assert len(output(await kept.status("medium"))["text"]) == 100_000
        told = [(await kept.story(name))[-1].HasField("output") for name in ("small", "medium", "large")]
        assert told == [True, False, False]
        await kept.kill()
        await kept.start()


async def test_numbers_are_never_used_again(kept: Served) -> None:
    async with http_server(answering()) as world:
        text = (
            "do: [{loop: {for: {in: '[range(400)]'}, do: [{c: {call: http, with: {method: get, endpoint: 'URL'}}}]}}]"
        ).replace("URL", world.url)
        await kept.start_run(text)
        seen: dict[int, older.WorkflowProgressEvent] = {}
        for round_ in range(1, 4):
            await calls_reach(world, 60 * round_ + 1)
            page = await kept.services.query.GetEvents(older.GetExecutionEventsRequest(execution_id="run-1"))
            for event in page.events:
                assert seen.setdefault(event.sequence_number, event) == event
            await kept.kill()
            await kept.start()
        assert (await kept.end()).status == "completed"
        for event in await kept.story():
            assert seen.setdefault(event.sequence_number, event) == event


async def test_what_cannot_be_read_back_is_left_alone_and_told(kept: Served, state: Path) -> None:
    await kept.start_run(WAITING, "damaged")
    await kept.reaches("running", execution_id="damaged")
    [damaged] = folders(state)
    await kept.start_run(WAITING, "torn")
    await kept.reaches("running", execution_id="torn")
    [torn] = set(folders(state)) - {damaged}
    await kept.start_run(HELLO, "whole")
    await kept.end("whole")
    await kept.kill()
    (damaged / "accepted.json").write_text('{"request"')
    for file in (torn / "snapshots").iterdir():
        file.write_bytes(file.read_bytes()[:-20])
    (state / "executions" / "lost+found").mkdir()
    (state / "mine").mkdir()
    (state / "mine" / "file").write_text("not a runner's")
    (state / "executions" / "0123456789abcdef0123456789abcdef").mkdir()
    (state / "executions" / "0123456789abcdef0123456789abcdef" / "photo.jpg").write_text("not a runner's")
    await kept.start()
    assert {line["event"] for line in kept.lines("an execution cannot be read back; it is left alone")}
    gone_on_with = "an execution cannot be gone on with; it is left alone"
    await until(lambda: bool(kept.lines(gone_on_with)), SECONDS)
    assert [line["code"] for line in kept.lines(gone_on_with)] == ["snapshot.damaged"]
    for name in ("damaged", "torn"):
        for asked in (
            kept.services.query.GetStatus(older.GetExecutionStatusRequest(execution_id=name)),
            kept.services.execution.ExecuteAsync(request(HELLO, name)),
            kept.services.execution.CancelExecution(io_pb2.CancelExecutionRequest(execution_id=name)),
        ):
            said = await refused(asked)
            assert (said.code, said.reason) == (CODE.FAILED_PRECONDITION, "state.damaged")
    assert (damaged / "accepted.json").read_text() == '{"request"'
    assert (state / "mine" / "file").exists()
    assert (state / "executions" / "lost+found").exists()
    assert (state / "executions" / "0123456789abcdef0123456789abcdef" / "photo.jpg").exists()
    assert (await kept.status("whole")).status == "completed"


async def test_a_folder_has_one_process(kept: Served, state: Path) -> None:
    ended = await asyncio.to_thread(call, "serve", **ON_LOOPBACK, WORKFLOW_RUNNER_STATE_FOLDER=str(state))
    assert (ended.code, "state.unusable" in ended.err) == (2, True)
    await kept.kill()
    await kept.start()


async def test_a_folder_that_cannot_be_written_is_said_to_the_caller(kept: Served, state: Path) -> None:
    await kept.start_run(HELLO, "before")
    await kept.end("before")
    executions = state / "executions"
    moved = state / "moved"
    executions.rename(moved)
    executions.write_text("in the way")
    said = await refused(kept.services.execution.ExecuteAsync(request(HELLO)))
    assert (said.code, said.reason) == (CODE.UNAVAILABLE, "state.unwritable")
    executions.unlink()
    moved.rename(executions)
    await kept.start_run(HELLO)
    assert (await kept.end()).status == "completed"


async def test_files_are_for_the_runner_alone_and_nothing_is_left_of_a_run_but_its_end(kept: Served, state: Path) -> None:
    async with http_server(answering()) as world:
        await kept.start_run(CHAIN.replace("URL", world.url), env_vars={"TOKEN": canaries.ENV_SECRET})
        await kept.end()
    [folder] = folders(state)
    await until(lambda: not list((folder / "snapshots").glob("*")))
    assert {path.name for path in folder.iterdir()} == {"accepted.json", "ended.json", "snapshots"}
    for path in (state / "executions", folder, *folder.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path
    assert json.loads((folder / "ended.json").read_text())["events"][-1]["type"] == "workflow_completed"


async def test_what_was_wanted_while_it_stopped_is_done_by_the_next(serve: Serve, state: Path) -> None:
    """A call keeps the process from stopping at once; meanwhile somebody cancels."""
    hold = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await hold.wait()
        return web.Response()

    served = await serve(WORKFLOW_RUNNER_STATE_FOLDER=str(state), WORKFLOW_RUNNER_STOP_SECONDS="30")
    async with http_server(slow) as world:
        await served.start_run(CHAIN.replace("URL", world.url), "cancelled")
        await served.start_run(CHAIN.replace("URL", world.url), "paused")
        await until(lambda: len(world.seen) == 2, SECONDS)
        served.signal(signal.SIGTERM)
        await until(lambda: bool(served.lines("stopping")))
        await served.pause("paused")
        await served.cancel("cancelled")
        hold.set()
        assert await served.ended() == 0
        await served.start()
        assert (await served.end("cancelled")).status == "cancelled"
        await served.reaches("paused", execution_id="paused")
        assert len(world.seen) == 2
    await served.cancel("paused")
