"""Whether the API server answers, over real connections."""

from __future__ import annotations

import asyncio
import contextlib

from tests.integration.server.conftest import ApiServer
from tests.until import until

from workflow_runner.cluster import Cluster, ClusterError
from workflow_runner.controller.reachability import Reachability


async def test_an_api_server_that_fails_for_long_is_trouble_until_it_answers(cluster: Cluster, api_server: ApiServer) -> None:
    reachability = Reachability(patience=0.0)
    cluster.called = lambda verb, resource, status, seconds: reachability.called(status)
    assert reachability.trouble() is None
    api_server.down = True
    with contextlib.suppress(ClusterError):
        await cluster.version()
    assert "the API server answers 503, for 0 s now" in (reachability.trouble() or "")
    api_server.down = False
    await cluster.version()
    assert reachability.trouble() is None


async def test_a_short_failure_is_no_trouble() -> None:
    reachability = Reachability()
    reachability.called(0)
    assert reachability.trouble() is None


async def test_it_asks_by_itself_when_nobody_else_does(cluster: Cluster, api_server: ApiServer) -> None:
    reachability = Reachability(ask_after=0.05, patience=0.0)
    cluster.called = lambda verb, resource, status, seconds: reachability.called(status)
    api_server.down = True
    task = asyncio.create_task(reachability.run(cluster))
    await until(lambda: reachability.trouble() is not None)
    api_server.down = False
    await until(lambda: reachability.trouble() is None)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
