"""The reporter against the operator's own sink service: both sides of the protocol as they ship."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.integration.server import conftest as server

from workflow_runner.hosts.reporter import DesiredState, Reporter
from workflow_runner.interpreter.events import Event, EventType, TaskCounts
from workflow_runner.reconcile.live import Desired, LiveRun

api_server, cluster, sink = server.api_server, server.cluster, server.sink


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
