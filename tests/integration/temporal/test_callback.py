"""Whoever waits for an execution with the token of an activity hears of its end once: success, failure, cancel, and kills."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf import json_format
from temporalio import activity, workflow
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Worker
from tests.integration.temporal.topology import COMPLETED, FAILED, GREET, LISTEN, SECONDS, Topology, result, topology
from tests.servers.stigmer import Behaviour
from tests.unit.stigmer.specs import task
from tests.until import until

from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecutionStatus

RAISE = task("fail", "RAISE", {"error": "OutOfStock", "message": "nothing left"})


@workflow.defn(name="waiting", sandboxed=False)
class Waiting:
    """Waits for an execution of somebody else's, whose final status it gives."""

    @workflow.run
    async def run(self) -> WorkflowExecutionStatus:
        status: WorkflowExecutionStatus = await workflow.execute_activity(
            "wait-for-execution",
            start_to_close_timeout=timedelta(minutes=10),
            retry_policy=RetryPolicy(maximum_attempts=3),
            result_type=WorkflowExecutionStatus,
        )
        return status


class Waiter:
    """A worker of the test's own. `token` is what its activity waits with; each try of it has one."""

    def __init__(self, place: Topology) -> None:
        self.place = place
        self.tokens: list[bytes] = []
        self.handle: WorkflowHandle[Any, WorkflowExecutionStatus] | None = None

    @activity.defn(name="wait-for-execution")
    async def wait(self) -> None:
        self.tokens.append(activity.info().task_token)
        activity.raise_complete_async()

    @contextlib.asynccontextmanager
    async def waiting(self) -> AsyncIterator[bytes]:
        async with Worker(self.place.client, task_queue="waiting", workflows=[Waiting], activities=[self.wait]):
            self.handle = await self.place.client.start_workflow(Waiting.run, id="waiting", task_queue="waiting")
            await until(lambda: bool(self.tokens), SECONDS)
            yield self.tokens[0]

    async def result(self) -> WorkflowExecutionStatus:
        assert self.handle is not None
        return await result(self.handle)

    async def failure(self) -> ApplicationError:
        with pytest.raises(WorkflowFailureError) as failed:
            await self.result()
        assert isinstance(failed.value.cause, ActivityError)
        assert isinstance(failed.value.cause.cause, ApplicationError)
        assert len(self.tokens) == 1, "it is not tried again: nobody would complete that"
        return failed.value.cause.cause


@pytest.fixture
async def place(temporal: str) -> AsyncIterator[Topology]:
    async with topology(temporal) as found:
        yield found


async def test_success(place: Topology) -> None:
    waiter = Waiter(place)
    async with waiter.waiting() as token:
        place.record("wfx-1", GREET, token=token)
        await place.worker("orchestrator,runner,engine")
        await place.invoke("wfx-1")
        status = await waiter.result()
    assert status.phase == COMPLETED
    assert json_format.MessageToDict(status.output) == {"said": "hello", "zone": "eu"}


async def test_a_failure_of_the_document(place: Topology) -> None:
    waiter = Waiter(place)
    async with waiter.waiting() as token:
        place.record("wfx-1", RAISE, token=token)
        await place.worker("orchestrator,runner,engine")
        handle = await place.invoke("wfx-1")
        failure = await waiter.failure()
        status = await result(handle)
    assert status.phase == FAILED
    assert failure.type == "WorkflowFault"
    assert "nothing left" in failure.message
    assert failure.details == (status,)


async def test_an_execution_that_cannot_be_carried_out(place: Topology) -> None:
    waiter = Waiter(place)
    async with waiter.waiting() as token:
        place.record("wfx-1", token=token)  # a workflow without tasks
        await place.worker("orchestrator,runner,engine")
        await place.invoke("wfx-1")
        failure = await waiter.failure()
    assert "stigmer.missing" in failure.message


async def test_a_cancel(place: Topology) -> None:
    waiter = Waiter(place)
    async with waiter.waiting() as token:
        place.record("wfx-1", LISTEN, token=token)
        await place.worker("orchestrator,runner,engine")
        handle = await place.invoke("wfx-1")
        await place.listens("wfx-1")
        await handle.cancel()
        failure = await waiter.failure()
    assert failure.type == "WorkflowCancelled"


async def test_a_kill_between_the_status_and_the_callback(place: Topology) -> None:
    waiter = Waiter(place)
    async with waiter.waiting() as token:
        place.record("wfx-1", LISTEN, token=token)
        orchestrator = await place.worker("orchestrator")
        await place.worker("runner,engine")
        handle = await place.invoke("wfx-1")
        await place.listens("wfx-1")
        # The status is written, and then the question for the token is not answered.
        place.stigmer.behaviour = Behaviour("hang", method="execution")
        asked = place.stigmer.queries.count(("execution/get", "wfx-1"))
        await place.go("wfx-1")
        await place.stigmer.until(lambda: place.stigmer.queries.count(("execution/get", "wfx-1")) > asked, SECONDS)
        await orchestrator.kill()
        place.stigmer.behaviour = Behaviour()
        await orchestrator.start()
        assert (await waiter.result()).phase == COMPLETED
        assert (await result(handle)).phase == COMPLETED


async def test_a_completion_whose_answer_was_lost(place: Topology) -> None:
    """An earlier try got there and died: the later one finds nothing left to do."""
    waiter = Waiter(place)
    async with waiter.waiting() as token:
        place.record("wfx-1", GREET, token=token)
        earlier = WorkflowExecutionStatus(phase=COMPLETED)
        await place.client.get_async_activity_handle(task_token=token).complete(earlier)
        worker = await place.worker("orchestrator,runner,engine")
        assert (await result(await place.invoke("wfx-1"))).phase == COMPLETED
        assert await waiter.result() == earlier
    assert worker.lines("the callback of an execution was completed before, or nobody waits any more")


async def test_a_token_that_is_none(place: Topology) -> None:
    place.record("wfx-1", GREET, token=b"no token")
    worker = await place.worker("orchestrator,runner,engine")
    assert (await result(await place.invoke("wfx-1"))).phase == COMPLETED
    [line] = worker.lines("the callback of an execution cannot be completed: its token is none of this server's")
    assert line["code"] == "temporal.callback-token-invalid"


async def test_a_failing_stigmer_does_not_cost_the_callback(place: Topology) -> None:
    """The status is owed until Stigmer has it, and then the callback is completed."""
    waiter = Waiter(place)
    async with waiter.waiting() as token:
        place.record("wfx-1", GREET, token=token)
        await place.worker("orchestrator,runner,engine")
        place.stigmer.behaviour = Behaviour("status", method="updateStatus")
        await place.invoke("wfx-1")
        await place.stigmer.until(lambda: place.stigmer.calls.count(("wfx-1", 0)) >= 4, SECONDS)
        place.stigmer.behaviour = Behaviour()
        assert (await waiter.result()).phase == COMPLETED
    assert [status.phase for status in place.stigmer.states_of("wfx-1")] == [COMPLETED]
