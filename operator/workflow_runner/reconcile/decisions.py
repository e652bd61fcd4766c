"""What the policies share: how a status is written, and what "launched" means. Called by the policies only."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from workflow_runner.crd import group
from workflow_runner.crd.runner import POOL
from workflow_runner.reconcile.actions import Action, AddFinalizer, Plan, RecordEvent, WriteStatus
from workflow_runner.reconcile.bounds import fitted
from workflow_runner.reconcile.observed import Observed

Json = dict[str, Any]

NORMAL, WARNING = "Normal", "Warning"
HELD_AFTER = timedelta(seconds=1)
"""A run on a replica gets its finalizer when it has gone on for so long. One that is deleted before is cancelled there by the
operator that sees the deletion; what the finalizer is for is an operator that does not."""
_ORDINARY = frozenset({"Queued", "Running", "Completed"})
SOURCE_MISSING_RETRY = 10.0
"""How soon a ConfigMap that is not there is looked for again."""


def launched(o: Observed) -> bool:
    """Whether there is, or was, a workload: one that was pinned but never made can still be held, refused or cancelled.
    A run that is being handed to an endpoint may be there, whatever is known of it."""
    return o.workload is not None or "startTime" in o.status or "submitTime" in o.status


def until_next_write(o: Observed) -> float:
    """Seconds until status may be written again for something that can wait."""
    return 0.0 if o.seconds_since_write is None else o.status_interval - o.seconds_since_write


def written(o: Observed, status: Json, *, event: tuple[str, str] | None = None, again_after: float | None = None) -> Plan:
    """Status written where it differs; with an event when the phase does."""
    status = fitted(status)
    if status == o.status:
        return Plan(again_after=again_after)
    told: tuple[Action, ...] = phase_event(o, *event) if event and status.get("phase") != o.status.get("phase") else ()
    return Plan((WriteStatus(status), *told), again_after=again_after)


def is_held(o: Observed) -> bool:
    """Whether the resource has our finalizer."""
    return group.FINALIZER in o.metadata.get("finalizers", [])


def with_finalizer(o: Observed, decision: Plan) -> Plan:
    """The decision, with the resource held first."""
    return decision if is_held(o) else replace(decision, actions=(AddFinalizer(), *decision.actions))


def phase_event(o: Observed, reason: str, message: str, kind: str = NORMAL) -> tuple[Action, ...]:
    """Named by what it tells, of which run and launch and, for what can happen again, by how far the run was.

    None for what is ordinary in a pool, which may end a hundred runs a second: the API server would keep each event for an
    hour, and status says the same."""
    if o.mode == POOL and reason in _ORDINARY:
        return ()
    parts = [reason.lower(), *([o.run_id] if o.run_id else []), str(o.status.get("attempt", 0))]
    if o.live is not None and reason in ("Paused", "Resumed", "Relaunched"):
        parts.append(str(o.live.source_sequence))
    return (RecordEvent(key=".".join(parts), type=kind, reason=reason, message=message or reason),)
