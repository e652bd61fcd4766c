"""How a run ended, as its Job and pod tell it: the second way home of a terminal state. Called by execution.py.

The first way is the pod's last event. This one reads the container's termination message, then its exit
code, then the Job's condition (docs/sink-protocol.md).
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from workflow_runner.launchers.job import CONTAINER
from workflow_runner.reconcile.bounds import bounded_error
from workflow_runner.reconcile.live import MAX_JUMP, End
from workflow_runner.reconcile.timestamps import from_text

Json = dict[str, Any]

RUNTIME_ERROR = "https://serverlessworkflow.io/spec/1.0.0/errors/runtime"
_PHASES = ("Completed", "Failed", "Cancelled")


def job_end(job: Json | None, pod: Json | None, now: datetime) -> End | None:
    """The end that Job and pod show, or None while the run may go on.

    A container that left a termination message, or with one of our exit codes, has ended the run; any other
    end of a container is the Job controller's to judge (a drained node's pod is replaced), so its verdict is
    waited for.
    """
    terminated = _terminated(pod)
    if terminated is not None:
        message = _message(terminated)
        if message is not None:
            return _from_message(message, terminated, now)
    failed = _condition(job, "Failed")
    complete = _condition(job, "Complete")
    if failed is None and complete is None:
        if terminated is not None and terminated.get("exitCode") in (0, 1, 2, 3):
            return _from_exit(terminated, now)
        return None
    if terminated is not None:
        return _from_exit(terminated, now)
    if complete is not None:
        return End("Completed", _transition(complete, now), output_known=False)
    assert failed is not None  # noqa: S101 - one of the two is there; says so to the type checker
    detail = f"{failed.get('reason', 'Failed')}: {failed.get('message', '')}".strip(": ")
    if pod is None:
        detail = f"somebody deleted it, or its node went away; the Job says {detail}"
        return _failed(_transition(failed, now), "The run's pod is gone", detail, "run.pod-lost")
    return _failed(_transition(failed, now), "The Job failed", detail, "run.job-failed")


def job_missing(now: datetime) -> End:
    """The end of a run whose Job somebody removed."""
    return _failed(now, "The Job of the run was deleted", "somebody removed it while the run was live", "run.job-deleted")


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


def _from_exit(terminated: Json, now: datetime) -> End:
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
    titles = {1: "The workflow failed", 2: "The document or input was refused", 70: "Internal error of the runner"}
    title = titles.get(code or 0, "The run's pod ended unexpectedly")
    return _failed(time, title, f"{said}: {last_words}" if last_words else said, "run.pod-failed")


def _failed(time: datetime, title: str, detail: str, code: str) -> End:
    error = bounded_error({"type": RUNTIME_ERROR, "status": 500, "title": title, "detail": detail, "code": code})
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
