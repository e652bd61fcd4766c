"""The DAG runner of examples/runners beyond what every runner is asked for: it has bounds, and says where things are wrong."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from examples.runners.dag import dag_runner
from examples.runners.dag.dag_runner import MOST_EVENTS, MOST_KEPT, MOST_RUNNING, Refused, Runs
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tests.integration.cli.program import ROOT, environment
from tests.integration.conformance_command.runners import DAG
from tests.until import until

from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import io_pb2, service_pb2_grpc
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as older
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import query_pb2_grpc

QUICK = "tasks: {a: {call: give, with: {value: 1}}}"
LONG = (DAG / "documents" / "long.yaml").read_text()
DOUBLING = "name: doubling\ntasks:\n  t0: {call: give, with: {value: xxxxxxxx}}\n" + "".join(
    f"  t{number}: {{call: give, needs: [t{number - 1}], with: {{value: [$t{number - 1}, $t{number - 1}]}}}}\n"
    for number in range(1, 150)
)


class Runner:
    """A runner in this event loop, with stubs for both of its services."""

    def __init__(self, runs: Runs, channel: grpc.aio.Channel) -> None:
        self.runs = runs
        self.commands: Any = service_pb2_grpc.WorkflowExecutionServiceStub(channel)
        self.queries: Any = query_pb2_grpc.WorkflowRunnerQueryControllerStub(channel)

    async def start(self, text: str, name: str = "run", **more: Any) -> None:
        await self.commands.ExecuteAsync(_request(text, name, **more), timeout=10)

    async def status(self, name: str = "run") -> older.ExecutionStatus:
        found: older.ExecutionStatus = await self.queries.GetStatus(
            older.GetExecutionStatusRequest(execution_id=name), timeout=10
        )
        return found

    async def until_status(self, status: str, name: str = "run") -> older.ExecutionStatus:
        async def reached() -> bool:
            return (await self.status(name)).status == status

        await until(reached, 20)
        return await self.status(name)


def _request(text: str, name: str = "run", **more: Any) -> io_pb2.WorkflowExecuteInput:
    return io_pb2.WorkflowExecuteInput(workflow_execution_id=name, workflow_yaml=text, **more)


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    runs = Runs()
    server = dag_runner.build(runs)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Runner(runs, channel)
    await runs.close()
    await server.stop(0)


@contextlib.contextmanager
def refused(code: grpc.StatusCode, said: str = "") -> Any:
    """The call within is answered with this status."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        yield error
    assert error.value.code() is code
    assert said in (error.value.details() or "")


async def test_data_that_would_grow_without_end_fails_the_run(runner: Runner) -> None:
    await runner.start(DOUBLING)
    status = await runner.until_status("failed")
    assert status.error.message == "there is more than 65536 characters of data, or more than 20 levels"


@pytest.mark.parametrize("call", ["sleep, with: {seconds: nan}", "sleep, with: {second: 1}", "add, with: {values: [a]}", "add"])
async def test_arguments_that_do_not_fit_fail_the_run(runner: Runner, call: str) -> None:
    await runner.start(f"tasks: {{a: {{call: {call}}}}}")
    assert (await runner.until_status("failed")).error.message


async def test_a_member_that_is_not_there_fails_the_run(runner: Runner) -> None:
    await runner.start("tasks: {a: {call: give, with: {value: $input.name}}}")
    assert (await runner.until_status("failed")).error.message == "$input.name is not there"


async def test_independent_tasks_run_at_the_same_time(runner: Runner) -> None:
    """Were they one after the other, the first would never let the second begin."""
    await runner.start("tasks: {a: {call: sleep, with: {seconds: 60}}, b: {call: give, with: {value: 1}}}")

    async def told() -> bool:
        page = await runner.queries.GetEvents(older.GetExecutionEventsRequest(execution_id="run"))
        return [(event.event_type, event.task_name) for event in page.events][-1] == ("task_completed", "b")

    await until(told)


async def test_input_that_is_no_json_is_told_by_its_field(runner: Runner) -> None:
    request = _request(QUICK)
    request.workflow_input.fields["n"].number_value = float("nan")
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as error:
        await runner.commands.ExecuteAsync(request)
    status = rpc_status.from_call(error.value)
    assert status is not None
    detail = error_details_pb2.BadRequest.FromString(status.details[0].value)
    assert [each.field for each in detail.field_violations] == ["workflow_input"]


async def test_what_is_too_large_is_refused(runner: Runner) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "more than 262144 bytes"):
        await runner.start(f"# {'x' * 300_000}\n{QUICK}")
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "its id more than 253 characters"):
        await runner.start(QUICK, "x" * 254)


async def test_there_is_room_for_so_many_runs(runner: Runner) -> None:
    for number in range(MOST_RUNNING):
        await runner.start("tasks: {a: {call: sleep, with: {seconds: 60}}}", f"run-{number}")
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "100 runs are under way; try again"):
        await runner.start(QUICK, "one-more")
    await runner.commands.CancelExecution(io_pb2.CancelExecutionRequest(execution_id="run-7"))
    await runner.until_status("cancelled", "run-7")
    await runner.start(QUICK, "one-more")


async def test_the_oldest_run_that_has_ended_is_forgotten(runner: Runner) -> None:
    await runner.start(LONG, "long")
    for number in range(MOST_KEPT):
        await runner.start(QUICK, f"run-{number}")
        await runner.until_status("completed", f"run-{number}")
    with refused(grpc.StatusCode.NOT_FOUND):
        await runner.status("run-0")
    assert (await runner.status("run-1")).status == "completed"
    assert (await runner.status("long")).status == "running"
    assert len(runner.runs._runs) == MOST_KEPT


async def test_a_run_cannot_be_paused_without_end(runner: Runner) -> None:
    await runner.start("tasks: {a: {call: sleep, with: {seconds: 0}}, b: {call: sleep, needs: [a], with: {seconds: 60}}}")
    run = runner.runs.find("run")
    run.busy = 0  # as if nothing went on, so that each pause is told at once
    while len(run.events) <= MOST_EVENTS:
        run.pause("")
        run.resume()
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "paused too often"):
        await runner.commands.PauseExecution(io_pb2.PauseExecutionRequest(execution_id="run"))
    await runner.commands.CancelExecution(io_pb2.CancelExecutionRequest(execution_id="run"))
    await runner.until_status("cancelled")


async def test_a_run_that_is_cancelled_before_its_first_step_ends_all_the_same() -> None:
    runs = Runs()
    run, new = runs.start(_request(QUICK))
    assert new
    run.cancel("at once")
    with pytest.raises(Refused, match="is about to") as no:
        run.pause("too late")
    assert no.value.code is grpc.StatusCode.FAILED_PRECONDITION
    await runs.close()
    assert [event.event_type for event in run.events] == ["workflow_started", "workflow_cancelled"]
    assert run.events[-1].message == "at once"


async def _everything_has_had_its_turn() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_run_that_is_paused_again_before_it_could_go_on_starts_nothing() -> None:
    runs = Runs()
    run, _ = runs.start(_request(QUICK))
    run.pause("hold")
    await _everything_has_had_its_turn()
    run.resume()
    run.pause("hold on")
    await _everything_has_had_its_turn()
    assert [event.event_type for event in run.events] == [
        "workflow_started",
        "workflow_paused",
        "workflow_resumed",
        "workflow_paused",
    ]
    run.resume()
    await until(lambda: run.ended)
    assert run.status == "completed"


async def test_a_second_caller_of_execute_hears_the_same_run_and_may_leave(runner: Runner) -> None:
    first = runner.commands.Execute(_request(LONG))
    assert (await first.read()).sequence_number == 1
    second = runner.commands.Execute(_request(LONG))
    assert (await second.read()).sequence_number == 1
    second.cancel()
    number = 1
    while number < 6:
        number = (await first.read()).sequence_number
    assert (await runner.status()).status == "running"
    first.cancel()
    assert (await runner.until_status("cancelled")).last_sequence_number > 5


async def test_a_reader_that_does_not_read_holds_up_nobody(runner: Runner) -> None:
    """Its events stay where they are; nothing is queued for it."""
    text = "tasks: {" + ", ".join(f"t{number}: {{call: give, with: {{value: 1}}}}" for number in range(200)) + "}"
    idle = aiter(runner.commands.Execute(_request(text, "idle")))
    assert (await anext(idle)).event_type == "workflow_started"
    await runner.until_status("completed", "idle")
    rest = [event async for event in idle]
    assert len(rest) == 401  # with the one before
    assert rest[-1].event_type == "workflow_completed"


async def test_a_process_that_is_told_to_stop_cancels_its_runs() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, DAG / "dag_runner.py", "--listen", "127.0.0.1:0", stdout=subprocess.PIPE, cwd=ROOT, env=environment()
    )
    assert process.stdout is not None
    told_to_stop = False
    try:
        address = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().split()[-1]
        async with grpc.aio.insecure_channel(address) as channel:
            commands: Any = service_pb2_grpc.WorkflowExecutionServiceStub(channel)
            events = aiter(commands.Execute(_request(LONG)))
            assert (await anext(events)).event_type == "workflow_started"
            process.terminate()
            told_to_stop = True
            rest = [event.event_type async for event in events]
    finally:
        if not told_to_stop:
            process.kill()
        code = await asyncio.wait_for(process.wait(), 60)
    assert (code, rest[-1]) == (0, "workflow_cancelled")
