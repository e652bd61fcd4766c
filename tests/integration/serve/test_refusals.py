"""What is refused, with which status and which details; and that what is asked for twice is done once."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from aiohttp import web
from tests.integration.calls.server import answering, http_server
from tests.integration.serve.conftest import Serve
from tests.integration.serve.served import Served, descendants, refused, request
from tests.until import until

from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import io_pb2
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as older

HELLO = "do: [{step: {set: {message: Hello}}}]"
WAITING = "do: [{nap: {wait: PT10M}}]"
CODE = grpc.StatusCode
HEADER = "document: {dsl: '1.0.3', namespace: test, name: test, version: '1.0.0'}\n"


async def test_a_document_with_mistakes_is_refused_with_each_of_them(served: Served) -> None:
    text = f"{HEADER}do:\n  - one: {{sett: 1}}\n  - two:\n      wait: soon\n"
    said = await refused(served.services.execution.ExecuteAsync(request(text)))
    assert (said.code, said.domain) == (CODE.INVALID_ARGUMENT, "workflowrunner.stigmer.ai")
    assert said.reason == said.violations[0].reason
    assert [(each.field, each.reason) for each in said.violations][-1] == ("workflow_yaml:5:13", "duration.invalid")
    assert all(each.field.startswith("workflow_yaml:") and each.description for each in said.violations)
    said = await refused(served.services.query.GetStatus(older.GetExecutionStatusRequest(execution_id="run-1")))
    assert (said.code, said.reason) == (CODE.NOT_FOUND, "execution.unknown")


async def test_many_mistakes_in_a_wide_script_fit_into_a_small_answer(served: Served) -> None:
    """Some clients take 8 KiB of trailers."""
    tasks = "".join(f"  - {'任務' * 20}{number}: {{{'設定' * 30}: 1}}\n" for number in range(200))
    channel = grpc.aio.insecure_channel(served.address, options=[("grpc.max_metadata_size", 8192)])
    said = await refused(served.open(channel).execution.ExecuteAsync(request(f"{HEADER}do:\n{tasks}")))
    assert (said.code, len(said.violations) > 2) == (CODE.INVALID_ARGUMENT, True)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"execution_id": "x" * 257}, "execution.bad-id"),
        ({"execution_id": "a\nb"}, "execution.bad-id"),
        ({"workflow_yaml": ""}, "input.missing"),
        ({"config": {"timeout": "ten minutes"}}, "input.invalid"),
        ({"env_vars": {"": "x"}}, "input.invalid"),
        ({"env_vars": {"A=B": "x"}}, "input.invalid"),
        ({"env_vars": {"A": "x\0y"}}, "input.invalid"),
        ({"env_vars": {"A": "x" * 200_000}}, "input.invalid"),
        ({"env_vars": {f"A{number}": "x" for number in range(1001)}}, "input.invalid"),
    ],
    ids=[
        "long-id",
        "unprintable-id",
        "no-document",
        "timeout",
        "no-name",
        "equals-sign",
        "null-character",
        "large-variable",
        "many-variables",
    ],
)
async def test_arguments_that_cannot_be_taken(served: Served, fields: dict[str, Any], reason: str) -> None:
    given = request(HELLO)
    if "execution_id" in fields:
        given.workflow_execution_id = str(fields.pop("execution_id"))
    given.MergeFrom(io_pb2.WorkflowExecuteInput(**fields))
    if "workflow_yaml" in fields:
        given.ClearField("workflow_yaml")
    said = await refused(served.services.execution.ExecuteAsync(given))
    assert (said.code, said.reason, len(said.violations)) == (CODE.INVALID_ARGUMENT, reason, 1)


async def test_whoever_names_no_execution_is_told_so(served: Served) -> None:
    for call in (
        served.services.query.GetStatus(older.GetExecutionStatusRequest()),
        served.services.query.Subscribe(older.SubscribeRequest()),
        served.services.execution.CancelExecution(io_pb2.CancelExecutionRequest()),
    ):
        said = await refused(call)
        assert (said.code, said.reason) == (CODE.INVALID_ARGUMENT, "execution.bad-id")
    page = older.GetExecutionEventsRequest(execution_id="x", page_size=-1)
    assert (await refused(served.services.query.GetEvents(page))).code is CODE.INVALID_ARGUMENT


async def test_an_unknown_execution_is_unknown_to_every_call(served: Served) -> None:
    calls = served.services
    for call in (
        calls.query.GetStatus(older.GetExecutionStatusRequest(execution_id="x")),
        calls.query.GetEvents(older.GetExecutionEventsRequest(execution_id="x")),
        calls.query.Subscribe(older.SubscribeRequest(execution_id="x")),
        calls.execution.CancelExecution(io_pb2.CancelExecutionRequest(execution_id="x")),
        calls.controller.pauseExecution(io_pb2.PauseExecutionRequest(execution_id="x")),
        calls.command.ResumeExecution(older.ResumeExecutionRequest(execution_id="x")),
    ):
        said = await refused(call)
        assert (said.code, said.reason) == (CODE.NOT_FOUND, "execution.unknown")


async def test_an_ended_run_is_neither_paused_nor_resumed_and_cancelling_it_changes_nothing(served: Served) -> None:
    await served.start_run(HELLO)
    await served.end()
    before = await served.status()
    for call in (
        served.services.execution.PauseExecution(io_pb2.PauseExecutionRequest(execution_id="run-1")),
        served.services.execution.ResumeExecution(io_pb2.ResumeExecutionRequest(execution_id="run-1")),
    ):
        said = await refused(call)
        assert (said.code, said.reason) == (CODE.FAILED_PRECONDITION, "execution.wrong-state")
    for force in (False, True):
        await served.cancel(force=force)
    assert await served.status() == before


async def test_steering_is_idempotent(served: Served) -> None:
    await served.start_run(WAITING)
    await served.resume()
    for reason in ("first", "second"):
        await served.pause(reason=reason)
    await served.reaches("paused")
    for _ in range(2):
        await served.resume()
    await served.reaches("running")
    await served.pause()
    await served.reaches("paused")
    for reason in ("enough", "more than enough"):
        await served.cancel(reason=reason)
    assert (await served.end()).status == "cancelled"
    told = [event for event in await served.story() if not event.task_name]
    assert [event.event_type for event in told] == [
        "workflow_started",
        "workflow_paused",
        "workflow_resumed",
        "workflow_paused",
        "workflow_cancelled",
    ]
    assert told[1].message.endswith("first")
    assert told[-1].message.endswith(": enough"), "the first reason stands"


async def test_force_does_not_wait_for_what_does_not_want_to_end(served: Served) -> None:
    await served.start_run("do: [{stuck: {run: {shell: {command: 'trap \"\" TERM; sleep 600 & wait; sleep 600'}}}}]")
    await served.reaches("running")
    await until(lambda: "sleep 600 " in descendants(served.pid))
    await served.cancel(reason="now", force=True)
    assert (await served.end()).status == "cancelled"
    await until(lambda: "sleep 600 " not in descendants(served.pid), 30)


async def test_a_graceful_cancel_is_made_a_forced_one_by_the_next(served: Served) -> None:
    await served.start_run(WAITING)
    await served.cancel()
    await served.cancel(force=True)
    assert (await served.end()).status == "cancelled"


async def test_the_same_content_is_the_same_run_and_other_content_is_refused(served: Served) -> None:
    async with http_server(answering()) as world:
        text = f"do: [{{once: {{call: http, with: {{method: post, endpoint: '{world.url}/once'}}}}}}]"
        fields: dict[str, Any] = {"env_vars": {"A": "1", "B": "2"}, "config": {"timeout": "PT1M"}}
        first = await served.start_run(text, **fields)
        assert await served.start_run(text, **fields) == first
        await served.end()
        assert await served.start_run(text, **fields) == first, "also when it has ended"
        events = [event async for event in served.services.execution.Execute(request(text, **fields))]
        assert events[-1].event_type == "workflow_completed", "whoever executes it again sees how it went"
        for other in (
            request(text.replace("once", "twice"), **fields),
            request(text, **fields | {"env_vars": {"A": "1"}}),
            request(text, **fields | {"config": {}}),
            request(text, metadata={"name": "other"}, **fields),
        ):
            said = await refused(served.services.controller.executeAsync(other))
            assert (said.code, said.reason) == (CODE.ALREADY_EXISTS, "execution.other-content")
        assert len(world.seen) == 1


async def test_an_id_that_is_asked_for_many_times_at_once_runs_once(served: Served) -> None:
    async with http_server(answering()) as world:
        text = f"do: [{{once: {{call: http, with: {{method: post, endpoint: '{world.url}/once'}}}}}}]"
        answers = await asyncio.gather(*(served.start_run(text) for _ in range(50)))
        assert all(answer == answers[0] for answer in answers)
        await served.end()
        assert len(world.seen) == 1


async def test_without_an_id_each_call_is_a_run_of_its_own(served: Served) -> None:
    first, second = await asyncio.gather(served.start_run(HELLO, ""), served.start_run(HELLO, ""))
    assert first.workflow_execution_id != second.workflow_execution_id
    for answer in (first, second):
        assert (await served.end(answer.workflow_execution_id)).status == "completed"


async def test_no_room_says_when_to_come_again(serve: Serve) -> None:
    served = await serve(WORKFLOW_RUNNER_MOST_EXECUTIONS="1")
    await served.start_run(WAITING)
    said = await refused(served.services.execution.ExecuteAsync(request(HELLO, "run-2")))
    assert (said.code, said.reason, said.retry_seconds) == (CODE.RESOURCE_EXHAUSTED, "execution.too-many", 5.0)
    await served.start_run(WAITING)  # the one that is there is not another one
    await served.cancel()
    await served.end()
    await served.start_run(HELLO, "run-2")
    assert (await served.end("run-2")).status == "completed"


@pytest.mark.parametrize("face", ["execution", "command"])
async def test_execute_is_not_for_runs_that_may_take_longer_than_a_caller_waits(served: Served, face: str) -> None:
    service = getattr(served.services, face)
    kind: Any = io_pb2.WorkflowExecuteInput if face == "execution" else older.WorkflowExecuteInput
    for given in (
        request("timeout: {after: PT11M}\ndo: [{step: {set: {n: 1}}}]"),
        request(HELLO, config={"timeout": "PT11M"}),
    ):
        said = await refused(service.Execute(kind.FromString(given.SerializeToString())))
        assert (said.code, said.reason) == (CODE.INVALID_ARGUMENT, "execution.too-long")
        assert "ExecuteAsync" in said.text
    await served.start_run("timeout: {after: PT11M}\ndo: [{step: {set: {n: 1}}}]")
    assert (await served.end()).status == "completed"


async def test_a_caller_that_goes_away_takes_its_run_with_it(served: Served) -> None:
    call = served.services.execution.Execute(request(WAITING))
    assert (await call.read()).event_type == "workflow_started"
    call.cancel()
    ended = await served.end()
    assert ended.status == "cancelled"
    assert (await served.story())[-1].message.endswith("the caller that waited for the execution went away")
    channel = grpc.aio.insecure_channel(served.address)
    gone = served.open(channel).execution.Execute(request(WAITING, "run-2"))
    assert (await gone.read()).event_type == "workflow_started"
    await channel.close()
    assert (await served.end("run-2")).status == "cancelled"


async def test_a_caller_that_only_joined_leaves_the_run_alone(serve: Serve) -> None:
    served = await serve(LOG_LEVEL="debug")
    await served.start_run(WAITING)
    joined = served.services.execution.Execute(request(WAITING))
    assert (await joined.read()).event_type == "workflow_started"
    joined.cancel()
    await until(lambda: any(line["status"] == "CANCELLED" for line in served.lines("call")))
    assert (await served.status()).status == "running"
    await served.cancel()


async def test_the_callers_own_deadline_counts(served: Served) -> None:
    said = await refused(served.services.execution.Execute(request(WAITING), timeout=0.5))
    assert said.code is CODE.DEADLINE_EXCEEDED
    assert (await served.end()).status == "cancelled"


async def test_config_limits_the_run(served: Served) -> None:
    await served.start_run(WAITING, config={"timeout": "PT0.2S", "unknown": "is left aside"})
    ended = await served.end()
    assert (ended.status, ended.error.status) == ("failed", 408)


async def test_hostile_documents_are_refused_and_harm_nobody(served: Served) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + level)}: &{chr(98 + level)} [{','.join([f'*{chr(97 + level)}'] * 9)}]\n" for level in range(9)
    )
    deep = f"{HEADER}do: " + "[" * 50_000
    nested = f"{HEADER}do: [{{x: {{set: {{v: {'[' * 3000}{']' * 3000}}}}}}}]"
    large = f"{HEADER}do:\n" + "".join(f"  - t{number}: {{set: {{n: {number}}}}}\n" for number in range(60_000))
    for text in (bomb, deep, nested, large, "\0\1", "- just a list"):
        said = await refused(served.services.execution.ExecuteAsync(request(text)))
        assert (said.code, bool(said.reason)) == (CODE.INVALID_ARGUMENT, True), text[:50]
    huge = request(f"{HEADER}# {'x' * 10_000_000}\ndo: [{{step: {{set: {{n: 1}}}}}}]")
    assert (await refused(served.services.execution.ExecuteAsync(huge))).code is CODE.RESOURCE_EXHAUSTED
    await served.start_run(HELLO)
    assert (await served.end()).status == "completed"


async def test_a_failing_run_tells_its_problem(served: Served) -> None:
    async with http_server(lambda request: _teapot()) as world:
        await served.start_run(f"do: [{{pot: {{call: http, with: {{method: get, endpoint: '{world.url}'}}}}}}]")
        ended = await served.end()
    assert (ended.status, ended.error.status, ended.error.instance) == ("failed", 418, "/do/0/pot")
    assert (await served.story())[-1].error == ended.error


async def _teapot() -> web.StreamResponse:
    return web.Response(status=418)
