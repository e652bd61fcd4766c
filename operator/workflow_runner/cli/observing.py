"""What the operator lets others see of it: each part's hook joined to metrics and health. Called by cli.operator."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from workflow_runner.cluster import Cluster
from workflow_runner.controller import figures
from workflow_runner.controller.endpoints import Endpoints
from workflow_runner.controller.queue import KeyedQueue
from workflow_runner.controller.reachability import Reachability
from workflow_runner.controller.resync import Resync
from workflow_runner.controller.store import Store
from workflow_runner.controller.validation import Validator
from workflow_runner.controller.watches import Watches
from workflow_runner.server.health import Check
from workflow_runner.server.metrics import Metrics
from workflow_runner.server.sink import SinkService
from workflow_runner.stigmer.relay import Relay

Json = dict[str, Any]

STUCK_SECONDS = 600.0
"""A reconcile's calls all have deadlines; one that takes longer than this never ends."""
MOST_NOTES = 10


class Parts(Struct, frozen=True):
    """What is looked at."""

    cluster: Cluster
    store: Store
    queue: KeyedQueue
    validator: Validator
    relay: Relay
    sink: SinkService
    endpoints: Endpoints
    namespace: str
    """The operator's own, where shared runners are."""


def join(parts: Parts, metrics: Metrics, reachability: Reachability) -> None:
    """From now on the parts tell what happens in them, and a scrape reads how they stand."""

    def called(verb: str, resource: str, status: int, seconds: float) -> None:
        metrics.called(verb, resource, status, seconds)
        reachability.called(status)

    def moved(before: Json, after: Json) -> None:
        runner = figures.runner_of(parts.store, after, parts.namespace)
        for milestone in figures.milestones(before, after, now=datetime.now(UTC), runner=runner):
            if milestone.kind == "ended":
                metrics.ended(milestone.phase, milestone.runner, milestone.seconds)
            elif milestone.seconds is not None:
                (metrics.launched if milestone.kind == "launched" else metrics.running)(milestone.runner, milestone.seconds)

    parts.cluster.called = called
    parts.store.moved = moved
    parts.queue.reconciled = metrics.reconciled
    parts.validator.checked = metrics.checked
    parts.relay.reported = metrics.callbacks.reported
    parts.sink.received = metrics.received
    parts.sink.turned_away = metrics.turned_away
    metrics.executions(lambda: figures.tally(parts.store, parts.namespace))
    metrics.queue(parts.queue.depth, lambda: parts.queue.busy, parts.queue.oldest)
    metrics.callbacks.outboxes(parts.relay.stands)
    metrics.streams(lambda: parts.sink.streams)
    metrics.endpoints(parts.endpoints.well, lambda: len(parts.endpoints))


def live_checks(queue: KeyedQueue) -> dict[str, Check]:
    """Whether a restart would help; the event loop is the health endpoint's own matter."""

    def stuck() -> str | None:
        seconds = queue.stuck()
        return f"no reconcile has ended for {seconds:.0f} s" if seconds > STUCK_SECONDS else None

    return {"queue": stuck}


def ready_checks(resync: Resync, watches: Watches, reachability: Reachability, sink: SinkService) -> dict[str, Check]:
    """Whether every part is there and works."""
    return {
        "resources": lambda: None if resync.done else "the cluster's resources have not been listed",
        "watches": lambda: None if watches.ready else "the watches have not started, or have ended",
        "api-server": reachability.trouble,
        "sink": lambda: None if sink.listening else "the sink does not listen",
    }


def notes(relay: Relay) -> dict[str, Check]:
    """What is worth a look and no reason to be unready: no run waits for Stigmer."""

    def stigmer() -> str | None:
        troubles = {f"{stand.endpoint}: {stand.trouble}" for stand in relay.stands() if stand.trouble}
        if not troubles:
            return None
        more = f" … and {len(troubles) - MOST_NOTES} more" if len(troubles) > MOST_NOTES else ""
        return "; ".join(sorted(troubles)[:MOST_NOTES]) + more

    return {"stigmer": stigmer}
