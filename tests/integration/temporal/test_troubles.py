"""What goes wrong in a topology of several programs: each case says what it is, with its code, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from tests.integration.cli.program import Ended, call
from tests.integration.temporal.topology import COMPLETED, FAILED, GREET, Topology, result, topology
from tests.servers.temporal import free_port, temporal_server
from tests.unit.stigmer.specs import task

from workflow_runner.errors import Unavailable
from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.creator import InvokeWorkflowCreator

SHORT = {"TEMPORAL_WORKFLOW_EXECUTION_TIMEOUT_SECONDS": "2"}


@pytest.fixture
async def place(temporal: str) -> AsyncIterator[Topology]:
    async with topology(temporal) as found:
        yield found


async def failure(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    """Why an execution could not be carried out."""
    with pytest.raises(WorkflowFailureError) as failed:
        await result(handle)
    assert isinstance(failed.value.cause, ApplicationError)
    return failed.value.cause


async def refused(place: Topology, code: str) -> str:
    """The execution wfx-1 fails with a code, which Stigmer hears; the error in its status."""
    assert (await failure(await place.invoke("wfx-1"))).type == code
    status = place.final("wfx-1")
    assert status.phase == FAILED
    assert status.temporal_workflow_id == names.invoke_id("wfx-1")
    assert status.error.startswith(f"{code}: ")
    return status.error


async def invoke(place: Topology, *arguments: str) -> Ended:
    """`workflow-runner invoke wfx-1`."""
    return await asyncio.to_thread(call, "invoke", "wfx-1", *arguments, TEMPORAL_SERVICE_ADDRESS=place.address)


async def heard(place: Topology, words: str) -> str:
    """What `invoke` says once it says this: one call looks once, and what it starts may be slower than that to get stuck."""
    for _ in range(10):
        said = (await invoke(place)).err
        if words in said:
            return said
    raise AssertionError(f"{words!r} is not said, but: {said}")


class TestUnknownWorkflowType:
    async def test_whoever_starts_another_type_hears_it_at_once(self, place: Topology) -> None:
        await place.worker("orchestrator")
        handle = await place.client.start_workflow(
            "InvokeWorkflowExecutionWorkflow", "wfx-1", id="x", task_queue=place.settings.stigmer_task_queue
        )
        found = await failure(handle)
        assert found.type == "temporal.unknown-workflow-type"
        assert "'InvokeWorkflowExecutionWorkflow'" in found.message
        assert "'stigmer/workflow-execution/invoke' only" in found.message

    async def test_a_worker_of_another_role_at_that_queue(self, place: Topology) -> None:
        (await place.worker("engine", TEMPORAL_WORKFLOW_EXECUTION_TASK_QUEUE="workflow_execution_stigmer")).misplaced = True
        said = await heard(place, "temporal.unknown-workflow-type")
        assert "the worker that polls the queue 'workflow_execution_stigmer'" in said
        assert "a worker of another role polls this queue" in said


class TestActivityNotRegistered:
    async def test_a_worker_of_another_role_at_that_queue(self, place: Topology) -> None:
        place.record("wfx-1", GREET)
        await place.worker("orchestrator")
        (await place.worker("engine", TEMPORAL_WORKFLOW_EXECUTION_TASK_QUEUE="workflow_execution_runner")).misplaced = True
        error = await refused(place, "temporal.activity-not-registered")
        assert "'workflow_execution_runner' has no activity ExecuteWorkflow" in error
        assert "a worker of another role polls this queue" in error


class TestNotStarting:
    async def test_nobody_polls(self, place: Topology) -> None:
        ended = await invoke(place)
        assert ended.code == 0
        assert "temporal.nobody-polls: nobody polls the queue 'workflow_execution_stigmer'" in ended.err
        assert "a worker with the role orchestrator" in ended.err

    async def test_nobody_runs_what_a_runner_started(self, place: Topology) -> None:
        place.record("wfx-1", GREET)
        await place.worker("orchestrator,runner")
        await heard(place, "nobody polls the queue 'workflow_execution'")

    async def test_the_server_is_not_there(self) -> None:
        ended = await asyncio.to_thread(call, "invoke", "wfx-1", TEMPORAL_SERVICE_ADDRESS=f"127.0.0.1:{free_port()}")
        assert ended.code == 2
        assert ended.err.startswith("workflow-runner: temporal.unavailable: ")
        assert "check TEMPORAL_SERVICE_ADDRESS" in ended.err

    async def test_what_could_not_be_started_can_be_started_again(self) -> None:
        port = free_port()
        async with temporal_server(port=port) as address, topology(address) as place:
            place.record("wfx-1", GREET)
            creator = InvokeWorkflowCreator(place.client, place.settings)
        # The server is gone; the record stays.
        with pytest.raises(Unavailable, match="its record stays") as failed:
            await creator.create("wfx-1")
        assert failed.value.code == "temporal.not-started"
        async with temporal_server(port=port) as address, topology(address) as place:
            place.record("wfx-1", GREET)
            assert not (await InvokeWorkflowCreator(place.client, place.settings).create("wfx-1")).attached
            assert (await InvokeWorkflowCreator(place.client, place.settings).create("wfx-1")).attached
            await place.worker("orchestrator,runner,engine")
            assert (await result(place.invocation("wfx-1"))).phase == COMPLETED
            assert (await InvokeWorkflowCreator(place.client, place.settings).create("wfx-1")).attached


class TestNoRunner:
    async def test_nobody_takes_the_activity(self, place: Topology) -> None:
        place.record("wfx-1", GREET)
        await place.worker("orchestrator", **SHORT)
        error = await refused(place, "temporal.no-runner")
        assert "from the queue 'workflow_execution_runner' within 2 s" in error
        assert "start a worker with the role runner" in error

    async def test_it_is_told_before_the_time_is_over(self, place: Topology) -> None:
        await place.worker("orchestrator")
        await heard(place, "nobody polls the queue 'workflow_execution_runner'")


class TestQueries:
    async def test_the_endpoint_is_wrong(self, place: Topology) -> None:
        place.record("wfx-1", GREET)
        await place.worker("orchestrator,engine")
        nobody = f"127.0.0.1:{free_port()}"
        await place.worker("runner", STIGMER_SERVICE_ENDPOINT=nobody, **SHORT)
        error = await refused(place, "stigmer.unavailable")
        assert nobody in error

    async def test_the_key_is_wrong(self, place: Topology) -> None:
        place.record("wfx-1", GREET)
        await place.worker("orchestrator,engine")
        await place.worker("runner", STIGMER_SERVICE_API_KEY="another")
        assert "check the API key: STIGMER_SERVICE_API_KEY" in await refused(place, "stigmer.unauthenticated")

    @pytest.mark.parametrize("missing", ["executions", "instances", "workflows", "environments"])
    async def test_a_record_is_missing(self, place: Topology, missing: str) -> None:
        place.record("wfx-1", GREET)
        getattr(place.stigmer.resources, missing).clear()
        await place.worker("orchestrator,runner,engine")
        assert f"there is no {'workflow ' if missing in ('executions', 'instances') else ''}{missing[:-1]} '" in await refused(
            place, "stigmer.not-found"
        )


class TestConversion:
    async def test_the_spec_is_invalid(self, place: Topology) -> None:
        place.record("wfx-1")
        await place.worker("orchestrator,runner,engine")
        assert "a workflow needs a task" in await refused(place, "stigmer.missing")

    async def test_a_kind_of_task_is_not_supported(self, place: Topology) -> None:
        place.record("wfx-1", task("odd", "UNSPECIFIED", {}))
        await place.worker("orchestrator,runner,engine")
        assert "'odd'" in await refused(place, "stigmer.unknown-kind")


class TestTheCommand:
    def test_it_cannot_do_without_settings(self) -> None:
        ended = call("worker", TEMPORAL_SERVICE_ADDRESS="")
        assert ended.code == 2
        assert "settings.missing: TEMPORAL_SERVICE_ADDRESS" in ended.err
        ended = call("worker", TEMPORAL_SERVICE_ADDRESS="127.0.0.1:1", STIGMER_SERVICE_ENDPOINT="")
        assert "settings.missing: STIGMER_SERVICE_ENDPOINT" in ended.err
        assert "--roles engine" in ended.err

    def test_roles_are_checked(self) -> None:
        ended = call("worker", "--roles", "engine,boss", TEMPORAL_SERVICE_ADDRESS="127.0.0.1:1")
        assert ended.code == 2
        assert "input.bad-option: --roles 'engine,boss'" in ended.err

    def test_a_server_that_is_not_there(self) -> None:
        ended = call(
            "worker",
            "--roles",
            "engine",
            TEMPORAL_SERVICE_ADDRESS=f"127.0.0.1:{free_port()}",
            HEALTH_PORT="0",
            METRICS_PORT="0",
        )
        assert ended.code == 2
        assert "temporal.unavailable" in ended.err

    async def test_invoke_waits_for_the_end(self, place: Topology) -> None:
        place.record("wfx-1", GREET)
        await place.worker("orchestrator,runner,engine")
        ended = await invoke(place, "--wait")
        assert ended.code == 0, ended.err
        assert ended.output["phase"] == "EXECUTION_COMPLETED"
        assert (await invoke(place, "--wait")).output == ended.output
        place.stigmer.resources.executions.clear()
        ended = await asyncio.to_thread(call, "invoke", "wfx-2", "--wait", TEMPORAL_SERVICE_ADDRESS=place.address)
        assert ended.code == 1
        assert "stigmer.not-found" in ended.err
        # Somebody has mended it.
        place.record("wfx-2", GREET)
        for again, code in (((), 1), (("--again",), 0)):
            ended = await asyncio.to_thread(call, "invoke", "wfx-2", "--wait", *again, TEMPORAL_SERVICE_ADDRESS=place.address)
            assert ended.code == code
