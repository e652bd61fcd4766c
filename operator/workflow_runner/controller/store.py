"""What the watches have seen: the newest version of each object the operator cares for.

Filled by handlers, read by the reconciler. Objects are kept without managedFields.
"""

from __future__ import annotations

from typing import Any

from workflow_runner.crd import group
from workflow_runner.crd.execution import TERMINAL_PHASES

Json = dict[str, Any]


class Store:
    """Executions by uid; runners by name; Jobs and pods by the execution they belong to."""

    def __init__(self) -> None:
        self.executions: dict[str, Json] = {}
        self.runners: dict[tuple[str, str], Json] = {}
        self._jobs: dict[str, dict[str, Json]] = {}
        self._pods: dict[str, dict[str, Json]] = {}

    def see_execution(self, resource: Json, *, deleted: bool) -> None:
        """Takes in an execution, unless a newer one is known (our own writes come back late)."""
        uid = resource["metadata"]["uid"]
        if deleted:
            self.executions.pop(uid, None)
            return
        known = self.executions.get(uid)
        if known is None or _version(known) <= _version(resource):
            self.executions[uid] = _slim(resource)

    def has_ended(self, uid: str) -> bool:
        """Whether an execution's status is a terminal one."""
        status = self.executions.get(uid, {}).get("status") or {}
        return status.get("phase") in TERMINAL_PHASES

    def see_runner(self, resource: Json, *, deleted: bool) -> None:
        """Takes in a runner."""
        key = (resource["metadata"]["namespace"], resource["metadata"]["name"])
        if deleted:
            self.runners.pop(key, None)
        else:
            self.runners[key] = _slim(resource)

    def see_job(self, resource: Json, *, deleted: bool) -> str | None:
        """Takes in a Job; the uid of its execution."""
        return _keep(self._jobs, resource, deleted)

    def see_pod(self, resource: Json, *, deleted: bool) -> str | None:
        """Takes in a pod; the uid of its execution."""
        return _keep(self._pods, resource, deleted)

    def job(self, execution_uid: str, name: str) -> Json | None:
        """The execution's Job of that name."""
        return self._jobs.get(execution_uid, {}).get(name)

    def newest_pod(self, execution_uid: str, job: str) -> Json | None:
        """The pod that the Job made last."""
        pods = [
            pod
            for pod in self._pods.get(execution_uid, {}).values()
            if any(
                owner.get("kind") == "Job" and owner.get("name") == job for owner in pod["metadata"].get("ownerReferences", [])
            )
        ]
        return max(pods, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]), default=None)

    def pod_by_uid(self, uid: str) -> Json | None:
        """A pod of any execution by its own uid."""
        for pods in self._pods.values():
            for pod in pods.values():
                if pod["metadata"]["uid"] == uid:
                    return pod
        return None

    def executions_for_runner(self, name: str) -> list[str]:
        """Uids of executions that name a runner so, wherever it is."""
        return [
            uid
            for uid, resource in self.executions.items()
            if ((resource.get("spec") or {}).get("runnerRef") or {}).get("name", group.DEFAULT_RUNNER) == name
        ]


def _keep(kept: dict[str, dict[str, Json]], resource: Json, deleted: bool) -> str | None:
    metadata = resource["metadata"]
    uid: str | None = (metadata.get("labels") or {}).get(group.LABEL_EXECUTION_UID)
    if uid is None:
        return None
    family = kept.setdefault(uid, {})
    if deleted:
        family.pop(metadata["name"], None)
        if not family:
            del kept[uid]
    else:
        family[metadata["name"]] = _slim(resource)
    return uid


def _slim(resource: Json) -> Json:
    metadata = {key: value for key, value in resource["metadata"].items() if key != "managedFields"}
    result = {**resource, "metadata": metadata}
    if resource.get("kind") == "Job":
        result["spec"] = {key: value for key, value in resource["spec"].items() if key in ("suspend", "backoffLimit")}
    elif resource.get("kind") == "Pod":
        metadata.pop("annotations", None)
        result["spec"] = {"nodeName": resource["spec"].get("nodeName")}
    return result


def _version(resource: Json) -> int:
    version = resource["metadata"].get("resourceVersion", "0")
    return int(version) if version.isdigit() else 0
