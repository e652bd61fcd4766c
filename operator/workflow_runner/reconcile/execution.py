"""What to do about one WorkflowExecution: `plan(observed)`, a list of small decisions. Called by controller.

The first policy that has something to say decides; each is a pure function of what is observed. After
actions that change what is observed (`EndRun`, `TakeTurn`) the controller asks again. The policies stand in the
order of a run's life: before_launch.py, launching.py, following.py; those about the end of it are here.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from workflow_runner.crd.durations import seconds
from workflow_runner.crd.execution import TERMINAL_PHASES
from workflow_runner.reconcile.actions import (
    Action,
    CleanUp,
    DeleteExecution,
    ForgetRun,
    Plan,
    RecordEvent,
    RemoveFinalizer,
    WriteCallback,
    WriteStatus,
)
from workflow_runner.reconcile.before_launch import (
    cancelled_before_launch,
    held_before_launch,
    refused,
    runner_paused,
    waiting_for_its_turn,
    without_permission,
    without_runner,
    without_sources,
)
from workflow_runner.reconcile.bounds import fitted
from workflow_runner.reconcile.decisions import NORMAL, WARNING, is_held, launched, phase_event, until_next_write
from workflow_runner.reconcile.following import follow, grace, stop, woken_to_end
from workflow_runner.reconcile.launching import given_back, launch
from workflow_runner.reconcile.observed import Observed
from workflow_runner.reconcile.status import (
    asks_for_another_run,
    begun_anew,
    callback_of,
    ended,
    followed,
    requested_at,
    snapshot_of,
    still_ended,
)
from workflow_runner.reconcile.termination import LOOK_SECONDS, owed_from, termination
from workflow_runner.reconcile.timestamps import from_text

DELIVERY_AFTER_DELETE = timedelta(seconds=10)
"""How long a deleted resource whose run has ended waits for Stigmer to hear of it."""
DELIVERY_BEFORE_NEXT_RUN = timedelta(seconds=30)
"""How long the next run of a resource waits for Stigmer to hear of the end of the one before."""
DELIVERY_BEFORE_WRITE = timedelta(milliseconds=200)
"""How long the last status write waits for Stigmer's answer, so that one write tells both."""


def plan(o: Observed) -> Plan:
    """What to do now. Never creates anything for a resource that is being deleted or has ended."""
    for policy in (
        being_deleted,
        another_run,
        already_ended,
        write_end,
        cancelled_before_launch,
        refused,
        without_runner,
        without_permission,
        without_sources,
        held_before_launch,
        runner_paused,
        waiting_for_its_turn,
        launch,
        given_back,
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
    if not is_held(o):
        return Plan((ForgetRun(),))
    if o.live is not None and o.live.end is None:
        return woken_to_end(o) or stop(o, "the WorkflowExecution was deleted")
    left = termination(o)
    if left.waits:
        return Plan(left.actions, again_after=LOOK_SECONDS)
    ended_at = min(o.live.end.time, o.now) if o.live is not None and o.live.end is not None else o.now
    asked = requested_at(o)
    # The second bound is for an end that the pod's clock puts into the future.
    in_time = o.now - max(ended_at, asked) < DELIVERY_AFTER_DELETE and o.now - asked < grace(o) + DELIVERY_AFTER_DELETE
    if _owes(o) and in_time:
        return Plan(again_after=0.5)
    remove: tuple[Action, ...] = (CleanUp(),) if o.workload is not None else ()
    told = tuple(action for action in left.actions if isinstance(action, RecordEvent))
    return Plan((*told, *remove, RemoveFinalizer(), ForgetRun()))


def another_run(o: Observed) -> Plan | None:
    """spec.runId has a new value: end the run that is live, then begin anew."""
    if not asks_for_another_run(o.resource):
        return None
    if o.status["phase"] not in TERMINAL_PHASES:
        if o.live is not None and o.live.end is not None:
            return write_end(o)
        if o.live is not None and launched(o):
            return follow(o)
    elif _owes(o) and abs(o.now - _completion(o)) < DELIVERY_BEFORE_NEXT_RUN:  # ahead, by the pod's clock
        return Plan(again_after=0.5)
    left = termination(o)
    if left.waits:
        return Plan(left.actions, again_after=LOOK_SECONDS)
    told = tuple(action for action in left.actions if isinstance(action, RecordEvent))
    return Plan((*told, CleanUp(), ForgetRun(), WriteStatus(begun_anew(o))))


def already_ended(o: Observed) -> Plan | None:
    """An ended run waits until Stigmer has heard of it all, and for the time to clean up."""
    if o.status.get("phase") not in TERMINAL_PHASES:
        return None
    if o.live is not None and o.live.end is None:
        return None  # it has not: somebody else wrote this phase, and the run is followed as before
    left = termination(o)
    if left.actions:
        return Plan(left.actions, again_after=LOOK_SECONDS)
    actions: list[Action] = []
    if o.live is not None:
        wait = until_next_write(o) if _owes(o) else 0.0
        if wait > 0:
            return Plan(again_after=wait)  # asked again after every event that Stigmer takes
        callback = fitted({**o.status, "callback": callback_of(o, o.live)})["callback"]
        if callback != o.status.get("callback"):
            actions.append(WriteCallback(callback))
    if not actions:
        status = fitted(still_ended(o))
        if status != o.status:
            actions.append(WriteStatus(status))
    if _owes(o):
        return Plan(tuple(actions))
    if left.waits:
        return Plan(tuple(actions), again_after=LOOK_SECONDS)
    if is_held(o):
        actions.append(RemoveFinalizer())  # nothing is left to be cancelled: deletion, even without an operator, may go ahead
    if o.live is not None or actions:
        actions.append(ForgetRun())
    return _cleaned_up(o, actions)


def _cleaned_up(o: Observed, actions: list[Action]) -> Plan:
    """Removes what the run has left when its time is over."""
    again: list[float] = []
    for wish, action, due in (
        (o.spec.ttl_after_finished or o.snapshot.get("ttlAfterFinished"), CleanUp(), o.workload is not None),
        (o.spec.delete_after_finished, DeleteExecution(), True),
    ):
        if wish is None or not due:
            continue
        left = seconds(wish) - (o.now - _completion(o)).total_seconds()
        if left <= 0:
            actions.append(action)
        else:
            again.append(left)
    return Plan(tuple(actions), again_after=min(again, default=None))


def _completion(o: Observed) -> datetime:
    return from_text(o.status["completionTime"]) if o.status.get("completionTime") else o.now


def _owes(o: Observed) -> bool:
    return o.delivery is not None and o.delivery.pending > 0


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
    if end.left_open:
        before["termination"] = owed_from(o, end.time)
    status = fitted(ended(o, end, before=followed(o, o.live, before), accepted=accepted))
    kind = WARNING if end.phase == "Failed" else NORMAL
    message = next(item["message"] for item in status["conditions"] if item["type"] == "Completed")
    return Plan((WriteStatus(status), *phase_event(o, end.phase, message, kind)))
