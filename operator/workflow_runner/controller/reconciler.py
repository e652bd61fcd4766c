"""One reconcile: observe, plan, apply. Called by the queue with an execution's uid."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from workflow_runner.cluster import Cluster, ClusterError, Conflict, NotFound, Rejected
from workflow_runner.controller.endpoints import Endpoints
from workflow_runner.controller.observer import Observer
from workflow_runner.controller.pools import Pools
from workflow_runner.controller.runs import Runs
from workflow_runner.controller.slots import Slots, waiting_of
from workflow_runner.controller.stigmer import Destinations
from workflow_runner.controller.stigmer_workflows import told_as
from workflow_runner.controller.store import Store, is_controlled_by
from workflow_runner.crd import group
from workflow_runner.crd.execution import TERMINAL_PHASES
from workflow_runner.crd.runner import POOL
from workflow_runner.errors import WorkflowRunnerError
from workflow_runner.reconcile import actions as act
from workflow_runner.reconcile.bounds import minimal
from workflow_runner.reconcile.execution import plan
from workflow_runner.reconcile.launching import LAUNCH_RETRY
from workflow_runner.reconcile.live import LiveRun
from workflow_runner.reconcile.observed import Accepted, NoReplica, Observed, Replica, Turn
from workflow_runner.reconcile.status import desired_from, desired_of
from workflow_runner.reconcile.timestamps import from_text, to_seconds_text

Json = dict[str, Any]

MEND_SECONDS = 30.0
MAX_ROUNDS = 6
LAUNCH_RETRY_MOST = 40.0
"""Thousands may wait for the same quota."""
AT_ONCE_SECONDS = 1
"""A pod's grace period where nothing is to be waited for; 0 would not wait for its node's word."""
DELETION_BOUND = timedelta(seconds=120)
"""After this long a deletion goes through, whatever cannot be done about its run."""

log = structlog.get_logger(__name__)


class Reconciler:
    """Looks after executions, one call a key. Holds no state that an API server could not give again, but for
    the live runs and what it remembers of its own last moments."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        runs: Runs,
        observer: Observer,
        destinations: Destinations,
        slots: Slots,
        endpoints: Endpoints,
        pools: Pools,
        again: Callable[[str, float], None],
    ) -> None:
        self._cluster = cluster
        self._slots = slots
        self._endpoints = endpoints
        self._pools = pools
        self._store = store
        self._runs = runs
        self._observer = observer
        self._destinations = destinations
        self._again = again
        self._written_at: dict[str, float] = {}
        self._launch_errors: dict[str, str] = {}
        self._launch_tries: dict[str, int] = {}
        self._mended_at: dict[str, float] = {}

    async def reconcile(self, uid: str) -> float | None:
        """Brings one execution to where it should be; in how many seconds to look again, or None."""
        resource = self._store.executions.get(uid)
        if resource is None:
            self._drop(uid)
            return None
        try:
            return await self._settle(resource)
        except Exception:
            if not _overdue(resource):
                raise
            log.exception("a deleted execution could not be cancelled in time; it is let go", execution=_name(resource))
            await self._let_go(resource)
            return None

    async def _settle(self, resource: Json) -> float | None:
        turn: Turn | None = None
        replica: Replica | NoReplica | None = None
        for _ in range(MAX_ROUNDS):
            observed = await self._observe(resource, turn, replica)
            decision = plan(observed)
            asked, placed = self._turn(observed, decision), self._replica(observed, decision)
            if asked is not None or placed is not None:
                turn, replica = asked or turn, placed or replica
                continue
            turn = replica = None
            if decision.gives_way:
                self._slots.leave(observed.uid)
            try:
                changed, resource = await self._apply(observed, decision)
            except _NotLaunched as error:
                self._launch_failed(observed, error.message)
                return None
            except Conflict:
                fresh = await self._fresh(resource)
                if fresh is None:
                    return None
                resource = fresh
                continue
            except NotFound:
                # The execution, or its whole namespace: the watch tells of it, or the next round finds out.
                return None if await self._fresh(resource) is None else 1.0
            if not changed:
                return await self._mend_delivery(observed, decision.again_after)
        return 0.05

    def _turn(self, observed: Observed, decision: act.Plan) -> Turn | None:
        """The answer to a plan that asks for a place among the runner's executions."""
        for action in decision.actions:
            if isinstance(action, act.TakeTurn) and observed.runner is not None:
                runner = (observed.runner.namespace, observed.runner.name)
                return self._slots.take(runner, action.limit, waiting_of(observed.resource))
        return None

    def _replica(self, observed: Observed, decision: act.Plan) -> Replica | NoReplica | None:
        """The answer to a plan that asks for a place in a pool: none where its runner is gone, or is no pool any more."""
        if not any(isinstance(action, act.TakeReplica) for action in decision.actions):
            return None
        runner = observed.runner
        if runner is None or runner.spec.mode != POOL or runner.uid != observed.snapshot.get("uid", runner.uid):
            return NoReplica(0)
        return self._pools.take(runner, observed.uid)

    async def _observe(self, resource: Json, turn: Turn | None, replica: Replica | NoReplica | None) -> Observed:
        uid = resource["metadata"]["uid"]
        if self._runs.get(uid) is None and _needs_run(resource):
            await self._restore(resource)
        return await self._observer.observe(
            resource,
            launch_error=self._launch_errors.get(uid),
            turn=turn,
            replica=replica,
            seconds_since_write=self._seconds_since_write(uid),
        )

    async def _restore(self, resource: Json) -> None:
        """Makes the live run again from status, after an operator's restart."""
        status = resource["status"]
        run = LiveRun.from_status(status)
        run.told_as = told_as(resource) or run.execution_id
        run.desired = desired_from(resource)
        destination = await self._destinations.of_snapshot(status.get("runner") or {})
        delivered = (status.get("callback") or {}).get("deliveredSequence", 0)
        self._runs.begin(resource["metadata"]["uid"], run, destination, delivered=delivered)

    def _seconds_since_write(self, uid: str) -> float | None:
        written = self._written_at.get(uid)
        return None if written is None else asyncio.get_running_loop().time() - written

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

    # apply

    async def _apply(self, observed: Observed, decision: act.Plan) -> tuple[bool, Json]:
        """Carries the actions out in order; whether to plan again at once, and the resource as it is then."""
        resource = observed.resource
        again = False
        for action in decision.actions:
            match action:
                case act.AddFinalizer():
                    finalizers = [*resource["metadata"].get("finalizers", []), group.FINALIZER]
                    resource = await self._set_finalizers(resource, finalizers)
                case act.RemoveFinalizer():
                    resource = await self._remove_finalizer(resource)
                case act.WriteCallback(callback):
                    resource = await self._cluster.write_callback(resource, callback)
                    self._seen_own_write(resource)
                case act.WriteStatus(status):
                    resource = await self._write_status(observed, resource, status)
                case act.BeginRun(execution_id, attempt):
                    await self._begin(observed, execution_id, attempt)
                case act.EndRun(end):
                    self._runs.conclude(observed.uid, end)
                    self._endpoints.leave(observed.uid)
                    again = True
                    # The line moves on when status says so, too; this is sooner.
                    self._slots.leave(observed.uid)
                    self._pools.leave(observed.uid)
                case act.SetDesired(desired):
                    self._runs.desire(observed.uid, desired)
                    self._endpoints.steer(observed.uid)
                case act.CreateInput(manifest):
                    await self._create_input(manifest)
                case act.CreateWorkload(manifest):
                    await self._create_workload(observed, manifest)
                case act.FollowEndpoint():
                    self._endpoints.follow(observed.uid, observed.namespace, action)
                case act.StartOver():
                    self._runs.start_over(observed.uid)
                case act.ForceCancel():
                    self._endpoints.force_cancel(action)
                case act.SuspendJob(name, suspend):
                    job = await self._cluster.suspend_job(observed.namespace, name, suspend=suspend)
                    self._store.see_job(job, deleted=False)
                case act.DeleteWorkload(kind, name, at_once):
                    await self._delete_workload(observed, kind, name, at_once=at_once)
                case act.CleanUp():
                    await self._clean_up(observed)
                case act.DeleteExecution():
                    await self._cluster.delete_execution(observed.namespace, observed.metadata["name"], observed.uid)
                case act.RecordEvent():
                    await self._record_event(observed, action)
                case act.ForgetRun():
                    self._drop(observed.uid)
        return again, resource

    async def _set_finalizers(self, resource: Json, finalizers: list[str]) -> Json:
        written = await self._cluster.set_finalizers(resource, finalizers)
        # Without ours, and being deleted, this answer is the last that there is of it.
        gone = bool(written["metadata"].get("deletionTimestamp")) and not finalizers
        self._store.see_execution(written, deleted=gone)
        return written

    async def _remove_finalizer(self, resource: Json) -> Json:
        finalizers = [item for item in resource["metadata"].get("finalizers", []) if item != group.FINALIZER]
        return await self._set_finalizers(resource, finalizers)

    def _seen_own_write(self, written: Json) -> None:
        self._store.see_execution(written, deleted=False)
        self._written_at[written["metadata"]["uid"]] = asyncio.get_running_loop().time()

    async def _write_status(self, observed: Observed, resource: Json, status: Json) -> Json:
        live = observed.live
        before = live.source_sequence if live else 0
        self._written_at[observed.uid] = asyncio.get_running_loop().time()
        try:
            written = await self._cluster.write_status(resource, status)
        except Rejected as error:
            log.error(
                "the API server refuses a status; the least of it is recorded", execution=_name(resource), error=error.message
            )
            written = await self._cluster.write_status(resource, minimal(status))
        self._seen_own_write(written)
        self._place(observed, status)
        if live is not None:
            if live.source_sequence == before:
                live.urgent = False
            self._runs.recorded(observed.uid, status.get("attempt", 0), (status.get("callback") or {}).get("sourceSequence", 0))
        return written

    def _place(self, observed: Observed, status: Json) -> None:
        """What this status means for the line of its runner: a suspended run gives its place away, a resumed one is
        not kept waiting."""
        snapshot = status.get("runner")
        if status["phase"] in TERMINAL_PHASES or status.get("suspended"):
            self._slots.leave(observed.uid)
        elif observed.suspended and snapshot is not None:
            self._slots.hold((snapshot["namespace"], snapshot["name"]), observed.uid, observed.namespace)

    async def _delete_workload(self, observed: Observed, kind: str, name: str, *, at_once: bool) -> None:
        namespace = observed.namespace
        try:
            if kind == "Pod":
                await self._cluster.delete_pod(namespace, name, grace_seconds=AT_ONCE_SECONDS if at_once else None)
                return
            if at_once and observed.pod is not None:
                await self._cluster.delete_pod(namespace, observed.pod["metadata"]["name"], grace_seconds=AT_ONCE_SECONDS)
            await self._cluster.delete_job(namespace, name)
        except ClusterError as error:
            if not observed.metadata.get("deletionTimestamp"):
                raise
            # Its owner goes: garbage collection takes the workload along.
            log.warning(
                "what a deleted execution ran could not be removed",
                execution=_name(observed.resource),
                kind=kind,
                error=error.message,
            )

    async def _clean_up(self, observed: Observed) -> None:
        for kind, name in self._store.workloads(observed.resource):
            await self._delete_workload(observed, kind, name, at_once=False)
            await self._cluster.delete_config_map(observed.namespace, name)

    async def _begin(self, observed: Observed, execution_id: str, attempt: int) -> None:
        run = LiveRun(execution_id=execution_id, attempt=attempt)
        run.told_as = told_as(observed.resource) or execution_id
        run.desired = desired_of(observed)
        if isinstance(observed.checked, Accepted):
            run.workflow_name = observed.checked.workflow_name
        destination = None
        if observed.runner is not None:
            destination = await self._destinations.of_runner(observed.runner)
        self._runs.begin(observed.uid, run, destination, delivered=0)

    async def _create_input(self, manifest: Json) -> None:
        try:
            await self._cluster.create_config_map(manifest)
        except ClusterError as error:
            raise _NotLaunched(error.message) from error

    async def _create_workload(self, observed: Observed, manifest: Json) -> None:
        try:
            if manifest["kind"] == "Pod":
                made = await self._cluster.create_pod(manifest)
            else:
                made = await self._cluster.create_job(manifest)
        except Conflict:
            made = await self._found(observed, manifest)
        except ClusterError as error:
            raise _NotLaunched(error.message) from error
        see = self._store.see_pod if manifest["kind"] == "Pod" else self._store.see_job
        see(made, deleted=False)
        self._launch_tries.pop(observed.uid, None)
        if self._launch_errors.pop(observed.uid, None) is not None:
            self._again(observed.uid, 0.0)

    async def _found(self, observed: Observed, manifest: Json) -> Json:
        """What has the name already: made before an operator's restart, or somebody else's."""
        kind, namespace, name = manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        try:
            if kind == "Pod":
                found = await self._cluster.get_pod(namespace, name)
            else:
                found = await self._cluster.get_job(namespace, name)
        except ClusterError as error:
            raise _NotLaunched(error.message) from error
        if not is_controlled_by(found, observed.uid):
            raise _NotLaunched(f"there is a {kind} {name} that is not of this execution")
        if found["metadata"].get("deletionTimestamp"):
            raise _NotLaunched(f"the {kind} {name} of a former launch is still being removed")
        return found

    def _launch_failed(self, observed: Observed, message: str) -> None:
        """Remembers why, for status, and has it tried again: at once the first time, then more and more slowly."""
        log.warning("the run cannot be launched; it is tried again", execution=_name(observed.resource), error=message)
        tries = self._launch_tries[observed.uid] = self._launch_tries.get(observed.uid, 0) + 1
        self._launch_errors[observed.uid] = message
        self._again(observed.uid, 0.0 if tries == 1 else min(LAUNCH_RETRY_MOST, LAUNCH_RETRY * 2 ** min(tries - 2, 8)))

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

    async def _let_go(self, resource: Json) -> None:
        with contextlib.suppress(NotFound):
            await self._remove_finalizer(resource)
        self._drop(resource["metadata"]["uid"])

    def _drop(self, uid: str) -> None:
        run = self._runs.get(uid)
        if run is not None and run.end is None:
            self._endpoints.abandon(uid, "the WorkflowExecution was deleted")
        self._runs.forget(uid)
        self._endpoints.leave(uid)
        self._pools.leave(uid)
        self._slots.leave(uid)
        self._observer.forget(uid)
        self._written_at.pop(uid, None)
        self._launch_errors.pop(uid, None)
        self._launch_tries.pop(uid, None)
        self._mended_at.pop(uid, None)


class _NotLaunched(WorkflowRunnerError):
    """The API server, or what it has, stands in the way of a launch."""

    code = "launch.failed"


def _needs_run(resource: Json) -> bool:
    """Whether memory should hold the run: it is under way, or Stigmer has not heard of its end."""
    status, metadata = resource.get("status") or {}, resource["metadata"]
    if metadata.get("deletionTimestamp") and group.FINALIZER not in metadata.get("finalizers", []):
        return False
    if status.get("phase") not in TERMINAL_PHASES:
        return "specDigest" in status
    return bool((status.get("callback") or {}).get("owed"))


def _overdue(resource: Json) -> bool:
    """Whether a deletion has taken so long that nothing may hold it up any more."""
    since = resource["metadata"].get("deletionTimestamp")
    return bool(since) and datetime.now(UTC) - from_text(since) > DELETION_BOUND


def _name(resource: Json) -> str:
    return f"{resource['metadata']['namespace']}/{resource['metadata']['name']}"
