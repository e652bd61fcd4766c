"""Builders of what the operator observes, for the tests of its decisions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from workflow_runner.crd import group
from workflow_runner.crd.execution import WorkflowExecutionSpec
from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.launchers.run import LaunchSettings, SinkAddress, workload_name
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2
from workflow_runner.reconcile.live import LiveRun
from workflow_runner.reconcile.observed import Accepted, Observed, Runner, Turn

Json = dict[str, Any]

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
UID = "5b0d2c1e-0000-4000-8000-000000000001"
JOB = workload_name("hello", UID, "", 1)
LAUNCH = LaunchSettings("runner:1", "IfNotPresent", SinkAddress("sink.ns.svc:9090", "PEM"), "info")


def event(number: int, kind: str, **fields: Any) -> io_pb2.WorkflowProgressEvent:
    """A pod's event; `seconds` after NOW."""
    seconds = fields.pop("seconds", 0)
    return io_pb2.WorkflowProgressEvent(
        sequence_number=number,
        event_type=kind,
        timestamp_ms=int((NOW.timestamp() + seconds) * 1000),
        workflow_name="hello",
        **fields,
    )


def job(**status: Any) -> Json:
    """The execution's Job with this status."""
    return {"kind": "Job", "metadata": {"name": JOB, "namespace": "ns", "uid": "job-uid"}, "status": status}


def pod(state: Json | None = None) -> Json:
    """The Job's pod, its container in this state."""
    statuses = [{"name": "workflow", "state": state}] if state is not None else []
    return {"metadata": {"name": f"{JOB}-abcde", "uid": "pod-uid"}, "status": {"containerStatuses": statuses}}


RUNNING_POD = pod({"running": {}})


class Builder:
    """Observed values that differ from a fresh, valid execution in what a test says."""

    def __init__(self) -> None:
        self.runner = Runner("default", "ns", "runner-uid", 1, WorkflowRunnerSpec())
        self.accepted = Accepted("examples/hello:0.1.0", "sha256:abc", "packed")

    def __call__(
        self, *, spec: Json | None = None, status: Json | None = None, metadata: Json | None = None, **changes: Any
    ) -> Observed:
        raw_spec = {"workflow": {"yaml": "…"}, **(spec or {})}
        resource = {
            "metadata": {
                "name": "hello",
                "namespace": "ns",
                "uid": UID,
                "generation": 1,
                "resourceVersion": "1",
                "creationTimestamp": "2026-11-21T11:00:00Z",
                **(metadata or {}),
            },
            "spec": raw_spec,
            **({"status": status} if status is not None else {}),
        }
        base = Observed(
            now=NOW,
            resource=resource,
            spec=WorkflowExecutionSpec.model_validate(raw_spec),
            runner=self.runner,
            checked=self.accepted,
            job=None,
            pod=None,
            live=None,
            delivery=None,
            launch=LAUNCH,
            turn=Turn(granted=True),
        )
        return replace(base, **changes)

    def launched(self, live: LiveRun, *, phase: str = "Running", status: Json | None = None, **changes: Any) -> Observed:
        """A run whose Job is there and whose pod is at work."""
        changes = {"job": job(), "pod": RUNNING_POD, "checked": None, **changes}
        metadata = {"finalizers": [group.FINALIZER], **changes.pop("metadata", {})}
        base: Json = {"phase": phase, "jobName": JOB, "attempt": 1, "specDigest": "sha256:abc", "executionId": UID}
        if phase != "Pending":
            base["startTime"] = "2026-11-21T12:00:00.000Z"
        return self(status={**base, **(status or {})}, metadata=metadata, live=live, **changes)


@pytest.fixture
def observed() -> Builder:
    return Builder()


@pytest.fixture
def live() -> LiveRun:
    return LiveRun(execution_id=UID, attempt=1)
