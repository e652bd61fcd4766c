"""The reporter against the operator's own sink service: both sides of the protocol as they ship."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.integration.server import conftest as server

from workflow_runner.hosts.buffer import SKIPPED, Kept
from workflow_runner.hosts.reporter import DesiredState, Reporter
from workflow_runner.interpreter.events import Event, EventType, TaskCounts
from workflow_runner.reconcile.live import ControlAnswer, Desired, LiveRun

api_server, cluster, sink, live = server.api_server, server.cluster, server.sink, server.live


async def test_a_run_is_folded_steered_answered_and_let_go(sink: server.Sink, tmp_path: Path) -> None:
    (token := tmp_path / "token").write_text("pod-1.x.y")
    run = LiveRun(execution_id="execution-1", attempt=1)
    run.desired = Desired("Pause", "spec.paused is true", 2)
    sink.runs.begin("execution-1", run, None, delivered=0)
    states: list[DesiredState] = []
    counts = TaskCounts(started=1)
    reporter = Reporter(
        f"localhost:{sink.port}",
        ca_pem=sink.ca,
        token_file=token,
        execution_uid="execution-1",
        execution_id="execution-1",
        attempt=1,
        workflow_name="hello",
        on_desired_state=states.append,
        counts=lambda: counts,
    )
    await reporter.start()
    assert await reporter.first_desired_state(20) == DesiredState("Pause", "spec.paused is true", 2)
    for type_ in (EventType.WORKFLOW_STARTED, EventType.TASK_STARTED, EventType.WORKFLOW_PAUSED):
        reporter.report(Event(type_, datetime.now(UTC), 0, task_name="a", reference="/do/0/a"))
    reporter.control_result(2, "applied")
    assert not await reporter.finish(0.3)
    assert (run.source_sequence, run.counts["started"]) == (3, 1)
    assert run.answer is not None
    assert (run.answer.generation, run.answer.result) == (2, "Applied")
    # A status write covers it, and the pod may go.
    sink.runs.recorded("execution-1", 1, 3)
    assert await reporter.finish(20)
    await reporter.close()


class Pods:
    """Pods of one run, one after the other."""

    def __init__(self, sink: server.Sink, folder: Path) -> None:
        self._sink = sink
        self._folder = folder

    async def start(self, name: str, kept: Kept | None = None) -> Reporter:
        (token := self._folder / name).write_text(f"{name}.x.y")
        reporter = Reporter(
            f"localhost:{self._sink.port}",
            ca_pem=self._sink.ca,
            token_file=token,
            execution_uid="execution-1",
            execution_id="execution-1",
            attempt=1,
            workflow_name="hello",
            on_desired_state=lambda desired: None,
            counts=TaskCounts,
            goes_on_from=kept,
        )
        await reporter.start()
        assert await reporter.first_desired_state(20) is not None
        return reporter


def tell(reporter: Reporter, *types: EventType) -> None:
    for type_ in types:
        reporter.report(Event(type_, datetime.now(UTC), 0, task_name="a", reference="/do/0/a"))


async def test_another_pod_goes_on_under_the_same_attempt_and_hears_the_real_watermarks(
    sink: server.Sink, live: LiveRun, tmp_path: Path
) -> None:
    pods = Pods(sink, tmp_path)
    first = await pods.start("pod-1")
    tell(first, EventType.WORKFLOW_STARTED, EventType.TASK_STARTED, EventType.TASK_COMPLETED, EventType.TASK_STARTED)
    kept = first.kept
    # What it tells after its last snapshot is lost to the second one.
    tell(first, EventType.TASK_COMPLETED, EventType.WORKFLOW_PAUSED)
    assert not await first.finish(0.3)
    assert live.source_sequence == 6
    await first.close()
    sink.runs.recorded("execution-1", 1, 6)

    second = await pods.start("pod-1-again", kept)
    assert second.kept == Kept(4)  # the operator has the rest, and the pod has heard so
    second.skip_used_numbers()
    assert second.last_sequence == 6 + SKIPPED
    tell(second, EventType.TASK_COMPLETED, EventType.WORKFLOW_RESUMED)
    second.control_result(1, "applied", suspendable=True)
    assert not await second.finish(0.3)
    assert (live.attempt, live.base_sequence, live.source_sequence) == (1, 0, 6 + SKIPPED + 2)
    assert live.answer == ControlAnswer(1, "Applied", "", True)
    assert len(live.tasks.entries()) == 1
    sink.runs.recorded("execution-1", 1, live.source_sequence)
    assert await second.finish(20)
    await second.close()


async def test_a_pod_that_begins_anew_is_another_attempt_and_hears_no_watermark_of_the_one_before(
    sink: server.Sink, live: LiveRun, tmp_path: Path
) -> None:
    pods = Pods(sink, tmp_path)
    first = await pods.start("pod-1")
    tell(first, EventType.WORKFLOW_STARTED, EventType.TASK_STARTED)
    assert not await first.finish(0.3)
    await first.close()
    sink.runs.recorded("execution-1", 1, 2)
    second = await pods.start("pod-1-again")
    tell(second, EventType.WORKFLOW_STARTED)
    assert not await second.finish(0.3)
    assert (live.attempt, live.base_sequence, live.source_sequence) == (2, 2, 1)
    sink.runs.recorded("execution-1", 2, 1)
    assert await second.finish(20)
    await second.close()


async def test_a_pod_that_was_replaced_hears_nothing_that_would_let_it_go(
    sink: server.Sink, live: LiveRun, tmp_path: Path
) -> None:
    pods = Pods(sink, tmp_path)
    first = await pods.start("pod-1", Kept(7))
    tell(first, EventType.TASK_STARTED)
    assert not await first.finish(0.3)
    second = await pods.start("pod-1-again", Kept(7))
    second.skip_used_numbers()
    tell(second, EventType.WORKFLOW_COMPLETED)
    assert not await second.finish(0.3)
    sink.runs.recorded("execution-1", 1, live.source_sequence)
    assert await second.finish(20)
    assert not await first.finish(0.3)
    await first.close()
    await second.close()
