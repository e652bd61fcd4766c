"""What the watches have seen: the newest version of each object the operator cares for.

Filled by handlers, read by the reconciler. Objects are kept without managedFields.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

from workflow_runner.crd import group
from workflow_runner.crd.execution import TERMINAL_PHASES

Json = dict[str, Any]
Family = tuple[str, str]
"""(namespace, uid of the execution that the label names)"""

Kind = Literal["execution", "runner", "job", "pod"]

GONE_KEPT = 10_000


class Store:
    """Executions by uid; runners by name; Jobs and pods by the execution that their label names."""

    def __init__(self) -> None:
        self.executions: dict[str, Json] = {}
        self.runners: dict[tuple[str, str], Json] = {}
        self._jobs: dict[Family, dict[str, Json]] = {}
        self._pods: dict[Family, dict[str, Json]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self.moved: Callable[[Json, Json], None] = lambda before, after: None
        """Told of every later version of an execution, with the one known before."""
        self.gone: Callable[[str], None] = lambda uid: None
        """Told of every execution that is there no more."""

    def see_execution(self, resource: Json, *, deleted: bool) -> None:
        """Takes in an execution, unless a newer one is known (our own writes come back late)."""
        uid = resource["metadata"]["uid"]
        if deleted:
            self.executions.pop(uid, None)
            self.gone(uid)
            self._gone[uid] = None
            while len(self._gone) > GONE_KEPT:
                self._gone.popitem(last=False)
            return
        if uid in self._gone:
            return  # the answer to a write of ours that came after the news of the deletion
        known = self.executions.get(uid)
        if known is None or _version(known) <= _version(resource):
            self.executions[uid] = _slim(resource)
            if known is not None:
                self.moved(known, resource)

    def relist(self, kind: Kind, items: list[Json], version: str) -> None:
        """Takes in all objects of a kind as they were at a resourceVersion; what is older and not among them is gone."""
        see = {"execution": self.see_execution, "runner": self.see_runner, "job": self.see_job, "pod": self.see_pod}[kind]
        listed = {item["metadata"]["uid"] for item in items}
        for known in self._all(kind):
            if known["metadata"]["uid"] not in listed and _version(known) <= _number(version):
                see(known, deleted=True)
        for item in items:
            see(item, deleted=False)

    def _all(self, kind: Kind) -> list[Json]:
        if kind == "execution":
            return list(self.executions.values())
        if kind == "runner":
            return list(self.runners.values())
        families = self._jobs if kind == "job" else self._pods
        return [item for family in families.values() for item in family.values()]

    def has_ended(self, uid: str) -> bool:
        """Whether an execution's status is a terminal one."""
        status = self.executions.get(uid, {}).get("status") or {}
        return status.get("phase") in TERMINAL_PHASES

    def launched(self) -> list[str]:
        """The executions whose pods have begun to run, as far as their status says, and have not ended."""
        statuses = ((uid, execution.get("status") or {}) for uid, execution in self.executions.items())
        return [
            uid
            for uid, status in statuses
            if status.get("startTime") and "submitTime" not in status and not self.has_ended(uid)
        ]

    def see_runner(self, resource: Json, *, deleted: bool) -> bool:
        """Takes in a runner; whether that may mean something to its executions, which its status does not."""
        key = (resource["metadata"]["namespace"], resource["metadata"]["name"])
        before = self.runners.get(key)
        changed = deleted or before is None or _stands(before) != _stands(resource)
        if deleted:
            self.runners.pop(key, None)
        else:
            self.runners[key] = _slim(resource)
        return changed

    def runner_of(self, execution: Json, operator_namespace: str) -> Json | None:
        """The runner that an execution names: in the namespace it names, else its own, else the operator's."""
        ref = (execution.get("spec") or {}).get("runnerRef") or {}
        name = ref.get("name", group.DEFAULT_RUNNER)
        named = ref.get("namespace")
        for namespace in [named] if named else [execution["metadata"]["namespace"], operator_namespace]:
            found = self.runners.get((namespace, name))
            if found is not None and not found["metadata"].get("deletionTimestamp"):
                return found
        return None

    def see_job(self, resource: Json, *, deleted: bool) -> str | None:
        """Takes in a Job; the uid of its execution."""
        return _keep(self._jobs, resource, deleted)

    def see_pod(self, resource: Json, *, deleted: bool) -> str | None:
        """Takes in a pod; the uid of its execution."""
        return _keep(self._pods, resource, deleted)

    def job(self, execution: Json, name: str) -> Json | None:
        """The execution's own Job of that name: labels are anybody's to write, an owner's uid in its namespace is not."""
        metadata = execution["metadata"]
        job = self._jobs.get((metadata["namespace"], metadata["uid"]), {}).get(name)
        return job if job is not None and is_controlled_by(job, metadata["uid"]) else None

    def termination_job(self, execution: Json, name: str) -> Json | None:
        """The Job of that name that ends what the execution has left open in Temporal; nobody owns it where the execution was
        being deleted."""
        metadata = execution["metadata"]
        job = self._jobs.get((metadata["namespace"], metadata["uid"]), {}).get(name)
        if job is None or (job["metadata"].get("ownerReferences") and not is_controlled_by(job, metadata["uid"])):
            return None
        return job

    def newest_pod(self, execution: Json, job: Json | None) -> Json | None:
        """The pod that this Job made last."""
        if job is None:
            return None
        metadata = execution["metadata"]
        pods = self._pods.get((metadata["namespace"], metadata["uid"]), {}).values()
        own = [pod for pod in pods if is_controlled_by(pod, job["metadata"]["uid"])]
        return max(own, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]), default=None)

    def pod_left_by(self, execution: Json, job_name: str) -> Json | None:
        """The newest pod of a Job that is gone, or was told to go: known by its label, since nothing else names it."""
        metadata = execution["metadata"]
        pods = self._pods.get((metadata["namespace"], metadata["uid"]), {}).values()
        left = [pod for pod in pods if pod["metadata"]["labels"].get(group.LABEL_JOB_NAME) == job_name]
        return max(left, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]), default=None)

    def own_pod(self, execution: Json, name: str) -> Json | None:
        """The bare pod of that name that the operator made for the execution."""
        metadata = execution["metadata"]
        pod = self._pods.get((metadata["namespace"], metadata["uid"]), {}).get(name)
        return pod if pod is not None and is_controlled_by(pod, metadata["uid"]) else None

    def newest_pod_of(self, execution_uid: str) -> Json | None:
        """The newest pod of an execution's run, by the execution's uid."""
        execution = self.executions.get(execution_uid)
        if execution is None:
            return None
        status = execution.get("status") or {}
        if "jobName" in status:
            return self.newest_pod(execution, self.job(execution, status["jobName"]))
        return self.own_pod(execution, status.get("podName", ""))

    def pool_pods(self, namespace: str, runner_uid: str) -> list[Json]:
        """The pods that say that they are of a runner's pool."""
        return list(self._pods.get((namespace, runner_uid), {}).values())

    def workloads(self, execution: Json) -> list[tuple[str, str]]:
        """(kind, name) of every Job and bare pod that belongs to the execution; but a Job that ends what is left open in
        Temporal, which may have to go on, and removes itself."""
        metadata = execution["metadata"]
        place = (metadata["namespace"], metadata["uid"])
        found = [("Job", job) for job in self._jobs.get(place, {}).values()]
        found += [("Pod", pod) for pod in self._pods.get(place, {}).values()]
        return [
            (kind, item["metadata"]["name"])
            for kind, item in found
            if is_controlled_by(item, metadata["uid"]) and not _terminates(item)
        ]

    def known_pod(self, namespace: str, uid: str) -> Json | None:
        """A pod of any execution by its own uid."""
        for (where, _), pods in self._pods.items():
            for pod in pods.values():
                if where == namespace and pod["metadata"]["uid"] == uid:
                    return pod
        return None

    def known_job(self, namespace: str, uid: str) -> Json | None:
        """A Job of any execution by its own uid."""
        for (where, _), jobs in self._jobs.items():
            for job in jobs.values():
                if where == namespace and job["metadata"]["uid"] == uid:
                    return job
        return None

    def namespace_of(self, execution_uid: str) -> str | None:
        """Where an execution is; None for one that is not known."""
        resource = self.executions.get(execution_uid)
        return None if resource is None else str(resource["metadata"]["namespace"])

    def executions_for_runner(self, name: str) -> list[str]:
        """Uids of executions that name a runner so, wherever it is."""
        return [
            uid
            for uid, resource in self.executions.items()
            if ((resource.get("spec") or {}).get("runnerRef") or {}).get("name", group.DEFAULT_RUNNER) == name
        ]


def _stands(runner: Json) -> tuple[Any, ...]:
    metadata = runner["metadata"]
    return metadata.get("uid"), metadata.get("generation"), metadata.get("deletionTimestamp"), runner.get("spec")


def is_controlled_by(resource: Json, uid: str) -> bool:
    """Whether the object's controller is the one with this uid."""
    return any(owner.get("controller") and owner.get("uid") == uid for owner in resource["metadata"].get("ownerReferences", []))


def _terminates(item: Json) -> bool:
    return (item["metadata"].get("labels") or {}).get(group.NAME_LABEL) == group.TERMINATION


def _keep(kept: dict[Family, dict[str, Json]], resource: Json, deleted: bool) -> str | None:
    metadata = resource["metadata"]
    labels = metadata.get("labels") or {}
    # Both are uids, and nobody has that of somebody else.
    uid: str | None = labels.get(group.LABEL_EXECUTION_UID) or labels.get(group.LABEL_POOL)
    if uid is None:
        return None
    place = (metadata["namespace"], uid)
    family = kept.setdefault(place, {})
    if deleted:
        family.pop(metadata["name"], None)
        if not family:
            del kept[place]
    elif metadata["name"] not in family or _version(family[metadata["name"]]) <= _version(resource):
        family[metadata["name"]] = _slim(resource)
    return uid


def _slim(resource: Json) -> Json:
    metadata = {key: value for key, value in resource["metadata"].items() if key != "managedFields"}
    result = {**resource, "metadata": metadata}
    if resource.get("kind") == group.EXECUTION_KIND and _is_settled(resource):
        # What it ran is not needed any more, and there may be thousands of these.
        metadata.pop("annotations", None)
        result["spec"] = {**resource["spec"], "workflow": {}, "input": None}
    elif resource.get("kind") == "Job":
        result["spec"] = {key: value for key, value in resource["spec"].items() if key in ("suspend", "backoffLimit")}
    elif resource.get("kind") == "Pod":
        metadata.pop("annotations", None)
        result["spec"] = {"nodeName": resource["spec"].get("nodeName")}
    return result


def _is_settled(execution: Json) -> bool:
    """Whether an execution's run has ended and nothing of its spec has still to be looked at."""
    status = execution.get("status") or {}
    return (
        status.get("phase") in TERMINAL_PHASES
        and status.get("observedGeneration") == execution["metadata"].get("generation")
        and (status.get("runId") or "") == (execution["spec"].get("runId") or "")
    )


def _version(resource: Json) -> int:
    return _number(resource["metadata"].get("resourceVersion", "0"))


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0
