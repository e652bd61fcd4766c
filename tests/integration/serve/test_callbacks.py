"""Stigmer hears of every run: in order, whatever becomes of it or of the process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from tests import canaries
from tests.integration.serve.conftest import Serve
from tests.integration.serve.served import SECONDS, Served, ascending
from tests.servers.stigmer import Behaviour, StigmerServer
from tests.until import until

from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import enum_pb2

KEY = canaries.STIGMER_KEY
STEPS = "do: [{a: {set: {n: 1}}}, {b: {set: {n: 2}}}]"
TOLD = ["workflow_started", *["task_started", "task_completed"] * 2, "workflow_completed"]


@pytest.fixture
async def stigmer() -> AsyncIterator[StigmerServer]:
    async with StigmerServer(api_key=KEY) as server:
        yield server


def towards(stigmer: StigmerServer, **more: str) -> dict[str, str]:
    """The variables of a process that reports there."""
    given = {"STIGMER_SERVICE_ENDPOINT": stigmer.listen, "STIGMER_SERVICE_USE_TLS": "false"} | more
    return given if "STIGMER_SERVICE_API_KEY_FILE" in given else {"STIGMER_SERVICE_API_KEY": KEY} | given


async def test_every_event_in_order_and_under_its_number(serve: Serve, stigmer: StigmerServer) -> None:
    served = await serve(**towards(stigmer))
    ids = [f"run-{number}" for number in range(20)]
    for each in ids:
        await served.start_run(STEPS, each)
    await stigmer.until(lambda: len(stigmer.arrived) >= 20 * len(TOLD), SECONDS)
    for each in ids:
        assert [event.event_type for event in stigmer.events(each)] == TOLD
        assert stigmer.events(each) == await served.story(each), "the same as any other reader hears"


async def test_the_whole_state_by_the_newer_api(serve: Serve, stigmer: StigmerServer) -> None:
    served = await serve(**towards(stigmer, STIGMER_SERVICE_API="status"))
    await served.start_run(STEPS)
    await stigmer.until(lambda: bool(stigmer.states) and stigmer.states[-1][1].phase == enum_pb2.EXECUTION_COMPLETED, SECONDS)
    last = stigmer.states_of("run-1")[-1]
    assert [task.task_name for task in last.tasks] == ["a", "b"]
    assert last.output["n"] == 2
    assert stigmer.arrived == [], "and nothing by the older one"


async def test_a_stigmer_that_is_away_for_the_whole_run_hears_of_it_when_it_is_back(
    serve: Serve, stigmer: StigmerServer
) -> None:
    served = await serve(**towards(stigmer))
    await stigmer.down()
    await served.start_run(STEPS)
    assert (await served.end()).status == "completed", "no run waits for Stigmer"
    await until(lambda: bool(served.lines("Stigmer does not take events; they are kept and tried again")), SECONDS)
    await stigmer.up()
    await stigmer.until(lambda: len(stigmer.arrived) == len(TOLD), SECONDS)
    assert [event.event_type for event in stigmer.arrived] == TOLD


@pytest.mark.parametrize("mode", ["refuse", "hang", "drop"])
async def test_a_stigmer_that_misbehaves_holds_nothing_up(serve: Serve, stigmer: StigmerServer, mode: str) -> None:
    served = await serve(**towards(stigmer))
    stigmer.behaviour = Behaviour(mode=mode, only="bad")
    await served.start_run(STEPS, "bad")
    await served.start_run(STEPS, "good")
    assert (await served.end("bad")).status == "completed"
    await stigmer.until(lambda: len(stigmer.events("good")) >= len(TOLD), SECONDS)
    stigmer.behaviour = Behaviour()
    await stigmer.until(lambda: any(event.event_type == "workflow_completed" for event in stigmer.events("bad")), SECONDS)


async def test_a_key_in_a_file_is_read_again_when_it_is_refused(serve: Serve, stigmer: StigmerServer, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    served = await serve(**towards(stigmer, STIGMER_SERVICE_API_KEY_FILE=str(file)))
    await served.start_run("do: [{a: {set: {n: 1}}}, {nap: {wait: PT10M}}]", "before")
    await stigmer.until(lambda: len(stigmer.events("before")) == 4, SECONDS)
    stigmer.behaviour = Behaviour(api_key=canaries.BEARER)
    await served.cancel("before")
    await stigmer.until(lambda: stigmer.unauthenticated > 0, SECONDS)
    (tmp_path / "new").write_text(canaries.BEARER)
    os.replace(tmp_path / "new", file)
    await stigmer.until(lambda: len(stigmer.events("before")) == 5, SECONDS)
    await served.start_run(STEPS, "after")
    await stigmer.until(lambda: len(stigmer.events("after")) == len(TOLD), SECONDS)


async def test_what_is_owed_outlives_the_process(serve: Serve, stigmer: StigmerServer, state: Path) -> None:
    served = await serve(**towards(stigmer, WORKFLOW_RUNNER_STATE_FOLDER=str(state)))
    await served.start_run(STEPS, "told")
    await stigmer.until(lambda: len(stigmer.events("told")) == len(TOLD), SECONDS)
    await until(lambda: any('"delivered":6' in text for text in written(state)), SECONDS)
    await stigmer.down()
    await served.start_run(STEPS, "killed")
    await served.end("killed")
    await served.kill()
    await served.start()
    await served.start_run(STEPS, "stopped")
    await served.end("stopped")
    await served.stop()
    await served.start()
    await stigmer.up()
    for each in ("killed", "stopped"):
        await stigmer.until(partial(told, stigmer, each), SECONDS)
        assert [event.event_type for event in stigmer.events(each)] == TOLD
        assert ascending(stigmer.numbers(each))
    assert len(stigmer.events("told")) == len(TOLD), "what has been delivered is not told again"


def written(state: Path) -> list[str]:
    """How executions ended, as it is kept."""
    return [file.read_text() for file in state.rglob("ended.json")]


def told(stigmer: StigmerServer, execution_id: str) -> bool:
    """Whether it has heard of everything."""
    return len(stigmer.events(execution_id)) >= len(TOLD)


async def test_without_a_state_folder_the_last_events_have_a_moment_at_the_end(serve: Serve, stigmer: StigmerServer) -> None:
    served = await serve(**towards(stigmer, WORKFLOW_RUNNER_STOP_SECONDS="0.1"))
    stigmer.behaviour = Behaviour(seconds=0.05)
    for number in range(10):
        await served.start_run("do: [{nap: {wait: PT10M}}]", f"run-{number}")
    await served.reaches("running", execution_id="run-9")
    assert await served.stop() == 0
    for number in range(10):
        assert stigmer.events(f"run-{number}")[-1].event_type == "workflow_cancelled"


async def test_an_idle_process_without_stigmer_owes_nothing(kept: Served, state: Path) -> None:
    """With nobody to tell, what is written down are the run's own events only."""
    await kept.start_run("do: [{loop: {for: {in: '[range(50)]'}, do: [{pass: {set: {n: 1}}}]}}]")
    await kept.end()
    [text] = written(state)
    assert "task_" not in text
