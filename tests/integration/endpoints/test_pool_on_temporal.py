"""Pools whose runs are in Temporal: any replica can go on with a run, also while the one that had it does not answer."""

from __future__ import annotations

import signal

from tests.integration.endpoints.test_pool import MakeWorld, pod, world
from tests.servers.temporal import shared_temporal_server

__all__ = ["world"]  # a fixture

WAITS = "do: [{first: {set: {a: 1}}}, {nap: {wait: PT1H}}]"


async def test_a_replica_that_hangs_keeps_no_run(world: MakeWorld) -> None:
    """Its pod may be there, and even be ready, for minutes: as on a node that is gone."""
    pool = await world(WAITS, temporal=await shared_temporal_server())
    made = pool.made
    first, _ = await pool.replica(0), await pool.replica(1)
    made.see_pod(pod(0))
    await made.until(lambda status: status.get("taskCounts", {}).get("completed", 0) >= 1)
    made.see_pod(pod(1))
    first.signal(signal.SIGSTOP)
    try:
        await made.until(lambda status: status["replica"]["name"] == "pool-1", 90)
        made.patch(paused=True)
        status = await made.reaches("Paused")
        assert (status["attempt"], status["launches"], status["replica"]["name"]) == (1, 1, "pool-1")
    finally:
        first.signal(signal.SIGCONT)
