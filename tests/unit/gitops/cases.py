"""WorkflowExecutions and WorkflowRunners as the operator leaves them, and how kstatus and Argo CD shall take each.

The statuses are made by the operator's own decisions (reconcile), not written by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.unit.reconcile.conftest import NOW, UID, Builder, event, pod

from workflow_runner.reconcile import actions as act
from workflow_runner.reconcile.execution import plan
from workflow_runner.reconcile.live import End, LiveRun
from workflow_runner.reconcile.observed import Observed, Refused
from workflow_runner.reconcile.runner import runner_status

Json = dict[str, Any]

DEFAULTED: Json = {"observedGeneration": -1}
"""What the CRD gives a resource that nobody has looked at yet."""


@dataclass(frozen=True)
class Case:
    """One resource: its kind, how it is, and its health by kstatus and by Argo CD."""

    name: str
    kind: str
    resource: Json
    kstatus: str
    argo: str


def _written(o: Observed) -> Json:
    """The resource once the plan's status has been written."""
    statuses = [action.status for action in plan(o).actions if isinstance(action, act.WriteStatus)]
    return {**o.resource, "status": statuses[-1]}


def _live(*events: Any) -> LiveRun:
    run = LiveRun(execution_id=UID, attempt=1)
    for item in events:
        run.ingest(item, b"1")
    return run


def _ended(phase: str, **end: Any) -> Json:
    run = _live(event(1, "workflow_started"))
    run.conclude(End(phase, NOW + timedelta(seconds=1), **end))
    return _written(Builder().launched(run))


def _executions() -> list[Case]:
    observed, started = Builder(), event(1, "workflow_started")
    waiting = pod({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}})
    refusal = Refused({"type": "t", "status": 400, "title": "The document is invalid", "code": "c"}, "x:3:5: c: what")
    invalid = LiveRun(execution_id=UID, attempt=0)
    invalid.conclude(End("Failed", NOW, refusal.message, error=refusal.error))
    completed = _ended("Completed", output=1)
    edited = {**completed, "metadata": {**completed["metadata"], "generation": 2}}
    looked_at = observed(status=edited["status"], metadata={"generation": 2, "finalizers": []})
    later = timedelta(seconds=5)
    return [
        Case("new", "WorkflowExecution", {**observed().resource, "status": DEFAULTED}, "InProgress", "Progressing"),
        Case("without-a-runner", "WorkflowExecution", _written(observed(runner=None)), "InProgress", "Progressing"),
        Case("pending", "WorkflowExecution", _written(observed()), "InProgress", "Progressing"),
        Case("held", "WorkflowExecution", _written(observed(spec={"paused": True})), "InProgress", "Suspended"),
        Case(
            "image-not-found",
            "WorkflowExecution",
            _written(observed.launched(_live(), phase="Pending", pod=waiting)),
            "Failed",
            "Degraded",
        ),
        Case(
            "running",
            "WorkflowExecution",
            _written(observed.launched(_live(started), phase="Pending", now=NOW + later)),
            "InProgress",
            "Progressing",
        ),
        Case(
            "paused",
            "WorkflowExecution",
            _written(observed.launched(_live(started, event(2, "workflow_paused")), now=NOW + later)),
            "InProgress",
            "Suspended",
        ),
        Case("completed", "WorkflowExecution", completed, "Current", "Healthy"),
        Case("failed", "WorkflowExecution", _ended("Failed", message="it broke"), "Failed", "Degraded"),
        Case("cancelled", "WorkflowExecution", _ended("Cancelled", message="enough"), "Current", "Healthy"),
        Case("invalid", "WorkflowExecution", _written(observed(checked=refusal, live=invalid)), "Failed", "Degraded"),
        Case("output-lost", "WorkflowExecution", _ended("Completed", output_known=False), "Current", "Healthy"),
        Case("edited-after-its-end", "WorkflowExecution", edited, "InProgress", "Progressing"),
        Case("edited-and-looked-at", "WorkflowExecution", _written(looked_at), "Current", "Healthy"),
        Case(
            "run-again",
            "WorkflowExecution",
            _written(observed(spec={"runId": "2"}, status=completed["status"], metadata={"generation": 2})),
            "InProgress",
            "Progressing",
        ),
        Case(
            "being-deleted",
            "WorkflowExecution",
            {**completed, "metadata": {**completed["metadata"], "deletionTimestamp": "2026-11-21T12:00:00Z"}},
            "Terminating",
            "Progressing",
        ),
    ]


def _runner(invalid: str | None = None, problem: str | None = None, **spec: Any) -> Json:
    resource: Json = {"metadata": {"name": "default", "namespace": "ns", "generation": 1}, "spec": spec}
    status = runner_status(resource, now=NOW, active=0, queued=0, image="runner:1", invalid=invalid, stigmer_problem=problem)
    return {**resource, "status": status}


def _runners() -> list[Case]:
    stigmer = {"endpoint": "stigmer:443"}
    return [
        Case("new-runner", "WorkflowRunner", {**_runner(), "status": DEFAULTED}, "InProgress", "Progressing"),
        Case("ready-runner", "WorkflowRunner", _runner(), "Current", "Healthy"),
        Case("paused-runner", "WorkflowRunner", _runner(paused=True), "Current", "Suspended"),
        Case("invalid-runner", "WorkflowRunner", _runner(invalid="no such mode"), "Failed", "Degraded"),
        Case("no-key", "WorkflowRunner", _runner(problem="there is no Secret", stigmer=stigmer), "Current", "Healthy"),
    ]


CASES = [*_executions(), *_runners()]
