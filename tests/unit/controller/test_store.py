"""What the watches have seen, and whom the operator believes."""

from __future__ import annotations

from typing import Any

import pytest

from workflow_runner.controller.store import Store
from workflow_runner.crd import group

Json = dict[str, Any]
UID = "execution-uid"


def execution(version: int = 1, **status: Any) -> Json:
    metadata = {"name": "hello", "namespace": "ns", "uid": UID, "resourceVersion": str(version)}
    spec = {"workflow": {"yaml": "long"}, "input": {"large": True}}
    return {"kind": "WorkflowExecution", "metadata": metadata, "spec": spec, "status": status}


def job(namespace: str = "ns", owner: str = UID, version: int = 2) -> Json:
    owners = [{"kind": "WorkflowExecution", "uid": owner, "controller": True}]
    labels = {group.LABEL_EXECUTION_UID: UID}
    metadata = {
        "name": "job",
        "namespace": namespace,
        "uid": f"job-of-{owner}-{namespace}",
        "labels": labels,
        "ownerReferences": owners,
    }
    return {"kind": "Job", "metadata": {**metadata, "resourceVersion": str(version)}, "spec": {}, "status": {}}


def pod(owner: Json, name: str = "pod", namespace: str = "ns", version: int = 3) -> Json:
    owners = [{"kind": "Job", "name": "job", "uid": owner["metadata"]["uid"], "controller": True}]
    labels = {group.LABEL_EXECUTION_UID: UID}
    metadata = {"name": name, "namespace": namespace, "uid": name, "labels": labels, "ownerReferences": owners}
    return {"kind": "Pod", "metadata": {**metadata, "resourceVersion": str(version)}, "spec": {}, "status": {}}


@pytest.fixture
def store() -> Store:
    store = Store()
    store.see_execution(execution(), deleted=False)
    return store


def test_a_job_of_another_namespace_with_our_label_is_not_ours(store: Store) -> None:
    store.see_job(job("attacker"), deleted=False)
    assert store.job(execution(), "job") is None
    store.see_job(job(), deleted=False)
    store.see_job(job("attacker", version=9), deleted=False)
    found = store.job(execution(), "job")
    assert found is not None
    assert found["metadata"]["namespace"] == "ns"


def test_a_job_that_names_another_owner_is_not_ours(store: Store) -> None:
    store.see_job(job(owner="somebody"), deleted=False)
    assert store.job(execution(), "job") is None


def test_a_pod_must_be_made_by_the_job_itself_and_in_its_namespace(store: Store) -> None:
    own = job()
    store.see_pod(pod(job(owner="somebody"), "forged"), deleted=False)
    store.see_pod(pod(own, "elsewhere", namespace="attacker"), deleted=False)
    assert store.newest_pod(execution(), own) is None
    store.see_pod(pod(own, "true"), deleted=False)
    found = store.newest_pod(execution(), own)
    assert found is not None
    assert found["metadata"]["name"] == "true"


def test_an_older_version_does_not_replace_a_newer_one(store: Store) -> None:
    store.see_execution(execution(7, phase="Running"), deleted=False)
    store.see_execution(execution(6), deleted=False)
    assert store.executions[UID]["status"] == {"phase": "Running"}


def test_a_late_answer_does_not_bring_back_what_was_deleted(store: Store) -> None:
    store.see_execution(execution(8), deleted=True)
    store.see_execution(execution(9), deleted=False)
    assert store.executions == {}


def test_a_list_shows_what_went_while_nobody_watched(store: Store) -> None:
    store.see_job(job(version=5), deleted=False)
    store.relist("job", [], version="4")
    assert store.job(execution(), "job") is not None, "newer than the list"
    store.relist("job", [], version="5")
    assert store.job(execution(), "job") is None
    store.relist("execution", [execution(20)], version="20")
    assert list(store.executions) == [UID]


def test_an_ended_execution_is_kept_without_what_it_ran(store: Store) -> None:
    store.see_execution(execution(9, phase="Completed", output=1), deleted=False)
    kept = store.executions[UID]
    assert (kept["spec"]["workflow"], kept["spec"]["input"], kept["status"]["output"]) == ({}, None, 1)
    assert store.has_ended(UID)


@pytest.mark.parametrize(
    ("status", "launched"),
    [
        ({}, False),
        ({"phase": "Queued"}, False),
        ({"phase": "Pending", "jobName": "job"}, False),
        ({"phase": "Running", "startTime": "2026-01-01T00:00:00Z"}, True),
        ({"phase": "Paused", "startTime": "2026-01-01T00:00:00Z"}, True),
        ({"phase": "Completed", "startTime": "2026-01-01T00:00:00Z"}, False),
    ],
)
def test_it_knows_what_runs(store: Store, status: Json, launched: bool) -> None:
    store.see_execution(execution(2, **status), deleted=False)
    assert store.launched() == ([UID] if launched else [])
