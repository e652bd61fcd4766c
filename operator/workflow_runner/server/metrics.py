"""Prometheus metrics, and the endpoint that shows them (`:9464/metrics`). Built by cli.operator and cli.serve.

The parts of a process know nothing of this module: they call what they were given (`Cluster.called`,
`KeyedQueue.reconciled`, …), and what there is now (executions, queue, outboxes, streams) is read from them at each
scrape, so it cannot drift. Every label is bounded: a name that somebody may choose has MOST_NAMES values,
and `other` from then on. Names and meanings are listed in docs/operations.md; a test compares.

    Shown             the process itself, and what there is now
    ├── Metrics       of the operator
    └── ServeMetrics  of a runner's service
    Callbacks, GrpcCalls   what either may have besides
"""

from __future__ import annotations

import platform
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping

import prometheus_client
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, Info, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from workflow_runner import __version__
from workflow_runner.server.listening import listen
from workflow_runner.stigmer.relay import Stand

PREFIX = "workflow_runner_"
MOST_NAMES = 100
OTHER = "other"
EVENT_TYPES = frozenset(
    f"{subject}_{what}"
    for subject, changes in {
        "workflow": ("started", "validating", "validated", "paused", "resumed", "completed", "failed", "cancelled"),
        "task": ("started", "completed", "failed", "retried", "skipped"),
    }.items()
    for what in changes
)

_RUN_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
_WAIT_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_GRPC_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)
_CALL_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)


class Names:
    """The first MOST_NAMES names there were; `other` for all that come later."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, name: str) -> str:
        if name not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(name)
        return name


class Now(Collector):
    """What there is at the moment of a scrape: gauges by name, each with its labels and the way to read it."""

    def __init__(self) -> None:
        self._gauges: list[tuple[str, str, tuple[str, ...], Callable[[], Mapping[tuple[str, ...], float]]]] = []

    def add(self, name: str, text: str, labels: tuple[str, ...], read: Callable[[], Mapping[tuple[str, ...], float]]) -> None:
        """One more gauge; `read` gives a number for each combination of labels."""
        self._gauges.append((PREFIX + name, text, labels, read))

    def collect(self) -> Iterator[Metric]:
        """For prometheus_client's own use."""
        for name, text, labels, read in self._gauges:
            family = GaugeMetricFamily(name, text, labels=labels)
            for values, number in read().items():
                family.add_metric(values, number)
            yield family

    def describe(self) -> Iterable[Metric]:
        """For prometheus_client's own use: registering reads nothing yet."""
        return [GaugeMetricFamily(name, text, labels=labels) for name, text, labels, _ in self._gauges]


class Shown:
    """A registry, with what every process shows. One event loop only."""

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.now = Now()
        self.registry.register(self.now)
        build = Info(f"{PREFIX}build", "Version of this program.", registry=self.registry)
        build.info({"version": __version__, "python_version": platform.python_version()})

    def counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        """A new counter, of our prefix."""
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def histogram(self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
        """A new histogram, of our prefix."""
        return Histogram(PREFIX + name, text, labels, buckets=buckets, registry=self.registry)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return prometheus_client.generate_latest(self.registry)


class Callbacks:
    """What is told to Stigmer."""

    def __init__(self, shown: Shown) -> None:
        self._now = shown.now
        self._endpoint_names = Names()
        self._callbacks = shown.counter(
            "callbacks",
            "Calls to Stigmer (delivered, failed, refused), and events given up (left-out, coalesced).",
            ("endpoint", "result"),
        )
        self._callback_time = shown.histogram(
            "callback_duration_seconds", "One call to Stigmer, its attempts together.", (), _CALL_BUCKETS
        )

    def reported(self, endpoint: str, result: str, seconds: float | None) -> None:
        """Stigmer was called, or an event was given up (no seconds)."""
        self._callbacks.labels(self._endpoint_names(endpoint), result).inc()
        if seconds is not None:
            self._callback_time.observe(seconds)

    def outboxes(self, stands: Callable[[], list[Stand]]) -> None:
        """How the destinations of callbacks stand."""

        def pending() -> Mapping[tuple[str, ...], float]:
            numbers: Tally[tuple[str, ...]] = Tally()
            for stand in stands():
                numbers[(self._endpoint_names(stand.endpoint),)] += stand.pending
            return numbers

        def oldest() -> Mapping[tuple[str, ...], float]:
            ages: dict[tuple[str, ...], float] = {}
            for stand in stands():
                age = 0.0 if stand.oldest_ms is None else max(0.0, time.time() - stand.oldest_ms / 1000)
                labels = (self._endpoint_names(stand.endpoint),)
                ages[labels] = max(age, ages.get(labels, 0.0))
            return ages

        def answers() -> Mapping[tuple[str, ...], float]:
            up: dict[tuple[str, ...], float] = {}
            for stand in stands():
                labels = (self._endpoint_names(stand.endpoint),)
                up[labels] = min(float(stand.trouble is None), up.get(labels, 1.0))
            return up

        self._now.add("outbox_events", "Events that wait for Stigmer.", ("endpoint",), pending)
        self._now.add("outbox_oldest_event_age_seconds", "Age of the oldest of them; 0 without.", ("endpoint",), oldest)
        self._now.add("stigmer_up", "1 while Stigmer takes events, 0 while it does not.", ("endpoint",), answers)


class GrpcCalls:
    """The calls that a gRPC server of ours has answered (server/calls.py)."""

    def __init__(self, shown: Shown) -> None:
        self._method_names = Names()
        self._children: dict[tuple[str, str], Histogram] = {}
        self._time = shown.histogram(
            "grpc_call_duration_seconds",
            "One answered gRPC call, by its method and its status.",
            ("method", "code"),
            _GRPC_BUCKETS,
        )

    def called(self, method: str, code: str, seconds: float) -> None:
        """A call has ended. Methods are those that are served, by their full names; codes are gRPC's names."""
        child = self._children.get((method, code))
        if child is None:
            # Bounded: methods are those that are served, and there are 17 codes.
            child = self._children[method, code] = self._time.labels(self._method_names(method), code)
        child.observe(seconds)


class ServeMetrics(Shown):
    """All that `workflow-runner serve` counts."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = GrpcCalls(self)
        self.callbacks = Callbacks(self)
        self._ended = self.histogram(
            "served_execution_duration_seconds", "From a run's start to its end, by its status.", ("status",), _RUN_BUCKETS
        )

    def ended(self, status: str, seconds: float) -> None:
        """A run has ended so long after its start."""
        self._ended.labels(status).observe(seconds)

    def executions(self, read: Callable[[], Mapping[str, int]]) -> None:
        """`read` counts executions by their status."""
        self.now.add(
            "served_executions",
            "Executions that are known here, by status; those that ended are forgotten some time.",
            ("status",),
            lambda: {(status,): number for status, number in read().items()},
        )

    def backlog(self, read: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """`read` counts the tasks that wait in Temporal, by their queue and their kind."""
        self.now.add(
            "temporal_task_queue_backlog",
            "Tasks that wait in a queue of Temporal, about, by their kind: workflow or activity.",
            ("task_queue", "kind"),
            lambda: {(queue, kind): float(count) for (queue, kind), count in read().items()},
        )

    def documents(self, kept: Callable[[], int]) -> None:
        """`kept` counts documents."""
        self.now.add("documents_kept", "Documents that are kept ready for the next run.", (), lambda: {(): kept()})


class Metrics(Shown):
    """All that the operator counts."""

    def __init__(self) -> None:
        super().__init__()
        self._runner_names, self._resource_names = Names(), Names()
        self.calls = GrpcCalls(self)
        self.callbacks = Callbacks(self)
        self._duration = self.histogram(
            "execution_duration_seconds", "From a run's start to its end.", ("phase", "runner"), _RUN_BUCKETS
        )
        self._queue_time = self.histogram(
            "execution_queue_seconds", "From the request for a run to its launch.", ("runner",), _WAIT_BUCKETS
        )
        self._start_time = self.histogram(
            "execution_start_seconds", "From the request for a run to its workflow's first step.", ("runner",), _WAIT_BUCKETS
        )
        self._ended = self.counter("executions_ended", "Runs that ended, also those that never started.", ("phase", "runner"))
        self._reconciles = self.histogram(
            "reconcile_duration_seconds", "One reconcile, by its result: ok or error.", ("result",), _CALL_BUCKETS
        )
        self._api_calls = self.counter(
            "api_requests", "Answers of the Kubernetes API server; code 0 is none.", ("verb", "resource", "code")
        )
        self._api_time = self.histogram(
            "api_request_duration_seconds", "One call to the Kubernetes API server.", ("verb",), _CALL_BUCKETS
        )
        self._checks = self.histogram(
            "document_check_duration_seconds",
            "One check of a document, by its result: accepted, refused or too-costly.",
            ("result",),
            _CALL_BUCKETS,
        )
        self._events = self.counter("sink_events", "Events that pods sent, repeats among them.", ("type",))
        self._refusals = self.counter("sink_refusals", "Calls to the sink that were refused.", ("code",))

    # What parts tell when it happens.

    def launched(self, runner: str, seconds: float) -> None:
        """A run was launched so long after it was asked for."""
        self._queue_time.labels(self._runner_names(runner)).observe(seconds)

    def running(self, runner: str, seconds: float) -> None:
        """A run's workflow began so long after the run was asked for."""
        self._start_time.labels(self._runner_names(runner)).observe(seconds)

    def ended(self, phase: str, runner: str, seconds: float | None) -> None:
        """A run ended so long after its start; None for one that never started."""
        labels = (phase, self._runner_names(runner))
        self._ended.labels(*labels).inc()
        if seconds is not None:
            self._duration.labels(*labels).observe(seconds)

    def reconciled(self, well: bool, seconds: float) -> None:
        """A reconcile has ended."""
        self._reconciles.labels("ok" if well else "error").observe(seconds)

    def called(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """The API server has answered, or has not (status 0)."""
        self._api_calls.labels(verb, self._resource_names(resource), str(status)).inc()
        self._api_time.labels(verb).observe(seconds)

    def checked(self, result: str, seconds: float) -> None:
        """A document has been checked."""
        self._checks.labels(result).observe(seconds)

    def received(self, event_type: str) -> None:
        """A pod sent an event."""
        self._events.labels(event_type if event_type in EVENT_TYPES else OTHER).inc()

    def turned_away(self, code: str) -> None:
        """A call to the sink was refused."""
        self._refusals.labels(code).inc()

    # What is read from parts at each scrape.

    def executions(self, read: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """`read` counts executions by (phase, runner)."""

        def bounded() -> Mapping[tuple[str, ...], float]:
            numbers: Tally[tuple[str, ...]] = Tally()
            for (phase, runner), number in read().items():
                numbers[(phase, self._runner_names(runner))] += number
            return numbers

        self.now.add("executions", "Executions that exist, by phase and runner.", ("phase", "runner"), bounded)

    def queue(self, depth: Callable[[], float], busy: Callable[[], float], oldest: Callable[[], float]) -> None:
        """How the queue of reconciles stands."""
        self.now.add("reconcile_queue_depth", "Executions that wait for their reconcile.", (), lambda: {(): depth()})
        self.now.add("reconciles_in_progress", "Reconciles at work.", (), lambda: {(): busy()})
        self.now.add(
            "reconcile_queue_oldest_seconds", "How long the one that waits longest has waited.", (), lambda: {(): oldest()}
        )

    def streams(self, read: Callable[[], Mapping[str, int]]) -> None:
        """`read` counts the sink's open streams by method."""
        self.now.add(
            "sink_streams", "Open streams of pods, by method.", ("method",), lambda: {(key,): n for key, n in read().items()}
        )

    def endpoints(self, ready: Callable[[], Mapping[str, bool]], followed: Callable[[], int]) -> None:
        """`ready` says of each runner at an endpoint whether it was well when it was last looked at, `followed` counts runs."""
        self.now.add(
            "runner_endpoint_up",
            "1 while a runner's endpoint answers and serves, 0 while it does not.",
            ("runner",),
            lambda: {(self._runner_names(name),): float(well) for name, well in ready().items()},
        )
        self.now.add(
            "endpoint_runs", "Runs that are followed at their runners' endpoints.", (), lambda: {(): float(followed())}
        )


async def serve_metrics(port: int, metrics: Shown) -> web.AppRunner:
    """Starts the endpoint on every address; `await runner.cleanup()` ends it. Raises InvalidInput when the port is taken."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": prometheus_client.CONTENT_TYPE_PLAIN_0_0_4})

    application = web.Application()
    application.router.add_get("/metrics", show)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listen(port)).start()
    return runner
