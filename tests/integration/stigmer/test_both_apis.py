"""What holds however Stigmer takes progress, events or whole states: outages, order, keys, restarts, the breaker.

One run of these tests tells events by ReportProgress, the other states by updateStatus, over real sockets. A state says
which event it is as of.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.integration.stigmer.conftest import DEADLINE, KEY, Running, event, plain
from tests.servers.stigmer import Behaviour, StigmerServer
from tests.until import until

from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import enum_pb2
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecutionStatus
from workflow_runner.stigmer.client import Api, Destination
from workflow_runner.stigmer.keys import KeyFile

APIS: list[Api] = ["progress", "status"]


class Story:
    """Runs that are told through a relay by one API, and what the server has heard of them."""

    def __init__(self, running: Running, api: Api) -> None:
        self.relay = running.relay
        self.until = running.until
        self.api = api
        self._newest: dict[str, int] = {}

    def to(self, server: StigmerServer, key: str = KEY) -> Destination:
        return plain(server, key, self.api)

    def track(self, run: str, destination: Destination, delivered: int = 0) -> None:
        self.relay.track(run, destination, delivered, lambda: self._state(run))

    def tell(self, run: str, *numbers: int, kind: str = "task_completed") -> None:
        for number in numbers:
            self._newest[run] = number
            assert self.relay.offer(run, event(number, kind, run))

    def heard(self, server: StigmerServer, run: str = "run-1") -> list[int]:
        if self.api == "progress":
            assert server.states == []
            return server.numbers(run)
        assert server.arrived == []
        return [int(state.started_at) for state in server.states_of(run)]

    def _state(self, run: str) -> WorkflowExecutionStatus:
        return WorkflowExecutionStatus(phase=enum_pb2.EXECUTION_IN_PROGRESS, started_at=str(self._newest[run]))

    def trouble(self, run: str = "run-1") -> str:
        return self.relay.delivery(run).last_error or ""


@pytest.fixture(params=APIS)
async def story(request: pytest.FixtureRequest, running: Running) -> Story:
    return Story(running, request.param)


@pytest.fixture
async def other() -> AsyncIterator[StigmerServer]:
    """A second destination."""
    async with StigmerServer(api_key=KEY) as server:
        yield server


async def test_stigmer_that_comes_back_hears_where_every_run_is_and_order_never_goes_back(
    story: Story, stigmer: StigmerServer
) -> None:
    await stigmer.down()
    runs = [f"run-{number}" for number in range(5)]
    for run in runs:
        story.track(run, story.to(stigmer))
        story.tell(run, *range(1, 21))
    await story.until(lambda: any("UNAVAILABLE" in story.trouble(run) for run in runs))
    for run in runs:
        story.tell(run, 21, kind="workflow_completed")
    await stigmer.up()
    for run in runs:
        assert await story.relay.delivered(run, 21, 20)
        heard = story.heard(stigmer, run)
        assert heard[-1] == 21
        assert heard == sorted(set(heard))
        assert story.relay.delivery(run).pending == 0
        assert story.trouble(run) == ""


@pytest.mark.parametrize("mode", ["hang", "status", "refuse", "down"])
async def test_one_bad_destination_does_not_delay_another(
    story: Story, stigmer: StigmerServer, other: StigmerServer, mode: str
) -> None:
    stigmer.behaviour = Behaviour(mode)
    if mode == "down":
        await stigmer.down()
    for number in range(40):
        story.track(f"bad-{number}", story.to(stigmer))
        story.tell(f"bad-{number}", 1, 2)
    story.track("good", story.to(other))
    story.tell("good", *range(1, 11))
    assert await story.relay.delivered("good", 10, DEADLINE * 0.9)
    assert story.heard(other, "good")[-1] == 10


async def test_the_breaker_opens_for_all_runs_of_a_destination_and_the_first_answer_closes_it(
    story: Story, stigmer: StigmerServer
) -> None:
    stigmer.behaviour = Behaviour("status")
    runs = [f"run-{number}" for number in range(200)]
    for run in runs:
        story.track(run, story.to(stigmer))
        story.tell(run, 1)
    # What was under way when it opened, three attempts each; then it is asked by one at a time.
    await stigmer.until(lambda: len(stigmer.calls) >= 32 * 3)
    first_wave = len(stigmer.calls)
    await stigmer.until(lambda: len(stigmer.calls) >= first_wave + 9)
    assert len({run for run, _ in stigmer.calls}) <= 32 + 3
    [stand] = story.relay.stands()
    assert "UNAVAILABLE" in (stand.trouble or "")
    stigmer.behaviour = Behaviour()
    for run in runs:
        assert await story.relay.delivered(run, 1, 20)
    [stand] = story.relay.stands()
    assert stand.trouble is None


async def test_a_lost_answer_is_repeated_and_nothing_overtakes_it(story: Story, stigmer: StigmerServer) -> None:
    story.track("run-1", story.to(stigmer))
    story.tell("run-1", 1)
    assert await story.relay.delivered("run-1", 1, 20)
    stigmer.behaviour = Behaviour("drop")
    story.tell("run-1", 2)
    await stigmer.until(lambda: 2 in story.heard(stigmer))
    story.tell("run-1", 3)
    stigmer.behaviour = Behaviour()
    assert await story.relay.delivered("run-1", 3, 20)
    heard = story.heard(stigmer)
    assert heard == sorted(heard)
    assert (heard[0], heard[-1]) == (1, 3)


async def test_a_key_that_is_refused_midway_keeps_all_and_a_new_one_takes_it_over(story: Story, stigmer: StigmerServer) -> None:
    story.track("run-1", story.to(stigmer))
    story.tell("run-1", 1)
    assert await story.relay.delivered("run-1", 1, 20)
    stigmer.api_key = "the-new-key-4711"
    story.tell("run-1", 2, 3)
    await story.until(lambda: "UNAUTHENTICATED" in story.trouble())
    assert KEY not in story.trouble()
    assert story.relay.delivery("run-1").delivered_sequence == 1
    story.tell("run-1", 4, kind="workflow_completed")
    story.track("run-1", story.to(stigmer, "the-new-key-4711"))
    assert await story.relay.delivered("run-1", 4, 20)
    assert story.heard(stigmer)[-1] == 4
    assert story.trouble() == ""


async def test_a_key_file_that_rotates_is_read_again_and_every_run_goes_on_with_the_new_key(
    story: Story, stigmer: StigmerServer, tmp_path: Path
) -> None:
    """As Kubernetes does it: the file is a link into a folder that is another one at once."""
    for name, key in (("..1", KEY), ("..2", "the-new-key-4711")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "api-key").write_text(f"{key}\n")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "api-key").symlink_to("..data/api-key")
    without = Destination(stigmer.listen, SecretStr(""), use_tls=False, api=story.api)
    async with KeyFile(tmp_path / "api-key", without, story.relay, look_seconds=0.02) as keys:
        for run in ("run-1", "run-2"):
            story.track(run, keys.destination)
            story.tell(run, 1)
            assert await story.relay.delivered(run, 1, 20)
        stigmer.api_key = "the-new-key-4711"
        story.tell("run-1", 2)
        await story.until(lambda: "UNAUTHENTICATED" in story.trouble())
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        for run in ("run-1", "run-2"):
            story.tell(run, 3, kind="workflow_completed")
            assert await story.relay.delivered(run, 3, 20)
            assert story.heard(stigmer, run)[-1] == 3
        assert keys.destination == story.to(stigmer, "the-new-key-4711")
        # Whoever still has the former destination at hand is put right.
        story.track("run-3", story.to(stigmer))
        story.tell("run-3", 1)
        assert await story.relay.delivered("run-3", 1, 20)


async def test_a_key_that_is_replaced_in_time_is_never_refused(story: Story, stigmer: StigmerServer, tmp_path: Path) -> None:
    file = tmp_path / "api-key"
    file.write_text(KEY)
    without = Destination(stigmer.listen, SecretStr(""), use_tls=False, api=story.api)
    async with KeyFile(file, without, story.relay, look_seconds=0.02) as keys:
        story.track("run-1", keys.destination)
        file.write_text("the-new-key-4711")
        await until(lambda: keys.destination.api_key.get_secret_value() != KEY, 20)
        # A moment without a usable key is no reason to forget the one that was.
        file.write_text("")
        stigmer.api_key = "the-new-key-4711"
        story.tell("run-1", 1)
        assert await story.relay.delivered("run-1", 1, 20)
    assert stigmer.unauthenticated == 0


async def test_a_key_file_is_read_at_once_when_the_key_is_refused(story: Story, stigmer: StigmerServer, tmp_path: Path) -> None:
    file = tmp_path / "api-key"
    file.write_text("the-old-key-0815")
    without = Destination(stigmer.listen, SecretStr(""), use_tls=False, api=story.api)
    async with KeyFile(file, without, story.relay, look_seconds=3600) as keys:
        story.track("run-1", keys.destination)
        file.write_text(KEY)
        story.tell("run-1", 1)
        assert await story.relay.delivered("run-1", 1, 20)
    assert stigmer.unauthenticated > 0


async def test_a_restarted_relay_goes_on_above_the_watermark(story: Story, stigmer: StigmerServer) -> None:
    story.track("run-1", story.to(stigmer))
    story.tell("run-1", 1, 2)
    assert await story.relay.delivered("run-1", 2, 20)
    watermark = story.relay.delivery("run-1").delivered_sequence
    again = Running()
    next_story = Story(again, story.api)
    next_story.track("run-1", story.to(stigmer), watermark)
    assert not again.relay.offer("run-1", event(2))
    next_story.tell("run-1", 3, kind="workflow_completed")
    assert await again.relay.delivered("run-1", 3, 20)
    assert story.heard(stigmer)[-1] == 3
    await again.close()


async def test_what_is_refused_is_left_out_after_three_tries_and_what_follows_arrives(
    story: Story, stigmer: StigmerServer
) -> None:
    stigmer.behaviour = Behaviour("refuse", message="I do not like it")
    story.track("run-1", story.to(stigmer))
    story.tell("run-1", 1)
    assert await story.relay.delivered("run-1", 1, 20)
    assert len(stigmer.calls) == 3
    assert "left out after 3 refusals" in story.trouble()
    assert "I do not like it" in story.trouble()
    assert KEY not in story.trouble()
    stigmer.behaviour = Behaviour()
    story.tell("run-1", 2)
    assert await story.relay.delivered("run-1", 2, 20)
    assert story.heard(stigmer) == [2]
