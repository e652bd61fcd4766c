"""What an ended run may have left open in Temporal is ended by a Job of its own. Called by execution.plan.

Needed only where no pod has told the run's end: after a cancel by force, a time-out, a loss, or a deletion. The Job tries
for as long as its deadline says; a deletion and a next run wait for it for a while only.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from workflow_runner.crd import group
from workflow_runner.crd.execution import TERMINAL_PHASES
from workflow_runner.crd.temporal import Temporal
from workflow_runner.launchers.run import LaunchedRun
from workflow_runner.launchers.termination import build_termination, termination_name
from workflow_runner.reconcile.actions import Action, CreateWorkload, WriteStatus
from workflow_runner.reconcile.bounds import fitted
from workflow_runner.reconcile.following import grace
from workflow_runner.reconcile.observed import Observed
from workflow_runner.reconcile.status import asks_for_another_run
from workflow_runner.reconcile.temporal import left_open
from workflow_runner.reconcile.timestamps import from_text, to_text

Json = dict[str, Any]

PATIENCE = timedelta(seconds=60)
"""How long a deleted resource, and the next run of one, wait for the Job."""
LOOK_SECONDS = 5.0
_NAMESPACE_GOES = "is being terminated"


class Termination(Struct, frozen=True):
    """What is to be done about it now; `waits`: it is not over yet."""

    actions: tuple[Action, ...] = ()
    waits: bool = False


def owed_from(o: Observed, since: datetime) -> Json:
    """What status says of a run that has ended and may have left something open."""
    return {"jobName": _job_name(o), "since": to_text(since)}


def termination(o: Observed) -> Termination:
    """How the end of what an ended run has left open stands; nothing to do and to wait for where it has left nothing."""
    owed, since = o.status.get("termination"), _since(o)
    if since is None:
        return Termination()
    settled: tuple[Action, ...] = (WriteStatus(fitted(_without(o.status))),) if owed is not None else ()
    if _is(o.termination_job, "Complete"):
        return Termination(settled)
    if _is(o.termination_job, "Failed") or _patience_is_over(o, since):
        return Termination((left_open(o, f"the Job {_job_name(o)} has not ended it."), *settled))
    if o.termination_job is None:
        return Termination((CreateWorkload(_job(o)),), waits=True)
    return Termination(waits=True)


def _since(o: Observed) -> datetime | None:
    """Since when there is something to be ended; None where there is nothing."""
    owed = o.status.get("termination")
    if owed is not None:
        return from_text(owed["since"])
    end = None if o.live is None else o.live.end
    # Of a deleted execution the end is not written down any more.
    unwritten = end is not None and end.left_open and o.status.get("phase") not in TERMINAL_PHASES
    return min(end.time, o.now) if end is not None and unwritten else None


def _patience_is_over(o: Observed, since: datetime) -> bool:
    deleted = o.metadata.get("deletionTimestamp")
    if deleted:
        asked = from_text(deleted)
        # The second bound is for an end that is found anew by every operator that starts.
        over = o.now - max(since, asked) >= PATIENCE or o.now - asked >= grace(o) + PATIENCE
        return over or (o.termination_job is None and _NAMESPACE_GOES in (o.launch_error or ""))
    return asks_for_another_run(o.resource) and o.now - since >= PATIENCE


def _job(o: Observed) -> Json:
    message = next((item["message"] for item in o.status.get("conditions", []) if item["type"] == "Completed"), "")
    if o.metadata.get("deletionTimestamp"):
        message = "the WorkflowExecution was deleted"
    run = LaunchedRun(
        name=o.metadata["name"],
        namespace=o.namespace,
        uid=o.uid,
        run_id=_run_id(o),
        execution_id=_execution_id(o),
        attempt=o.status.get("launches") or 1,
        workflow=o.status.get("workflow", ""),
        digest=o.status.get("specDigest", ""),
        packed="",
        runner_template=o.snapshot.get("template"),
        temporal=Temporal.model_validate(o.snapshot["temporal"]),
    )
    return build_termination(o.launch, run, message[:200], owned_by_execution=not o.metadata.get("deletionTimestamp"))


def _job_name(o: Observed) -> str:
    return termination_name(o.metadata["name"], o.uid, _run_id(o))


def _run_id(o: Observed) -> str:
    """Of the run that status tells of: the spec may ask for another one by now."""
    return str(o.status.get("runId") or "")


def _execution_id(o: Observed) -> str:
    return str(o.status.get("executionId") or group.execution_id(o.uid, _run_id(o)))


def _without(status: Json) -> Json:
    return {key: value for key, value in status.items() if key != "termination"}


def _is(job: Json | None, kind: str) -> bool:
    conditions = ((job or {}).get("status") or {}).get("conditions") or []
    return any(item.get("type") == kind and item.get("status") == "True" for item in conditions)
