"""What to do about one WorkflowExecution: `plan(observed)`, a list of small decisions. Called by controller.

The first policy that has something to say decides; each is a pure function of what is observed. After
actions that change what is observed (`EndRun`, `BeginRun`) the controller asks again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from workflow_runner.crd import group
from workflow_runner.crd.execution import TERMINAL_PHASES
from workflow_runner.launchers.job import build_job, job_name
from workflow_runner.reconcile.actions import (
    Action,
    AddFinalizer,
    BeginRun,
    CreateJob,
    DeleteJob,
    EndRun,
    ForgetRun,
    Plan,
    RecordEvent,
    RemoveFinalizer,
    SetDesired,
    WriteCallback,
    WriteStatus,
)
from workflow_runner.reconcile.bounds import fitted
from workflow_runner.reconcile.job_end import job_end, job_missing
from workflow_runner.reconcile.live import End
from workflow_runner.reconcile.observed import Accepted, Observed, Refused
from workflow_runner.reconcile.pod_trouble import trouble
from workflow_runner.reconcile.status import (
    callback_of,
    desired_of,
    ended,
    followed,
    in_progress,
    pinned,
    requested_at,
    snapshot_of,
)
from workflow_runner.reconcile.timestamps import from_text

Json = dict[str, Any]

CANCEL_GRACE = timedelta(seconds=30)
"""How long a run has to end by itself once cancelled, before its Job is removed."""
DELIVERY_AFTER_DELETE = timedelta(seconds=10)
"""How long a deleted resource whose run has ended waits for Stigmer to hear of it."""
DELIVERY_BEFORE_WRITE = timedelta(milliseconds=200)
"""How long the last status write waits for Stigmer's answer, so that one write tells both."""
RUNNING_BEFORE_WRITE = timedelta(milliseconds=150)
"""How long a run runs before status says so: what is over by then is told by its end, in one write."""
RUNNER_MISSING_RETRY = 30.0
RUNNER_MAY_COME = timedelta(seconds=3)
LAUNCH_RETRY = 5.0

NORMAL, WARNING = "Normal", "Warning"


def plan(o: Observed) -> Plan:
    """What to do now. Never creates anything for a resource that is being deleted or has ended."""
    for policy in (
        being_deleted,
        already_ended,
        write_end,
        cancelled_before_launch,
        refused,
        without_runner,
        held_before_launch,
        launch,
        follow,
    ):
        decision = policy(o)
        if decision is not None:
            return decision
    return Plan()


def being_deleted(o: Observed) -> Plan | None:
    """Cancel first, for a bounded time; then let the resource go, whatever stands in the way."""
    if not o.metadata.get("deletionTimestamp"):
        return None
    if group.FINALIZER not in o.metadata.get("finalizers", []):
        return Plan((ForgetRun(),))
    if o.live is not None and o.live.end is None:
        stop = _stop(o, "the WorkflowExecution was deleted")
        if stop is not None:
            return stop
    ended_at = min(o.live.end.time, o.now) if o.live is not None and o.live.end is not None else o.now
    if o.delivery is not None and o.delivery.pending and o.now - max(ended_at, requested_at(o)) < DELIVERY_AFTER_DELETE:
        return Plan(again_after=0.5)
    remove: tuple[Action, ...] = (DeleteJob(o.job["metadata"]["name"]),) if o.job is not None else ()
    return Plan((*remove, RemoveFinalizer(), ForgetRun()))


def already_ended(o: Observed) -> Plan | None:
    """An ended run only waits until Stigmer has heard of it all."""
    if o.status.get("phase") not in TERMINAL_PHASES:
        return None
    pending = o.delivery is not None and o.delivery.pending > 0
    actions: list[Action] = []
    if o.live is not None:
        callback = fitted({**o.status, "callback": callback_of(o, o.live)})["callback"]
        if callback != o.status.get("callback"):
            wait = _until_next_write(o) if pending else 0.0
            if wait > 0:
                return Plan(again_after=wait)
            actions.append(WriteCallback(callback))
    if pending:
        return Plan(tuple(actions))
    if group.FINALIZER in o.metadata.get("finalizers", []):
        actions.append(RemoveFinalizer())  # nothing is left to be cancelled: deletion, even without an operator, may go ahead
    return Plan((*actions, ForgetRun()) if actions or o.live is not None else ())


def write_end(o: Observed) -> Plan | None:
    """The run has ended, by its own word or by our finding: say so."""
    if o.live is None or o.live.end is None:
        return None
    end = o.live.end
    age = o.now - end.time
    if (
        o.delivery is not None
        and o.delivery.pending
        and not o.delivery.last_error
        and timedelta() <= age < DELIVERY_BEFORE_WRITE
    ):
        return Plan(again_after=0.03)
    accepted = None
    if "specDigest" not in o.status and end.phase == "Failed":
        accepted = ("False", "InvalidDocument", end.message)
    before = dict(o.status)
    before.setdefault("executionId", o.live.execution_id)
    if o.runner is not None:
        before.setdefault("runner", snapshot_of(o, o.runner))
    status = fitted(ended(o, end, before=followed(o, o.live, before), accepted=accepted))
    kind = WARNING if end.phase == "Failed" else NORMAL
    message = next(item["message"] for item in status["conditions"] if item["type"] == "Completed")
    return Plan((WriteStatus(status), _phase_event(o, end.phase, message, kind)))


def cancelled_before_launch(o: Observed) -> Plan | None:
    """Nothing runs, and nothing will."""
    if not o.spec.cancelled or _launched(o):
        return None
    if _runner_may_come(o):
        return Plan(again_after=1.0)
    begin: tuple[Action, ...] = (BeginRun(o.uid, 0),) if o.live is None else ()
    return Plan((*begin, EndRun(End("Cancelled", o.now, desired_of(o).reason))))


def refused(o: Observed) -> Plan | None:
    """The document is invalid: the run has failed before anything was started."""
    if not isinstance(o.checked, Refused) or _launched(o):
        return None
    if _runner_may_come(o):
        return Plan(again_after=1.0)
    begin: tuple[Action, ...] = (BeginRun(o.uid, 0),) if o.live is None else ()
    return Plan((*begin, EndRun(End("Failed", o.now, o.checked.message, error=o.checked.error))))


def without_runner(o: Observed) -> Plan | None:
    """No runner of that name yet: wait for it. A launched run does not need it any more."""
    if o.runner is not None or _launched(o):
        return None
    ref = o.spec.runner_ref
    where = f"namespace {ref.namespace}" if ref.namespace else "the execution's namespace and the operator's"
    message = f"There is no WorkflowRunner {ref.name!r} in {where}; the run starts when there is one."
    status = in_progress(o, "Pending", reason="RunnerNotFound", message=message, accepted=("False", "RunnerNotFound", message))
    return _written(o, status, again_after=RUNNER_MISSING_RETRY)


def held_before_launch(o: Observed) -> Plan | None:
    """Paused before it began: nothing is started until it is resumed."""
    if not o.spec.paused or _launched(o):
        return None
    status = in_progress(o, "Paused")
    status["callback"] = o.status.get("callback") or {"sourceSequence": 0, "baseSequence": 0}
    return _with_finalizer(o, _written(o, status, event=("Paused", "The run is held before its launch.")))


def launch(o: Observed) -> Plan | None:
    """Pin what is run, then start it; the pin comes first, so that a restart finds the same Job."""
    if _launched(o) or o.runner is None:
        return None
    if not isinstance(o.checked, Accepted):
        return None
    attempt = o.status.get("attempt") or 1
    name = job_name(o.metadata["name"], o.uid, attempt)
    manifest = build_job(
        settings=o.launch,
        name=o.metadata["name"],
        namespace=o.metadata["namespace"],
        uid=o.uid,
        execution_id=o.uid,
        attempt=attempt,
        workflow=o.checked.workflow_name,
        digest=o.checked.digest,
        packed=o.checked.packed,
    )
    if o.launch_error:
        status = in_progress(o, "Pending", reason="LaunchFailed", message=f"The Job cannot be created: {o.launch_error}")
    else:
        status = in_progress(o, "Pending")
    status |= pinned(o, o.runner, o.checked, job=name, attempt=attempt)
    pin = _written(o, status)
    start: tuple[Action, ...] = () if o.live is not None else (BeginRun(o.uid, attempt),)
    decision = Plan((*pin.actions, *start, CreateJob(manifest)), again_after=LAUNCH_RETRY if o.launch_error else None)
    return _with_finalizer(o, decision)


def follow(o: Observed) -> Plan | None:
    """A launched run: pass on what the spec asks for, show what the run tells, notice its end."""
    if o.live is None or not _launched(o):
        return None
    desired = desired_of(o)
    if desired.state == "Cancel":
        stop = _stop(o, desired.reason)
    elif o.job is None:
        return Plan((EndRun(job_missing(o.now)),))
    else:
        end = job_end(o.job, o.pod, o.now)
        stop = Plan((EndRun(end),)) if end is not None else None
    if stop is not None and any(isinstance(action, EndRun) for action in stop.actions):
        return stop
    phase = "Paused" if o.live.paused else "Running" if o.live.start is not None else "Pending"
    why = trouble(o.pod) if phase == "Pending" else None
    progress = in_progress(o, phase) if why is None else in_progress(o, phase, reason=why[0], message=why[1])
    status = fitted(followed(o, o.live, progress))
    changed = phase != o.status.get("phase") or status.get("control") != o.status.get("control") or o.live.urgent
    tell: tuple[Action, ...] = (SetDesired(desired),) if desired != o.live.desired else ()
    again = stop.again_after if stop is not None else None
    just_begun = (
        RUNNING_BEFORE_WRITE - (o.now - o.live.start) if phase == "Running" != o.status.get("phase") and o.live.start else None
    )
    if just_begun is not None and timedelta() < just_begun <= RUNNING_BEFORE_WRITE:
        return Plan(tell, again_after=just_begun.total_seconds())
    if status == o.status:
        return Plan(tell, again_after=again)
    wait = 0.0 if changed else _until_next_write(o)
    if wait > 0:
        return Plan(tell, again_after=min(wait, again) if again is not None else wait)
    event: tuple[Action, ...] = ()
    if phase != o.status.get("phase") and phase != "Pending":
        resumed = o.status.get("phase") == "Paused"
        event = (_phase_event(o, "Resumed" if resumed else phase, in_progress(o, phase)["conditions"][-1]["message"] or phase),)
    return Plan((*tell, WriteStatus(status), *event), again_after=again)


def _stop(o: Observed, reason: str) -> Plan | None:
    """Cancel a launched run: ask, and after the grace period take its Job away. None: there is nothing to stop."""
    end = job_end(o.job, o.pod, o.now)
    if end is not None:
        return Plan((EndRun(end),))
    if o.job is None:
        return Plan((EndRun(End("Cancelled", o.now, reason)),))
    waited = o.now - requested_at(o)
    if waited < CANCEL_GRACE and _container_may_answer(o):
        return Plan((SetDesired(desired_of(o)),), again_after=(CANCEL_GRACE - waited).total_seconds())
    return Plan((DeleteJob(o.job["metadata"]["name"]), EndRun(End("Cancelled", o.now, reason))))


def _container_may_answer(o: Observed) -> bool:
    """False while the pod's container has not been started: there is nobody to ask."""
    statuses = ((o.pod or {}).get("status") or {}).get("containerStatuses") or []
    return any(set(status.get("state") or {}) & {"running", "terminated"} for status in statuses)


def _launched(o: Observed) -> bool:
    """Whether there is, or was, a Job: one that was pinned but never made can still be held, refused or cancelled."""
    return o.job is not None or "startTime" in o.status


def _runner_may_come(o: Observed) -> bool:
    """A runner applied together with the execution is waited for: it says who is to hear of an early end."""
    return o.runner is None and o.now - from_text(o.metadata["creationTimestamp"]) < RUNNER_MAY_COME


def _until_next_write(o: Observed) -> float:
    return 0.0 if o.seconds_since_write is None else o.status_interval - o.seconds_since_write


def _written(o: Observed, status: Json, *, event: tuple[str, str] | None = None, again_after: float | None = None) -> Plan:
    status = fitted(status)
    if status == o.status:
        return Plan(again_after=again_after)
    told: tuple[Action, ...] = (_phase_event(o, *event),) if event and status.get("phase") != o.status.get("phase") else ()
    return Plan((WriteStatus(status), *told), again_after=again_after)


def _with_finalizer(o: Observed, decision: Plan) -> Plan:
    if group.FINALIZER in o.metadata.get("finalizers", []):
        return decision
    return Plan((AddFinalizer(), *decision.actions), decision.again_after)


def _phase_event(o: Observed, reason: str, message: str, kind: str = NORMAL) -> RecordEvent:
    """Named by what it tells and, for what can happen again, by how far the run was."""
    again = f".{o.live.source_sequence}" if o.live and reason in ("Paused", "Resumed") else ""
    return RecordEvent(
        key=f"{reason.lower()}.{o.status.get('attempt', 0)}{again}", type=kind, reason=reason, message=message or reason
    )
