"""What does not change is not written: from whatever the operator finds, its decisions come to rest.

Each example is a state of the world, some of them nonsense (a status edited by hand, say). Decisions are carried out on it
as the controller would, time goes on, nobody else does anything: after a few rounds there is nothing left to be done.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.unit.reconcile.conftest import JOB, UID, Builder, event, job, pod

from workflow_runner.crd import group
from workflow_runner.crd.execution import TERMINAL_PHASES
from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.reconcile import actions as act
from workflow_runner.reconcile.execution import plan
from workflow_runner.reconcile.live import ControlAnswer, LiveRun
from workflow_runner.reconcile.observed import Accepted, Delivery, Missing, Observed, Refused, Turn

Json = dict[str, Any]

ROUNDS, QUIET = 14, 3
SPECS: list[Json] = [
    {},
    {"paused": True},
    {"cancelled": True, "cancellation": {"gracePeriod": "2m", "reason": "why not"}},
    {"cancelled": True, "paused": True, "cancellation": {"mode": "Force"}},
    {"runId": "two"},
    {"secrets": {"key": {"secretKeyRef": {"name": "db", "key": "password"}}}},
    {"timeout": "1h", "retries": 2},
]
RUNNERS: list[Json] = [
    {},
    {"paused": True},
    {"launch": {"mode": "Pod"}, "limits": {"maxConcurrentExecutions": 2}},
    {"snapshots": {"persistentVolumeClaim": {"claimName": "c"}}, "stigmer": {"endpoint": "s:1"}},
    {"type": "temporal", "temporal": {"address": "t:1"}, "launch": {"mode": "Pod"}},
]
PINNED: Json = {"attempt": 1, "launches": 1, "specDigest": "sha256:abc", "executionId": UID, "jobName": JOB}
SNAPSHOT: Json = {"name": "default", "namespace": "ns", "mode": "Job", "retries": 1, "timeout": "30m"}
BARE: Json = {**PINNED, "podName": JOB, "runner": {**SNAPSHOT, "mode": "Pod"}}
ON_TEMPORAL: Json = {**SNAPSHOT, "temporal": {"address": "t:1"}}
STATUSES: list[Json | None] = [
    None,
    {"phase": "Queued", "queuePosition": 4},
    {"phase": "Pending", **PINNED, "runner": SNAPSHOT},
    {"phase": "Running", **PINNED, "runner": SNAPSHOT, "startTime": "2026-11-21T11:59:00.000Z", "runId": "one"},
    {"phase": "Running", **PINNED, "startTime": "2026-11-21T11:59:00.000Z"},
    {"phase": "Running", **BARE, "startTime": "2026-11-21T11:59:00.000Z"},
    {"phase": "Paused", **PINNED, "runner": {**SNAPSHOT, "snapshots": {}}, "suspended": True, "pausedSeconds": 1.23456},
    {"phase": "Running", **PINNED, "runner": ON_TEMPORAL, "startTime": "2026-11-21T11:59:00.000Z"},
    {"phase": "Paused", **BARE, "runner": {**ON_TEMPORAL, "mode": "Pod"}, "suspended": True},
    {
        "phase": "Cancelled",
        **PINNED,
        "runner": ON_TEMPORAL,
        "termination": {"jobName": "t", "since": "2026-11-21T11:59:30.000Z"},
        "completionTime": "2026-11-21T11:59:30.000Z",
    },
    {"phase": "Completed", **PINNED, "completionTime": "2026-11-21T11:59:30.000Z", "output": {"a": 1}},
    {"phase": "Completed"},
    {
        "phase": "Completed",
        **PINNED,
        "callback": {"owed": [{"sequence": 3, "type": "task_failed", "time": "2026-11-21T11:59:30Z"}]},
    },
    {"phase": "Failed", "observedGeneration": 7, "conditions": [], "callback": {"sourceSequence": 3}},
    {"tasks": [{"name": "a", "reference": "/do/0/a", "status": "Running"}]},
]
EVENTS = [
    "workflow_started",
    "task_started",
    "task_failed",
    "workflow_paused",
    "workflow_resumed",
    "workflow_completed",
    "workflow_failed",
]
CONTAINERS: list[Json | None] = [
    None,
    {"running": {}},
    {"waiting": {"reason": "ImagePullBackOff"}},
    {"waiting": {"reason": "ContainerCreating"}},
    {"terminated": {"exitCode": 137}},
    {"terminated": {"exitCode": 75, "message": '{"code": "temporal.tls", "message": "no"}'}},
    {"terminated": {"exitCode": 0, "message": '{"phase": "Completed", "output": 1}'}},
]
CHECKS = [
    None,
    Accepted("n/hello:1", "sha256:abc", "packed"),
    Refused({"type": "t", "status": 400}, "bad"),
    Missing("Gone", "m"),
]


def mostly(value: Any, *others: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([value, value, *others])


@st.composite
def worlds(draw: Callable[[Any], Any]) -> Observed:
    status, spec = draw(st.sampled_from(STATUSES)), draw(st.sampled_from(SPECS))
    builder = Builder()
    metadata: Json = {"finalizers": draw(mostly([group.FINALIZER], [])), "generation": draw(mostly(1, 2))}
    if draw(mostly(False, False, True)):
        metadata["deletionTimestamp"] = "2026-11-21T11:59:58Z"
    live = None
    if status is not None and "specDigest" in status:
        live = LiveRun.from_status(status)
        for number, kind in enumerate(draw(st.lists(st.sampled_from(EVENTS), max_size=4)), 4):
            seconds = draw(st.sampled_from([-90, -0.1234, 0, 3600]))
            live.ingest(event(number, kind, task_name="a", task_reference="/do/0/a", seconds=seconds), b"1")
        if draw(st.booleans()):
            live.answer = ControlAnswer(1, draw(st.sampled_from(["Accepted", "Applied", "Refused"])), "so", draw(st.booleans()))
    container = draw(st.sampled_from(CONTAINERS))
    return builder(
        spec=spec,
        status=status,
        metadata=metadata,
        runner=draw(
            mostly(replace(builder.runner, spec=WorkflowRunnerSpec.model_validate(draw(st.sampled_from(RUNNERS)))), None)
        ),
        checked=draw(st.sampled_from(CHECKS)),
        job=draw(mostly(job(), None, job(conditions=[{"type": "Failed", "status": "True", "reason": "x"}]))),
        pod=None if container is None else pod(container),
        live=live,
        delivery=draw(mostly(None, Delivery(0, "down", 2), Delivery(9, None, 0))) if live else None,
        turn=None,
        held_up=draw(mostly(None, "exceeded quota: small")),
        launch_error=draw(mostly(None, "exceeded quota: small")),
        spec_changed=draw(mostly(None, True, False)),
    )


def terminates(action: act.Action) -> bool:
    """Whether it ends what a run has left in Temporal, and starts nothing."""
    return isinstance(action, act.CreateWorkload) and (
        action.manifest["metadata"]["labels"][group.NAME_LABEL] == group.TERMINATION
    )


def carried_out(o: Observed, decision: act.Plan) -> Observed:
    """What is observed after the controller has done it, some time later."""
    resource = {**o.resource, "metadata": dict(o.metadata)}
    changes: Json = {}
    for action in decision.actions:
        match action:
            case act.AddFinalizer():
                resource["metadata"]["finalizers"] = [group.FINALIZER]
            case act.RemoveFinalizer():
                resource["metadata"]["finalizers"] = []
            case act.WriteStatus(status):
                resource["status"] = status
                changes["spec_changed"] = None
                if o.live is not None:
                    o.live.urgent = False
            case act.WriteCallback(callback):
                resource["status"] = {**resource["status"], "callback": callback}
            case act.BeginRun(execution_id, attempt):
                changes["live"] = LiveRun(execution_id=execution_id, attempt=attempt)
            case act.EndRun(end):
                live = changes.get("live", o.live)
                assert live is not None
                assert live.end is None, "a run ends once"
                live.conclude(end)
            case act.SetDesired(desired):
                assert o.live is not None
                o.live.desired = desired
            case act.TakeTurn(limit):
                return replace(o, turn=Turn(limit is None, 3))
            case act.CreateWorkload(manifest):
                if o.launch_error:
                    break
                made = {**manifest, "metadata": {**manifest["metadata"], "uid": "made"}, "status": {}}
                if terminates(action):
                    changes["termination_job"] = {**made, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
                    continue
                changes |= {"pod": pod({"running": {}})}
                changes |= {"pod": {**made, "status": {}}} if manifest["kind"] == "Pod" else {"job": made}
            case act.DeleteWorkload() | act.CleanUp():
                changes |= {"job": None, "pod": None}
            case act.SuspendJob():
                assert o.job is not None
                changes["job"] = {**o.job, "spec": {"suspend": action.suspend}}
            case act.ForgetRun():
                changes["live"] = None
    if "live" in changes and changes["live"] is None:
        changes["delivery"] = None
    later = timedelta(seconds=60)
    return replace(o, resource=resource, now=o.now + later, seconds_since_write=60.0, turn=None, **changes)


@given(worlds())
@settings(max_examples=600, deadline=None)
def test_decisions_come_to_rest(world: Observed) -> None:
    history: list[tuple[Any, ...]] = []
    quiet = 0
    for _ in range(ROUNDS + QUIET):
        decision = plan(world)
        if not any(isinstance(action, act.TakeTurn) for action in decision.actions):
            writes = [action for action in decision.actions if not isinstance(action, act.CreateWorkload | act.ForgetRun)]
            quiet = 0 if writes else quiet + 1
        history.append(decision.actions)
        if quiet == QUIET or any(isinstance(action, act.DeleteExecution) for action in decision.actions):
            return
        world = carried_out(world, decision)
    raise AssertionError("\n".join(map(str, history)))


@given(worlds())
@settings(max_examples=300, deadline=None)
def test_an_ended_run_stays_ended(world: Observed) -> None:
    """No decision starts anything for an end that has been written down."""
    phase = world.status.get("phase")
    if phase not in TERMINAL_PHASES or world.spec.run_id or (world.live is not None and world.live.end is None):
        return
    for _ in range(4):
        decision = plan(world)
        begins = [action for action in decision.actions if isinstance(action, act.CreateWorkload | act.TakeTurn | act.EndRun)]
        assert all(terminates(action) for action in begins)
        world = carried_out(world, decision)
        assert world.status.get("phase") == phase
