"""Execute's time limit, which is ten minutes elsewhere, and who may end a run by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.until import until

from workflow_runner.hosts.executions import Caller, OutOfTime, Started, StartRequest, Stopping
from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import io_pb2
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ExecutionStatus, WorkflowProgressEvent
from workflow_runner.server.executions import GONE, LATE, ExecutionCalls

REQUEST = io_pb2.WorkflowExecuteInput(workflow_execution_id="run-1", workflow_yaml="x")
QUICKLY = timedelta(milliseconds=50)


class OneExecution:
    """An Executions with one run, which tells so many events at once and ends when it is cancelled, or never."""

    def __init__(self, *, begun: bool = True, events: int = 1, stopping: bool = False) -> None:
        self.cancelled: list[str] = []
        self._begun, self._events, self._stopping = begun, events, stopping
        self._end = asyncio.Event()
        self.asked, self.may_start = asyncio.Event(), asyncio.Event()
        self.may_start.set()

    async def start(self, request: StartRequest, caller: Caller) -> Started:
        self.asked.set()
        await self.may_start.wait()
        return Started(request.execution_id, begun=self._begun)

    async def cancel(self, execution_id: str, reason: str, caller: Caller, *, force: bool) -> None:
        self.cancelled.append(reason)
        self._end.set()

    async def subscribe(self, execution_id: str, after: int, caller: Caller) -> AsyncIterator[WorkflowProgressEvent]:
        for number in range(self._events):
            yield WorkflowProgressEvent(event_type="task_started", sequence_number=number + 1)
        if self._stopping:
            raise Stopping("now")
        await self._end.wait()
        yield WorkflowProgressEvent(event_type="workflow_cancelled")

    async def pause(self, execution_id: str, reason: str, caller: Caller) -> None:
        raise AssertionError("nobody pauses here")

    async def resume(self, execution_id: str, reason: str, caller: Caller) -> None:
        raise AssertionError("nobody resumes here")

    async def status(self, execution_id: str, caller: Caller) -> ExecutionStatus:
        raise AssertionError("nobody asks here")

    async def events(
        self, execution_id: str, after: int, most: int, caller: Caller
    ) -> tuple[list[WorkflowProgressEvent], bool]:
        raise AssertionError("nobody asks here")


async def test_a_run_that_takes_too_long_is_cancelled_and_the_caller_told() -> None:
    executions = OneExecution()
    reader = ExecutionCalls(executions, str, awaited=QUICKLY).execute(REQUEST)
    assert (await anext(reader)).event_type == "task_started"
    said = await late(reader)
    assert set(executions.cancelled) == {LATE}
    assert ("was cancelled" in said, "ExecuteAsync" in said) == (True, True)


async def test_a_reader_that_reads_nothing_does_not_keep_its_run_alive() -> None:
    executions = OneExecution(events=3)
    reader = ExecutionCalls(executions, str, awaited=QUICKLY).execute(REQUEST)
    await anext(reader)
    await until(lambda: executions.cancelled == [LATE])
    assert "was cancelled" in await late(reader)


async def late(reader: AsyncIterator[WorkflowProgressEvent]) -> str:
    """What a reader is told that has waited too long."""
    try:
        async for _ in reader:
            pass
    except OutOfTime as error:
        return str(error)
    raise AssertionError("it was not told so")


async def test_a_run_that_another_call_began_goes_on() -> None:
    executions = OneExecution(begun=False)
    assert "it goes on" in await late(ExecutionCalls(executions, str, awaited=QUICKLY).execute(REQUEST))
    assert executions.cancelled == []


async def test_a_caller_that_goes_away_takes_only_its_own_run_with_it() -> None:
    for begun, reasons in ((True, [GONE]), (False, [])):
        executions = OneExecution(begun=begun)
        reader = ExecutionCalls(executions, str).execute(REQUEST)
        await anext(reader)
        await reader.aclose()  # type: ignore[attr-defined]
        assert executions.cancelled == reasons


async def test_a_caller_that_goes_away_while_its_run_is_accepted_takes_it_with_it() -> None:
    executions = OneExecution()
    executions.may_start.clear()
    reader = ExecutionCalls(executions, str).execute(REQUEST)
    reading = asyncio.ensure_future(anext(reader))
    await executions.asked.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    executions.may_start.set()
    await until(lambda: executions.cancelled == [GONE])


async def test_a_runner_that_stops_leaves_the_run_to_the_next_process() -> None:
    executions = OneExecution(stopping=True)
    with pytest.raises(Stopping):
        async for _ in ExecutionCalls(executions, str).execute(REQUEST):
            pass
    assert executions.cancelled == []
