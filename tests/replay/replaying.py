"""Replays recordings on the code as it is: `python -m tests.replay.replaying NAME…`, by test_replay in processes of their own.

Writes a line of JSON for each history: {"name", "failure", "events", "counts", "differing"}: why it is not what the code does
now, or null, what the run told while it was replayed, and the first activity that was given something else than it was then.
The SDK compares kinds of activities only, and not what they are given.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.worker import (
    Interceptor,
    Replayer,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from tests.replay.recordings import Recording, converter, read

from workflow_runner.hosts.snapshots import event_to_json
from workflow_runner.hosts.temporal import registry
from workflow_runner.hosts.temporal.invoke_workflow import InvokeWorkflow
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


class _Given(Interceptor):
    """What activities are given, by the ids of the runs."""

    def __init__(self) -> None:
        self.by_run: dict[str, list[Any]] = {}

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:  # noqa: A002
        given = self.by_run

        class Outbound(WorkflowOutboundInterceptor):
            def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
                info = workflow.info()
                given.setdefault(info.run_id, []).append([input.activity, *map(_as_json, input.args)])
                return super().start_activity(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

        return Inbound


async def _recorded(history: WorkflowHistory, converter: DataConverter) -> list[Any]:
    """What the activities of a history were given."""
    found = []
    for event in history.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            scheduled = event.activity_task_scheduled_event_attributes
            found.append([scheduled.activity_type.name, *map(_as_json, await converter.decode(scheduled.input.payloads))])
    return found


def _as_json(argument: Any) -> Any:
    return MessageToDict(argument) if isinstance(argument, Message) else json.loads(json.dumps(argument))


def _differing(recorded: list[Any], given: list[Any]) -> Any:
    """The first of those recorded that was not given again, in its order; None where all were. One that is cancelled before
    Temporal has heard of it is in no history; what messages have got since, they did not have then."""
    rest = iter(given)
    for each in recorded:
        if not any(_is_same(each, other) for other in rest):
            return each
    return None


def _is_same(recorded: Any, given: Any) -> bool:
    pairs = zip(recorded, given, strict=False)
    return len(recorded) == len(given) and all(
        {name: now.get(name) for name in then} == then if isinstance(then, dict) and isinstance(now, dict) else then == now
        for then, now in pairs
    )


async def _replay(recordings: list[Recording], *, encrypted: bool) -> None:
    given, data = _Given(), converter(encrypted=encrypted)
    replayer = Replayer(
        workflows=(*WORKFLOWS, InvokeWorkflow),
        workflow_runner=WORKFLOW_RUNNER,
        data_converter=data,
        namespace="default",
        interceptors=[given],
    )
    each = [(recording, history) for recording in recordings for history in recording.histories]

    async def histories() -> AsyncIterator[WorkflowHistory]:
        for recording, history in each:
            registry.follow(recording.execution_id, _Heard())
            yield WorkflowHistory.from_json(recording.workflow_id, history)

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
                "differing": _differing(await _recorded(result.history, data), given.by_run.get(_run_of(result.history), [])),
                "counts": [counts.started, counts.completed, counts.failed, counts.skipped, counts.retried],
            }
            print(json.dumps(told), flush=True)


def _run_of(history: WorkflowHistory) -> str:
    return str(history.events[0].workflow_execution_started_event_attributes.original_execution_run_id)


async def _main(wanted: list[str]) -> None:
    found = [read(name) for name in wanted]
    for encrypted in (False, True):
        some = [recording for recording in found if recording.encrypted is encrypted]
        if some:
            await _replay(some, encrypted=encrypted)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
