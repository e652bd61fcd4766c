"""Policies for a run that has not been launched: what keeps it from it. Called by execution.plan."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from workflow_runner.reconcile.actions import Action, BeginRun, EndRun, Plan, TakeTurn
from workflow_runner.reconcile.allowed import not_allowed
from workflow_runner.reconcile.decisions import SOURCE_MISSING_RETRY, launched, with_finalizer, written
from workflow_runner.reconcile.live import End
from workflow_runner.reconcile.observed import Accepted, Missing, Observed, Refused
from workflow_runner.reconcile.status import desired_of, in_progress
from workflow_runner.reconcile.timestamps import from_text

RUNNER_MISSING_RETRY = 30.0
RUNNER_MAY_COME = timedelta(seconds=3)
POSITION_SECONDS = 15.0
"""How old the position in line may get in status; more, the longer the line is."""
POSITION_WRITES_PER_SECOND = 1.0


def cancelled_before_launch(o: Observed) -> Plan | None:
    """Nothing runs, and nothing will."""
    if not o.spec.cancelled or launched(o):
        return None
    if _runner_may_come(o):
        return Plan(again_after=1.0)
    return Plan((*_begun(o), EndRun(End("Cancelled", o.now, desired_of(o).reason))))


def refused(o: Observed) -> Plan | None:
    """The document is invalid: the run has failed before anything was started."""
    if not isinstance(o.checked, Refused) or launched(o):
        return None
    if _runner_may_come(o):
        return Plan(again_after=1.0)
    return Plan((*_begun(o), EndRun(End("Failed", o.now, o.checked.message, error=o.checked.error))))


def _begun(o: Observed) -> tuple[Action, ...]:
    return (BeginRun(o.execution_id, 0),) if o.live is None else ()


def without_runner(o: Observed) -> Plan | None:
    """No runner of that name yet: wait for it. A launched run does not need it any more."""
    if o.runner is not None or launched(o):
        return None
    ref = o.spec.runner_ref
    where = f"namespace {ref.namespace}" if ref.namespace else "the execution's namespace and the operator's"
    message = f"There is no WorkflowRunner {ref.name!r} in {where}; the run starts when there is one."
    return _waits(o, "RunnerNotFound", message, again_after=RUNNER_MISSING_RETRY)


def without_permission(o: Observed) -> Plan | None:
    """The execution asks for what its runner does not allow: wait for one of the two to change."""
    if o.runner is None or launched(o):
        return None
    refusals = not_allowed(o.spec, o.namespace, o.runner, o.operator_namespace)
    return _waits(o, "NotAllowed", "\n".join(refusals)) if refusals else None


def without_sources(o: Observed) -> Plan | None:
    """A ConfigMap, or something in Stigmer, that the run is made from is missing: wait for it."""
    if not isinstance(o.checked, Missing) or launched(o):
        return None
    return _waits(o, o.checked.reason, o.checked.message, again_after=o.checked.again_after or SOURCE_MISSING_RETRY)


def _waits(o: Observed, reason: str, message: str, again_after: float | None = None) -> Plan:
    status = in_progress(o, "Pending", reason=reason, message=message, accepted=("False", reason, message))
    return replace(written(o, status, again_after=again_after), gives_way=True)


def held_before_launch(o: Observed) -> Plan | None:
    """Paused before it began: nothing is started until it is resumed."""
    if not o.spec.paused or launched(o):
        return None
    status = in_progress(o, "Paused")
    status["callback"] = o.status.get("callback") or {"sourceSequence": 0, "baseSequence": 0}
    held = written(o, status, event=("Paused", "The run is held before its launch."))
    return with_finalizer(o, replace(held, gives_way=True))


def runner_paused(o: Observed) -> Plan | None:
    """The runner takes nothing new; what it has taken goes on."""
    if o.runner is None or not o.runner.spec.paused or launched(o):
        return None
    message = f"The WorkflowRunner {o.runner.namespace}/{o.runner.name} is paused; the run starts when it is not any more."
    status = in_progress(o, "Queued", reason="RunnerPaused", message=message)
    status.pop("queuePosition", None)
    return replace(written(o, status, event=("Queued", message)), gives_way=True)


def waiting_for_its_turn(o: Observed) -> Plan | None:
    """The runner has as many runs as it may have: first come, first served, between namespaces in turn. Who is in line
    already need not be looked at again before its turn."""
    if o.runner is None or launched(o) or not (isinstance(o.checked, Accepted) or (o.checked is None and o.in_line)):
        return None
    limit = o.runner.spec.limits.max_concurrent_executions
    if o.turn is None:
        return Plan((TakeTurn(limit),))
    if o.turn.granted:
        return None
    age = o.seconds_since_write
    fresh = max(POSITION_SECONDS, o.turn.position / POSITION_WRITES_PER_SECOND)
    if o.status.get("phase") == "Queued" and "queuePosition" in o.status and age is not None and age < fresh:
        return Plan(again_after=fresh - age)
    runner = f"{o.runner.namespace}/{o.runner.name}"
    before = o.turn.position - 1
    message = f"The WorkflowRunner {runner} runs at most {limit} executions at a time; {before} are before this one."
    status = in_progress(o, "Queued", reason="MaxConcurrentExecutions", message=message)
    status["queuePosition"] = o.turn.position
    return written(o, status, event=("Queued", message), again_after=fresh)


def _runner_may_come(o: Observed) -> bool:
    """A runner applied together with the execution is waited for: it says who is to hear of an early end."""
    return o.runner is None and o.now - from_text(o.metadata["creationTimestamp"]) < RUNNER_MAY_COME
