"""The four services and what each answers; the calls of the specification letter by letter."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty
from google.protobuf.struct_pb2 import Struct
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.e2e.cluster import tools
from tests.integration.calls.server import answering, http_server
from tests.integration.serve.conftest import Serve
from tests.integration.serve.served import SECONDS, Served, ascending, output, refused, request
from tests.until import until

from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import io_pb2
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as older

HELLO = "do: [{step: {set: {message: Hello}}}]"
WAITING = "do: [{nap: {wait: PT10M}}]"
COMMAND = "ai.stigmer.workflow.runner.v1.WorkflowRunnerCommandController"

EXECUTE_ASYNC = r"""{
    "workflow_execution_id": "test-123",
    "workflow_yaml": "document:\n  dsl: 1.0.0\n  name: test\n  namespace: test\n  version: 1.0.0\ndo:\n  - step:\n      set:\n        message: \"Hello\"",
    "metadata": {
      "name": "test-workflow",
      "version": "1.0.0",
      "namespace": "test"
    }
  }"""  # noqa: E501 - letter by letter
CANCEL = """{
    "execution_id": "test-123",
    "reason": "Testing cancellation"
  }"""


async def grpcurl(served: Served, method: str, data: str) -> tuple[int, str]:
    """The exit code, and what it printed."""
    program = await asyncio.to_thread(tools.path, "grpcurl")
    process = await asyncio.create_subprocess_exec(
        program,
        "-plaintext",
        "-d",
        data,
        served.address,
        method,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode() + err.decode()


async def test_grpcurl_starts_and_cancels_as_it_is_specified(served: Served) -> None:
    code, said = await grpcurl(served, f"{COMMAND}/ExecuteAsync", EXECUTE_ASYNC)
    assert (code, said) == (
        0,
        '{\n  "workflowExecutionId": "test-123",\n  "status": "running",\n'
        '  "message": "Workflow execution started in background"\n}\n',
    )
    ended = await served.end("test-123")
    assert (ended.status, ended.output.struct_value["message"]) == ("completed", "Hello")
    assert await grpcurl(served, f"{COMMAND}/CancelExecution", CANCEL) == (0, "{}\n")
    assert (await served.status("test-123")).status == "completed", "a run that has ended is left as it is"


async def test_the_face_of_today_also_says_where_to_look(served: Served) -> None:
    answer = await served.start_run(HELLO)
    base = f"grpc://{served.address}/ai.stigmer.workflow.runner.v1.WorkflowRunnerQueryController"
    assert (answer.workflow_execution_id, answer.status, answer.message) == (
        "run-1",
        "running",
        "Workflow execution started in background",
    )
    assert (answer.subscribe_url, answer.status_url) == (f"{base}/Subscribe", f"{base}/GetStatus")
    assert (await served.end()).status == "completed"


async def test_one_execution_is_steered_through_any_of_the_faces(served: Served) -> None:
    faces = served.services
    started = await faces.controller.executeAsync(request(WAITING))
    assert started.workflow_execution_id == "run-1"
    await faces.command.PauseExecution(older.PauseExecutionRequest(execution_id="run-1", reason="lunch"))
    await served.reaches("paused")
    await faces.controller.resumeExecution(io_pb2.ResumeExecutionRequest(execution_id="run-1"))
    await served.reaches("running")
    assert await faces.controller.pauseExecution(io_pb2.PauseExecutionRequest(execution_id="run-1")) == Empty()
    await served.reaches("paused")
    assert await faces.command.ResumeExecution(older.ResumeExecutionRequest(execution_id="run-1")) == Empty()
    await faces.controller.cancelExecution(io_pb2.CancelExecutionRequest(execution_id="run-1", reason="enough"))
    told = [event.event_type for event in await served.story() if not event.task_name]
    assert told == [
        "workflow_started",
        *["workflow_paused", "workflow_resumed"] * 2,
        "workflow_cancelled",
    ]


@pytest.mark.parametrize("face", ["execution", "command"])
async def test_execute_streams_every_event_to_the_last(served: Served, face: str) -> None:
    service = getattr(served.services, face)
    kind: Any = io_pb2.WorkflowExecuteInput if face == "execution" else older.WorkflowExecuteInput
    given = kind.FromString(request("do: [{a: {set: {n: 1}}}, {b: {set: {n: '${ .n + 1 }'}}}]").SerializeToString())
    events = [event async for event in service.Execute(given)]
    assert [event.event_type for event in events] == [
        "workflow_started",
        "task_started",
        "task_completed",
        "task_started",
        "task_completed",
        "workflow_completed",
    ]
    assert [event.sequence_number for event in events] == [1, 2, 3, 4, 5, 6]
    assert (events[-1].status, events[-1].task_progress, events[-1].output.struct_value["n"]) == ("completed", 100, 2)
    assert (await served.status()).status == "completed", "and it is known afterwards"


async def test_input_comes_as_it_was_given(served: Served) -> None:
    given = Struct()
    given.update({"whole": 3, "half": 0.5, "big": 2**40, "text": "é", "none": None, "list": [True, {"deep": [1]}]})
    await served.start_run("do: [{kinds: {set: {all: '${ . }', types: '${ map_values(type) }'}}}]", workflow_input=given)
    async with asyncio.timeout(SECONDS):
        events = [event async for event in served.services.execution.Execute(request(HELLO, "other"))]
    assert events[-1].status == "completed"
    assert output(await served.end())["all"] == json_format.MessageToDict(given)
    assert (await served.start_run("do: [{none: {set: {all: '${ . }'}}}]", "run-2")).status == "running"
    assert output(await served.end("run-2"))["all"] == {}, "no input is an empty object"


async def test_whole_numbers_stay_whole(served: Served) -> None:
    given = Struct()
    given.update({"n": 3, "items": [1, 2.5]})
    async with http_server(answering()) as world:
        await served.start_run(
            f"do: [{{send: {{call: http, with: {{method: post, endpoint: '{world.url}', body: '${{ . }}'}}}}}}]",
            workflow_input=given,
        )
        assert (await served.end()).status == "completed"
        assert json.loads(world.seen[0].body) == {"n": 3, "items": [1, 2.5]}
        assert b"3.0" not in world.seen[0].body


async def test_a_number_that_json_does_not_have_is_refused(served: Served) -> None:
    given = Struct()
    given.update({"n": float("inf")})
    said = await refused(served.services.execution.ExecuteAsync(request(HELLO, workflow_input=given)))
    assert (said.code, said.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "input.invalid")


async def test_events_by_pages_and_from_a_number_on(served: Served) -> None:
    await served.start_run("do: [{loop: {for: {in: '[range(60)]'}, do: [{pass: {set: {n: '${ $item }'}}}]}}]")
    await served.end()
    story = await served.story()
    numbers = [event.sequence_number for event in story]
    assert ascending(numbers)
    assert len(numbers) == 1 + 2 + 120 + 1
    pages, after, more = [], 0, True
    while more:
        page = await served.services.query.GetEvents(
            older.GetExecutionEventsRequest(execution_id="run-1", after_sequence_number=after, page_size=50)
        )
        pages.append(len(page.events))
        assert [event.sequence_number for event in page.events] == numbers[sum(pages[:-1]) : sum(pages)]
        after, more = page.events[-1].sequence_number, page.more
    assert pages == [50, 50, 24]
    past = older.GetExecutionEventsRequest(execution_id="run-1", after_sequence_number=numbers[-1])
    assert await served.services.query.GetEvents(past) == older.ExecutionEvents()
    assert [event.sequence_number for event in await served.story(after=numbers[100])] == numbers[101:]
    assert await served.story(after=numbers[-1]) == []


async def test_subscribers_hear_the_same_whenever_they_come(served: Served) -> None:
    await served.start_run("do: [{first: {set: {n: 1}}}, {nap: {wait: PT10M}}]")
    early = asyncio.create_task(served.story())
    await served.pause()
    await served.reaches("paused")
    late = asyncio.create_task(served.story())
    await served.cancel(reason="seen enough")
    assert await early == await late
    assert (await early)[-1].message == "the workflow was cancelled: seen enough"


async def test_the_runner_of_others_reports_elsewhere(serve: Serve) -> None:
    served = await serve(LOG_LEVEL="debug")
    said = await refused(served.services.command.ReportProgress(older.WorkflowProgressEvent(workflow_execution_id="x")))
    assert said.code is grpc.StatusCode.UNIMPLEMENTED
    await until(lambda: any(line["status"] == "UNIMPLEMENTED" for line in served.lines("call")))


async def test_reflection_gives_json_names_and_all_services(served: Served) -> None:
    reflection = reflection_pb2_grpc.ServerReflectionStub(served.services.channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=COMMAND),
    ]
    answers = [answer async for answer in reflection.ServerReflectionInfo(iter(asked))]
    assert {service.name for service in answers[0].list_services_response.service} == {
        "ai.stigmer.agentic.workflowrunner.v1.WorkflowExecutionService",
        "ai.stigmer.agentic.workflowrunner.v1.WorkflowRunnerServiceController",
        COMMAND,
        "ai.stigmer.workflow.runner.v1.WorkflowRunnerQueryController",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert len(answers[1].file_descriptor_response.file_descriptor_proto) > 0


async def test_health_over_grpc_and_http_until_it_stops(serve: Serve) -> None:
    served = await serve(WORKFLOW_RUNNER_STOP_SECONDS="30")
    health = health_pb2_grpc.HealthStub(served.services.channel)
    for name in ("", COMMAND):
        assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == 1
    watched = health.Watch(health_pb2.HealthCheckRequest(service=""))
    assert (await watched.read()).status == health_pb2.HealthCheckResponse.SERVING
    url = f"http://127.0.0.1:{served.ports['health_port']}/health"
    async with aiohttp.ClientSession() as session:

        async def answers(status: int) -> bool:
            async with session.get(url) as answer:
                return answer.status == status

        await until(lambda: answers(200))
        await served.start_run(WAITING)  # keeps it from ending at once
        await served.reaches("running")
        stopping = asyncio.create_task(served.stop())
        assert (await watched.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await until(lambda: answers(503))
    said = await refused(served.services.execution.ExecuteAsync(request(HELLO, "late")))
    assert (said.code, said.reason) == (grpc.StatusCode.UNAVAILABLE, "execution.stopping")
    await served.cancel()
    assert await stopping == 0


async def test_requests_have_ids_in_the_log_and_the_trailers(serve: Serve) -> None:
    served = await serve(LOG_LEVEL="debug")
    call = served.services.execution.ExecuteAsync(request(HELLO), metadata=(("x-request-id", "mine-7"),))
    await call
    assert dict(await call.trailing_metadata())["x-request-id"] == "mine-7"
    call = served.services.execution.ExecuteAsync(request(HELLO), metadata=(("x-request-id", "not good at all"),))
    await call
    drawn = dict(await call.trailing_metadata())["x-request-id"]
    assert len(drawn) == 32
    said = await refused(served.services.query.GetStatus(older.GetExecutionStatusRequest(execution_id="nobody")))
    await until(lambda: {"mine-7", drawn, said.request_id} <= {line["request_id"] for line in served.lines("call")})
    [line] = served.lines("a call was refused")
    assert (line["request_id"], line["status"], line["code"]) == (said.request_id, "NOT_FOUND", "execution.unknown")
