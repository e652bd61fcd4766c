"""What is particular about runs whose state is in Temporal: why their pods do not begin, and what their end leaves open.

Called by the policies. Such a run outlives its pods and Jobs; it is only over when its workflow in Temporal is.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from workflow_runner.crd import group
from workflow_runner.crd.runner import POOL
from workflow_runner.launchers.run import CONTAINER, NO_TEMPORAL
from workflow_runner.reconcile.actions import EndRun, RecordEvent
from workflow_runner.reconcile.live import End
from workflow_runner.reconcile.observed import Observed
from workflow_runner.reconcile.timestamps import from_text

Json = dict[str, Any]

REASONS = {
    "temporal.unavailable": "TemporalUnreachable",
    "temporal.connection-closed": "TemporalUnreachable",
    "temporal.other-server": "TemporalUnreachable",
    "temporal.namespace-missing": "TemporalNamespaceMissing",
    "temporal.tls-failed": "TemporalTls",
    "temporal.unauthenticated": "TemporalUnauthorized",
    "temporal.permission-denied": "TemporalUnauthorized",
}
"""By the code in the termination message of a pod that has not got as far as Temporal (docs/sink-protocol.md)."""
UNKNOWN = "TemporalNotUsable"
STALLED = frozenset({*REASONS.values(), UNKNOWN})
THROUGH_SECONDS = 30.0
"""A pod that has run for so long has got through to Temporal: one that cannot gives up sooner."""
FIRST_RETRY, LONGEST_RETRY = 5.0, 300.0
MOST_MESSAGE = 1000


def refused_by_temporal(pod: Json | None) -> tuple[str, str] | None:
    """(reason, message) of a pod that ended since Temporal did not let it begin; None for any other."""
    ended = _container(pod, "terminated")
    if ended is None or ended.get("exitCode") != NO_TEMPORAL:
        return None
    try:
        said = json.loads(ended.get("message") or "")
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        return UNKNOWN, "The pod ended since it cannot use Temporal, and did not say why: see its log. It is tried again."
    detail = str(said.get("message") or "")[:MOST_MESSAGE]
    return REASONS.get(str(said.get("code")), UNKNOWN), f"The run's pod could not use Temporal: {detail} It is tried again."


def stalled_by_temporal(o: Observed) -> tuple[str, str] | None:
    """(reason, message) of what keeps the run from Temporal: of its newest pod, or of the one before while that one tries."""
    if not o.on_temporal:
        return None
    said = refused_by_temporal(o.pod)
    if said is not None:
        return None if _is_from_before_a_pause(o) else said
    known = _stalled(o)
    if known is None or _events_came(o) or _running_for(o) >= THROUGH_SECONDS:
        return None
    return known["reason"], known["message"]


def until_through(o: Observed) -> float | None:
    """Seconds until a pod that tries again has got through, as far as that can be told from outside; None where none does."""
    if _stalled(o) is None or _container(o.pod, "running") is None:
        return None
    left = THROUGH_SECONDS - _running_for(o)
    return left if left > 0 else None


def until_next_try(o: Observed) -> float:
    """Seconds until a bare pod that Temporal did not let begin is made again: ever later, the longer that lasts."""
    ended = _container(o.pod, "terminated") or {}
    finished = from_text(ended["finishedAt"]) if ended.get("finishedAt") else o.now
    known = _stalled(o)
    age = 0.0 if known is None else (finished - from_text(known["lastTransitionTime"])).total_seconds()
    wait = min(LONGEST_RETRY, max(FIRST_RETRY, age / 2)) * _jitter(o)
    return wait - (o.now - finished).total_seconds()


def _jitter(o: Observed) -> float:
    """From 0.75 to 1.25, another one for each run and launch: thousands may wait for the same server."""
    seed = hashlib.sha256(f"{o.uid}/{o.status.get('launches')}".encode()).digest()
    return 0.75 + seed[0] / 510


def may_be_open(o: Observed) -> bool:
    """Whether the run may have a workflow in Temporal that is open: some pod of it has got to work, and none told its end."""
    if not o.on_temporal:
        return False
    live = o.live
    if "startTime" in o.status or (live is not None and (live.start is not None or live.source_sequence > 0)):
        return True
    if o.workload is None and live is not None and o.launch_error is None:
        return True  # it was made, and is gone: nobody knows how far it had come
    lost = o.status.get("failures") or ((o.job or {}).get("status") or {}).get("failed")
    ended = _container(o.pod, "terminated")
    at_work = _container(o.pod, "running") is not None or (ended is not None and ended.get("exitCode") != NO_TEMPORAL)
    return bool(lost) or at_work


def end_run(o: Observed, end: End) -> EndRun:
    """The end that the operator has found; where it is not the run's own word, its workflow may be open. A pool's replicas are
    told to end it there."""
    return EndRun(replace(end, left_open=not end.told and o.mode != POOL and may_be_open(o)))


def left_open(o: Observed, why: str = "no replica of the pool is there to end it.") -> RecordEvent:
    """What people are told of a workflow that nobody ends in Temporal."""
    run_id = str(o.status.get("runId") or "")
    execution_id = str(o.status.get("executionId") or group.execution_id(o.uid, run_id))
    workflow = o.status.get("temporalWorkflowId") or group.temporal_workflow_id(execution_id)
    temporal = o.snapshot["temporal"]
    message = (
        f"The workflow {workflow} may be left open in Temporal ({temporal['address']}, namespace "
        f"{temporal.get('namespace', 'default')}): {why} Terminate it there by hand."
    )
    return RecordEvent(key=f"leftopen.{run_id}".rstrip("."), type="Warning", reason="WorkflowLeftOpen", message=message)


def _container(pod: Json | None, state: str) -> Json | None:
    for status in ((pod or {}).get("status") or {}).get("containerStatuses") or []:
        if status.get("name") == CONTAINER:
            value: Json | None = (status.get("state") or {}).get(state)
            return value
    return None


def _stalled(o: Observed) -> Json | None:
    for condition in o.status.get("conditions") or []:
        if condition["type"] == "Stalled" and condition["status"] == "True" and condition["reason"] in STALLED:
            value: Json = condition
            return value
    return None


def _events_came(o: Observed) -> bool:
    recorded = (o.status.get("callback") or {}).get("sourceSequence", 0)
    return o.live is not None and o.live.source_sequence > recorded


def _running_for(o: Observed) -> float:
    running = _container(o.pod, "running")
    if running is None or not running.get("startedAt"):
        return 0.0
    return (o.now - from_text(running["startedAt"])).total_seconds()


def _is_from_before_a_pause(o: Observed) -> bool:
    """Whether the Job was resumed after its newest pod ended: the next one has still to come."""
    ended, resumed = _container(o.pod, "terminated") or {}, _resumed_at(o.job)
    return resumed is not None and bool(ended.get("finishedAt")) and from_text(ended["finishedAt"]) < resumed


def _resumed_at(job: Json | None) -> datetime | None:
    for condition in ((job or {}).get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Suspended" and condition.get("status") == "False" and condition.get("lastTransitionTime"):
            return from_text(condition["lastTransitionTime"])
    return None
