"""One reconcile: observe, plan, apply. Called by the queue with an execution's uid."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic import ValidationError

from workflow_runner.cluster import Cluster, ClusterError, Conflict, NotFound
from workflow_runner.controller.runs import Runs
from workflow_runner.controller.stigmer import Destinations
from workflow_runner.controller.store import Store
from workflow_runner.controller.validation import Validator, fingerprint, payload_of
from workflow_runner.crd import group
from workflow_runner.crd.execution import TERMINAL_PHASES, WorkflowExecutionSpec
from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.launchers.job import LaunchSettings
from workflow_runner.reconcile import actions as act
from workflow_runner.reconcile.execution import plan
from workflow_runner.reconcile.live import LiveRun
from workflow_runner.reconcile.observed import Accepted, Observed, Refused, Runner
from workflow_runner.reconcile.status import desired_of
from workflow_runner.reconcile.timestamps import to_seconds_text

Json = dict[str, Any]

STATUS_SECONDS = 1.0
STATUS_WRITES_PER_SECOND = 25.0
"""All running executions together; the more of them, the longer each waits between progress writes."""
MEND_SECONDS = 30.0
MAX_CHECKS_KEPT = 256
MAX_ROUNDS = 6

log = structlog.get_logger(__name__)


class Reconciler:
    """Looks after executions, one call a key. Holds no state that an API server could not give again,
    but for the live runs and two small caches."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        runs: Runs,
        validator: Validator,
        destinations: Destinations,
        launch: LaunchSettings,
        namespace: str,
        again: Callable[[str, float], None],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._runs = runs
        self._validator = validator
        self._destinations = destinations
        self._launch = launch
        self._namespace = namespace
        self._again = again
        self._checks: OrderedDict[tuple[str, int], Accepted | Refused] = OrderedDict()
        self._written_at: dict[str, float] = {}
        self._launch_errors: dict[str, str] = {}
        self._mended_at: dict[str, float] = {}

    async def reconcile(self, uid: str) -> float | None:
        """Brings one execution to where it should be; in how many seconds to look again, or None."""
        resource = self._store.executions.get(uid)
        if resource is None:
            self._drop(uid)
            return None
        for _ in range(MAX_ROUNDS):
            observed = await self._observe(resource)
            decision = plan(observed)
            try:
                changed, resource = await self._apply(observed, decision)
            except Conflict:
                resource = await self._fresh(resource)
                if resource is None:
                    return None
                continue
            except NotFound:
                log.info("the execution is gone", execution=_name(resource))
                return None
            if not changed:
                return await self._mend_delivery(observed, decision.again_after)
        return 0.05

    async def _mend_delivery(self, observed: Observed, again_after: float | None) -> float | None:
        """While callbacks fail, reads the key again now and then: somebody may have mended its Secret."""
        delivery, uid = observed.delivery, observed.uid
        if delivery is None or delivery.last_error is None or not delivery.pending or self._runs.get(uid) is None:
            self._mended_at.pop(uid, None)
            return again_after
        now = asyncio.get_running_loop().time()
        since = now - self._mended_at.setdefault(uid, now)
        if since >= MEND_SECONDS:
            self._mended_at[uid] = now
            destination = await self._destinations.of_snapshot(observed.status.get("runner") or {})
            if destination is not None:
                self._runs.redirect(uid, destination)
            since = 0.0
        wait = MEND_SECONDS - since
        return wait if again_after is None else min(wait, again_after)

    # observe

    async def _observe(self, resource: Json) -> Observed:
        uid = resource["metadata"]["uid"]
        status = resource.get("status") or {}
        spec = WorkflowExecutionSpec.model_validate(resource["spec"])
        runner = self._runner(resource, spec)
        job = await self._job(resource)
        unknown_end = status.get("phase") not in TERMINAL_PHASES
        checked = None
        if (
            unknown_end
            and job is None
            and status.get("phase") in (None, "Pending", "Paused")
            and not spec.cancelled
            and not (status.get("phase") == "Paused" and status.get("jobName"))
        ):
            checked = await self._check(resource)
        observed = Observed(
            now=datetime.now(UTC),
            resource=resource,
            spec=spec,
            runner=runner,
            checked=checked,
            job=job,
            pod=self._store.newest_pod(uid, status.get("jobName", "")),
            live=self._runs.get(uid),
            delivery=self._runs.delivery(uid),
            launch=self._launch,
            launch_error=self._launch_errors.get(uid),
            seconds_since_write=self._seconds_since_write(uid),
            status_interval=max(STATUS_SECONDS, len(self._runs) / STATUS_WRITES_PER_SECOND),
        )
        if observed.live is None and _needs_run(status):
            await self._restore(observed)
            return await self._observe(resource)
        return observed

    async def _restore(self, observed: Observed) -> None:
        run = LiveRun.from_status(observed.status)
        run.desired = desired_of(observed)
        snapshot = observed.status.get("runner") or {}
        destination = await self._destinations.of_snapshot(snapshot)
        delivered = (observed.status.get("callback") or {}).get("deliveredSequence", 0)
        self._runs.begin(observed.uid, run, destination, delivered=delivered)

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
        name = (resource.get("status") or {}).get("jobName")
        if not name:
            return None
        metadata = resource["metadata"]
        job = self._store.job(metadata["uid"], name)
        if job is not None:
            return None if job["metadata"].get("deletionTimestamp") else job
        phase = (resource.get("status") or {}).get("phase")
        if phase in TERMINAL_PHASES:
            return None
        try:
            job = await self._cluster.get_job(metadata["namespace"], name)
        except NotFound:
            return None
        owned = any(owner["uid"] == metadata["uid"] for owner in job["metadata"].get("ownerReferences", []))
        return job if owned and not job["metadata"].get("deletionTimestamp") else None

    async def _check(self, resource: Json) -> Accepted | Refused:
        payload = payload_of(resource)
        key = (resource["metadata"]["uid"], fingerprint(payload))
        if key not in self._checks:
            self._checks[key] = await self._validator.check(payload)
            while len(self._checks) > MAX_CHECKS_KEPT:
                self._checks.popitem(last=False)
        return self._checks[key]

    def _seconds_since_write(self, uid: str) -> float | None:
        written = self._written_at.get(uid)
        return None if written is None else asyncio.get_running_loop().time() - written

    # apply

    async def _apply(self, observed: Observed, decision: act.Plan) -> tuple[bool, Json]:
        """Carries the actions out in order; whether to plan again at once, and the resource as it is then."""
        resource = observed.resource
        again = False
        for action in decision.actions:
            match action:
                case act.AddFinalizer():
                    finalizers = [*resource["metadata"].get("finalizers", []), group.FINALIZER]
                    resource = await self._cluster.set_finalizers(resource, finalizers)
                case act.RemoveFinalizer():
                    finalizers = [item for item in resource["metadata"].get("finalizers", []) if item != group.FINALIZER]
                    resource = await self._cluster.set_finalizers(resource, finalizers)
                case act.WriteStatus(status):
                    resource = await self._write_status(observed, resource, status)
                case act.BeginRun(execution_id, attempt):
                    await self._begin(observed, execution_id, attempt)
                case act.EndRun(end):
                    self._runs.conclude(observed.uid, end)
                    again = True
                case act.SetDesired(desired):
                    self._runs.desire(observed.uid, desired)
                case act.CreateJob(manifest):
                    await self._create_job(observed, manifest)
                case act.DeleteJob(name):
                    await self._cluster.delete_job(observed.metadata["namespace"], name)
                case act.RecordEvent():
                    await self._record_event(observed, action)
                case act.ForgetRun():
                    self._drop(observed.uid)
        return again, resource

    async def _write_status(self, observed: Observed, resource: Json, status: Json) -> Json:
        live = observed.live
        urgent_at = live.source_sequence if live else 0
        written = await self._cluster.write_status(resource, status)
        self._store.see_execution(written, deleted=False)
        self._written_at[observed.uid] = asyncio.get_running_loop().time()
        if live is not None:
            if live.source_sequence == urgent_at:
                live.urgent = False
            self._runs.recorded(observed.uid, (status.get("callback") or {}).get("sourceSequence", 0))
        return written

    async def _begin(self, observed: Observed, execution_id: str, attempt: int) -> None:
        run = LiveRun(execution_id=execution_id, attempt=attempt)
        run.desired = desired_of(observed)
        if isinstance(observed.checked, Accepted):
            run.workflow_name = observed.checked.workflow_name
        destination = None
        if observed.runner is not None:
            destination = await self._destinations.of_runner(observed.runner)
        self._runs.begin(observed.uid, run, destination, delivered=0)

    async def _create_job(self, observed: Observed, manifest: Json) -> None:
        try:
            job = await self._cluster.create_job(manifest)
        except Conflict:
            job = await self._cluster.get_job(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
            if not any(owner["uid"] == observed.uid for owner in job["metadata"].get("ownerReferences", [])):
                self._launch_failed(observed, f"there is a Job {manifest['metadata']['name']} that is not of this execution")
                return
        except ClusterError as error:
            self._launch_failed(observed, error.message)
            return
        self._store.see_job(job, deleted=False)
        if self._launch_errors.pop(observed.uid, None) is not None:
            self._again(observed.uid, 0.0)

    def _launch_failed(self, observed: Observed, message: str) -> None:
        log.warning("the Job cannot be created; it is tried again", execution=_name(observed.resource), error=message)
        first = observed.uid not in self._launch_errors
        self._launch_errors[observed.uid] = message
        if first:
            self._again(observed.uid, 0.0)

    async def _record_event(self, observed: Observed, event: act.RecordEvent) -> None:
        metadata = observed.metadata
        moment = to_seconds_text(observed.now)
        manifest = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{metadata['uid'][:8]}.{event.key}", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": group.API_VERSION,
                "kind": group.EXECUTION_KIND,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "reason": event.reason,
            "message": event.message[:1000],
            "type": event.type,
            "source": {"component": "workflow-runner"},
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        try:
            await self._cluster.create_event(metadata["namespace"], manifest)
        except ClusterError as error:
            log.info(
                "an event could not be recorded", execution=_name(observed.resource), reason=event.reason, error=error.message
            )

    async def _fresh(self, resource: Json) -> Json | None:
        metadata = resource["metadata"]
        try:
            fresh = await self._cluster.get_execution(metadata["namespace"], metadata["name"])
        except NotFound:
            self._drop(metadata["uid"])
            return None
        if fresh["metadata"]["uid"] != metadata["uid"]:
            self._drop(metadata["uid"])
            return None
        self._store.see_execution(fresh, deleted=False)
        return fresh

    def _drop(self, uid: str) -> None:
        self._runs.forget(uid)
        self._written_at.pop(uid, None)
        self._launch_errors.pop(uid, None)
        self._mended_at.pop(uid, None)


def _needs_run(status: Json) -> bool:
    """Whether memory should hold the run: it is under way, or Stigmer has not heard of its end."""
    if status.get("phase") not in TERMINAL_PHASES:
        return bool(status.get("jobName"))
    callback = status.get("callback") or {}
    return bool(callback.get("owed"))


def _name(resource: Json) -> str:
    return f"{resource['metadata']['namespace']}/{resource['metadata']['name']}"
