"""Replays recordings on the code as it is: `python -m tests.replay.replaying NAME…`, by test_replay in processes of their own.

Writes a line of JSON for each history: {"name", "failure", "events", "counts"}: why it is not what the code does now, or null,
and what the run told while it was replayed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from tests.replay.recordings import Recording, converter, read

from workflow_runner.hosts.snapshots import event_to_json
from workflow_runner.hosts.temporal import names, registry
from workflow_runner.hosts.temporal.worker import WORKFLOW_RUNNER, WORKFLOWS
from workflow_runner.interpreter.events import Event, TaskCounts


class _Heard(registry.Follower):
    """All that is told, in order, also what is told twice."""

    def __init__(self) -> None:
        super().__init__(lambda _number, _event: None)
        self.events: list[dict[str, Any]] = []

    def tell(self, number: int, event: Event, counts: TaskCounts) -> None:
        self.events.append(event_to_json(number, event))
        self.counts = counts


async def _replay(recordings: list[Recording], *, encrypted: bool) -> None:
    replayer = Replayer(
        workflows=WORKFLOWS, workflow_runner=WORKFLOW_RUNNER, data_converter=converter(encrypted=encrypted), namespace="default"
    )
    each = [(recording, history) for recording in recordings for history in recording.histories]

    async def histories() -> AsyncIterator[WorkflowHistory]:
        for recording, history in each:
            registry.follow(recording.execution_id, _Heard())
            yield WorkflowHistory.from_json(names.run_id(recording.execution_id), history)

    place = 0
    async with replayer.workflow_replay_iterator(histories()) as results:
        async for result in results:
            recording = each[place][0]
            place += 1
            failure = result.replay_failure
            heard = registry._followers[recording.execution_id]
            assert isinstance(heard, _Heard)
            counts = heard.counts
            told = {
                "name": recording.name,
                "failure": None if failure is None else f"{type(failure).__name__}: {failure}",
                "events": heard.events,
                "counts": [counts.started, counts.completed, counts.failed, counts.skipped, counts.retried],
            }
            print(json.dumps(told), flush=True)


async def _main(wanted: list[str]) -> None:
    found = [read(name) for name in wanted]
    for encrypted in (False, True):
        some = [recording for recording in found if recording.encrypted is encrypted]
        if some:
            await _replay(some, encrypted=encrypted)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
