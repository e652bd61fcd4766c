"""Stigmer's executions carried out through Temporal, by workers whose roles are together or apart."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from temporalio.client import WorkflowExecutionStatus as WorkflowExecutionStatus_
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError
from tests import canaries
from tests.integration.temporal.topology import (
    CANCELLED,
    COMPLETED,
    FAILED,
    GREET,
    LISTEN,
    SECONDS,
    Topology,
    result,
    topology,
)
from tests.unit.stigmer.specs import task
from tests.until import until

from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.queues import polled
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecutionStatus


@pytest.fixture
async def place(temporal: str) -> AsyncIterator[Topology]:
    async with topology(temporal) as found:
        yield found


@pytest.mark.parametrize(
    "roles", [["orchestrator,runner,engine"], ["orchestrator", "runner", "engine"]], ids=["together", "apart"]
)
async def test_an_execution_is_carried_out_and_told_of(place: Topology, roles: list[str]) -> None:
    place.record("wfx-1", GREET)
    for role in roles:
        await place.worker(role)
    status = await result(await place.invoke("wfx-1"))
    assert status.phase == COMPLETED
    assert json_format.MessageToDict(status.output) == {"said": "hello", "zone": "eu"}
    assert status.temporal_workflow_id == "stigmer/workflow-execution/invoke/wfx-1"
    assert [task.task_name for task in status.tasks] == ["greet"]
    assert place.final("wfx-1") == status
    assert place.told("wfx-1") == [
        *("workflow_started", "workflow_validating", "workflow_validated"),
        *("task_started", "task_completed", "workflow_completed"),
    ]


async def test_each_role_takes_its_own_kind_of_tasks_only(place: Topology) -> None:
    for role in ("orchestrator", "runner"):
        await place.worker(role)
    assert await polled(place.client, place.settings.stigmer_task_queue, "workflow")
    assert not await polled(place.client, place.settings.stigmer_task_queue, "activity")
    assert await polled(place.client, place.settings.runner_task_queue, "activity")
    assert not await polled(place.client, place.settings.runner_task_queue, "workflow")


async def test_the_memo_says_where_the_runner_is_and_the_argument_may_be_an_id(place: Topology) -> None:
    place.record("wfx-1", GREET)
    await place.worker("orchestrator,engine")
    await place.worker("runner", TEMPORAL_WORKFLOW_EXECUTION_RUNNER_TASK_QUEUE="elsewhere")
    handle = await place.client.start_workflow(
        names.INVOKE,
        "wfx-1",
        id=names.invoke_id("wfx-1"),
        task_queue=place.settings.stigmer_task_queue,
        memo={"activityTaskQueue": "elsewhere"},
        result_type=WorkflowExecutionStatus,
    )
    assert (await result(handle)).phase == COMPLETED


async def test_a_killed_runner_and_a_killed_engine_change_nothing(place: Topology) -> None:
    place.record("wfx-1", GREET, LISTEN)
    orchestrator, runner, engine = [await place.worker(role) for role in ("orchestrator", "runner", "engine")]
    handle = await place.invoke("wfx-1")
    await place.listens("wfx-1")
    first = await place.run("wfx-1").describe()
    for worker in (runner, engine, orchestrator):
        await worker.kill()
    await place.go("wfx-1")
    for worker in (engine, runner, orchestrator):
        await worker.start()
    assert (await result(handle)).phase == COMPLETED
    assert (await place.run("wfx-1").describe()).run_id == first.run_id
    assert runner.lines("attaching to a run that was started before")
    # Stigmer has each event, and whatever it was told twice was the same.
    events = place.stigmer.events("wfx-1")
    told = {(event.sequence_number, event.event_type, event.task_reference) for event in events}
    assert sorted(number for number, _, _ in told) == list(range(1, len(told) + 1))
    assert place.told("wfx-1")[-1] == "workflow_completed"
    assert [task.task_name for task in place.final("wfx-1").tasks] == ["greet", "wait"]


async def test_a_runner_that_is_told_to_stop_hands_over_at_once(place: Topology) -> None:
    """Nobody waits for heartbeats that do not come: they would take minutes."""
    place.variables["TEMPORAL_HEARTBEAT_TIMEOUT_SECONDS"] = "600"
    place.record("wfx-1", LISTEN)
    await place.worker("orchestrator,engine")
    runner = await place.worker("runner")
    handle = await place.invoke("wfx-1")
    await place.listens("wfx-1")
    assert await runner.stop() == 0
    other = await place.worker("runner")
    await until(lambda: bool(other.lines("attaching to a run that was started before")), SECONDS)
    await place.go("wfx-1")
    assert (await result(handle)).phase == COMPLETED


async def test_a_runner_that_was_asleep_leaves_the_run_to_the_next(place: Topology) -> None:
    place.record("wfx-1", LISTEN)
    await place.worker("orchestrator,engine")
    sleeper = await place.worker("runner")
    handle = await place.invoke("wfx-1")
    await place.listens("wfx-1")
    sleeper.signal(signal.SIGSTOP)
    try:
        other = await place.worker("runner")
        await until(lambda: bool(other.lines("attaching to a run that was started before")), SECONDS)
    finally:
        sleeper.signal(signal.SIGCONT)
    left = "another try follows an execution: this runner was cut off from Temporal"
    await until(lambda: bool(sleeper.lines(left)), SECONDS)
    await place.go("wfx-1")
    assert (await result(handle)).phase == COMPLETED
    assert place.told("wfx-1")[-1] == "workflow_completed"


class TestCancel:
    async def test_the_run_is_cancelled_with_its_invocation(self, place: Topology) -> None:
        place.record("wfx-1", LISTEN)
        await place.worker("orchestrator,runner,engine")
        handle = await place.invoke("wfx-1")
        await place.listens("wfx-1")
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as failed:
            await result(handle)
        assert isinstance(failed.value.cause, CancelledError)
        assert place.final("wfx-1").phase == CANCELLED
        assert await phase(place.run("wfx-1")) == "Cancelled"
        assert place.told("wfx-1")[-1] == "workflow_cancelled"

    async def test_without_a_runner_too(self, place: Topology) -> None:
        place.record("wfx-1", LISTEN)
        await place.worker("orchestrator,engine")
        runner = await place.worker("runner")
        handle = await place.invoke("wfx-1")
        await place.listens("wfx-1")
        await runner.kill()
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as failed:
            await result(handle)
        assert isinstance(failed.value.cause, CancelledError)
        assert place.final("wfx-1").phase == CANCELLED
        run = place.run("wfx-1")
        await until(lambda: closed(run), SECONDS)
        assert await phase(run) == "Cancelled"

    async def test_before_anybody_took_it(self, place: Topology) -> None:
        place.record("wfx-1", LISTEN)
        await place.worker("orchestrator")
        handle = await place.invoke("wfx-1")
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as failed:
            await result(handle)
        assert isinstance(failed.value.cause, CancelledError)
        assert place.final("wfx-1").phase == CANCELLED

    async def test_a_terminated_invocation_leaves_no_run_behind(self, place: Topology) -> None:
        place.record("wfx-1", LISTEN)
        await place.worker("orchestrator,runner,engine")
        handle = await place.invoke("wfx-1")
        await place.listens("wfx-1")
        await handle.terminate("a test")
        run = place.run("wfx-1")
        await until(lambda: closed(run), SECONDS)
        assert await phase(run) == "Cancelled"


class TestTimeLimit:
    async def test_it_ends_an_execution(self, place: Topology) -> None:
        place.record("wfx-1", LISTEN)
        await place.worker("orchestrator,runner,engine", TEMPORAL_WORKFLOW_EXECUTION_TIMEOUT_SECONDS="2")
        status = await result(await place.invoke("wfx-1"))
        assert status.phase == FAILED
        assert "imeout" in status.error

    async def test_paused_time_does_not_count(self, place: Topology) -> None:
        place.record("wfx-1", LISTEN)
        await place.worker("orchestrator,runner,engine", TEMPORAL_WORKFLOW_EXECUTION_TIMEOUT_SECONDS="8")
        handle = await place.invoke("wfx-1")
        await place.run_exists("wfx-1")
        await place.run("wfx-1").signal(names.PAUSE, {"reason": "a test"})
        await place.stigmer.until(lambda: "workflow_paused" in place.told("wfx-1"), SECONDS)
        # By the server's clock the limit passes: a timer in another workflow says so.
        begun = (await place.run("wfx-1").describe()).start_time
        await until(lambda: (datetime.now(UTC) - begun).total_seconds() > 9, SECONDS)
        await place.run("wfx-1").signal(names.RESUME, {})
        await place.go("wfx-1")
        assert (await result(handle)).phase == COMPLETED


class TestSecrets:
    """Values of Stigmer's environments that are secret: in Temporal encrypted or not at all."""

    HEADER = task("call", "SET", {"variables": {"token": "Bearer ${TOKEN}"}})

    async def test_without_keys_a_document_that_makes_data_of_one_is_refused(self, place: Topology) -> None:
        place.record("wfx-1", self.HEADER, secrets={"TOKEN": canaries.WORKFLOW_SECRET})
        await place.worker("orchestrator,runner,engine")
        handle = await place.invoke("wfx-1")
        with pytest.raises(WorkflowFailureError, match="Workflow execution failed") as failed:
            await result(handle)
        assert isinstance(failed.value.cause, ApplicationError)
        assert failed.value.cause.type == "temporal.secrets-unencrypted"
        status = place.final("wfx-1")
        assert status.phase == FAILED
        assert status.error.startswith("temporal.secrets-unencrypted: WorkflowSpec:/do/0/call/set/token: a value made")
        assert "encryption keys" in status.error
        assert canaries.found_in(await written(handle)) == []

    async def test_one_that_uses_plain_values_only_runs(self, place: Topology) -> None:
        place.record("wfx-1", GREET, secrets={"TOKEN": canaries.WORKFLOW_SECRET})
        await place.worker("orchestrator,runner,engine")
        handle = await place.invoke("wfx-1")
        assert (await result(handle)).phase == COMPLETED
        assert canaries.found_in(await written(handle) + await written(place.run("wfx-1"))) == []

    async def test_with_keys_they_go_along_encrypted(self, place: Topology, tmp_path: Path) -> None:
        (tmp_path / "k1").write_bytes(base64.b64encode(os.urandom(32)))
        place.variables["TEMPORAL_PAYLOAD_KEYS"] = str(tmp_path)
        place.record("wfx-1", self.HEADER, secrets={"TOKEN": canaries.WORKFLOW_SECRET})
        for role in ("orchestrator", "runner", "engine"):
            await place.worker(role)
        await place.invoke("wfx-1")
        await place.stigmer.until(lambda: bool(place.stigmer.states_of("wfx-1")), SECONDS)
        status = place.final("wfx-1")
        assert status.phase == COMPLETED
        assert json_format.MessageToDict(status.output) == {"token": f"Bearer {canaries.WORKFLOW_SECRET}"}
        assert canaries.found_in(await written(place.run("wfx-1")) + await written(place.invocation("wfx-1"))) == []


async def closed(handle: WorkflowHandle[Any, Any]) -> bool:
    return (await handle.describe()).status is not WorkflowExecutionStatus_.RUNNING


async def phase(handle: WorkflowHandle[Any, Any]) -> str:
    """How a run that has ended says that it did."""
    assert await closed(handle)
    answer: dict[str, Any] = await handle.query(names.STATUS)
    return str(answer["phase"])


async def written(handle: WorkflowHandle[Any, Any]) -> str:
    """All of a history, as the server has it."""
    return "".join(repr(event) for event in (await handle.fetch_history()).events)
