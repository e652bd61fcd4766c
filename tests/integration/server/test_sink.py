"""The sink over a real connection: who may, what is taken in, what is told."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from tests.integration.server.conftest import RUN, ApiServer, Sink

from workflow_runner.errors import InvalidInput, Unavailable
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import command_pb2_grpc, io_pb2
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2, sink_pb2_grpc
from workflow_runner.reconcile.live import Desired, LiveRun
from workflow_runner.server.tls import new_authority

Watch = sink_pb2.WatchResponse
OTHER = sink_pb2.Run(execution_uid="execution-2", execution_id="execution-2", attempt=1)
ELSEWHERE = sink_pb2.Run(execution_uid="execution-3", execution_id="execution-3", attempt=1)
SECOND_ATTEMPT = sink_pb2.Run(execution_uid="execution-1", execution_id="execution-1", attempt=2)


def token(value: str) -> list[tuple[str, str]]:
    """A token of the fake API server's, in the form of a real one."""
    return [("authorization", f"Bearer {value}.x.y" if value else "Bearer ")]


def event(number: int, kind: str = "task_started") -> io_pb2.WorkflowProgressEvent:
    return io_pb2.WorkflowProgressEvent(sequence_number=number, event_type=kind, task_reference="/do/0/a", task_name="a")


async def progress(sink: Sink, metadata: list[tuple[str, str]], *batches: sink_pb2.ProgressBatch) -> int:
    async with sink.channel() as channel:
        answer = await sink_pb2_grpc.SinkServiceStub(channel).Progress(iter(batches), metadata=metadata, timeout=10)
        return int(answer.received_sequence)


@pytest.mark.parametrize(
    ("metadata", "run", "code"),
    [
        ([], RUN, grpc.StatusCode.UNAUTHENTICATED),
        (token(""), RUN, grpc.StatusCode.UNAUTHENTICATED),
        (token("nonsense"), RUN, grpc.StatusCode.UNAUTHENTICATED),
        ([("authorization", "Bearer nonsense")], RUN, grpc.StatusCode.UNAUTHENTICATED),
        (token("wrong-audience"), RUN, grpc.StatusCode.UNAUTHENTICATED),
        (token("unbound"), RUN, grpc.StatusCode.PERMISSION_DENIED),
        (token("pod-of-nobody"), RUN, grpc.StatusCode.PERMISSION_DENIED),
        (token("pod-2"), RUN, grpc.StatusCode.PERMISSION_DENIED),
        (token("pod-3"), ELSEWHERE, grpc.StatusCode.PERMISSION_DENIED),
        (token("pod-4"), RUN, grpc.StatusCode.UNAVAILABLE),
        (token("pod-1"), OTHER, grpc.StatusCode.PERMISSION_DENIED),
        (token("pod-1"), SECOND_ATTEMPT, grpc.StatusCode.PERMISSION_DENIED),
    ],
    ids=[
        "none",
        "empty",
        "nonsense",
        "no-token-at-all",
        "wrong-audience",
        "unbound",
        "no-run",
        "another-runs",
        "another-namespaces",
        "not-known-yet",
        "of-another-run",
        "of-another-attempt",
    ],
)
async def test_only_a_runs_own_pod_may_speak_of_it(
    sink: Sink, live: LiveRun, metadata: list[tuple[str, str]], run: sink_pb2.Run, code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await progress(sink, metadata, sink_pb2.ProgressBatch(run=run, events=[event(1)]))
    assert refusal.value.code() is code
    async with sink.channel() as channel:
        stream = sink_pb2_grpc.SinkServiceStub(channel).Watch(sink_pb2.WatchRequest(run=run), metadata=metadata, timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stream.read()
    assert refusal.value.code() is code
    assert live.source_sequence == 0


async def test_a_busy_api_server_means_try_again_not_go_away(sink: Sink, live: LiveRun, api_server: ApiServer) -> None:
    api_server.down = True
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await progress(sink, token("pod-1"), sink_pb2.ProgressBatch(run=RUN))
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
    api_server.down = False
    assert await progress(sink, token("pod-1"), sink_pb2.ProgressBatch(run=RUN, events=[event(1)])) == 1


async def test_a_token_is_reviewed_once_a_minute(sink: Sink, live: LiveRun, api_server: ApiServer) -> None:
    await asyncio.gather(*(progress(sink, token("pod-1"), sink_pb2.ProgressBatch(run=RUN)) for _ in range(4)))
    await progress(sink, token("pod-1"), sink_pb2.ProgressBatch(run=RUN, events=[event(1)]))
    assert api_server.reviews == 1


async def test_a_bad_token_is_not_asked_about_again_and_again(sink: Sink, live: LiveRun, api_server: ApiServer) -> None:
    for _ in range(4):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await progress(sink, token("wrong-audience"), sink_pb2.ProgressBatch(run=RUN))
        assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert api_server.reviews == 1


async def test_a_pod_that_is_no_runs_is_not_asked_about_again_and_again(
    sink: Sink, live: LiveRun, api_server: ApiServer
) -> None:
    for _ in range(4):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await progress(sink, token("unbound"), sink_pb2.ProgressBatch(run=RUN))
        assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert api_server.reviews == 1


async def test_batches_of_a_stream_are_folded_and_repeats_dropped(sink: Sink, live: LiveRun) -> None:
    counts = sink_pb2.TaskCounts(started=2, completed=1)
    first = sink_pb2.ProgressBatch(run=RUN, events=[event(1), event(2)])
    second = sink_pb2.ProgressBatch(events=[event(2), event(3)], counts=counts)
    assert await progress(sink, token("pod-1"), first, second) == 3
    assert live.counts["started"] == 2


async def test_desired_state_and_watermarks_come_at_once_and_on_change(sink: Sink, live: LiveRun) -> None:
    live.desired = Desired("Pause", "spec.paused is true", 4)
    async with sink.channel() as channel:
        stream = sink_pb2_grpc.SinkServiceStub(channel).Watch(
            sink_pb2.WatchRequest(run=RUN), metadata=token("pod-1"), timeout=20
        )
        first = await stream.read()
        assert (first.desired_state, first.reason, first.generation) == (Watch.DESIRED_STATE_PAUSE, "spec.paused is true", 4)
        sink.runs.desire("execution-1", Desired("Cancel", "enough", 5))
        second = await stream.read()
        assert (second.desired_state, second.generation) == (Watch.DESIRED_STATE_CANCEL, 5)
        await progress(sink, token("pod-1"), sink_pb2.ProgressBatch(run=RUN, events=[event(1)]))
        sink.runs.recorded("execution-1", 1, 1)
        third = await stream.read()
        assert (third.recorded_sequence, third.delivered_sequence) == (1, 1)


async def test_an_unknown_run_is_waited_for(sink: Sink) -> None:
    call = asyncio.create_task(progress(sink, token("pod-1"), sink_pb2.ProgressBatch(run=RUN, events=[event(1)])))
    await asyncio.sleep(0)
    sink.runs.begin("execution-1", LiveRun(execution_id="execution-1", attempt=1), None, delivered=0)
    assert await call == 1


async def test_the_pod_of_an_ended_run_hears_that_it_may_go(sink: Sink) -> None:
    sink.ended.add("execution-1")
    async with sink.channel() as channel:
        stream = sink_pb2_grpc.SinkServiceStub(channel).Watch(
            sink_pb2.WatchRequest(run=RUN), metadata=token("pod-1"), timeout=20
        )
        answer = await stream.read()
    assert answer.desired_state == Watch.DESIRED_STATE_CANCEL
    assert answer.recorded_sequence > 10**12


async def test_the_older_callback_is_taken_in_too(sink: Sink, live: LiveRun) -> None:
    async with sink.channel() as channel:
        stub = command_pb2_grpc.WorkflowRunnerCommandControllerStub(channel)
        answer = await stub.ReportProgress(event(1), metadata=token("pod-1"), timeout=10)
        assert answer.success
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stub.ReportProgress(event(2), timeout=10)
    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert live.source_sequence == 1


async def test_a_stranger_with_another_ca_does_not_connect(sink: Sink, live: LiveRun) -> None:
    credentials = grpc.ssl_channel_credentials(new_authority().certificate)
    async with grpc.aio.secure_channel(f"localhost:{sink.port}", credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await command_pb2_grpc.WorkflowRunnerCommandControllerStub(channel).ReportProgress(event(1), timeout=3)
    assert refusal.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_a_bare_pod_of_the_execution_speaks_of_it(sink: Sink, live: LiveRun) -> None:
    assert await progress(sink, token("pod-bare-1"), sink_pb2.ProgressBatch(run=RUN, events=[event(1)])) == 1


async def test_a_pod_of_a_former_run_id_is_not_taken_for_the_run_of_now(sink: Sink, live: LiveRun) -> None:
    old = token("pod-1-old-run")
    assert await progress(sink, old, sink_pb2.ProgressBatch(run=RUN, events=[event(7)])) == 0
    assert live.source_sequence == 0
    async with sink.channel() as channel:
        stream = sink_pb2_grpc.SinkServiceStub(channel).Watch(sink_pb2.WatchRequest(run=RUN), metadata=old, timeout=20)
        answer = await stream.read()
    assert answer.desired_state == Watch.DESIRED_STATE_CANCEL


async def test_when_a_run_gives_way_to_another_run_id_its_pod_hears_that_it_may_go(sink: Sink, live: LiveRun) -> None:
    async with sink.channel() as channel:
        stream = sink_pb2_grpc.SinkServiceStub(channel).Watch(
            sink_pb2.WatchRequest(run=RUN), metadata=token("pod-1"), timeout=20
        )
        await stream.read()
        sink.runs.begin("execution-1", LiveRun(execution_id="execution-1-two", attempt=1), None, delivered=0)
        answer = await stream.read()
    assert answer.desired_state == Watch.DESIRED_STATE_CANCEL


async def secrets(sink: Sink, metadata: list[tuple[str, str]], run: sink_pb2.Run = RUN) -> dict[str, str]:
    async with sink.channel() as channel:
        answer = await sink_pb2_grpc.SinkServiceStub(channel).Secrets(sink_pb2.SecretsRequest(run=run), metadata=metadata)
    return dict(answer.values)


async def test_a_pod_gets_the_secrets_of_its_own_run_as_they_are_now(sink: Sink, live: LiveRun) -> None:
    sink.secrets = {"execution-1": {"TOKEN": "t-1"}, "execution-2": {"TOKEN": "t-2"}}
    assert await secrets(sink, token("pod-1")) == {"TOKEN": "t-1"}
    sink.secrets["execution-1"] = {"TOKEN": "t-3"}
    assert await secrets(sink, token("pod-1")) == {"TOKEN": "t-3"}
    sink.secrets["execution-1"] = {}
    assert await secrets(sink, token("pod-1")) == {}


@pytest.mark.parametrize(
    ("metadata", "run", "code"),
    [
        ([], RUN, grpc.StatusCode.UNAUTHENTICATED),
        (token("nonsense"), RUN, grpc.StatusCode.UNAUTHENTICATED),
        (token("pod-of-nobody"), RUN, grpc.StatusCode.PERMISSION_DENIED),
        (token("pod-2"), RUN, grpc.StatusCode.PERMISSION_DENIED),
        (token("pod-1"), OTHER, grpc.StatusCode.PERMISSION_DENIED),
        (token("pod-1"), SECOND_ATTEMPT, grpc.StatusCode.PERMISSION_DENIED),
    ],
)
async def test_nobody_else_gets_them(
    sink: Sink, live: LiveRun, metadata: list[tuple[str, str]], run: sink_pb2.Run, code: grpc.StatusCode
) -> None:
    sink.secrets = {"execution-1": {"TOKEN": "t-1"}, "execution-2": {"TOKEN": "t-2"}}
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await secrets(sink, metadata, run)
    assert refusal.value.code() is code


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (Unavailable("Stigmer is away", code="stigmer.unavailable"), grpc.StatusCode.UNAVAILABLE),
        (InvalidInput("there is no workflow 'x'", code="stigmer.refused"), grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
async def test_what_stands_in_the_way_of_secrets_is_told(
    sink: Sink, live: LiveRun, trouble: Exception, code: grpc.StatusCode
) -> None:
    sink.secrets = {"execution-1": trouble}
    with pytest.raises(grpc.aio.AioRpcError, match=str(trouble)) as refusal:
        await secrets(sink, token("pod-1"))
    assert refusal.value.code() is code


async def test_the_pod_of_an_ended_run_gets_no_secrets(sink: Sink) -> None:
    sink.secrets = {"execution-1": {"TOKEN": "t-1"}}
    sink.ended.add("execution-1")
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await secrets(sink, token("pod-1"))
    assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION
