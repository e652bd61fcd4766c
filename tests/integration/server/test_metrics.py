"""What a scrape shows, with the operator's own parts behind it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.server.conftest import RUN, ApiServer, Sink
from tests.integration.server.test_sink import event, progress, token
from tests.unit.controller.test_reconciler import ISSUED
from tests.unit.reconcile.conftest import LAUNCH
from tests.until import until

from workflow_runner.cli.observing import Parts, join
from workflow_runner.cluster import Busy, Cluster, NotFound
from workflow_runner.controller.endpoints import Endpoints
from workflow_runner.controller.pools import Pools
from workflow_runner.controller.queue import KeyedQueue
from workflow_runner.controller.reachability import Reachability
from workflow_runner.controller.runs import Runs
from workflow_runner.controller.sources import Source
from workflow_runner.controller.store import Store
from workflow_runner.controller.validation import Validator
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2, sink_pb2_grpc
from workflow_runner.reconcile.live import LiveRun
from workflow_runner.server.metrics import MOST_NAMES, PREFIX, Metrics, serve_metrics
from workflow_runner.stigmer.relay import Relay, Stand

Json = dict[str, Any]
Sample = tuple[str, tuple[tuple[str, str], ...]]

DOCS = Path(__file__).parents[3] / "docs" / "operations.md"


def samples(metrics: Metrics) -> dict[Sample, float]:
    """Every number by its name, without our prefix, and its labels."""
    return {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, tuple(sorted(labels.items()))))


class Operator:
    """The parts that are looked at, joined as the operator joins them."""

    def __init__(self, cluster: Cluster, sink: Sink) -> None:
        self.metrics, self.reachability = Metrics(), Reachability()
        self.store, self.queue, self.validator = Store(), KeyedQueue(), Validator()
        self.relay = Relay(changed=lambda key: None)
        self.cluster, self.sink = cluster, sink
        self.endpoints = Endpoints(
            cluster,
            Runs(self.relay, self.queue.add, self.store.has_ended),
            Pools(cluster, self.store, ISSUED, LAUNCH),
            changed=self.queue.add,
            looked=lambda runner: None,
        )
        parts = Parts(cluster, self.store, self.queue, self.validator, self.relay, sink.service, self.endpoints, "operator")
        join(parts, self.metrics, self.reachability)

    def value(self, name: str, **labels: str) -> float | None:
        return value(self.metrics, name, **labels)


@pytest.fixture
async def operator(cluster: Cluster, sink: Sink) -> AsyncIterator[Operator]:
    operator = Operator(cluster, sink)
    yield operator
    await operator.endpoints.close()
    await asyncio.to_thread(operator.validator.close)


async def test_the_endpoint_speaks_prometheus_and_shows_the_process_too(operator: Operator) -> None:
    runner = await serve_metrics(0, operator.metrics)
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
            text = await answer.text()
    finally:
        await runner.cleanup()
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"workflow_runner_build_info", "process_resident_memory_bytes", "python_gc_objects_collected"} <= names
    assert {name.partition("_")[0] for name in names} == {"workflow", "process", "python"}
    assert "_created" not in text


def execution(uid: str, version: int, **status: Any) -> Json:
    metadata = {"name": uid, "namespace": "ns", "uid": uid, "resourceVersion": str(version)}
    metadata["creationTimestamp"] = "2026-11-21T11:00:00Z"
    return {"metadata": metadata, "spec": {"workflow": {"yaml": "x"}}, "status": status}


SNAPSHOT = {"runner": {"namespace": "ns", "name": "fast"}}


async def test_executions_are_counted_from_the_store_and_their_stories_as_they_happen(operator: Operator) -> None:
    see = operator.store.see_execution
    see(execution("a", 1), deleted=False)
    see(execution("b", 1), deleted=False)
    assert operator.value("executions", phase="Pending", runner="") == 2
    launched = {**SNAPSHOT, "phase": "Pending", "jobName": "a-1"}
    running = {**launched, "phase": "Running", "startTime": "2026-11-21T11:00:04Z"}
    ended = {**running, "phase": "Completed", "completionTime": "2026-11-21T11:00:34Z"}
    for version, status in enumerate((launched, running, ended, ended), start=2):
        see(execution("a", version, **status), deleted=False)
    assert operator.value("executions", phase="Pending", runner="") == 1
    assert operator.value("executions", phase="Completed", runner="ns/fast") == 1
    assert operator.value("executions_ended_total", phase="Completed", runner="ns/fast") == 1
    assert operator.value("execution_duration_seconds_sum", phase="Completed", runner="ns/fast") == 30
    assert operator.value("execution_start_seconds_sum", runner="ns/fast") == 4
    assert operator.value("execution_queue_seconds_count", runner="ns/fast") == 1
    see(execution("a", 9, **ended), deleted=True)
    assert operator.value("executions", phase="Completed", runner="ns/fast") is None


async def test_reconciles_and_the_queue(operator: Operator) -> None:
    done = asyncio.Event()

    async def reconcile(key: str) -> None:
        if key == "bad":
            raise RuntimeError("no")
        done.set()

    operator.queue.add("bad")
    operator.queue.add("good")
    operator.queue.add("later", after=3600)
    assert operator.value("reconcile_queue_depth") == 2
    task = asyncio.create_task(operator.queue.run(reconcile, workers=1))
    await asyncio.wait_for(done.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert operator.value("reconcile_duration_seconds_count", result="error") == 1
    assert operator.value("reconcile_duration_seconds_count", result="ok") == 1
    assert (operator.value("reconcile_queue_depth"), operator.value("reconciles_in_progress")) == (0, 0)


async def test_calls_to_the_api_server_by_verb_resource_and_code(operator: Operator, api_server: ApiServer) -> None:
    await operator.cluster.get_pod("ns", "pod-1")
    with contextlib.suppress(NotFound):
        await operator.cluster.list_everywhere("execution", "ns")
    api_server.down = True
    with contextlib.suppress(Busy):
        await operator.cluster.review_token("t", "a")
    assert operator.value("api_requests_total", verb="get", resource="pods", code="200") == 1
    assert operator.value("api_requests_total", verb="list", resource="workflowexecutions", code="404") == 1
    assert operator.value("api_requests_total", verb="create", resource="tokenreviews", code="503") == 1
    assert operator.value("api_request_duration_seconds_count", verb="get") == 1


async def test_streams_events_and_refusals_of_the_sink(operator: Operator, sink: Sink) -> None:
    sink.runs.begin("execution-1", LiveRun(execution_id="execution-1", attempt=1), None, delivered=0)
    await progress(sink, token("pod-1"), sink_pb2.ProgressBatch(run=RUN, events=[event(1), event(1), event(2, "odd")]))
    with pytest.raises(grpc.aio.AioRpcError):
        await progress(sink, token("wrong-audience"), sink_pb2.ProgressBatch(run=RUN))
    assert operator.value("sink_events_total", type="task_started") == 2
    assert operator.value("sink_events_total", type="other") == 1
    assert operator.value("sink_refusals_total", code="sink.bad-token") == 1
    assert operator.value("sink_streams", method="Progress") == 0
    async with sink.channel() as channel:
        watch = sink_pb2_grpc.SinkServiceStub(channel).Watch(
            sink_pb2.WatchRequest(run=RUN), metadata=token("pod-1"), timeout=20
        )
        await watch.read()
        assert operator.value("sink_streams", method="Watch") == 1
    await until(lambda: operator.value("sink_streams", method="Watch") == 0)


async def test_checks_of_documents(operator: Operator) -> None:
    await operator.validator.check(Source("not: a workflow", "test"))
    assert operator.value("document_check_duration_seconds_count", result="refused") == 1


def test_outboxes_by_endpoint() -> None:
    metrics = Metrics()
    stands = [Stand("one:443", 2, 1_000, None), Stand("one:443", 3, None, "unreachable"), Stand("two:443", 0, None, None)]
    metrics.callbacks.outboxes(lambda: stands)
    assert value(metrics, "outbox_events", endpoint="one:443") == 5
    assert (value(metrics, "outbox_oldest_event_age_seconds", endpoint="one:443") or 0) > 10**9
    assert value(metrics, "outbox_oldest_event_age_seconds", endpoint="two:443") == 0
    assert (value(metrics, "stigmer_up", endpoint="one:443"), value(metrics, "stigmer_up", endpoint="two:443")) == (0, 1)
    metrics.callbacks.reported("one:443", "delivered", 0.1)
    metrics.callbacks.reported("one:443", "left-out", None)
    assert value(metrics, "callbacks_total", endpoint="one:443", result="left-out") == 1
    assert value(metrics, "callback_duration_seconds_count") == 1


def test_names_that_somebody_may_choose_are_bounded() -> None:
    metrics = Metrics()
    metrics.executions(lambda: {("Running", f"ns/runner-{number}"): 1 for number in range(5_000)})
    for number in range(5_000):
        metrics.ended("Failed", f"ns/runner-{number}", 1.0)
        metrics.callbacks.reported(f"host-{number}:1", "failed", 1.0)
        metrics.called("get", f"things-{number}", 200, 0.1)
        metrics.received(f"kind-{number}")
    found = samples(metrics)
    assert found["executions", (("phase", "Running"), ("runner", "other"))] == 5_000 - MOST_NAMES
    assert len(found) < 5_000
    assert value(metrics, "sink_events_total", type="other") == 5_000


async def test_the_table_of_metrics_is_complete(operator: Operator) -> None:
    """docs/operations.md and what is registered name the same metrics."""
    registered = {family.name for family in text_string_to_metric_families(operator.metrics.text().decode())}
    table = DOCS.read_text().split("### Of a runner's service")[0]
    documented = {
        re.sub(r"(_total|\{.*)$", "", name) for name in re.findall(r"^\| `(workflow_runner_\w+)", table, re.MULTILINE)
    }
    assert documented == {name for name in registered if name.startswith(PREFIX)}


def test_runners_at_endpoints_are_up_or_not() -> None:
    metrics = Metrics()
    well = {"ns/one": True, "ns/two": False}
    metrics.endpoints(lambda: well, lambda: 3)
    assert [value(metrics, "runner_endpoint_up", runner=name) for name in well] == [1, 0]
    assert value(metrics, "endpoint_runs") == 3
