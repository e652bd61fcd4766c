"""What a status may hold, held to: nothing that a workflow says may keep its end from being recorded.

Called by taskbook, live, job_end and status; `fitted` by execution.py
for every status it composes, before it is compared with the one that is there.
The limits are the CRD's (crd/execution.py) and, for the whole, etcd's 1.5 MiB less the spec's share.
"""

from __future__ import annotations

import json
import math
from typing import Any

Json = dict[str, Any]

MAX_NAME, MAX_REFERENCE, MAX_ITERATION, MAX_KIND = 1024, 4096, 1024, 64
MAX_DETAIL = 8192
MAX_TASK_DETAIL = 512
MAX_STATUS = 384 * 1024
MAX_DEPTH = 100
_INT32 = 2**31 - 1


def bounded_error(error: Json, *, detail: int = MAX_DETAIL) -> Json:
    """An RFC 7807 error as status.error takes it, whatever `error` holds; always with type and status."""
    status = error.get("status")
    result: Json = {
        "type": _text(error.get("type"), 2048) or "about:blank",
        "status": status if isinstance(status, int) and 0 <= status <= _INT32 else 500,
    }
    for key, limit in (("title", min(detail, 4096)), ("detail", detail), ("instance", 4096), ("code", 256)):
        text = _text(error.get(key), limit)
        if text:
            result[key] = text
    return result


def _text(value: Any, limit: int) -> str:
    text = value if isinstance(value, str) else ""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def representable(value: Any, depth: int = 0) -> bool:
    """Whether the API server can keep the value: not nested too deeply, numbers that it can read, real text."""
    if isinstance(value, dict):
        return depth < MAX_DEPTH and all(_is_text(key) and representable(item, depth + 1) for key, item in value.items())
    if isinstance(value, list):
        return depth < MAX_DEPTH and all(representable(item, depth + 1) for item in value)
    if isinstance(value, str):
        return _is_text(value)
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) < 10**300


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def fitted(status: Json) -> Json:
    """The status, made small enough to be kept: what is least missed goes first, the output last."""
    for shorten in (_without_owed_errors, _without_task_errors, _without_tasks, _without_owed_tasks, _without_output):
        if size(status) <= MAX_STATUS:
            return status
        status = shorten(status)
    return status


def size(value: Any) -> int:
    """Bytes of JSON."""
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def minimal(status: Json) -> Json:
    """What must be recorded of a status that the API server refuses: how it stands, and nothing that a document wrote."""
    kept = (
        "phase",
        "observedGeneration",
        "runId",
        "executionId",
        "attempt",
        "launches",
        "failures",
        "jobName",
        "podName",
        "suspended",
        "specDigest",
        "runner",
        "temporalWorkflowId",
        "termination",
        "startTime",
        "completionTime",
        "control",
    )
    result = {key: status[key] for key in kept if key in status}
    result["conditions"] = [
        {**condition, "message": _text(condition["message"], 200)} for condition in status.get("conditions", [])
    ]
    callback = status.get("callback") or {}
    result["callback"] = {key: value for key, value in callback.items() if key not in ("owed", "lastError")}
    if status.get("error"):
        result["error"] = bounded_error(
            {"type": "about:blank", "status": status["error"].get("status"), "title": "see the run's log"}
        )
    return result


def _without_owed_errors(status: Json) -> Json:
    callback = dict(status.get("callback") or {})
    callback["owed"] = [{key: value for key, value in event.items() if key != "error"} for event in callback.get("owed", [])]
    return {**status, "callback": callback}


def _without_owed_tasks(status: Json) -> Json:
    callback = dict(status.get("callback") or {})
    callback["owed"] = [event for event in callback.get("owed", []) if event["type"] != "task_failed"]
    return {**status, "callback": callback}


def _without_task_errors(status: Json) -> Json:
    return {
        **status,
        "tasks": [{key: value for key, value in task.items() if key != "error"} for task in status.get("tasks", [])],
    }


def _without_tasks(status: Json) -> Json:
    return {**status, "tasks": []}


def _without_output(status: Json) -> Json:
    return {key: value for key, value in status.items() if key != "output"}
