"""Looks at one execution and all that belongs to it: the first third of a reconcile. Called by reconciler.py.

What the watches have seen is believed, but where a decision hangs on something not being there, the API
server is asked: watches lag, and miss what happened while they were down.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from msgspec.structs import replace
from pydantic import ValidationError

from workflow_runner.cluster import Cluster, ClusterError, NotFound
from workflow_runner.controller.pools import Pools
from workflow_runner.controller.runners import read_runner
from workflow_runner.controller.runs import Runs
from workflow_runner.controller.sources import is_inline, source_of
from workflow_runner.controller.stigmer_workflows import StigmerWorkflows
from workflow_runner.controller.store import Store, is_controlled_by
from workflow_runner.controller.validation import Validator
from workflow_runner.crd import group
from workflow_runner.crd.execution import TERMINAL_PHASES, WorkflowExecutionSpec
from workflow_runner.launchers.payload import Payload, spec_digest
from workflow_runner.launchers.run import LaunchSettings
from workflow_runner.launchers.termination import termination_name
from workflow_runner.reconcile.observed import Accepted, Missing, NoReplica, Observed, Refused, Remote, Replica, Runner, Turn
from workflow_runner.reconcile.run_end import Lost, run_end
from workflow_runner.reconcile.status import asks_for_another_run
from workflow_runner.reconcile.timestamps import from_text

Json = dict[str, Any]
Version = tuple[str, int]
"""(uid, generation) of an execution."""

MAX_CHECKS_KEPT = 256
MISSING_SECONDS = 5.0
"""How soon a ConfigMap that was not there is looked for again."""
POD_MAY_COME_SECONDS = 3.0
HELD_SECONDS = 9.0
LATER_LOOK = 3.0
"""A pod that is so old and has not started is looked at again after so many times that age."""
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
        stigmer: StigmerWorkflows,
        launch: LaunchSettings,
        namespace: str,
        again: Callable[[str, float], None],
        remote: Callable[[str], Remote | None],
        pools: Pools,
    ) -> None:
        """`remote` tells what is known of a run at its runner's endpoint."""
        self._cluster = cluster
        self._store = store
        self._runs = runs
        self._validator = validator
        self._stigmer = stigmer
        self._launch = launch
        self._namespace = namespace
        self._again = again
        self._remote = remote
        self._pools = pools
        self._checks: OrderedDict[Version, Accepted | Refused] = OrderedDict()
        self._missing: dict[str, tuple[float, Missing]] = {}
        self._checking: dict[Version, asyncio.Task[None]] = {}
        self._one_at_a_time: dict[str, asyncio.Lock] = {}
        self._users: Counter[str] = Counter()
        """How many checks have or await the lock of a namespace."""
        self._digests: OrderedDict[Version, str] = OrderedDict()
        self._held: dict[str, tuple[float, str | None]] = {}

    async def observe(
        self,
        resource: Json,
        *,
        launch_error: str | None,
        turn: Turn | None,
        replica: Replica | NoReplica | None = None,
        seconds_since_write: float | None,
    ) -> Observed:
        """Everything `plan` looks at. Raises ClusterError where the API server had to be asked and did not answer."""
        uid = resource["metadata"]["uid"]
        spec = WorkflowExecutionSpec.model_validate(resource["spec"])
        job = await self._job(resource)
        observed = Observed(
            now=datetime.now(UTC),
            resource=resource,
            spec=spec,
            runner=self._runner(resource),
            checked=None,
            job=job,
            pod=await self._pod(resource, spec, job),
            live=self._runs.get(uid),
            delivery=self._runs.delivery(uid),
            launch=self._launch,
            operator_namespace=self._namespace,
            launch_error=launch_error,
            turn=turn,
            remote=self._remote(uid),
            replica=replica,
            replica_lost=await self._replica_lost(resource),
            termination_job=await self._termination_job(resource),
            seconds_since_write=seconds_since_write,
            status_interval=max(STATUS_SECONDS, len(self._runs) / STATUS_WRITES_PER_SECOND),
        )
        return replace(
            observed,
            checked=self._checked(resource) if _wants_check(observed) else None,
            held_up=await self._held_up(observed),
            spec_changed=await self._spec_changed(observed),
        )

    def forget(self, uid: str) -> None:
        """The execution is gone, or has ended."""
        self._missing.pop(uid, None)
        self._held.pop(uid, None)

    async def close(self) -> None:
        """Gives up checks under way."""
        for task in self._checking.values():
            task.cancel()
        await asyncio.gather(*self._checking.values(), return_exceptions=True)

    def _runner(self, resource: Json) -> Runner | None:
        found = self._store.runner_of(resource, self._namespace)
        if found is None:
            return None
        try:
            return read_runner(found)
        except ValidationError as error:
            log.warning("a WorkflowRunner cannot be read", runner=found["metadata"]["name"], error=str(error))
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
        """The run's newest pod. In Job mode it is asked for where the Job has a verdict, or somebody is to be told to
        stop, and the watch has not shown a pod that fits that; a bare pod is asked for where none is known. A Job that is
        gone may have left one."""
        status, metadata = resource.get("status") or {}, resource["metadata"]
        if (status.get("runner") or {}).get("mode") == "Pod":
            return await self._own_pod(resource, status)
        if job is None and status.get("jobName") and status.get("phase") not in TERMINAL_PHASES:
            return self._store.pod_left_by(resource, status["jobName"])
        pod = self._store.newest_pod(resource, job)
        if job is None or status.get("phase") in TERMINAL_PHASES:
            return pod
        stopping = spec.cancelled or metadata.get("deletionTimestamp")
        if not (_has_verdict(job) and not _has_terminated(pod)) and not (stopping and pod is None):
            return pod
        for found in await self._cluster.list_pods(metadata["namespace"], f"{group.LABEL_EXECUTION_UID}={metadata['uid']}"):
            self._store.see_pod(found, deleted=False)
        return self._store.newest_pod(resource, job)

    async def _own_pod(self, resource: Json, status: Json) -> Json | None:
        name = status.get("podName")
        if not name:
            return None
        pod = self._store.own_pod(resource, name)
        if pod is None and status.get("phase") not in TERMINAL_PHASES:
            try:
                self._store.see_pod(await self._cluster.get_pod(resource["metadata"]["namespace"], name), deleted=False)
            except NotFound:
                return None
            pod = self._store.own_pod(resource, name)
        return pod

    async def _replica_lost(self, resource: Json) -> bool:
        """Whether the replica is gone that a run was handed to; one that is there keeps its place, unless it does not answer
        and any other could go on with the run, since its state is in Temporal."""
        status, uid = resource.get("status") or {}, resource["metadata"]["uid"]
        replica, runner = status.get("replica"), status.get("runner") or {}
        if replica is None or status.get("phase") in TERMINAL_PHASES:
            return False
        if await self._pools.is_lost(runner["uid"], runner["namespace"], replica):
            return True
        remote = self._remote(uid)
        if remote is not None and remote.silent:
            another = self._pools.avoid(runner["uid"], runner["namespace"], replica)
            if another and "temporal" in runner:
                return True
        self._pools.hold(uid, replica["uid"])
        return False

    async def _termination_job(self, resource: Json) -> Json | None:
        """The Job that ends what the run has left open in Temporal, where there is something to be ended."""
        status, metadata = resource.get("status") or {}, resource["metadata"]
        run = self._runs.get(metadata["uid"])
        found = run is not None and run.end is not None and run.end.left_open and status.get("phase") not in TERMINAL_PHASES
        if "termination" not in status and not (found and metadata.get("deletionTimestamp")):
            return None
        name = termination_name(metadata["name"], metadata["uid"], status.get("runId") or "")
        job = self._store.termination_job(resource, name)
        if job is None:
            try:
                self._store.see_job(await self._cluster.get_job(metadata["namespace"], name), deleted=False)
            except NotFound:
                return None
            job = self._store.termination_job(resource, name)
        return None if job is None or job["metadata"].get("deletionTimestamp") else job

    async def _held_up(self, o: Observed) -> str | None:
        """What keeps a launched run from starting and stands in Kubernetes Events only: why the Job controller cannot
        make the pod, or why the pod's volumes cannot be mounted."""
        subject, reason = (o.job, "FailedCreate") if o.pod is None else (o.pod, "FailedMount")
        if subject is None or not _may_be_held_up(o):
            self._held.pop(o.uid, None)
            return None
        created = subject["metadata"].get("creationTimestamp")
        if created is None or (o.now - from_text(created)).total_seconds() < POD_MAY_COME_SECONDS:
            self._again(o.uid, POD_MAY_COME_SECONDS)
            return None
        now = asyncio.get_running_loop().time()
        asked, message = self._held.get(o.uid, (-math.inf, None))
        if now - asked > HELD_SECONDS:
            try:
                message = await self._cluster.last_warning(o.namespace, subject["metadata"]["uid"], reason)
            except ClusterError as error:
                log.info("events cannot be read", about=subject["metadata"]["name"], error=error.message)
            self._held[o.uid] = (now, message)
        if message is None:
            # A volume may take minutes to fail; nothing else would have us look again.
            self._again(o.uid, LATER_LOOK * (o.now - from_text(created)).total_seconds())
        return message

    async def _spec_changed(self, o: Observed) -> bool | None:
        """Whether a newer generation of the spec holds another document or input than the run was pinned to."""
        pinned = o.status.get("specDigest")
        if pinned is None or asks_for_another_run(o.resource) or not o.resource["spec"]["workflow"]:
            return None
        if not is_inline(o.resource) or o.status.get("observedGeneration") == o.generation:
            return None
        key = (o.uid, o.generation)
        if key not in self._digests:
            source = await source_of(o.resource, self._cluster, self._stigmer)
            if isinstance(source, Missing) or isinstance(source.document, bytes):
                return None
            payload = Payload(source.document, source.input, source.file)
            self._digests[key] = await asyncio.to_thread(spec_digest, payload)
            while len(self._digests) > MAX_CHECKS_KEPT:
                self._digests.popitem(last=False)
        return bool(self._digests[key] != pinned)

    def _checked(self, resource: Json) -> Accepted | Refused | Missing | None:
        """What a check of the document found; None while it is under way. What is missing is looked for again."""
        uid = resource["metadata"]["uid"]
        key = (uid, resource["metadata"].get("generation", 0))
        if key in self._checks:
            return self._checks[key]
        since, missing = self._missing.get(uid, (-math.inf, None))
        if missing is not None and asyncio.get_running_loop().time() - since < (missing.again_after or MISSING_SECONDS):
            return missing
        if key not in self._checking:
            self._checking[key] = asyncio.create_task(self._check(key, resource), name=f"check {uid}")
        return missing

    async def _check(self, key: Version, resource: Json) -> None:
        try:
            source = await source_of(resource, self._cluster, self._stigmer)
            if isinstance(source, Missing):
                self._missing[key[0]] = (asyncio.get_running_loop().time(), source)
                return
            # One at a time of each namespace: costly documents, however many, keep their own waiting.
            async with self._one_of(resource["metadata"]["namespace"]):
                found = await self._validator.check(source)
            if isinstance(found, Accepted):
                found = replace(found, environment=source.environment, secrets=source.secrets)
            self._checks[key] = found
            self._missing.pop(key[0], None)
            while len(self._checks) > MAX_CHECKS_KEPT:
                self._checks.popitem(last=False)
        except ClusterError as error:
            self._missing[key[0]] = (
                asyncio.get_running_loop().time(),
                Missing("ConfigMapUnreadable", f"What the run is made from cannot be read: {error.message}"),
            )
        except Exception:
            # Lost in a task of its own, it would be met again at once, and for ever.
            log.exception("a document could not be checked; it is tried again", execution=key[0])
            message = "The document cannot be checked now, which is the operator's trouble: see its log. It tries again."
            self._missing[key[0]] = (asyncio.get_running_loop().time(), Missing("CheckFailed", message))
        finally:
            del self._checking[key]
            self._again(key[0], 0.0)

    @contextlib.asynccontextmanager
    async def _one_of(self, namespace: str) -> AsyncIterator[None]:
        lock = self._one_at_a_time.setdefault(namespace, asyncio.Lock())
        self._users[namespace] += 1
        try:
            async with lock:
                yield
        finally:
            self._users[namespace] -= 1
            if not self._users[namespace]:
                del self._users[namespace], self._one_at_a_time[namespace]


def _wants_check(o: Observed) -> bool:
    """Whether anything depends on the document: nothing does while there is a workload at work, or when there will be
    none."""
    ended = o.status.get("phase") in TERMINAL_PHASES or o.metadata.get("deletionTimestamp")
    if ended or asks_for_another_run(o.resource):
        return False
    if o.spec.cancelled:
        return o.suspended and o.on_temporal and o.mode == "Pod"  # it comes back to end what it has in Temporal
    if o.suspended and o.spec.paused:
        return False
    if o.in_line and (o.turn is None or not o.turn.granted):
        return False  # thousands may wait, and each of them looks at its position again and again
    if o.at_endpoint and "submitTime" in o.status:
        # What has told something of itself was handed over; it is again only where its runner has forgotten it.
        unsure = o.remote is None and (o.live is None or o.live.source_sequence == 0)
        return unsure or o.replica_lost or (o.remote is not None and o.remote.forgotten)
    return o.workload is None or (o.mode == "Pod" and isinstance(run_end("Pod", None, o.pod, o.now), Lost))


def _may_be_held_up(o: Observed) -> bool:
    """Whether the run has been launched and its container has not been made."""
    if "startTime" in o.status or o.suspended or o.status.get("phase") in TERMINAL_PHASES:
        return False
    if o.pod is None:
        return o.mode == "Job"
    statuses = (o.pod.get("status") or {}).get("containerStatuses") or []
    return any((item.get("state") or {}).get("waiting", {}).get("reason") == "ContainerCreating" for item in statuses)


def _has_verdict(job: Json) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(item.get("type") in ("Complete", "Failed") and item.get("status") == "True" for item in conditions)


def _has_terminated(pod: Json | None) -> bool:
    statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or []
    return any("terminated" in (item.get("state") or {}) for item in statuses)
