"""Runners that have less than everything, or say no: a real one behind a proxy that answers some calls itself."""

from __future__ import annotations

import grpc
import pytest
from msgspec.structs import replace
from tests.integration.endpoints.operators import operator
from tests.integration.endpoints.proxy import proxy
from tests.integration.serve.served import Served
from tests.unit.reconcile.conftest import UID
from tests.until import until

UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED
HELLO = "do: [{step: {set: {message: '${ .name }'}}}]"
STEPS = "do: [{a: {wait: PT1S}}, {b: {wait: PT1S}}, {last: {set: {done: true}}}]"
LONG = "do: [{first: {set: {a: 1}}}, {nap: {wait: PT10M}}]"


async def test_a_pause_that_a_runner_does_not_have_is_refused_with_the_reason_and_the_run_goes_on(served: Served) -> None:
    async with (
        proxy(served.address, PauseExecution=UNIMPLEMENTED, pauseExecution=UNIMPLEMENTED) as before,
        operator(STEPS, before.address) as made,
    ):
        await made.reaches("Running")
        made.patch(paused=True)
        status = await made.until(lambda status: status.get("control", {}).get("result") == "Refused")
        assert "UNIMPLEMENTED" in status["control"]["reason"]
        assert status["phase"] == "Running"
        made.patch(paused=False)
        status = await made.reaches("Completed")
        assert status["control"]["result"] == "Applied"
        assert before.calls["ResumeExecution"] == 0


@pytest.mark.parametrize("missing", [{"Subscribe"}, {"Subscribe", "GetEvents"}], ids=["no-stream", "states-only"])
async def test_a_runner_without_a_stream_is_asked(served: Served, missing: set[str]) -> None:
    async with (
        proxy(served.address, **dict.fromkeys(missing, UNIMPLEMENTED)) as before,
        operator(STEPS, before.address) as made,
    ):
        await made.reaches("Running")
        made.patch(paused=True)
        await made.reaches("Paused")
        made.patch(paused=False)
        status = await made.reaches("Completed")
        assert status["output"] == {"done": True}
        assert "startTime" in status
        if "GetEvents" not in missing:
            assert status["taskCounts"]["completed"] == 3
        before.calls.clear()
        await made.restart()


async def test_with_too_many_listeners_a_run_is_asked_after(served: Served) -> None:
    async with proxy(served.address) as before, operator(STEPS, before.address) as made:
        await made.stop()
        made.pace = replace(made.pace, streams=0)
        await made.start()
        status = await made.reaches("Completed")
        assert (status["output"], status["taskCounts"]["completed"]) == ({"done": True}, 3)
        assert before.calls["GetEvents"] > 1


async def test_a_runner_that_is_only_asked_after_and_fails_tells_why(served: Served) -> None:
    text = "do: [{bad: {raise: {error: {type: https://example.com/no, status: 418, title: No tea}}}}]"
    async with (
        proxy(served.address, Subscribe=UNIMPLEMENTED, GetEvents=UNIMPLEMENTED) as before,
        operator(text, before.address) as made,
    ):
        status = await made.reaches("Failed")
    assert (status["error"]["type"], status["error"]["status"]) == ("https://example.com/no", 418)


async def test_a_runner_that_could_not_be_followed_gets_no_run(served: Served) -> None:
    async with (
        proxy(served.address, Subscribe=UNIMPLEMENTED, GetStatus=UNIMPLEMENTED) as before,
        operator(HELLO, before.address) as made,
    ):
        status = await made.reaches("Failed")
        assert status["error"]["code"] == "endpoint.not-followable"
        assert before.calls["ExecuteAsync"] == 0


async def test_a_stream_that_loses_the_end_is_not_believed(served: Served) -> None:
    """The second way home of a terminal state is GetStatus."""
    async with proxy(served.address) as before:
        before.hangs.update({"/Subscribe", "/GetEvents"})
        async with operator(HELLO, before.address, input={"name": "Ada"}) as made:
            status = await made.reaches("Completed")
    assert status["output"] == {"message": "Ada"}


@pytest.mark.parametrize(
    "status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED], ids=lambda item: item.name
)
async def test_a_runner_without_room_gets_the_run_later(served: Served, status: grpc.StatusCode) -> None:
    async with (
        proxy(served.address, ExecuteAsync=status, executeAsync=status) as before,
        operator(HELLO, before.address, input={"name": "Ada"}) as made,
    ):
        await made.says("EndpointBusy" if status is grpc.StatusCode.RESOURCE_EXHAUSTED else "EndpointUnreachable")
        before.answers.clear()
        assert (await made.reaches("Completed"))["output"] == {"message": "Ada"}


async def test_a_runner_that_says_no_fails_the_run_with_what_it_says(served: Served) -> None:
    async with (
        proxy(served.address, ExecuteAsync=grpc.StatusCode.INVALID_ARGUMENT) as before,
        operator(HELLO, before.address) as made,
    ):
        status = await made.reaches("Failed")
    assert status["error"]["code"] == "endpoint.refused"
    assert "INVALID_ARGUMENT: told to" in status["error"]["detail"]


@pytest.mark.parametrize("service", ["workflowrunner.v1.WorkflowExecutionService", "both"])
async def test_a_runner_with_another_face_is_taken_by_that(served: Served, service: str) -> None:
    async with proxy(served.address) as before:
        for name in ("ExecuteAsync", "CancelExecution", "PauseExecution", "ResumeExecution"):
            if service == "both":
                before.answers[f"/{name}"] = UNIMPLEMENTED
            else:
                before.answers[f"{service}/{name}"] = UNIMPLEMENTED
        async with operator(LONG, before.address) as made:
            await made.reaches("Running")
            made.patch(paused=True)
            await made.reaches("Paused")
            made.patch(cancelled=True)
            await made.reaches("Cancelled")
    assert (await served.status(UID)).status == "cancelled"


async def test_a_call_that_gave_no_answer_starts_the_run_once(served: Served) -> None:
    """The operator cannot know that the run has begun there, and asks again by the same id."""
    async with (
        proxy(served.address, Subscribe=grpc.StatusCode.UNAVAILABLE) as before,
        operator(STEPS, before.address) as made,
    ):
        await until(lambda: before.calls["Subscribe"] > 1, 30)
        await made.restart()
        await until(lambda: before.calls["ExecuteAsync"] > 1, 30)
        before.answers.clear()
        status = await made.reaches("Completed")
    assert (status["attempt"], status["taskCounts"]["completed"]) == (1, 3)
    assert len([line for line in served.lines("workflow completed") if line["execution"] == UID]) == 1


async def test_a_run_that_is_there_with_other_content_is_followed(served: Served) -> None:
    """A variable's ConfigMap has changed since it was handed over; nobody else makes ids of our executions."""
    env = [{"name": "PLACE", "valueFrom": {"configMapKeyRef": {"name": "site", "key": "place"}}}]
    text = "use: {secrets: [PLACE]}\ndo: [{nap: {wait: PT1S}}, {step: {set: {said: '${ $secrets.PLACE }'}}}]"
    async with (
        proxy(served.address, Subscribe=grpc.StatusCode.UNAVAILABLE) as before,
        operator(text, before.address, env=env, config_maps={"site": {"place": "here"}}) as made,
    ):
        await until(lambda: before.calls["Subscribe"] > 1, 30)
        await made.stop()
        made.server.config_maps["site"] = {"place": "there"}
        await made.start()
        await until(lambda: before.calls["ExecuteAsync"] > 1, 30)
        before.answers.clear()
        assert (await made.reaches("Completed"))["output"] == {"said": "here"}


async def test_an_output_that_only_the_state_has_comes_home(served: Served) -> None:
    async with proxy(served.address) as before, operator(HELLO, before.address, input={"name": "Ada"}) as made:
        before.without_output = True
        assert (await made.reaches("Completed"))["output"] == {"message": "Ada"}


async def test_a_pause_that_a_former_operator_asked_for_is_taken_back(served: Served) -> None:
    """It died before it heard of the pause; meanwhile the run is to go on."""
    async with proxy(served.address) as before:
        before.hangs.update({"/Subscribe", "/GetEvents"})
        async with operator(STEPS, before.address) as made:
            await until(lambda: before.calls["Subscribe"] > 0, 30)
            made.patch(paused=True)
            await served.reaches("paused", execution_id=UID)
            await made.stop()
            made.patch(paused=False)
            before.hangs.clear()
            await made.start()
            assert (await made.reaches("Completed"))["output"] == {"done": True}


async def test_a_cancel_that_a_runner_does_not_have_ends_after_the_grace_period(served: Served) -> None:
    async with (
        proxy(served.address, CancelExecution=UNIMPLEMENTED, cancelExecution=UNIMPLEMENTED) as before,
        operator(LONG, before.address) as made,
    ):
        await made.reaches("Running")
        made.patch(cancelled=True, cancellation={"gracePeriod": "2s"})
        status = await made.until(lambda status: status.get("control", {}).get("result") == "Refused")
        assert "UNIMPLEMENTED" in status["control"]["reason"]
        await made.reaches("Cancelled")
    await served.cancel(UID)


async def test_force_is_told_to_the_runner_at_once(served: Served) -> None:
    async with operator(LONG, served.address) as made:
        await made.reaches("Running")
        made.patch(cancelled=True, cancellation={"mode": "Force"})
        await made.reaches("Cancelled")
        assert (await served.end(UID)).status == "cancelled"
