"""The watches come back, whatever ended them: kopf as it is, with an API server that is as bad as can be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.servers.idle_api_server import IdleApiServer, idle_api_server
from tests.until import until

import workflow_runner.controller.watches as watches_module
from workflow_runner.controller.queue import KeyedQueue
from workflow_runner.controller.store import Store
from workflow_runner.controller.watches import Watches, WatchesEnded
from workflow_runner.crd import group

OURS = f"/apis/{group.API_VERSION}"
ALL = {f"{OURS}/workflowexecutions", f"{OURS}/workflowrunners", "/apis/batch/v1/jobs", "/api/v1/pods"}


class World:
    """Watches of an API server; `interruptions` counts how often they said that they were back."""

    def __init__(self, server: IdleApiServer, kubeconfig: Path) -> None:
        self.server, self.kubeconfig = server, kubeconfig
        self.interruptions = 0
        self.watches = Watches(Store(), KeyedQueue(), interrupted=self._interrupted)
        self.running = asyncio.create_task(self.watches.run())

    def _interrupted(self) -> None:
        self.interruptions += 1

    async def all_is_watched(self, seconds: float = 30) -> None:
        await until(lambda: self.watches.ready and self.server.watched == ALL, seconds)

    async def breaks_off(self, begin: Callable[[], None]) -> None:
        """What `begin` does ends the watches; it is seen at once."""
        begin()
        self.server.cut_watches()
        await until(lambda: not self.watches.ready, 20)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(watches_module, "FIRST_PAUSE", 0.05)
    kubeconfig = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    async with idle_api_server(kubeconfig) as server:
        world = World(server, kubeconfig)
        try:
            await world.all_is_watched()
            yield world
        finally:
            world.running.cancel()
            await asyncio.gather(world.running, return_exceptions=True)


async def test_a_watch_that_is_gone_while_another_has_news(world: World) -> None:
    world.server.busy = True
    for time in range(1, 4):

        def gone() -> None:
            world.server.gone = 1

        await world.breaks_off(gone)
        await world.all_is_watched()
        assert world.interruptions == time


async def test_credentials_that_cannot_be_read_for_a_while(world: World) -> None:
    kubeconfig = world.kubeconfig.read_text()

    def strange() -> None:
        world.kubeconfig.write_text("{{{")
        world.server.stranger = True

    await world.breaks_off(strange)
    world.kubeconfig.write_text(kubeconfig)
    world.server.stranger = False
    await world.all_is_watched()


async def test_definitions_that_are_away_for_a_while(world: World) -> None:
    await world.breaks_off(lambda: world.server.unknown.add(OURS))
    before = len(world.server.asked)
    await until(lambda: world.server.asked[before:].count(("GET", "/apis")) >= 2, 20)
    assert not world.watches.ready
    world.server.unknown.clear()
    await world.all_is_watched()


async def test_definitions_that_stay_away_end_the_watches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.breaks_off(lambda: world.server.unknown.add(OURS))
    await until(lambda: world.watches._lives > 1, 20)
    monkeypatch.setattr(watches_module, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(WatchesEnded, match=r"not know workflowexecutions\.workflowrunner\.stigmer\.ai, workflowrunners\."):
        await asyncio.wait_for(asyncio.shield(world.running), 20)
