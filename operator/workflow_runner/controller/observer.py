"""Looks at one execution and all that belongs to it: the first third of a reconcile. Called by reconciler.py.

What the watches have seen is believed, but where a decision hangs on something not being there, the API
server is asked: watches lag, and miss what happened while they were down.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic import ValidationError

from workflow_runner.cluster import Cluster, NotFound
from workflow_runner.controller.runs import Runs
from workflow_runner.controller.store import Store, is_controlled_by
from workflow_runner.controller.validation import Validator, payload_of
from workflow_runner.crd import group
from workflow_runner.crd.execution import TERMINAL_PHASES, WorkflowExecutionSpec
from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.launchers.job import LaunchSettings
from workflow_runner.reconcile.observed import Accepted, Observed, Refused, Runner

Json = dict[str, Any]

MAX_CHECKS_KEPT = 256
STATUS_SECONDS = 1.0
STATUS_WRITES_PER_SECOND = 25.0
"""All running executions together; the more of them, the longer each waits between progress writes."""

log = structlog.get_logger(__name__)


class Observer:
    """Makes `Observed`. Documents are checked in the background; `again(uid, 0)` is called when one has been."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        runs: Runs,
        validator: Validator,
        launch: LaunchSettings,
        namespace: str,
        again: Callable[[str, float], None],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._runs = runs
        self._validator = validator
        self._launch = launch
        self._namespace = namespace
        self._again = again
        self._checks: OrderedDict[tuple[str, int], Accepted | Refused] = OrderedDict()
        self._checking: dict[tuple[str, int], asyncio.Task[None]] = {}

    async def observe(self, resource: Json, *, launch_error: str | None, seconds_since_write: float | None) -> Observed:
        """Everything `plan` looks at. Raises ClusterError where the API server had to be asked and did not answer."""
        uid = resource["metadata"]["uid"]
        spec = WorkflowExecutionSpec.model_validate(resource["spec"])
        job = await self._job(resource)
        return Observed(
            now=datetime.now(UTC),
            resource=resource,
            spec=spec,
            runner=self._runner(resource, spec),
            checked=self._checked(resource) if _wants_check(resource, spec, job) else None,
            job=job,
            pod=await self._pod(resource, spec, job),
            live=self._runs.get(uid),
            delivery=self._runs.delivery(uid),
            launch=self._launch,
            launch_error=launch_error,
            seconds_since_write=seconds_since_write,
            status_interval=max(STATUS_SECONDS, len(self._runs) / STATUS_WRITES_PER_SECOND),
        )

    async def close(self) -> None:
        """Gives up checks under way."""
        for task in self._checking.values():
            task.cancel()
        await asyncio.gather(*self._checking.values(), return_exceptions=True)

    def _runner(self, resource: Json, spec: WorkflowExecutionSpec) -> Runner | None:
        ref = spec.runner_ref
        own = resource["metadata"]["namespace"]
        for namespace in [ref.namespace] if ref.namespace else [own, self._namespace]:
            found = self._store.runners.get((namespace, ref.name))
            if found is None or found["metadata"].get("deletionTimestamp"):
                continue
            metadata = found["metadata"]
            try:
                runner_spec = WorkflowRunnerSpec.model_validate(found.get("spec") or {})
            except ValidationError as error:
                log.warning("a WorkflowRunner cannot be read", runner=f"{namespace}/{ref.name}", error=str(error))
                continue
            return Runner(ref.name, namespace, metadata["uid"], metadata.get("generation", 0), runner_spec)
        return None

    async def _job(self, resource: Json) -> Json | None:
        status = resource.get("status") or {}
        name = status.get("jobName")
        if not name:
            return None
        metadata = resource["metadata"]
        job = self._store.job(resource, name)
        if job is None and status.get("phase") not in TERMINAL_PHASES:
            try:
                job = await self._cluster.get_job(metadata["namespace"], name)
            except NotFound:
                return None
            self._store.see_job(job, deleted=False)
        if job is None or job["metadata"].get("deletionTimestamp") or not is_controlled_by(job, metadata["uid"]):
            return None
        return job

    async def _pod(self, resource: Json, spec: WorkflowExecutionSpec, job: Json | None) -> Json | None:
        """The Job's newest pod. It is asked for where the Job has a verdict, or somebody is to be told to stop, and
        the watch has not shown a pod that fits that."""
        pod = self._store.newest_pod(resource, job)
        if job is None or (resource.get("status") or {}).get("phase") in TERMINAL_PHASES:
            return pod
        stopping = spec.cancelled or resource["metadata"].get("deletionTimestamp")
        if not (_has_verdict(job) and not _has_terminated(pod)) and not (stopping and pod is None):
            return pod
        metadata = resource["metadata"]
        for found in await self._cluster.list_pods(metadata["namespace"], f"{group.LABEL_EXECUTION_UID}={metadata['uid']}"):
            self._store.see_pod(found, deleted=False)
        return self._store.newest_pod(resource, job)

    def _checked(self, resource: Json) -> Accepted | Refused | None:
        """What a check of the document found; None while it is under way."""
        key = (resource["metadata"]["uid"], resource["metadata"].get("generation", 0))
        if key in self._checks:
            return self._checks[key]
        if key not in self._checking:

            async def check() -> None:
                try:
                    self._checks[key] = await self._validator.check(payload_of(resource))
                    while len(self._checks) > MAX_CHECKS_KEPT:
                        self._checks.popitem(last=False)
                finally:
                    del self._checking[key]
                    self._again(key[0], 0.0)

            self._checking[key] = asyncio.create_task(check(), name=f"check {key[0]}")
        return None


def _wants_check(resource: Json, spec: WorkflowExecutionSpec, job: Json | None) -> bool:
    """Whether anything depends on the document: nothing does once there was a Job, or when there will be none."""
    status = resource.get("status") or {}
    ended = status.get("phase") in TERMINAL_PHASES or resource["metadata"].get("deletionTimestamp")
    return job is None and not ended and "startTime" not in status and not spec.cancelled


def _has_verdict(job: Json) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(item.get("type") in ("Complete", "Failed") and item.get("status") == "True" for item in conditions)


def _has_terminated(pod: Json | None) -> bool:
    statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or []
    return any("terminated" in (item.get("state") or {}) for item in statuses)
