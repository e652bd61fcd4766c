"""Why a pod does not start, as its status tells it. Called by execution.follow for a run that is still Pending."""

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
