"""What metrics tell of executions, read from the store: how many there are of which kind, and what has just
happened to one. Pure; called by cli.operator, which hands it to server.metrics.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from workflow_runner.controller.store import Store
from workflow_runner.crd.execution import TERMINAL_PHASES
from workflow_runner.reconcile.timestamps import from_text

Json = dict[str, Any]


class Milestone(Struct, frozen=True):
    """A run was `launched` or began `running` so many seconds after it was asked for, or `ended` so many after its
    start (None: it never started)."""

    kind: Literal["launched", "running", "ended"]
    seconds: float | None
    phase: str
    runner: str


def tally(store: Store, shared_namespace: str) -> Counter[tuple[str, str]]:
    """How many executions there are, by (phase, runner as `namespace/name`); a runner that does not exist is ""."""
    return Counter(
        ((resource.get("status") or {}).get("phase") or "Pending", runner_of(store, resource, shared_namespace))
        for resource in store.executions.values()
    )


def runner_of(store: Store, resource: Json, shared_namespace: str) -> str:
    """The runner that an execution was accepted by, or would be: names that anybody may write make no label."""
    snapshot = (resource.get("status") or {}).get("runner")
    if snapshot:
        return f"{snapshot.get('namespace')}/{snapshot.get('name')}"
    found = store.runner_of(resource, shared_namespace)
    return "" if found is None else f"{found['metadata']['namespace']}/{found['metadata']['name']}"


def milestones(before: Json, after: Json, *, now: datetime, runner: str) -> list[Milestone]:
    """What two versions of an execution, one after the other, say of its run."""
    old, new = before.get("status") or {}, after.get("status") or {}
    if not new.get("phase"):
        return []
    found: list[Milestone] = []
    phase = str(new["phase"])
    if _workload(new) and not _workload(old):
        found.append(Milestone("launched", _seconds(_asked_at(after, new), now), phase, runner))
    if "startTime" in new and "startTime" not in old:
        found.append(Milestone("running", _seconds(_asked_at(after, new), from_text(new["startTime"])), phase, runner))
    if phase in TERMINAL_PHASES and old.get("phase") not in TERMINAL_PHASES:
        end = from_text(new["completionTime"]) if "completionTime" in new else now
        seconds = _seconds(from_text(new["startTime"]), end) if "startTime" in new else None
        found.append(Milestone("ended", seconds, phase, runner))
    return found


def _workload(status: Json) -> str | None:
    return status.get("jobName") or status.get("podName") or status.get("submitTime")


def _asked_at(resource: Json, status: Json) -> datetime:
    """When the run was asked for: with the resource or, by a new runId, when the operator took that up."""
    moments = [item["lastTransitionTime"] for item in status.get("conditions", [])]
    if status.get("runId") and moments:
        return min(from_text(moment) for moment in moments)
    return from_text(resource["metadata"]["creationTimestamp"])


def _seconds(begin: datetime, end: datetime) -> float:
    """Never below 0: timestamps of Kubernetes have whole seconds, and clocks of nodes differ."""
    return max(0.0, (end - begin).total_seconds())
