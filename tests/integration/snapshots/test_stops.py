"""Pods that are told to stop, paused or not: what they leave behind, and what the next one makes of it."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from aiohttp import web
from tests.integration.calls.server import answering, http_server
from tests.integration.snapshots.conftest import Pod, last_of_each_task, story
from tests.servers.sink import Sink, Watch

from workflow_runner.hosts.snapshots import Snapshot, Snapshots
from workflow_runner.interpreter.frames import Wait
from workflow_runner.launchers.payload import unpack

RUN, PAUSE, CANCEL = Watch.DESIRED_STATE_RUN, Watch.DESIRED_STATE_PAUSE, Watch.DESIRED_STATE_CANCEL
STOPPED = 143

STEPS = "do: [{a: {set: 1}}, {nap: {wait: PT1.5S}}, {b: {set: '${ . + 1 }'}}]"
LONG = "do: [{a: {set: 1}}, {nap: {wait: PT1H}}, {b: {set: 2}}]"


def answered(sink: Sink, generation: int, *, suspendable: bool = True) -> Callable[[], bool]:
    """Whether the newest answer says that the pause of this generation has taken effect."""

    def look() -> bool:
        answers = [batch.control for batch in sink.batches if batch.HasField("control")]
        return bool(answers) and (answers[-1].generation, answers[-1].result, answers[-1].suspendable) == (
            generation,
            "applied",
            suspendable,
        )

    return look


def on_disk(pod: Pod) -> Snapshot:
    digest = pod.arguments[-1]
    unpack((pod.folder / "input").read_text(), digest)
    snapshot = Snapshots(pod.snapshots, digest=digest, execution_id="uid-1-first", run_id="first").read()
    assert snapshot is not None
    return snapshot


async def test_a_paused_pod_may_be_ended_and_the_next_one_waits_as_long_as_was_left(pod: Pod, sink: Sink) -> None:
    pod.runs(STEPS)
    await pod.start()
    assert await pod.reaches(lambda: pod.happened("task_started", "nap") == 1)
    await sink.tell(desired_state=PAUSE, reason="lunch", generation=2)
    assert await pod.reaches(answered(sink, 2))
    pod.signal(signal.SIGTERM)
    assert await pod.ends() == STOPPED
    assert not (pod.folder / "termination").exists()

    frame = on_disk(pod).frame
    assert frame.paused_since is not None
    assert frame.tasks is not None
    assert frame.tasks.task is not None
    assert isinstance(frame.tasks.task.state, Wait)
    until = frame.tasks.task.state.until
    left = until - frame.paused_since
    assert left.total_seconds() > 0

    # It is paused for longer than the whole wait, part of it in another pod.
    await pod.start()
    assert await pod.reaches(lambda: pod.happened("workflow_paused") == 2)
    assert await pod.reaches(answered(sink, 2))
    assert await pod.reaches(lambda: datetime.now(UTC) > until)
    assert pod.happened("task_completed", "nap") == 0
    pod.signal(signal.SIGTERM)
    assert await pod.ends() == STOPPED

    await sink.tell(desired_state=RUN, generation=3)
    await pod.start()
    assert await pod.ends() == 0, pod.said
    assert pod.message["output"] == 2
    events = story(sink)
    moment = {(event.event_type, event.task_name): event.timestamp_ms for event in events}
    waited = moment["task_completed", "nap"] - moment["workflow_resumed", ""]
    assert waited >= left.total_seconds() * 1000 - 50
    told = Counter(event.event_type for event in events)
    assert (told["workflow_started"], told["workflow_paused"], told["workflow_resumed"]) == (1, 2, 1)
    assert told["workflow_cancelled"] == 0
    assert set(last_of_each_task(events).values()) == {"completed"}


async def test_a_pause_is_suspendable_only_with_a_volume(pod: Pod, sink: Sink) -> None:
    del pod.variables["WORKFLOW_RUNNER_SNAPSHOT_FOLDER"]
    pod.runs(LONG)
    await pod.start()
    assert await pod.reaches(lambda: pod.happened("task_started", "nap") == 1)
    await sink.tell(desired_state=PAUSE, generation=2)
    assert await pod.reaches(answered(sink, 2, suspendable=False))


async def test_a_pause_whose_state_cannot_be_written_is_applied_and_not_suspendable(pod: Pod, sink: Sink) -> None:
    pod.runs(LONG)
    await pod.start(largest_file=10)
    assert await pod.reaches(lambda: pod.happened("task_started", "nap") == 1)
    await sink.tell(desired_state=PAUSE, generation=2)
    assert await pod.reaches(answered(sink, 2, suspendable=False))


async def test_a_resumed_run_is_not_suspendable_any_more_and_a_second_pause_is(pod: Pod, sink: Sink) -> None:
    pod.runs(LONG)
    await pod.start()
    assert await pod.reaches(lambda: pod.happened("task_started", "nap") == 1)
    for generation in (2, 4):
        await sink.tell(desired_state=PAUSE, generation=generation)
        assert await pod.reaches(answered(sink, generation))
        await sink.tell(desired_state=RUN, generation=generation + 1)
        assert await pod.reaches(lambda: pod.happened("workflow_resumed") == generation / 2)  # noqa: B023
        answer = next(batch.control for batch in reversed(sink.batches) if batch.HasField("control"))
        assert (answer.generation, answer.suspendable) == (generation + 1, False)
        assert on_disk(pod).frame.paused_since is None
    # The same pause under another number, after the operator made its mind up anew.
    await sink.tell(desired_state=PAUSE, generation=6)
    assert await pod.reaches(answered(sink, 6))
    await sink.tell(desired_state=PAUSE, generation=7)
    assert await pod.reaches(answered(sink, 7))


async def test_a_pod_killed_while_paused_holds_again(pod: Pod, sink: Sink) -> None:
    pod.runs("do: [{a: {set: 1}}, {nap: {wait: PT0.3S}}, {b: {set: 2}}]")
    await sink.tell(desired_state=PAUSE, generation=1)
    await pod.start()
    assert await pod.reaches(answered(sink, 1))
    await pod.kill()
    await pod.start()
    assert await pod.reaches(lambda: pod.happened("workflow_paused") == 2)
    assert pod.happened("task_started") == 0
    await sink.tell(desired_state=RUN, generation=2)
    assert await pod.ends() == 0
    assert Counter(event.event_type for event in story(sink))["workflow_started"] == 1


async def test_a_paused_run_does_not_go_on_because_the_operator_is_silent(pod: Pod, sink: Sink) -> None:
    pod.runs("do: [{a: {set: 1}}, {nap: {wait: PT0.3S}}, {b: {set: 2}}]")
    await sink.tell(desired_state=PAUSE, generation=1)
    await pod.start()
    assert await pod.reaches(answered(sink, 1))
    await pod.kill()
    sink.mute = True
    await pod.start()
    assert await pod.reaches(lambda: pod.happened("workflow_paused") == 2)
    assert pod.happened("task_started") == 0
    sink.mute = False
    await sink.tell(desired_state=RUN, generation=2)
    assert await pod.ends() == 0
    assert pod.message["output"] == 2


async def test_a_pod_told_to_stop_in_the_middle_of_a_call_leaves_all_that_is_not_acknowledged(pod: Pod, sink: Sink) -> None:
    asked, hangs = asyncio.Event(), True

    async def slow(_request: web.Request) -> web.StreamResponse:
        asked.set()
        if hangs:
            await asyncio.Event().wait()
        return web.json_response("done")

    sink.acknowledge = False
    async with http_server(slow) as server:
        pod.runs(f"do: [{{a: {{set: 1}}}}, {{c: {{call: http, with: {{method: post, endpoint: '{server.url}/x'}}}}}}]")
        await pod.start()
        await asyncio.wait_for(asked.wait(), 60)
        pod.signal(signal.SIGTERM)
        assert await pod.ends() == STOPPED
        kept = on_disk(pod).kept
        assert [event.type.value for _, event in kept.events] == [
            *["workflow_started", "workflow_validating", "workflow_validated"],
            *["task_started", "task_completed", "task_started"],
        ]
        hangs, sink.acknowledge = False, True
        await pod.start()
        assert await pod.ends() == 0
        assert len({seen.headers["idempotency-key"] for seen in server.seen}) == 1
        assert len(server.seen) == 2
    events = story(sink)
    assert Counter(event.event_type for event in events)["workflow_cancelled"] == 0
    assert last_of_each_task(events) == {"a[]": "completed", "c[]": "completed"}
    # The second pod sent again what the first had not seen acknowledged, and the rest under numbers of its own.
    again = [event.sequence_number for batch in sink.streams[-1] for event in batch.events]
    assert again[:6] == [1, 2, 3, 4, 5, 6]
    assert min(again[6:]) > 1_000_000


async def test_a_pod_stopped_before_it_began_leaves_nothing_and_the_next_one_begins(pod: Pod, sink: Sink) -> None:
    sink.mute = True
    pod.runs("do: [{a: {set: 1}}]")
    await pod.start()
    assert await pod.reaches(lambda: len(sink.watches) == 1)
    pod.signal(signal.SIGTERM)
    assert await pod.ends() == STOPPED
    sink.mute = False
    await pod.start()
    assert await pod.ends() == 0
    assert not any(watch.run.continued for watch in sink.watches)
    assert pod.happened("workflow_started") == 1


@pytest.mark.parametrize(
    ("document", "desired", "code", "phase"),
    [
        ("do: [{a: {set: 1}}]", RUN, 0, "Completed"),
        ("do: [{a: {raise: {error: {type: 'https://e.test/', status: 507}}}}]", RUN, 1, "Failed"),
        (LONG, CANCEL, 3, "Cancelled"),
    ],
    ids=["completed", "faulted", "cancelled"],
)
async def test_an_end_that_the_operator_knows_leaves_nothing_on_the_volume(
    pod: Pod, sink: Sink, document: str, desired: Watch.DesiredState, code: int, phase: str
) -> None:
    pod.runs(document)
    await pod.start()
    if desired != RUN:
        assert await pod.reaches(lambda: pod.happened("task_started", "nap") == 1)
        await sink.tell(desired_state=desired, generation=2)
    assert await pod.ends() == code
    assert pod.message["phase"] == phase
    assert not pod.snapshots.exists() or list(pod.snapshots.iterdir()) == []


@pytest.mark.parametrize(("status", "code", "phase"), [(200, 0, "Completed"), (500, 1, "Failed")], ids=["completed", "faulted"])
async def test_an_end_that_the_operator_does_not_know_is_told_again_and_not_lived_again(
    pod: Pod, sink: Sink, status: int, code: int, phase: str
) -> None:
    sink.acknowledge = False
    async with http_server(answering(status, "1", "application/json")) as server:
        pod.runs(f"do: [{{c: {{call: http, with: {{method: post, endpoint: '{server.url}/x'}}}}}}]")
        await pod.start()
        assert await pod.reaches(lambda: any(b'"ended":{' in file.read_bytes() for file in pod.snapshots.glob("*.snapshot")))
        said = pod.message
        await pod.kill()
        sink.acknowledge = True
        await pod.start()
        assert await pod.ends() == code
        assert len(server.seen) == 1
    assert pod.message == said
    assert said["phase"] == phase
    last = story(sink)[-1]
    assert (last.event_type, last.sequence_number) == (f"workflow_{phase.lower()}", said["lastSequence"])
    assert last.sequence_number < 1000
    assert list(pod.snapshots.iterdir()) == []


async def test_the_pod_of_a_run_that_was_ended_in_the_meantime_leaves_and_takes_its_state_along(pod: Pod, sink: Sink) -> None:
    pod.runs(LONG)
    await pod.start()
    assert await pod.reaches(lambda: len(list(pod.snapshots.glob("*.snapshot"))) > 0)
    await pod.kill()
    everything = 2**63 - 1
    await sink.tell(
        desired_state=CANCEL, reason="the run has ended", recorded_sequence=everything, delivered_sequence=everything
    )
    await pod.start()
    assert await pod.ends() == 3
    assert list(pod.snapshots.iterdir()) == []
