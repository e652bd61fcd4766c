"""Why a run does not start, as its pod, the Job controller or the API server tells it. Called by the policies."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

HOPELESS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
}
"""Waiting reasons of a container that will not go away by themselves: somebody has to mend something."""

_SIGNS = (
    ("exceeded quota", "QuotaExceeded"),
    ("is being terminated", "NamespaceTerminating"),
    ("error looking up service account", "ServiceAccountNotFound"),
    ("denied the request", "AdmissionDenied"),
    ("violates PodSecurity", "AdmissionDenied"),
    ("is forbidden", "AdmissionDenied"),
    ("is invalid:", "ManifestRejected"),
)
"""What the API server's own messages hold, the most telling first."""


def trouble(pod: Json | None) -> tuple[str, str] | None:
    """(reason, message) of what keeps the pod from starting; None while nothing does."""
    status = (pod or {}).get("status") or {}
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in HOPELESS:
            detail = str(waiting.get("message") or "")[:500]
            return waiting["reason"], f"The pod cannot start: {waiting['reason']}" + (f": {detail}" if detail else "")
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return "Unschedulable", f"The pod has no node yet: {str(condition.get('message') or '')[:500]}"
    return None


def refusal(message: str, what: str) -> tuple[str, str]:
    """(reason, message) for what the API server said when `what` (a Job, a pod) was to be made."""
    reason = next((reason for sign, reason in _SIGNS if sign in message), "LaunchFailed")
    return reason, f"The {what} cannot be created: {message[:1000]}"
