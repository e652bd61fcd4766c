"""A worker for runs as a process, which tests kill: `python -m tests.integration.temporal.working ADDRESS QUEUE`."""

from __future__ import annotations

import asyncio
import sys

from workflow_runner.hosts.temporal.client import connect
from workflow_runner.hosts.temporal.worker import RunWorker
from workflow_runner.settings.temporal import TemporalSettings


async def _work(address: str, queue: str) -> None:
    client = await connect(TemporalSettings(address))
    async with RunWorker(client, queue, sticky_seconds=0.5):
        print("works", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_work(*sys.argv[1:]))
