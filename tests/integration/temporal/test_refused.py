"""Runs that Temporal does not take, though it can be reached: it is refused by rights, above all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from temporalio.client import WorkflowExecutionStatus
from tests.integration.snapshots.conftest import Pod
from tests.integration.temporal.runs import setting
from tests.servers.gate import Gate, gate
from tests.servers.sink import Sink
from tests.until import until

from workflow_runner.errors import InvalidInput, PermissionDenied, Unauthenticated, Unavailable
from workflow_runner.interpreter.events import EventType
from workflow_runner.interpreter.outcome import Completed
from workflow_runner.server.tls import new_authority, serving_certificate

START, POLL = "StartWorkflowExecution", "GetWorkflowExecutionHistory"
CODE = grpc.StatusCode
TEXT = "do: [{s: {set: {a: 1}}}]"


@pytest.fixture
async def gated(temporal: str) -> AsyncIterator[Gate]:
    async with gate(temporal) as opened:
        yield opened


@pytest.fixture
async def pod(tmp_path: Path, gated: Gate) -> AsyncIterator[Pod]:
    """That of a run on Temporal."""
    authority = new_authority()
    sink = Sink(serving_certificate(authority, ["localhost"]))
    await sink.up()
    pod = Pod(tmp_path, sink, authority.certificate)
    del pod.variables["WORKFLOW_RUNNER_SNAPSHOT_FOLDER"]
    pod.variables |= {"WORKFLOW_RUNNER_ENGINE": "temporal", "TEMPORAL_SERVICE_ADDRESS": gated.address}
    yield pod
    if pod.lives:
        await pod.kill()
    await sink.down()


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (CODE.PERMISSION_DENIED, PermissionDenied, "temporal.permission-denied"),
        (CODE.UNAUTHENTICATED, Unauthenticated, "temporal.unauthenticated"),
        (CODE.FAILED_PRECONDITION, Unavailable, "temporal.run-refused"),
        (CODE.INVALID_ARGUMENT, InvalidInput, "temporal.run-refused"),
    ],
    ids=lambda each: each.name if isinstance(each, CODE) else "",
)
async def test_each_refusal_has_its_code(gated: Gate, status: grpc.StatusCode, kind: type[Exception], code: str) -> None:
    gated.refuses[START] = status
    async with (await setting(gated.address)).running(TEXT) as run:
        with pytest.raises(kind, match=status.name) as refused:
            await run.outcome()
    assert getattr(refused.value, "code", "") == code


async def test_a_pod_that_may_not_start_its_run_says_why_and_begins_nothing(pod: Pod, gated: Gate) -> None:
    gated.refuses[START] = CODE.PERMISSION_DENIED
    pod.runs(TEXT)
    await pod.start()
    assert await pod.ends() == 75
    assert pod.message["code"] == "temporal.permission-denied"
    assert "PERMISSION_DENIED: the gate is closed" in pod.message["message"]
    assert "workflow-runner: temporal.permission-denied: " in pod.said
    assert "Traceback" not in pod.said
    assert pod.sink.events == []
    gated.refuses.clear()
    await pod.start()
    assert await pod.ends() == 0


async def test_a_pod_whose_run_is_not_taken_for_good_has_failed(pod: Pod, gated: Gate) -> None:
    gated.refuses[START] = CODE.INVALID_ARGUMENT
    pod.runs(TEXT)
    await pod.start()
    assert await pod.ends() == 2
    assert (pod.message["phase"], pod.message["error"]["code"]) == ("Failed", "temporal.run-refused")


@pytest.mark.parametrize("status", [CODE.PERMISSION_DENIED, CODE.NOT_FOUND], ids=["rights", "missing"])
async def test_what_is_refused_later_does_not_end_a_run(gated: Gate, status: grpc.StatusCode) -> None:
    """A key is exchanged while the run goes on; a server takes over that does not know the run yet."""
    async with (await setting(gated.address)).running("do: [{w: {wait: PT1S}}]") as run:
        await run.told(EventType.TASK_STARTED)
        gated.refuses[POLL] = status

        async def has_ended() -> bool:
            return (await run.described()).status is WorkflowExecutionStatus.COMPLETED

        await until(has_ended, 30)
        assert not run.task.done()
        gated.refuses.clear()
        assert isinstance(await run.outcome(), Completed)


async def test_a_run_that_is_gone_has_failed(gated: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has deleted it in Temporal: begun anew, what it has done would be done twice."""
    monkeypatch.setattr("workflow_runner.hosts.temporal.run.MISSING_SECONDS", 1.0)
    gated.refuses[POLL] = CODE.NOT_FOUND
    async with (await setting(gated.address)).running("do: [{w: {wait: PT1H}}]") as run:
        await run.told(EventType.TASK_STARTED)
        with pytest.raises(InvalidInput, match="NOT_FOUND"):
            await run.outcome()
