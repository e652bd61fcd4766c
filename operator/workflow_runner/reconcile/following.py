"""Policies for a launched run: pass on what the spec asks for, show what the run tells, notice its end.

Called by execution.plan; `stop` also for a resource that is being deleted.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec import to_builtins
from msgspec.structs import replace

from workflow_runner.crd.durations import seconds
from workflow_runner.crd.runner import POOL
from workflow_runner.reconcile.actions import (
    Action,
    AddFinalizer,
    DeleteWorkload,
    EndRun,
    ForceCancel,
    Plan,
    SetDesired,
    TakeReplica,
    WriteStatus,
)
from workflow_runner.reconcile.bounds import fitted
from workflow_runner.reconcile.decisions import HELD_AFTER, is_held, launched, phase_event, until_next_write
from workflow_runner.reconcile.launching import brought_back, follow_endpoint, relaunch, unplaced
from workflow_runner.reconcile.live import Desired, End, LiveRun
from workflow_runner.reconcile.observed import Observed, Replica
from workflow_runner.reconcile.pod_trouble import refusal, trouble
from workflow_runner.reconcile.remote import remote_end, replica_lost
from workflow_runner.reconcile.run_end import Lost, run_end, timed_out
from workflow_runner.reconcile.status import (
    IN_PROGRESS,
    asks_for_another_run,
    desired_of,
    followed,
    in_progress,
    requested_at,
)
from workflow_runner.reconcile.temporal import (
    end_run,
    left_open,
    may_be_open,
    refused_by_temporal,
    stalled_by_temporal,
    until_next_try,
    until_through,
)
from workflow_runner.reconcile.timestamps import from_text

CANCEL_GRACE = timedelta(seconds=30)
"""How long a run has to end by itself once cancelled, before its workload is removed, where the spec does not say."""
TIMEOUT_MARGIN = timedelta(seconds=15)
"""A pod ends a run that takes too long itself, and better; this much later the operator does."""
RUNNING_BEFORE_WRITE = timedelta(milliseconds=500)
"""How long a run runs before status says so: what is over by then is told by its end, in one write."""
HELD_UP_RETRY = 10.0
REPLICA_RETRY = 1.0
"""How soon it is looked again whether a replica that does not answer is there at all."""


def follow(o: Observed) -> Plan | None:
    """A launched run."""
    if o.live is None or not launched(o):
        return None
    desired = desired_of(o)
    again: float | None = None
    if desired.state == "Cancel":
        woken = woken_to_end(o)
        if woken is not None:
            return woken
        halt = stop(o, desired.reason)
        if any(isinstance(action, EndRun) for action in halt.actions) or _needs_another_replica(o):
            return halt
        again = halt.again_after
    else:
        over = _over(o, o.live)
        if over is not None:
            return over
        again = _soonest(_until_timeout(o, o.live), _until_next_try(o))
    return _show(o, o.live, desired, again)


def _found_end(o: Observed) -> End | Lost | None:
    """The end that the workload, or the endpoint, shows."""
    if not o.at_endpoint:
        return run_end(o.mode, o.job, o.pod, o.now)
    end = remote_end(o.remote, o.now)
    return replica_lost(o.now) if end is None and o.replica_lost and not o.keeps_state else end


def _needs_another_replica(o: Observed) -> bool:
    return o.mode == POOL and o.on_temporal and o.replica_lost


def _moved(o: Observed, live: LiveRun) -> Plan | None:
    """Where a run's state is in Temporal, and its replica is lost, another one goes on with it, as the same attempt."""
    if not _needs_another_replica(o) or live.end is not None:
        return None
    phase = _phase(live)
    waiting = unplaced(o, phase)
    if waiting is not None:
        return waiting
    order = follow_endpoint(o)
    if order is None:
        return Plan()  # the document is being read again
    status = followed(o, live, in_progress(o, phase)) | {"replica": order.runner["replica"]}
    name = order.runner["replica"]["name"]
    message = f"The run goes on at the replica {name}: the one that it was at is gone, or does not answer."
    return Plan((WriteStatus(fitted(status)), order, *phase_event(o, "ReplicaReplaced", message)))


def _phase(live: LiveRun) -> str:
    return "Paused" if live.paused else "Running" if live.start is not None else "Pending"


def _over(o: Observed, live: LiveRun) -> Plan | None:
    """What follows from the workload's end, or from a time that has passed; None while the run may go on."""
    end = _found_end(o)
    if isinstance(end, Lost) and end.waits:
        if not o.on_temporal:
            end = replace(end, counts=True, waits=False)
        elif (_until_next_try(o) or 0.0) > 0:
            return None
    if isinstance(end, Lost) and o.mode == POOL and o.on_temporal and live.source_sequence:
        # It was there: the runner says another place now, or Temporal keeps it no longer. Begun anew it might be there twice.
        return Plan((left_open(o, "the pool's replicas do not find it there any more."), end_run(o, end.end)))
    if isinstance(end, Lost):
        failures = (o.status.get("failures") or 0) + (1 if end.counts else 0)
        if failures > o.snapshot.get("retries", 0):
            return Plan((end_run(o, end.end),))
        reason, message = stalled_by_temporal(o) or ("", "")
        status = in_progress(o, "Pending" if not live.paused else "Paused", reason=reason, message=message)
        if failures:
            status["failures"] = failures
        again = relaunch(o, status, lost=end.end)
        # There may be very many of these, one after the other.
        return replace(again, actions=(*again.actions, *_swept(o, again))) if end.waits else again
    if end is not None:
        return Plan((end_run(o, end),))
    left = _until_timeout(o, live)
    if left is not None and left <= 0:
        if _needs_another_replica(o) and o.replica is None:
            return Plan((TakeReplica(),))
        return Plan((*_removed(o, "it took too long"), end_run(o, timed_out(o.now, o.snapshot["timeout"]))))
    moved = _moved(o, live)
    return None if moved is None else replace(moved, again_after=_soonest(moved.again_after, left))


def _swept(o: Observed, again: Plan) -> tuple[Action, ...]:
    """The pod that another one has taken the place of."""
    made = any(isinstance(action, WriteStatus) and action.status.get("podName") != _pod_name(o) for action in again.actions)
    return (DeleteWorkload("Pod", _pod_name(o)),) if made and o.pod is not None else ()


def _pod_name(o: Observed) -> str:
    return str(((o.pod or {}).get("metadata") or {}).get("name", ""))


def _until_next_try(o: Observed) -> float | None:
    """Seconds until a bare pod that Temporal did not let begin is made again; None where there is none."""
    if o.mode != "Pod" or refused_by_temporal(o.pod) is None:
        return None
    return max(0.0, until_next_try(o))


def _soonest(*seconds: float | None) -> float | None:
    return min((item for item in seconds if item is not None), default=None)


def _until_timeout(o: Observed, live: LiveRun) -> float | None:
    """Seconds until the operator ends a run that outlasts its time; None where nothing limits it, or it is held."""
    if not o.snapshot.get("timeout") or live.paused:
        return None
    if o.on_temporal and live.start is None:
        return None  # until Temporal has it, nothing runs: that may take as long as it takes
    created = o.status.get("submitTime") if o.workload is None else o.workload["metadata"].get("creationTimestamp")
    begin = live.start or (o.now if created is None else from_text(created))
    # Numbers, since the pod's clock and status may hold what is no date any more once something is added to it.
    limit = seconds(o.snapshot["timeout"]) + live.paused_seconds + TIMEOUT_MARGIN.total_seconds()
    return limit - (o.now - begin).total_seconds()


def _show(o: Observed, live: LiveRun, desired: Desired, again: float | None) -> Plan:
    """Status as it is now, written as often as it may be."""
    phase = _phase(live)
    why = stalled_by_temporal(o) or (_trouble(o) if phase == "Pending" or o.at_endpoint else None)
    again = _soonest(again, until_through(o))
    status = in_progress(o, phase) if why is None else in_progress(o, phase, reason=why[0], message=why[1])
    if o.held_up:
        again = min(again or HELD_UP_RETRY, HELD_UP_RETRY)
    if o.mode == POOL and o.remote is not None and o.remote.reason:
        again = min(again or REPLICA_RETRY, REPLICA_RETRY)
    status = followed(o, live, status)
    tell: tuple[Action, ...] = (SetDesired(desired),) if desired != live.desired else ()
    tell = (*_attached(o), *tell)
    if o.mode == POOL and not is_held(o):
        since = o.status.get("submitTime")
        left = timedelta() if since is None else HELD_AFTER - (o.now - from_text(since))
        if left <= timedelta():
            tell = (AddFinalizer(), *tell)
        else:
            again = min(again or left.total_seconds(), left.total_seconds())
    if _may_be_suspended(o, live, desired):
        status["suspended"] = True
    status = fitted(status)
    changed = (
        phase != o.status.get("phase")
        or any(status.get(key) != o.status.get(key) for key in ("control", "suspended"))
        or live.urgent
    )
    if phase == "Running" != o.status.get("phase") and live.start is not None:
        just_begun = RUNNING_BEFORE_WRITE - (o.now - live.start)
        if timedelta() < just_begun <= RUNNING_BEFORE_WRITE:
            return Plan(tell, again_after=just_begun.total_seconds())
    if status == o.status:
        return Plan(tell, again_after=again)
    wait = 0.0 if changed else until_next_write(o)
    if wait > 0:
        return Plan(tell, again_after=min(wait, again) if again is not None else wait)
    event: tuple[Action, ...] = ()
    if phase != o.status.get("phase") and phase != "Pending":
        resumed = o.status.get("phase") == "Paused"
        event = phase_event(o, "Resumed" if resumed else phase, IN_PROGRESS[phase])
    return Plan((*tell, WriteStatus(status), *event), again_after=again)


def _attached(o: Observed) -> tuple[Action, ...]:
    """A run at an endpoint that nobody follows: an operator before this one did."""
    following = follow_endpoint(o) if o.at_endpoint and o.remote is None else None
    return () if following is None else (following,)


def _trouble(o: Observed) -> tuple[str, str] | None:
    if o.remote is not None and o.remote.reason:
        return o.remote.reason, o.remote.message
    known = trouble(o.pod)
    if known is not None or not o.held_up:
        return known
    return refusal(o.held_up, "pod") if o.pod is None else ("VolumesNotReady", f"The pod waits: {o.held_up[:1000]}")


def _may_be_suspended(o: Observed, live: LiveRun, desired: Desired) -> bool:
    """Whether a paused run's state is on disk, so that its pod is not needed."""
    answer = live.answer
    return (
        desired.state == "Pause"
        and live.paused
        and answer is not None
        and answer.suspendable
        and answer.generation >= desired.generation
        and o.keeps_state
    )


def woken_to_end(o: Observed) -> Plan | None:
    """A suspended run whose workflow is in Temporal: its pod comes back to end it there. None where that is not so, or where
    nothing more can be made for it."""
    left = grace(o) - (o.now - requested_at(o))
    if not (o.suspended and o.on_temporal) or o.live is None or left <= timedelta():
        return None
    leaving = o.metadata.get("deletionTimestamp") or asks_for_another_run(o.resource)
    if o.job is None if o.mode == "Job" else leaving:
        return None
    woken = brought_back(o)
    return replace(woken, again_after=_soonest(woken.again_after, left.total_seconds()))


def stop(o: Observed, reason: str) -> Plan:
    """Cancel a launched run: ask, and after the grace period take its workload away."""
    end = _found_end(o)
    if isinstance(end, End):
        return Plan((end_run(o, end),))
    waited, most = o.now - requested_at(o), grace(o)
    moved = None if end is not None or o.live is None or waited >= most else _moved(o, o.live)
    if moved is not None:
        return replace(moved, again_after=_soonest(moved.again_after, (most - waited).total_seconds()))
    if end is None and waited < most and not o.suspended and (_container_may_answer(o) or _another_may_come(o)):
        return Plan((*_attached(o), SetDesired(desired_of(o))), again_after=(most - waited).total_seconds())
    if _needs_another_replica(o) and o.replica is None:
        return Plan((TakeReplica(),))
    return Plan((*_removed(o, reason), end_run(o, End("Cancelled", o.now, reason))))


def grace(o: Observed) -> timedelta:
    """How long a run has to end by itself once it is cancelled."""
    cancellation = o.spec.cancellation
    if cancellation is None or not o.spec.cancelled:
        return CANCEL_GRACE
    if cancellation.mode == "Force":
        return timedelta()
    return CANCEL_GRACE if cancellation.grace_period is None else timedelta(seconds=seconds(cancellation.grace_period))


def _removed(o: Observed, reason: str) -> tuple[Action, ...]:
    """The workload taken away from a run that is not asked any more: its container has a second."""
    if o.at_endpoint:
        if "submitTime" not in o.status or o.live is None or (o.remote is not None and o.remote.forgotten):
            return ()
        replica = o.status.get("replica")
        if o.replica_lost:
            if not o.on_temporal:
                return ()
            if not isinstance(o.replica, Replica):
                # One that is there, and does not answer, may do so yet.
                known = {**o.snapshot, "replica": replica}
                may_answer = o.remote is not None and o.remote.silent
                return (*((ForceCancel(known, o.live.execution_id, reason),) if may_answer else ()), left_open(o))
            replica = to_builtins(o.replica)  # any of them can end it
        return (ForceCancel({**o.snapshot, "replica": replica}, o.live.execution_id, reason),)
    return () if o.workload is None else (DeleteWorkload(o.mode, o.workload["metadata"]["name"], at_once=True),)


def _container_may_answer(o: Observed) -> bool:
    """False while the pod's container has not been started: there is nobody to ask. At an endpoint there may be somebody."""
    if o.at_endpoint:
        return "submitTime" in o.status
    if refused_by_temporal(o.pod) is not None:
        return False
    statuses = ((o.pod or {}).get("status") or {}).get("containerStatuses") or []
    return any(set(status.get("state") or {}) & {"running", "terminated"} for status in statuses)


def _another_may_come(o: Observed) -> bool:
    """Whether a pod is on its way that goes on with what the run has in Temporal, and can end it there."""
    return o.mode in ("Job", "Pod") and o.workload is not None and may_be_open(o) and refused_by_temporal(o.pod) is None
