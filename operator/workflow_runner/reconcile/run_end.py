"""How a run ended, as its Job or pod tells it: the second way home of a terminal state. Called by following.py.

The first way is the pod's last event. This one reads the container's termination message, then its exit
code, then the Job's condition (docs/sink-protocol.md). What ends without a word of the run is `Lost`: it may be
launched again.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from workflow_runner.dsl.problems import RUNTIME, TIMEOUT
from workflow_runner.launchers.run import CONTAINER, NO_TEMPORAL
from workflow_runner.reconcile.bounds import bounded_error
from workflow_runner.reconcile.live import MAX_JUMP, End
from workflow_runner.reconcile.timestamps import from_text

Json = dict[str, Any]

_PHASES = ("Completed", "Failed", "Cancelled")


class Lost(Struct, frozen=True):
    """The workload is gone, or its container ended without a word of the run. `end` is the run's end if it is not
    launched again; `counts` is False where that was nobody's fault (a drained node), so that it costs no retry. `waits`: the
    pod could not begin, since Temporal did not let it, and there will be another one after a while."""

    end: End
    counts: bool = True
    waits: bool = False


def run_end(mode: str, job: Json | None, pod: Json | None, now: datetime) -> End | Lost | None:
    """The end that the workload shows, or None while the run may go on."""
    if mode == "Pod":
        return Lost(_pod_gone(now)) if pod is None else pod_end(pod, now)
    return Lost(_job_gone(now)) if job is None else job_end(job, pod, now)


def job_end(job: Json, pod: Json | None, now: datetime) -> End | None:
    """The end that Job and pod show, or None while the run may go on.

    A container that left a termination message, or with one of our exit codes, has ended the run; any other
    end of a container is the Job controller's to judge (a drained node's pod is replaced), so its verdict is
    waited for.
    """
    own_word = _own_word(pod, now)
    if own_word is not None:
        return own_word
    failed, complete = _condition(job, "Failed"), _condition(job, "Complete")
    terminated = _terminated(pod)
    if failed is None and complete is None:
        return None
    if terminated is not None and not _is_interrupted(pod, terminated):
        return _from_exit(terminated, now, disrupted=pod is not None and _disrupted(pod))
    if complete is not None:
        return End("Completed", _transition(complete, now), output_known=False)
    assert failed is not None  # noqa: S101 - one of the two is there; says so to the type checker
    detail = f"{failed.get('reason', 'Failed')}: {failed.get('message', '')}".strip(": ")
    if pod is None or terminated is not None:
        detail = f"somebody deleted it, or its node went away; the Job says {detail}"
        return _failed(_transition(failed, now), "The run's pod is gone", detail, "run.pod-lost")
    return _failed(_transition(failed, now), "The Job failed", detail, "run.job-failed")


def pod_end(pod: Json, now: datetime) -> End | Lost | None:
    """The same for a bare pod, where the operator itself judges what the container's end means."""
    own_word = _own_word(pod, now)
    if own_word is not None:
        return own_word
    terminated = _terminated(pod)
    if terminated is not None and terminated.get("exitCode") == NO_TEMPORAL:
        return Lost(_from_exit(terminated, now), counts=False, waits=True)
    if terminated is not None:
        end = _pod_gone(now) if _is_interrupted(pod, terminated) else _from_exit(terminated, now, disrupted=_disrupted(pod))
        return Lost(end, counts=not _disrupted(pod))
    status = pod.get("status") or {}
    if status.get("phase") not in ("Failed", "Succeeded"):
        return None
    said = f"{status.get('reason') or status['phase']}: {status.get('message') or 'its container never ran'}"
    return Lost(_failed(now, "The run's pod ended unexpectedly", said, "run.pod-failed"), counts=not _disrupted(pod))


def timed_out(now: datetime, timeout: str) -> End:
    """The end of a run that outlasts its time and does not end by itself."""
    detail = f"it has taken longer than spec.timeout ({timeout}), paused time not counted"
    return _failed(now, "The run took too long", detail, "run.timeout", kind=TIMEOUT, status=408)


def input_changed(now: datetime) -> End:
    """The end of a run that cannot be launched again, since what it is made from is another by now."""
    detail = (
        "the run was to be launched again, but the ConfigMap that its document or input came from has changed since; "
        "give spec.runId a new value to run with what it holds now"
    )
    return _failed(now, "The run's input has changed", detail, "run.input-changed")


def _job_gone(now: datetime) -> End:
    return _failed(now, "The Job of the run was deleted", "somebody removed it while the run was live", "run.job-deleted")


def _pod_gone(now: datetime) -> End:
    return _failed(now, "The run's pod is gone", "somebody deleted it, or its node went away", "run.pod-lost")


def _own_word(pod: Json | None, now: datetime) -> End | None:
    terminated = _terminated(pod)
    if terminated is None:
        return None
    message = _message(terminated)
    if message is not None:
        return replace(_from_message(message, terminated, now), told=True)
    return replace(_from_exit(terminated, now), told=True) if terminated.get("exitCode") in (0, 1, 2, 3) else None


def _is_interrupted(pod: Json | None, terminated: Json) -> bool:
    """Whether the container ended because its pod was deleted: the exit code then tells of that only."""
    return "deletionTimestamp" in (pod or {}).get("metadata", {}) and terminated.get("reason") != "OOMKilled"


def _disrupted(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(item.get("type") == "DisruptionTarget" and item.get("status") == "True" for item in conditions)


def _terminated(pod: Json | None) -> Json | None:
    for status in ((pod or {}).get("status") or {}).get("containerStatuses") or []:
        if status.get("name") == CONTAINER:
            value: Json | None = (status.get("state") or {}).get("terminated")
            return value
    return None


def _message(terminated: Json) -> Json | None:
    try:
        message = json.loads(terminated.get("message") or "")
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) and message.get("phase") in _PHASES else None


def _from_message(message: Json, terminated: Json, now: datetime) -> End:
    error, last = message.get("error"), message.get("lastSequence")
    return End(
        phase=message["phase"],
        time=_finished_at(terminated, now),
        message=str(message.get("message") or "")[:1024],
        error=bounded_error(error) if isinstance(error, dict) else None,
        output=message.get("output"),
        output_known=message["phase"] != "Completed" or "output" in message,
        sequence=last if isinstance(last, int) and 0 < last < MAX_JUMP else 0,
        start=from_text(terminated["startedAt"]) if terminated.get("startedAt") else None,
    )


_KILLED = 128 + 9
"""How a container ends by SIGKILL."""


def _from_exit(terminated: Json, now: datetime, *, disrupted: bool = False) -> End:
    code, reason = terminated.get("exitCode"), terminated.get("reason") or ""
    time = _finished_at(terminated, now)
    if code == 0:
        return End("Completed", time, output_known=False)
    if code == 3:
        return End("Cancelled", time)
    said = f"exit code {code}" + (f", {reason}" if reason and reason != "Error" else "")
    last_words = str(terminated.get("message") or "").strip()[-500:]
    if reason == "OOMKilled":
        return _failed(time, "The run was killed: out of memory", f"{said}; give the pod more memory", "run.out-of-memory")
    if code == _KILLED and not disrupted:
        # The node that has much to do at that moment misses why, and nobody else kills what is in a pod that stays.
        detail = f"{said}: killed, most likely because its memory was used up; give the pod more memory"
        return _failed(time, "The run was killed", detail, "run.out-of-memory")
    titles = {
        1: "The workflow failed",
        2: "The document or input was refused",
        70: "Internal error of the runner",
        NO_TEMPORAL: "Temporal could not be used",
    }
    title = titles.get(code or 0, "The run's pod ended unexpectedly")
    return _failed(time, title, f"{said}: {last_words}" if last_words else said, "run.pod-failed")


def _failed(time: datetime, title: str, detail: str, code: str, *, kind: str = RUNTIME, status: int = 500) -> End:
    error = bounded_error({"type": kind, "status": status, "title": title, "detail": detail, "code": code})
    return End("Failed", time, message=f"{title}: {detail}", error=error)


def _condition(job: Json | None, kind: str) -> Json | None:
    for condition in ((job or {}).get("status") or {}).get("conditions") or []:
        if condition.get("type") == kind and condition.get("status") == "True":
            value: Json = condition
            return value
    return None


def _finished_at(terminated: Json, now: datetime) -> datetime:
    return from_text(terminated["finishedAt"]) if terminated.get("finishedAt") else now


def _transition(condition: Json, now: datetime) -> datetime:
    return from_text(condition["lastTransitionTime"]) if condition.get("lastTransitionTime") else now
