"""One reconcile against an API server that says no at the wrong moments.

The fake holds one execution as the real one does (resourceVersion, finalizers, status); the end-to-end cases
hold the same paths against a real API server.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from tests.unit.reconcile.conftest import JOB, LAUNCH, UID

from workflow_runner.cluster import Busy, Cluster, ClusterError, Conflict, Forbidden, NotFound, Rejected
from workflow_runner.controller.endpoints import Endpoints
from workflow_runner.controller.observer import Observer
from workflow_runner.controller.pools import Issued, Pools
from workflow_runner.controller.reconciler import Reconciler
from workflow_runner.controller.runs import Runs
from workflow_runner.controller.slots import Slots
from workflow_runner.controller.sources import Source
from workflow_runner.controller.stigmer import Destinations
from workflow_runner.controller.stigmer_workflows import StigmerWorkflows
from workflow_runner.controller.store import Store
from workflow_runner.controller.validation import Validator
from workflow_runner.crd import group
from workflow_runner.errors import Internal
from workflow_runner.launchers.termination import termination_name
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2
from workflow_runner.reconcile.line import Waiting
from workflow_runner.reconcile.observed import Accepted, Turn
from workflow_runner.reconcile.timestamps import to_text
from workflow_runner.stigmer.relay import Relay

Json = dict[str, Any]

RUNNER = ("ns", "default")
ISSUED = Issued(b"", lambda name: (b"", b""), lambda uid: "")


class OneExecution:
    """The API server, as far as one execution goes."""

    def __init__(self, resource: Json) -> None:
        self.resource: Json | None = resource
        self.jobs: dict[str, Json] = {}
        self.calls: list[str] = []
        self.refuse: dict[str, ClusterError] = {}
        self.config_maps: dict[str, dict[str, str]] = {}

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.refuse:
            raise self.refuse[name]

    def _write(self, seen: Json, **changes: Any) -> Json:
        if self.resource is None:
            raise NotFound("gone", 404)
        if seen["metadata"]["resourceVersion"] != self.resource["metadata"]["resourceVersion"]:
            raise Conflict("changed", 409)
        self.resource = copy.deepcopy({**self.resource, **changes})
        self.resource["metadata"]["resourceVersion"] = str(int(self.resource["metadata"]["resourceVersion"]) + 1)
        return copy.deepcopy(self.resource)

    async def get_execution(self, namespace: str, name: str) -> Json:
        if self.resource is None:
            raise NotFound("gone", 404)
        return copy.deepcopy(self.resource)

    async def set_finalizers(self, resource: Json, finalizers: list[str]) -> Json:
        self._called("set_finalizers")
        return self._write(resource, metadata={**resource["metadata"], "finalizers": finalizers})

    async def write_status(self, resource: Json, status: Json) -> Json:
        self._called("write_status")
        return self._write(resource, status=status)

    async def write_callback(self, resource: Json, callback: Json) -> Json:
        self._called("write_callback")
        return self._write(resource, status={**resource["status"], "callback": callback})

    async def create_job(self, manifest: Json) -> Json:
        self._called("create_job")
        if manifest["metadata"]["name"] in self.jobs:
            raise Conflict("exists", 409)
        self.jobs[manifest["metadata"]["name"]] = job = {**manifest, "status": {}}
        job["metadata"] |= {"uid": "job-uid", "resourceVersion": "1"}
        return copy.deepcopy(job)

    async def get_job(self, namespace: str, name: str) -> Json:
        self._called("get_job")
        if name not in self.jobs:
            raise NotFound("no such Job", 404)
        return copy.deepcopy(self.jobs[name])

    async def delete_job(self, namespace: str, name: str) -> None:
        self._called("delete_job")
        self.jobs.pop(name, None)

    async def list_pods(self, namespace: str, selector: str) -> list[Json]:
        return []

    async def delete_pod(self, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        self._called("delete_pod")

    async def get_config_map(self, namespace: str, name: str) -> dict[str, str]:
        if name not in self.config_maps:
            raise NotFound("no such ConfigMap", 404)
        return self.config_maps[name]

    async def delete_config_map(self, namespace: str, name: str) -> None:
        self._called("delete_config_map")

    async def last_warning(self, namespace: str, uid: str, reason: str) -> str | None:
        return None

    async def create_event(self, namespace: str, manifest: Json) -> None:
        self._called(f"event {manifest['reason']}")


class Accepts(Validator):
    """A validator that needs no child."""

    def __init__(self) -> None:
        pass

    async def check(self, source: Source) -> Accepted:
        return Accepted("e2e/hello:1", "sha256:d", "packed")


class NoChild(Validator):
    """A validator that cannot look at anything."""

    def __init__(self) -> None:
        self.tries = 0

    async def check(self, source: Source) -> Accepted:
        self.tries += 1
        raise Internal("no child")


class Slow(Validator):
    """A validator that does not come to an end."""

    def __init__(self) -> None:
        self.at_work: list[str] = []

    async def check(self, source: Source) -> Accepted:
        self.at_work.append(str(source.document))
        await asyncio.Event().wait()
        raise AssertionError("it waits for ever")


class Operator:
    """A reconciler and what is around it; `restart` forgets everything that is in memory only."""

    def __init__(self, server: OneExecution) -> None:
        self.server = server
        self.again: list[str] = []
        self.restart()

    def restart(self) -> None:
        cluster = cast("Cluster", self.server)
        self.store = Store()
        self.runs = Runs(Relay(changed=lambda key: None), self.again.append, self.store.has_ended)
        self.pools = Pools(cluster, self.store, ISSUED, LAUNCH)
        self.endpoints = Endpoints(cluster, self.runs, self.pools, changed=self.again.append, looked=lambda runner: None)
        self.observer = Observer(
            cluster=cluster,
            store=self.store,
            runs=self.runs,
            validator=Accepts(),
            stigmer=StigmerWorkflows(Destinations(cluster), self.store, "operator"),
            launch=LAUNCH,
            namespace="operator",
            again=lambda uid, after: self.again.append(uid),
            remote=self.endpoints.remote,
            pools=self.pools,
        )
        self.slots = Slots(changed=lambda runner: None, turn=self.again.append)
        self.reconciler = Reconciler(
            cluster=cluster,
            store=self.store,
            runs=self.runs,
            observer=self.observer,
            destinations=Destinations(cluster),
            slots=self.slots,
            endpoints=self.endpoints,
            pools=self.pools,
            again=lambda uid, after: self.again.append(uid),
        )
        runner = {"metadata": {"name": "default", "namespace": "ns", "uid": "r", "generation": 1}, "spec": {}}
        self.store.see_runner(runner, deleted=False)

    async def look(self) -> None:
        """What the watches show now, and a reconcile of it."""
        if self.server.resource is not None:
            self.store.see_execution(self.server.resource, deleted=False)
        await self.reconciler.reconcile(UID)


def resource(**metadata: Any) -> Json:
    base = {"name": "hello", "namespace": "ns", "uid": UID, "generation": 1, "resourceVersion": "5"}
    base["creationTimestamp"] = "2026-11-21T11:00:00Z"
    return {"metadata": {**base, **metadata}, "spec": {"workflow": {"yaml": "x"}}}


def running(**metadata: Any) -> Json:
    status: Json = {"phase": "Running", "jobName": JOB, "attempt": 1, "executionId": UID, "startTime": "2026-11-21T11:00:00Z"}
    return {
        **resource(finalizers=[group.FINALIZER], **metadata),
        "status": {**status, "specDigest": "sha256:d", "callback": {"sourceSequence": 3}},
    }


def job() -> Json:
    owner = {"apiVersion": group.API_VERSION, "kind": group.EXECUTION_KIND, "uid": UID, "controller": True}
    labels = {group.LABEL_EXECUTION_UID: UID}
    metadata = {
        "name": JOB,
        "namespace": "ns",
        "uid": "j",
        "resourceVersion": "1",
        "labels": labels,
        "ownerReferences": [owner],
    }
    return {"kind": "Job", "metadata": metadata, "spec": {}, "status": {}}


def ago(**amount: float) -> str:
    return to_text(datetime.now(UTC) - timedelta(**amount))


@pytest.fixture
def launched() -> Operator:
    server = OneExecution(running())
    server.jobs[JOB] = job()
    return Operator(server)


async def _checked(operator: Operator) -> None:
    await operator.look()
    for task in list(operator.observer._checking.values()):
        await task


async def test_killed_after_any_call_the_next_operator_ends_with_one_job() -> None:
    """The operator dies right after its n-th write; the next one finishes what it began."""
    for last in range(6):
        server = OneExecution(resource())
        operator = Operator(server)
        before = server._called

        def dies(name: str, server: OneExecution = server, last: int = last, before: Any = before) -> None:
            if len(server.calls) == last:
                raise KeyboardInterrupt
            before(name)

        server._called = dies  # type: ignore[method-assign]
        try:
            await _checked(operator)
            await operator.look()
        except KeyboardInterrupt:
            pass
        server._called = before  # type: ignore[method-assign]
        operator.restart()
        await _checked(operator)
        await operator.look()
        assert list(server.jobs) == [JOB], f"killed after call {last}"
        assert server.resource is not None
        assert server.resource["status"]["jobName"] == JOB


async def test_a_deletion_goes_through_though_the_job_may_not_be_removed(launched: Operator) -> None:
    server = launched.server
    server.resource = running(deletionTimestamp=ago(seconds=60))
    server.refuse["delete_job"] = Forbidden("a webhook says no", 403)
    for _ in range(3):
        await launched.look()
    assert server.resource is not None
    assert server.resource["metadata"]["finalizers"] == []


async def test_a_deletion_goes_through_whatever_cannot_be_looked_at(launched: Operator) -> None:
    server = launched.server
    server.resource = running(deletionTimestamp=ago(minutes=5))
    server.refuse["get_job"] = Forbidden("no", 403)
    await launched.look()
    assert server.resource is not None
    assert server.resource["metadata"]["finalizers"] == []


async def test_the_news_of_a_deleted_job_does_not_end_a_run_twice(launched: Operator) -> None:
    server = launched.server
    server.resource = running(deletionTimestamp=ago(seconds=60))
    launched.store.see_job(job(), deleted=False)
    await launched.look()
    assert server.calls.count("set_finalizers") == 1
    launched.store.see_job(job(), deleted=True)
    await launched.reconciler.reconcile(UID)
    assert server.calls.count("set_finalizers") == 1


async def test_a_status_that_the_api_server_refuses_is_recorded_in_short(launched: Operator) -> None:
    server = launched.server
    await launched.look()
    run = launched.runs.get(UID)
    assert run is not None
    failed = io_pb2.WorkflowProgressEvent(sequence_number=4, event_type="workflow_failed", error={"type": "t", "status": 500})
    run.ingest(failed)
    tries = 0
    write = server.write_status

    async def refuses_once(resource: Json, status: Json) -> Json:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Rejected("tasks[0].name: too long", 422)
        return await write(resource, status)

    server.write_status = refuses_once  # type: ignore[method-assign]
    await launched.look()
    assert server.resource is not None
    assert server.resource["status"]["phase"] == "Failed"
    assert tries == 2


async def test_an_ended_run_lets_its_resource_go(launched: Operator) -> None:
    server = launched.server
    await launched.look()
    run = launched.runs.get(UID)
    assert run is not None
    run.ingest(io_pb2.WorkflowProgressEvent(sequence_number=4, event_type="workflow_completed"), b"1")
    await launched.look()
    await launched.look()
    assert server.resource is not None
    assert (server.resource["status"]["phase"], server.resource["metadata"]["finalizers"]) == ("Completed", [])
    assert launched.runs.get(UID) is None


async def test_a_job_of_that_name_that_is_somebody_elses_is_told_and_tried_again() -> None:
    server = OneExecution(resource())
    foreign = job()
    foreign["metadata"]["ownerReferences"][0]["uid"] = "somebody"
    server.jobs[JOB] = foreign
    operator = Operator(server)
    await _checked(operator)
    await operator.look()
    await operator.look()
    assert server.resource is not None
    messages = [item["message"] for item in server.resource["status"]["conditions"]]
    assert any("not of this execution" in message for message in messages)


class TestSources:
    def from_config_maps(self) -> Json:
        spec = {
            "workflow": {"configMapKeyRef": {"name": "documents", "key": "hello.yaml"}},
            "inputFrom": {"configMapKeyRef": {"name": "inputs", "key": "a"}},
        }
        return {**resource(), "spec": spec}

    async def test_a_missing_config_map_is_named_and_its_coming_launches_the_run(self) -> None:
        server = OneExecution(self.from_config_maps())
        operator = Operator(server)
        await _checked(operator)
        await operator.look()
        assert server.resource is not None
        assert "'documents'" in _message(server.resource, "Accepted")
        server.config_maps = {"documents": {"hello.yaml": "x"}}
        operator.observer._missing.clear()
        await _checked(operator)
        await operator.look()
        assert "'inputs'" in _message(server.resource, "Accepted")
        server.config_maps["inputs"] = {"a": "{}"}
        operator.observer._missing.clear()
        await _checked(operator)
        await operator.look()
        assert list(server.jobs) == [JOB]

    async def test_a_check_that_fails_for_no_fault_of_the_document_is_tried_again_after_a_while(self) -> None:
        server = OneExecution(resource())
        operator = Operator(server)
        operator.observer._validator = validator = NoChild()
        await _checked(operator)
        for _ in range(3):
            await operator.look()
        assert server.resource is not None
        assert "operator's trouble" in _message(server.resource, "Accepted")
        assert server.resource["status"]["phase"] == "Pending"
        assert validator.tries == 1
        operator.observer._validator = Accepts()
        operator.observer._missing.clear()
        await _checked(operator)
        await operator.look()
        assert list(server.jobs) == [JOB]

    async def test_costly_documents_of_one_namespace_keep_no_others_waiting(self) -> None:
        operator = Operator(OneExecution(resource()))
        operator.observer._validator = validator = Slow()
        for name in ("a1", "a2", "a3", "b1"):
            metadata = {"name": name, "namespace": name[0], "uid": name, "generation": 1, "creationTimestamp": ago(hours=1)}
            execution = {"metadata": metadata, "spec": {"workflow": {"yaml": name}}}
            operator.store.see_execution(execution, deleted=False)
            await operator.observer.observe(execution, launch_error=None, turn=None, seconds_since_write=None)
        for _ in range(5):
            await asyncio.sleep(0)
        assert validator.at_work == ["a1", "b1"]
        await operator.observer.close()
        assert not operator.observer._one_at_a_time

    async def test_a_missing_key_is_named(self) -> None:
        server = OneExecution(self.from_config_maps())
        server.config_maps = {"documents": {"other": "x"}}
        operator = Operator(server)
        await _checked(operator)
        await operator.look()
        assert server.resource is not None
        assert "'hello.yaml'" in _message(server.resource, "Accepted")


class TestLaunchesThatFail:
    async def test_no_status_names_what_was_not_made_and_it_is_tried_again(self) -> None:
        server = OneExecution(resource())
        server.refuse["create_job"] = Forbidden("jobs is forbidden: exceeded quota: small", 403)
        operator = Operator(server)
        await _checked(operator)
        await operator.look()
        await operator.look()
        assert server.resource is not None
        assert "exceeded quota" in _message(server.resource, "Reconciling")
        assert UID in operator.again
        del server.refuse["create_job"]
        await operator.look()
        operator.reconciler._written_at.clear()
        await operator.look()
        assert list(server.jobs) == [JOB]
        assert "exceeded quota" not in _message(server.resource, "Reconciling")

    async def test_it_is_tried_more_and_more_slowly(self) -> None:
        server = OneExecution(resource())
        server.refuse["create_job"] = Forbidden("jobs is forbidden: exceeded quota: small", 403)
        operator = Operator(server)
        waits: list[float] = []
        operator.reconciler._again = lambda uid, after: waits.append(after)
        await _checked(operator)
        for _ in range(7):
            await operator.look()
        assert waits == [0, 5, 10, 20, 40, 40, 40]
        del server.refuse["create_job"]
        await operator.look()
        assert operator.reconciler._launch_tries == {}

    async def test_a_lost_job_is_made_again_under_a_new_name_and_once(self) -> None:
        server = OneExecution(running())
        assert server.resource is not None
        server.resource["status"] |= {"runner": {"mode": "Job", "retries": 3}, "launches": 1}
        operator = Operator(server)
        await _checked(operator)
        await operator.look()
        assert [name for name in server.jobs if name != JOB] == [server.resource["status"]["jobName"]]
        assert (server.resource["status"]["launches"], server.resource["status"]["failures"]) == (2, 1)

    async def test_killed_between_the_new_job_and_its_status_it_finds_the_job(self) -> None:
        server = OneExecution(running())
        assert server.resource is not None
        server.resource["status"] |= {"runner": {"mode": "Job", "retries": 3}, "launches": 1}
        operator = Operator(server)
        server.refuse["write_status"] = Busy("gone", 503)
        for _ in range(2):
            with contextlib.suppress(Busy):
                await _checked(operator)
        assert len(server.jobs) == 1
        del server.refuse["write_status"]
        operator.restart()
        await _checked(operator)
        await operator.look()
        assert len(server.jobs) == 1
        assert server.resource["status"]["launches"] == 2

    async def test_while_a_pod_of_the_deleted_job_is_there_nothing_is_launched(self) -> None:
        server = OneExecution(running())
        assert server.resource is not None
        server.resource["status"] |= {"runner": {"mode": "Job", "retries": 3}, "launches": 1}
        operator = Operator(server)
        labels = {group.LABEL_EXECUTION_UID: UID, group.LABEL_JOB_NAME: JOB}
        metadata = {"name": f"{JOB}-x", "namespace": "ns", "uid": "p", "resourceVersion": "1", "labels": labels}
        left: Json = {"kind": "Pod", "metadata": metadata, "spec": {}, "status": {"phase": "Running"}}
        operator.store.see_pod(left, deleted=False)
        await _checked(operator)
        await operator.look()
        assert not server.jobs
        assert "delete_pod" in server.calls
        operator.store.see_pod(left, deleted=True)
        await operator.look()
        assert len(server.jobs) == 1


class TestLine:
    async def test_one_place_one_run_and_the_next_is_called_when_it_ends(self) -> None:
        server = OneExecution(resource())
        operator = Operator(server)
        limited = {
            "metadata": {"name": "default", "namespace": "ns", "uid": "r"},
            "spec": {"limits": {"maxConcurrentExecutions": 1}},
        }
        operator.store.see_runner(limited, deleted=False)
        operator.slots.hold(("ns", "default"), "other", "ns")
        await _checked(operator)
        await operator.look()
        assert server.resource is not None
        assert (server.resource["status"]["phase"], server.resource["status"]["queuePosition"]) == ("Queued", 1)
        operator.again.clear()
        operator.slots.leave("other")
        assert operator.again == [UID]
        await operator.look()
        assert list(server.jobs) == [JOB]
        assert operator.slots.counts(("ns", "default")) == (1, 0)

    def limited(self, operator: Operator, **spec: Any) -> None:
        metadata = {"name": "default", "namespace": "ns", "uid": "r", "generation": 2}
        spec = {"limits": {"maxConcurrentExecutions": 1}, **spec}
        operator.store.see_runner({"metadata": metadata, "spec": spec}, deleted=False)

    async def test_who_is_held_or_not_allowed_does_not_stop_the_line(self) -> None:
        for held in ("paused", "not allowed", "runner gone"):
            server = OneExecution(resource())
            operator = Operator(server)
            self.limited(operator)
            operator.slots.hold(RUNNER, "other", "ns")
            await _checked(operator)
            await operator.look()
            later = Waiting("later", "ns", "later", "2026-11-21T12:00:00Z")
            assert operator.slots.take(RUNNER, 1, later) == Turn(granted=False, position=2)
            assert server.resource is not None
            server.resource["metadata"]["resourceVersion"] = "90"
            if held == "paused":
                server.resource["spec"]["paused"] = True
            elif held == "not allowed":
                server.resource["spec"]["secrets"] = {"key": {"secretKeyRef": {"name": "db", "key": "password"}}}
            else:
                operator.store.runners.clear()
            await operator.look()
            operator.again.clear()
            operator.slots.leave("other")
            assert operator.again == ["later"], held
            assert operator.slots.take(RUNNER, 1, later).granted

    async def test_a_place_that_cannot_be_used_is_given_back(self) -> None:
        for trouble in ("runner paused", "paused", "not allowed"):
            server = OneExecution(resource())
            server.refuse["create_job"] = Forbidden("exceeded quota: small", 403)
            operator = Operator(server)
            self.limited(operator)
            await _checked(operator)
            await operator.look()
            assert operator.slots.counts(RUNNER) == (1, 0)
            assert server.resource is not None
            server.resource["metadata"]["resourceVersion"] = "90"
            if trouble == "paused":
                server.resource["spec"]["paused"] = True
            elif trouble == "not allowed":
                server.resource["spec"]["secrets"] = {"key": {"secretKeyRef": {"name": "db", "key": "password"}}}
            else:
                self.limited(operator, paused=True)
            await operator.look()
            assert operator.slots.counts(RUNNER) == (0, 0), trouble
            del server.refuse["create_job"]
            server.resource["spec"] = resource()["spec"]
            server.resource["metadata"]["resourceVersion"] = "99"
            self.limited(operator)
            await _checked(operator)
            await operator.look()
            assert list(server.jobs) == [JOB]
            assert operator.slots.counts(RUNNER) == (1, 0)

    async def test_the_document_of_who_waits_is_looked_at_again_at_its_turn_only(self) -> None:
        server = OneExecution(resource())
        operator = Operator(server)
        self.limited(operator)
        operator.slots.hold(RUNNER, "other", "ns")
        await _checked(operator)
        await operator.look()
        operator.observer._checks.clear()
        await operator.look()
        assert not operator.observer._checking
        operator.slots.leave("other")
        await _checked(operator)
        await operator.look()
        assert list(server.jobs) == [JOB]

    async def test_an_execution_that_goes_leaves_the_line(self) -> None:
        server = OneExecution(resource())
        operator = Operator(server)
        await _checked(operator)
        await operator.look()
        assert operator.slots.counts(("ns", "default")) == (1, 0)
        assert server.resource is not None
        operator.store.see_execution(server.resource, deleted=True)
        await operator.reconciler.reconcile(UID)
        assert operator.slots.counts(("ns", "default")) == (0, 0)


async def test_a_pod_that_does_not_start_is_looked_at_again_though_nothing_happens(launched: Operator) -> None:
    server = launched.server
    assert server.resource is not None
    server.resource["status"] |= {"phase": "Pending"}
    del server.resource["status"]["startTime"]
    server.jobs[JOB]["metadata"]["creationTimestamp"] = ago(seconds=20)
    looks: list[float] = []
    launched.observer._again = lambda uid, after: looks.append(after)
    await launched.look()
    assert 60 <= looks[-1] < 90


class TestOnTemporal:
    """What a run leaves open in Temporal is ended by a Job, which the resource waits for."""

    TERMINATION = termination_name("hello", UID, "")

    @pytest.fixture
    def operator(self) -> Operator:
        server = OneExecution(self.at_work())
        server.jobs[JOB] = job()
        return Operator(server)

    def at_work(self, **metadata: Any) -> Json:
        found = running(**metadata)
        found["status"]["runner"] = {"mode": "Job", "type": "temporal", "retries": 3, "temporal": {"address": "temporal:7233"}}
        return found

    def complete(self, operator: Operator) -> None:
        made = operator.server.jobs[self.TERMINATION]
        made["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        made["metadata"]["resourceVersion"] = "7"
        operator.store.see_job(made, deleted=False)

    @pytest.mark.parametrize("restarted", [False, True], ids=["the-same-operator", "another-operator"])
    async def test_a_deleted_execution_goes_when_its_workflow_is_ended(self, operator: Operator, *, restarted: bool) -> None:
        server = operator.server
        server.resource = self.at_work(deletionTimestamp=ago(seconds=40))
        await operator.look()
        assert list(server.jobs) == [self.TERMINATION], "and the Job of the run is gone"
        assert server.resource["metadata"]["finalizers"] == [group.FINALIZER]
        if restarted:
            operator.restart()
        await operator.look()
        assert server.calls.count("create_job") == 1
        assert server.resource["metadata"]["finalizers"] == [group.FINALIZER]
        self.complete(operator)
        await operator.look()
        assert server.resource["metadata"]["finalizers"] == []
        assert "event WorkflowLeftOpen" not in server.calls

    async def test_it_goes_in_any_case(self, operator: Operator) -> None:
        server = operator.server
        server.resource = self.at_work(deletionTimestamp=ago(seconds=95))
        await operator.look()
        assert server.resource["metadata"]["finalizers"] == []
        assert "event WorkflowLeftOpen" in server.calls

    async def test_a_cancel_by_force_is_told_at_once_and_its_job_survives_the_cleaning_up(self, operator: Operator) -> None:
        server = operator.server
        server.resource = self.at_work(generation=2)
        server.resource["spec"] |= {"cancelled": True, "cancellation": {"mode": "Force"}, "ttlAfterFinished": "0s"}
        await operator.look()
        assert server.resource["status"]["phase"] == "Cancelled"
        operator.restart()
        await operator.look()
        assert list(server.jobs) == [self.TERMINATION]
        self.complete(operator)
        await operator.look()
        await operator.look()
        assert "termination" not in server.resource["status"]
        assert server.resource["metadata"]["finalizers"] == []
        await operator.look()
        assert list(server.jobs) == [self.TERMINATION], "it removes itself"

    def test_what_a_run_leaves_is_not_that_job(self, operator: Operator) -> None:
        made = {**job(), "metadata": {**job()["metadata"], "name": self.TERMINATION}}
        made["metadata"]["labels"] = {**made["metadata"]["labels"], group.NAME_LABEL: group.TERMINATION}
        for known in (job(), made):
            operator.store.see_job(known, deleted=False)
        assert operator.store.workloads(resource()) == [("Job", JOB)]

    @pytest.mark.parametrize(("mode", "wanted"), [("Pod", True), ("Job", False)])
    async def test_the_document_is_read_again_for_a_pod_that_only_ends_the_run(
        self, operator: Operator, mode: str, *, wanted: bool
    ) -> None:
        server = operator.server
        server.resource = self.at_work(generation=2)
        server.resource["spec"] |= {"paused": True, "cancelled": True}
        server.resource["status"]["runner"]["mode"] = mode
        server.resource["status"] |= {"phase": "Paused", "suspended": True}
        for _ in range(2):
            seen = await operator.observer.observe(server.resource, launch_error=None, turn=None, seconds_since_write=None)
            await asyncio.gather(*operator.observer._checking.values())
        assert isinstance(seen.checked, Accepted) == wanted

    async def test_labels_are_anybodys_to_write(self, operator: Operator) -> None:
        foreign = {**job(), "metadata": {**job()["metadata"], "name": self.TERMINATION, "ownerReferences": [{"uid": "other"}]}}
        operator.store.see_job(foreign, deleted=False)
        assert operator.store.termination_job(resource(), self.TERMINATION) is None


async def test_a_new_run_id_runs_again_after_the_end() -> None:
    server = OneExecution(resource())
    operator = Operator(server)
    await _checked(operator)
    await operator.look()
    run = operator.runs.get(UID)
    assert run is not None
    run.ingest(io_pb2.WorkflowProgressEvent(sequence_number=1, event_type="workflow_completed"), b"1")
    await operator.look()
    await operator.look()
    assert server.resource is not None
    assert server.resource["status"]["phase"] == "Completed"
    server.resource["spec"]["runId"] = "two"
    server.resource["metadata"] |= {"generation": 2, "resourceVersion": "90"}
    await operator.look()
    assert server.resource["status"]["phase"] == "Pending"
    await _checked(operator)
    await operator.look()
    assert server.resource["status"]["executionId"] == f"{UID}-two"
    assert server.resource["status"]["jobName"] in server.jobs
    assert JOB not in server.jobs


async def test_a_definition_changed_under_the_same_run_id_is_told(launched: Operator) -> None:
    server = launched.server
    assert server.resource is not None
    await launched.look()
    document = {"dsl": "1.0.0", "namespace": "e2e", "name": "hello", "version": "1.0.0"}
    server.resource["spec"]["workflow"] = {"definition": {"document": document, "do": [{"a": {"set": {}}}]}}
    server.resource["metadata"] |= {"generation": 2, "resourceVersion": "91"}
    server.resource["status"]["observedGeneration"] = 1
    await launched.look()
    assert _message(server.resource, "SpecChanged")


def _message(resource: Json, kind: str) -> str:
    return next((str(item["message"]) for item in resource["status"]["conditions"] if item["type"] == kind), "")
