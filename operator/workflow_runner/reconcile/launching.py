"""Policies that start a workload: the first launch, a further one, and the return from a suspended pause.

Called by execution.plan; `relaunch` by following.py.
"""

from __future__ import annotations

from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from workflow_runner.crd.durations import seconds
from workflow_runner.crd.runner import POOL
from workflow_runner.crd.temporal import Temporal
from workflow_runner.launchers.job import build_job
from workflow_runner.launchers.pod import build_pod
from workflow_runner.launchers.run import LaunchedRun, build_input, workload_name
from workflow_runner.reconcile.actions import (
    Action,
    BeginRun,
    CreateInput,
    CreateWorkload,
    DeleteWorkload,
    FollowEndpoint,
    Plan,
    StartOver,
    SuspendJob,
    TakeReplica,
    WriteStatus,
)
from workflow_runner.reconcile.allowed import not_allowed
from workflow_runner.reconcile.decisions import (
    HELD_AFTER,
    SOURCE_MISSING_RETRY,
    WARNING,
    launched,
    phase_event,
    with_finalizer,
    written,
)
from workflow_runner.reconcile.live import End
from workflow_runner.reconcile.observed import Accepted, Missing, Observed, Refused, Replica
from workflow_runner.reconcile.pod_trouble import refusal
from workflow_runner.reconcile.run_end import input_changed
from workflow_runner.reconcile.status import desired_of, followed, in_progress, pinned, started_as, starting_over
from workflow_runner.reconcile.temporal import end_run

Json = dict[str, Any]

LAUNCH_RETRY = 5.0
STOPPING_RETRY = 2.0
NO_REPLICA_RETRY = 1.0


def launch(o: Observed) -> Plan | None:
    """Pin what is run, then start it; the pin comes first, so that a restart finds the same workload."""
    if launched(o) or o.runner is None or not isinstance(o.checked, Accepted):
        return None
    if _outlives_its_job(o):
        return _until_it_is_gone(o)
    waiting = unplaced(o, "Pending")
    if waiting is not None:
        return waiting
    launches = o.status.get("launches") or 1
    name = workload_name(o.metadata["name"], o.uid, o.run_id, launches)
    if o.launch_error:
        reason, message = refusal(o.launch_error, o.mode)
        status = in_progress(o, "Pending", reason=reason, message=message)
    else:
        status = in_progress(o, "Pending")
    status |= pinned(o, o.runner, o.checked, workload=name, launches=launches)
    pin = written(o, status)
    begin: tuple[Action, ...] = () if o.live is not None else (BeginRun(o.execution_id, status["attempt"]),)
    again = LAUNCH_RETRY if o.launch_error else None
    decision = Plan((*pin.actions, *begin, *_start(o, o.checked, launches, status["runner"])), again_after=again)
    if o.mode == POOL and "stigmer" not in status["runner"]:
        # Most end before a finalizer were of use; those that do not get it from following.py.
        return replace(decision, again_after=HELD_AFTER.total_seconds())
    return with_finalizer(o, decision)


def given_back(o: Observed) -> Plan | None:
    """A paused run whose machine was given back: take the pod away, and bring it back when the run is resumed."""
    if not o.suspended or o.live is None or o.live.end is not None:
        return None
    desired = desired_of(o)
    if desired.state == "Cancel":
        return None
    if desired.state == "Pause":
        away = _taken_away(o)
        status = followed(o, o.live, in_progress(o, "Paused"))
        shown = written(o, status)
        return Plan((*away, *shown.actions))
    return brought_back(o)


def brought_back(o: Observed) -> Plan:
    """A suspended run gets its machine again: its Job is resumed, or its pod made anew."""
    status = {key: value for key, value in in_progress(o, "Paused").items() if key != "suspended"}
    if o.mode == "Job" and o.job is not None:
        return Plan((SuspendJob(o.job["metadata"]["name"], suspend=False), WriteStatus(followed(o, _live(o), status))))
    if o.pod is not None and not _is_over(o.pod):
        return Plan(again_after=STOPPING_RETRY)  # two pods must not write the same snapshots
    return relaunch(o, status)


def _outlives_its_job(o: Observed) -> bool:
    return o.mode == "Job" and o.job is None and o.pod is not None and not _is_over(o.pod)


def _until_it_is_gone(o: Observed) -> Plan:
    """The Job is gone and its pod is not yet: two pods must neither make the same calls nor write the same snapshots."""
    assert o.pod is not None  # noqa: S101 - says so to the type checker
    going = o.pod["metadata"].get("deletionTimestamp")
    away: tuple[Action, ...] = () if going else (DeleteWorkload("Pod", o.pod["metadata"]["name"]),)
    return Plan(away, again_after=STOPPING_RETRY)


def _taken_away(o: Observed) -> tuple[Action, ...]:
    if o.mode == "Pod":
        gone = o.pod is None or o.pod["metadata"].get("deletionTimestamp") or _is_over(o.pod)
        return () if gone or o.pod is None else (DeleteWorkload("Pod", o.pod["metadata"]["name"]),)
    if o.job is None or (o.job.get("spec") or {}).get("suspend"):
        return ()
    return (SuspendJob(o.job["metadata"]["name"], suspend=True),)


def _is_over(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def relaunch(o: Observed, status: Json, *, lost: End | None = None) -> Plan:
    """Starts a further workload under the pin of the first. The workload comes before the status that names it: an
    operator killed in between makes the same one again, and finds it there. `lost` is why, where something went wrong."""
    if _outlives_its_job(o):
        return _until_it_is_gone(o)
    if isinstance(o.checked, Missing):
        again = o.checked.again_after or SOURCE_MISSING_RETRY
        return replace(_held_up(o, status, o.checked.reason, o.checked.message), again_after=again)
    if isinstance(o.checked, Refused):  # accepted by an operator that knew less
        return Plan((end_run(o, End("Failed", o.now, o.checked.message, error=o.checked.error)),))
    if not isinstance(o.checked, Accepted):
        return Plan()  # the document is being read again
    refusals = _refusals(o)
    if refusals:
        return _held_up(o, status, "NotAllowed", refusals)
    if o.checked.digest != o.status.get("specDigest"):
        return Plan((end_run(o, input_changed(o.now)),))
    waiting = unplaced(o, status["phase"])
    if waiting is not None:
        return waiting
    launches = (o.status.get("launches") or 1) + 1
    if o.launch_error:
        reason, message = refusal(o.launch_error, o.mode)
        shown = _held_up(o, status, reason, message)
        return Plan((*shown.actions, *_start(o, o.checked, launches, o.snapshot)), again_after=LAUNCH_RETRY)
    status = followed(o, _live(o), status)
    status["launches"] = launches
    status |= started_as(o, workload_name(o.metadata["name"], o.uid, o.run_id, launches))
    told: tuple[Action, ...] = ()
    if lost is not None:
        told = phase_event(o, "Relaunched", f"The run is launched again: {lost.message}", WARNING)
    start = _start(o, o.checked, launches, o.snapshot)
    if o.at_endpoint:
        # Its name there stays, so status comes first: what it says of the new attempt is where the next operator begins.
        return Plan((WriteStatus(starting_over(_live(o), status)), StartOver(), *start, *told))
    return Plan((*start, WriteStatus(status), *told))


def follow_endpoint(o: Observed) -> FollowEndpoint | None:
    """What has a run followed that is, or may be, at its endpoint, after an operator's restart; None while its document is
    being read again. What has not told anything yet may never have arrived there; to be cancelled it need not."""
    live = _live(o)
    if live.source_sequence == 0 and o.checked is None and desired_of(o).state != "Cancel":
        return None
    accepted = o.checked if isinstance(o.checked, Accepted) and o.checked.digest == o.status.get("specDigest") else None
    run = None if accepted is None or live.source_sequence else _run(o, accepted, o.status.get("launches") or 1, o.snapshot)
    return FollowEndpoint(_way(o, o.snapshot), live.execution_id, live.attempt, o.status.get("workflow", ""), run)


def unplaced(o: Observed, phase: str) -> Plan | None:
    """A run of a pool that has no place there: ask for one, or wait. None where it has, or needs, none."""
    if o.mode != POOL or isinstance(o.replica, Replica):
        return None
    if o.replica is None:
        return Plan((TakeReplica(),))
    busy = f"all {o.replica.ready} that are ready have as many runs as they may have" if o.replica.ready else "none is ready"
    status = in_progress(o, phase, reason="NoReplica", message=f"The run waits for a replica of the pool: {busy}.")
    return written(o, status if o.live is None else followed(o, o.live, status), again_after=NO_REPLICA_RETRY)


def _way(o: Observed, snapshot: Json) -> Json:
    """What status says of the runner, and of the replica that the run is, or was, handed to."""
    if o.mode != POOL:
        return snapshot
    return {**snapshot, "replica": to_builtins(o.replica) if isinstance(o.replica, Replica) else o.status.get("replica")}


def _held_up(o: Observed, status: Json, reason: str, message: str) -> Plan:
    return written(o, followed(o, _live(o), in_progress(o, status["phase"], reason=reason, message=message)))


def _refusals(o: Observed) -> str:
    """What the runner does not allow any more; the template may have been changed since the first launch."""
    if o.runner is not None:
        return "\n".join(not_allowed(o.spec, o.namespace, o.runner, o.operator_namespace))
    return "spec.template needs the runner's permission, and the runner is gone" if o.spec.template is not None else ""


def _live(o: Observed) -> Any:
    assert o.live is not None  # noqa: S101 - a run that is launched again is live; says so to the type checker
    return o.live


def _start(o: Observed, accepted: Accepted, launches: int, snapshot: Json) -> tuple[Action, ...]:
    run = _run(o, accepted, launches, snapshot)
    if o.at_endpoint:
        attempt = 1 if o.live is None else o.live.attempt + ("submitTime" in o.status)
        return (FollowEndpoint(_way(o, snapshot), run.execution_id, attempt, accepted.workflow, run),)
    stored = build_input(run)
    build = build_pod if o.mode == "Pod" else build_job
    return (*((CreateInput(stored),) if stored is not None else ()), CreateWorkload(build(o.launch, run)))


def _run(o: Observed, accepted: Accepted, launches: int, snapshot: Json) -> LaunchedRun:
    return LaunchedRun(
        name=o.metadata["name"],
        namespace=o.namespace,
        uid=o.uid,
        run_id=o.run_id,
        execution_id=o.execution_id,
        attempt=launches,
        workflow=accepted.workflow_name,
        digest=accepted.digest,
        packed=accepted.packed,
        runner_template=snapshot.get("template"),
        template=_plain(o.spec.template),
        env=tuple(item.model_dump(by_alias=True, exclude_none=True) for item in o.spec.env or []),
        secrets={name: (item.secret_key_ref.name, item.secret_key_ref.key) for name, item in (o.spec.secrets or {}).items()},
        stigmer_values=accepted.environment,
        stigmer_secrets=accepted.secrets,
        timeout_seconds=seconds(snapshot["timeout"]) if snapshot.get("timeout") else None,
        retries=snapshot.get("retries", 0),
        snapshot_claim=(snapshot.get("snapshots") or {}).get("persistentVolumeClaim", {}).get("claimName"),
        temporal=Temporal.model_validate(snapshot["temporal"]) if "temporal" in snapshot else None,
    )


def _plain(template: Any) -> Json | None:
    return None if template is None else template.model_dump(by_alias=True, exclude_none=True)
