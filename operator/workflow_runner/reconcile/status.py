"""How a run reads in its resource's status: pure functions from what is observed. Called by execution.py."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import to_builtins
from msgspec.structs import replace
from pydantic import BaseModel

from workflow_runner.crd import group
from workflow_runner.crd.runner import MAX_RETRIES
from workflow_runner.reconcile.bounds import representable, size
from workflow_runner.reconcile.live import Desired, End, LiveRun
from workflow_runner.reconcile.observed import Accepted, Observed, Replica, Runner
from workflow_runner.reconcile.pod_trouble import HOPELESS
from workflow_runner.reconcile.temporal import STALLED
from workflow_runner.reconcile.timestamps import from_text, to_seconds_text, to_text

Json = dict[str, Any]

MAX_OUTPUT = 256 * 1024
"""Bytes of JSON; a larger output is not put into status (condition OutputLost)."""

MAX_MESSAGE = 4096

MEND_BY_HAND = frozenset(
    {*HOPELESS, *STALLED, "NotAllowed", "AdmissionDenied", "ManifestRejected", "ServiceAccountNotFound", "StigmerRefused"}
)
"""Reasons that do not go away by themselves: the run is stalled, in kstatus' words."""

DEFAULT_RETRIES_WITH_SNAPSHOTS = 6
"""With snapshots a further launch goes on where the last one was, as Kubernetes' own default for Jobs supposes."""
DEFAULT_RETRIES_ON_TEMPORAL = MAX_RETRIES
"""The state is safe whatever becomes of pods: the bound is for what kills every one of them."""

IN_PROGRESS = {
    "Queued": "The run waits for its turn.",
    "Pending": "The run has been accepted and is being started.",
    "Running": "The workflow is running.",
    "Paused": "The run is paused; set spec.paused to false to go on.",
}


def with_conditions(current: list[Json], wanted: list[tuple[str, str, str, str]], now: datetime, generation: int) -> list[Json]:
    """`current` with each (type, status, reason, message) of `wanted`; a transition time moves with the status only."""
    result = {condition["type"]: condition for condition in current}
    for kind, status, reason, message in wanted:
        old = result.get(kind)
        transition = old["lastTransitionTime"] if old and old["status"] == status else to_seconds_text(now)
        result[kind] = {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message[:MAX_MESSAGE],
            "lastTransitionTime": transition,
            "observedGeneration": generation,
        }
    return list(result.values())


def in_progress(
    o: Observed, phase: str, *, reason: str = "", message: str = "", accepted: tuple[str, str, str] | None = None
) -> Json:
    """Status of a run that has not ended. `accepted` is (status, reason, message) of the condition Accepted."""
    reason, message = reason or phase, message or IN_PROGRESS[phase]
    accepted = accepted or ("True", "Accepted", "The document is valid and the runner takes it.")
    status = dict(o.status)
    status["phase"] = phase
    status["observedGeneration"] = o.generation
    if phase != "Queued":
        status.pop("queuePosition", None)
    if o.run_id and not o.status.get("phase"):
        status["runId"] = o.run_id  # later on the spec may name another run than this one
    wanted = [
        ("Accepted", *accepted),
        ("Completed", "False", reason, message),
        # Never both True: kstatus would believe whichever comes first.
        ("Reconciling", *(("False", reason, "") if reason in MEND_BY_HAND else ("True", reason, message))),
        ("Stalled", *(("True", reason, message) if reason in MEND_BY_HAND else ("False", reason, ""))),
    ]
    status["conditions"] = with_conditions(status.get("conditions", []), [*wanted, *_spec_changed(o)], o.now, o.generation)
    return _with_control(o, status)


def begun_anew(o: Observed) -> Json:
    """The status of a run that the spec asks for by a new runId; nothing of the former run stays."""
    return in_progress(replace(o, resource={**o.resource, "status": {}}), "Pending")


def still_ended(o: Observed) -> Json:
    """An ended run's status for a newer generation of the spec, which changes nothing about the run."""
    status = dict(o.status)
    status["observedGeneration"] = o.generation
    same = [
        (item["type"], item["status"], item["reason"], item["message"])
        for item in status.get("conditions", [])
        if item["type"] != "SpecChanged"
    ]
    status["conditions"] = with_conditions(status.get("conditions", []), [*same, *_spec_changed(o)], o.now, o.generation)
    return _with_control(o, status)


def _spec_changed(o: Observed) -> list[tuple[str, str, str, str]]:
    if o.spec_changed is None:
        return []
    if o.spec_changed:
        message = (
            "The workflow or its input was changed. The run keeps what it was accepted with (status.specDigest); "
            "give spec.runId a new value to run what the spec says now."
        )
        return [("SpecChanged", "True", "DigestDiffers", message)]
    known = any(item["type"] == "SpecChanged" for item in o.status.get("conditions", []))
    return [("SpecChanged", "False", "DigestMatches", "")] if known else []


def pinned(o: Observed, runner: Runner, accepted: Accepted, *, workload: str, launches: int) -> Json:
    """What the run keeps to its end, added to a status: document, digest, id, runner."""
    callback: Json = {"sourceSequence": 0, "baseSequence": 0}
    if runner.spec.stigmer is not None:
        callback["deliveredSequence"] = 0
    return {
        "workflow": accepted.workflow,
        "executionId": o.execution_id,
        "attempt": o.status.get("attempt") or 1,
        "launches": launches,
        "specDigest": accepted.digest,
        "runner": snapshot_of(o, runner),
        **started_as(o, workload),
        **({"temporalWorkflowId": group.temporal_workflow_id(o.execution_id)} if runner.spec.temporal is not None else {}),
        "callback": o.status.get("callback") or callback,
        "progress": o.status.get("progress") or 0,
    }


def started_as(o: Observed, workload: str) -> Json:
    """What status says of a launch: the workload's name or, at an endpoint, since when."""
    if o.at_endpoint:
        placed = {"replica": to_builtins(o.replica)} if isinstance(o.replica, Replica) else {}
        return {"submitTime": o.status.get("submitTime") or to_text(o.now), **placed}
    return {"podName" if o.mode == "Pod" else "jobName": workload}


def starting_over(live: LiveRun, status: Json) -> Json:
    """`status` of a run that begins anew at its endpoint, before the first event of the next attempt."""
    gone = ("tasks", "taskCounts", "pausedSince")
    status = {key: value for key, value in status.items() if key not in gone}
    callback = {**status["callback"], "sourceSequence": 0, "baseSequence": live.next_base}
    return {**status, "attempt": live.attempt + 1, "progress": 0, "callback": callback}


def snapshot_of(o: Observed, runner: Runner) -> Json:
    """What the runner says now, as the run keeps it (status.runner)."""
    spec, defaults = runner.spec, runner.spec.defaults
    snapshot: Json = {
        "name": runner.name,
        "namespace": runner.namespace,
        "uid": runner.uid,
        "generation": runner.generation,
        "type": spec.type,
        "mode": spec.mode,
        "retries": _retries(o, runner),
    }
    if spec.endpoint is None:
        snapshot["image"] = o.launch.image
    else:
        snapshot["endpoint"] = spec.endpoint
    parts: tuple[tuple[str, BaseModel | None], ...] = (
        ("tls", spec.tls),
        ("apiKeySecretRef", spec.api_key_secret_ref),
        ("stigmer", spec.stigmer),
        ("template", spec.template),
        ("snapshots", spec.snapshots),
        ("temporal", spec.temporal),
    )
    for key, part in parts:
        if part is not None:
            snapshot[key] = part.model_dump(by_alias=True, exclude_none=True)
    for key, value in (
        ("timeout", o.spec.timeout or defaults.timeout),
        ("ttlAfterFinished", o.spec.ttl_after_finished or defaults.ttl_after_finished),
    ):
        if value is not None:
            snapshot[key] = value
    return snapshot


def _retries(o: Observed, runner: Runner) -> int:
    for value in (o.spec.retries, runner.spec.defaults.retries):
        if value is not None:
            return int(value)
    if runner.spec.temporal is not None:
        return DEFAULT_RETRIES_ON_TEMPORAL
    return DEFAULT_RETRIES_WITH_SNAPSHOTS if runner.spec.snapshots is not None else 0


def followed(o: Observed, live: LiveRun, status: Json) -> Json:
    """`status` with what the run's events tell: progress, tasks, totals, watermarks."""
    status["progress"] = live.progress
    if live.counts:
        status["taskCounts"] = dict(live.counts)
    tasks = live.tasks.entries()
    if tasks:
        status["tasks"] = tasks
    if live.start is not None:
        status["startTime"] = to_text(live.start)
    if live.pod_name and o.mode == "Job":
        status["podName"] = live.pod_name
    if live.paused_seconds:
        status["pausedSeconds"] = round(live.paused_seconds, 3)
    if live.paused_since is not None:
        status["pausedSince"] = to_text(live.paused_since)
    else:
        status.pop("pausedSince", None)
    status["attempt"] = live.attempt
    status["callback"] = callback_of(o, live)
    return status


def callback_of(o: Observed, live: LiveRun) -> Json:
    """The watermarks as they are now, and what Stigmer is owed."""
    callback: Json = {"sourceSequence": live.source_sequence, "baseSequence": live.base_sequence}
    if o.delivery is not None or "deliveredSequence" in (o.status.get("callback") or {}):
        callback["deliveredSequence"] = (o.status.get("callback") or {}).get("deliveredSequence", 0)
        if o.delivery is not None:
            callback["deliveredSequence"] = max(callback["deliveredSequence"], o.delivery.delivered_sequence)
            if o.delivery.last_error:
                callback["lastError"] = o.delivery.last_error[:1024]
        owed = [event for number, event in sorted(live.owed.items()) if number > callback["deliveredSequence"]]
        if owed:
            callback["owed"] = owed
    return callback


def ended(o: Observed, end: End, *, before: Json, accepted: tuple[str, str, str] | None = None) -> Json:
    """`before`, a status, made that of a run that has ended, whoever found it so."""
    message = _end_message(end) if accepted is None else accepted[2]
    wanted = [
        ("Completed", "True" if end.phase == "Completed" else "False", end.phase, message),
        ("Reconciling", "False", end.phase, ""),
        ("Stalled", "True" if end.phase == "Failed" else "False", end.phase, message if end.phase == "Failed" else ""),
    ]
    if accepted is not None:
        wanted.insert(0, ("Accepted", *accepted))
    status = {key: value for key, value in before.items() if key not in ("queuePosition", "pausedSince", "suspended")}
    status["phase"] = end.phase
    if o.run_id and not o.status.get("phase"):
        status["runId"] = o.run_id
    status["observedGeneration"] = o.generation
    status["completionTime"] = to_text(end.time)
    if end.error:
        status["error"] = end.error
    if end.phase == "Completed":
        status["progress"] = 100
        lost = _place_output(status, end)
        if lost:
            wanted.append(("OutputLost", "True", *lost))
    status["tasks"] = _settled(status.get("tasks", []), end)
    if not status["tasks"]:
        del status["tasks"]
    wanted += _spec_changed(o)
    status["conditions"] = with_conditions(status.get("conditions", []), wanted, o.now, o.generation)
    return _with_control(o, status)


def _end_message(end: End) -> str:
    if end.phase == "Completed":
        return "The workflow has completed."
    if end.phase == "Cancelled":
        return f"The run was cancelled: {end.message}" if end.message else "The run was cancelled."
    return _error_line(end.error) if end.error else end.message or "The workflow failed."


def _place_output(status: Json, end: End) -> tuple[str, str] | None:
    if end.output_too_large:
        return "TooLarge", f"The output is larger than the {MAX_OUTPUT:,} bytes that status holds at most."
    if not end.output_known:
        return "NotReceived", "The workflow completed, but its output did not reach the operator."
    if not representable(end.output):
        return (
            "NotRepresentable",
            "The output is nested too deeply, or holds numbers or text that JSON in Kubernetes cannot keep.",
        )
    if size(end.output) > MAX_OUTPUT:
        return "TooLarge", f"The output has {size(end.output):,} bytes; status holds at most {MAX_OUTPUT:,}."
    if end.output is not None:
        status["output"] = end.output
    return None


def _settled(tasks: list[Json], end: End) -> list[Json]:
    """No task of an ended run is still running: what the end interrupted ended with it."""
    if end.phase == "Completed":
        return [dict(task, status="Completed") if task["status"] == "Running" else task for task in tasks]
    return [
        dict(task, status="Failed", completionTime=to_text(end.time)) if task["status"] == "Running" else task for task in tasks
    ]


def _error_line(error: Json) -> str:
    parts = [error.get("title") or error.get("type", "error")]
    if error.get("detail"):
        parts.append(error["detail"])
    line = ": ".join(parts)
    return f"{line} (at {error['instance']})" if error.get("instance") else line


def desired_of(o: Observed) -> Desired:
    """What the spec asks for now."""
    return desired_from(o.resource)


def desired_from(resource: Json) -> Desired:
    """What a resource's spec asks for: cancel before pause before run. One being deleted is being cancelled."""
    metadata, spec = resource["metadata"], resource["spec"]
    control = (resource.get("status") or {}).get("control")
    state: Literal["Run", "Pause", "Cancel"] = "Run"
    reason = ""
    if metadata.get("deletionTimestamp"):
        state, reason = "Cancel", "the WorkflowExecution is being deleted"
    elif asks_for_another_run(resource):
        state, reason = "Cancel", "spec.runId asks for another run"
    elif spec.get("cancelled"):
        state, reason = "Cancel", (spec.get("cancellation") or {}).get("reason") or "spec.cancelled is true"
    elif spec.get("paused"):
        state, reason = "Pause", "spec.paused is true"
    generation = int(metadata.get("generation", 0))
    if control and control["desired"] == state:
        generation = control["observedGeneration"]
    return Desired(state=state, reason=reason, generation=generation)


def asks_for_another_run(resource: Json) -> bool:
    """Whether status tells of another run than the one that spec.runId asks for."""
    status = resource.get("status") or {}
    return bool(status.get("phase")) and (status.get("runId") or "") != (resource["spec"].get("runId") or "")


def requested_at(o: Observed) -> datetime:
    """When the operator first saw the request that holds now."""
    if o.metadata.get("deletionTimestamp"):
        return from_text(o.metadata["deletionTimestamp"])
    control = o.status.get("control")
    return from_text(control["requestTime"]) if control and control["desired"] == desired_of(o).state else o.now


def _with_control(o: Observed, status: Json) -> Json:
    desired = desired_of(o)
    old = o.status.get("control")
    if old is None and desired.state == "Run":
        return status
    control: Json = {
        "observedGeneration": desired.generation,
        "desired": desired.state,
        "requestTime": old["requestTime"] if old and old["desired"] == desired.state else to_text(o.now),
    }
    result, reason = _control_result(o, desired, status["phase"])
    if old and old["desired"] == desired.state and old["result"] in ("Applied", "Refused") and result == "Pending":
        result, reason = old["result"], old.get("reason", "")
    control["result"] = result
    if reason or desired.reason:
        control["reason"] = (reason or desired.reason)[:1024]
    status["control"] = control
    return status


def _control_result(o: Observed, desired: Desired, phase: str) -> tuple[str, str]:
    if phase in ("Completed", "Failed", "Cancelled"):
        if desired.state == "Cancel" and phase != "Cancelled":
            return "Refused", f"the run had ended as {phase} before"
        if desired.state == "Pause":
            return "Refused", f"the run ended as {phase}"
        return "Applied", ""
    wanted_phase = {"Pause": "Paused", "Run": "Running"}.get(desired.state)
    if wanted_phase == phase:
        return "Applied", ""
    answer = o.live.answer if o.live else None
    if answer is not None and answer.generation >= desired.generation and answer.result != "Applied":
        return answer.result, answer.reason
    return "Pending", ""
