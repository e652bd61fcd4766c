"""What the operator decides about a run whose runner has a pool."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.reconcile.conftest import NOW, UID, Builder, event
from tests.unit.reconcile.test_plan_endpoints import found, kinds

from workflow_runner.crd import group
from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.reconcile import actions as act
from workflow_runner.reconcile.execution import plan
from workflow_runner.reconcile.live import End, LiveRun
from workflow_runner.reconcile.observed import NoReplica, Observed, Refused, Remote, Replica, Runner
from workflow_runner.reconcile.runner import runner_status
from workflow_runner.reconcile.timestamps import to_text

Json = dict[str, Any]

FIRST, SECOND = (Replica(f"pool-{number}", f"pod-{number}", f"10.0.0.{number}:9090") for number in (1, 2))
SNAPSHOT: Json = {
    "name": "default",
    "namespace": "ns",
    "uid": "runner-uid",
    "generation": 1,
    "type": "embedded",
    "mode": "Pool",
}
RUNNER = Runner("default", "ns", "runner-uid", 1, WorkflowRunnerSpec.model_validate({"launch": {"mode": "Pool"}}))


def placed(observed: Builder, live: LiveRun, *, retries: int = 0, **changes: Any) -> Observed:
    """A run that is on the first replica."""
    status: Json = {"phase": "Running", "attempt": 1, "launches": 1, "specDigest": "sha256:abc", "executionId": UID}
    status |= {"runner": {**SNAPSHOT, "retries": retries}, "submitTime": to_text(NOW), "startTime": to_text(NOW)}
    status |= {"replica": {"name": "pool-1", "uid": "pod-1", "address": "10.0.0.1:9090"}, "workflow": "examples/hello:0.1.0"}
    status |= {"callback": {"sourceSequence": 1, "baseSequence": 0}}
    metadata = {"finalizers": [group.FINALIZER]}
    return observed(status=status, metadata=metadata, live=live, runner=RUNNER, **{"checked": observed.accepted, **changes})


@pytest.fixture
def begun(live: LiveRun) -> LiveRun:
    live.ingest(event(1, "workflow_started"))
    return live


def test_a_place_is_asked_for_before_anything_is_pinned(observed: Builder) -> None:
    assert kinds(plan(observed(runner=RUNNER))) == ["TakeReplica"]


@pytest.mark.parametrize(("ready", "why"), [(0, "none is ready"), (2, "all 2 that are ready")])
def test_without_a_place_it_waits(observed: Builder, ready: int, why: str) -> None:
    decision = plan(observed(runner=RUNNER, replica=NoReplica(ready)))
    assert kinds(decision) == ["WriteStatus"]
    [condition] = [item for item in found(decision, act.WriteStatus).status["conditions"] if item["type"] == "Completed"]
    assert condition["reason"] == "NoReplica"
    assert why in condition["message"]
    assert decision.again_after


def test_its_replica_is_pinned_and_it_is_handed_over_there(observed: Builder) -> None:
    decision = plan(observed(runner=RUNNER, replica=FIRST))
    status = found(decision, act.WriteStatus).status
    assert status["replica"] == {"name": "pool-1", "uid": "pod-1", "address": "10.0.0.1:9090"}
    assert (status["runner"]["mode"], status["runner"]["image"]) == ("Pool", observed().launch.image)
    assert found(decision, act.FollowEndpoint).runner["replica"] == status["replica"]


def test_it_is_held_only_when_it_does_not_end_at_once(observed: Builder, begun: LiveRun) -> None:
    decision = plan(observed(runner=RUNNER, replica=FIRST))
    assert kinds(decision) == ["WriteStatus", "BeginRun", "FollowEndpoint"]
    assert decision.again_after == 1
    for age, actions in ((0.2, []), (1.5, ["AddFinalizer"])):
        o = placed(observed, begun, now=NOW + timedelta(seconds=age), remote=Remote(), seconds_since_write=0.1)
        o.resource["metadata"]["finalizers"] = []
        decision = plan(o)
        assert [kind for kind in kinds(decision) if kind == "AddFinalizer"] == actions
        assert actions or (decision.again_after or 9) <= 0.9


def test_one_that_stigmer_follows_is_held_from_the_beginning(observed: Builder) -> None:
    spec = {"launch": {"mode": "Pool"}, "stigmer": {"endpoint": "stigmer:443"}}
    runner = Runner("default", "ns", "runner-uid", 1, WorkflowRunnerSpec.model_validate(spec))
    assert kinds(plan(observed(runner=runner, replica=FIRST)))[0] == "AddFinalizer"


def test_it_is_followed_on_its_replica_after_a_restart(observed: Builder, begun: LiveRun) -> None:
    assert found(plan(placed(observed, begun)), act.FollowEndpoint).runner["replica"]["uid"] == "pod-1"


def test_a_lost_replica_fails_the_run(observed: Builder, begun: LiveRun) -> None:
    end = found(plan(placed(observed, begun, replica_lost=True)), act.EndRun).end
    assert (end.phase, end.error["code"]) == ("Failed", "run.replica-lost")


def test_or_it_begins_anew_on_another(observed: Builder, begun: LiveRun) -> None:
    assert kinds(plan(placed(observed, begun, retries=1, replica_lost=True))) == ["TakeReplica"]
    waiting = plan(placed(observed, begun, retries=1, replica_lost=True, replica=NoReplica(0)))
    assert "failures" not in found(waiting, act.WriteStatus).status
    decision = plan(placed(observed, begun, retries=1, replica_lost=True, replica=SECOND))
    assert kinds(decision) == ["WriteStatus", "StartOver", "FollowEndpoint", "RecordEvent"]
    status = found(decision, act.WriteStatus).status
    assert (status["replica"]["name"], status["attempt"], status["failures"]) == ("pool-2", 2, 1)
    assert found(decision, act.FollowEndpoint).runner["replica"]["name"] == "pool-2"


def test_a_document_that_is_refused_by_now_is_not_waited_for(observed: Builder, begun: LiveRun) -> None:
    refused = Refused({"type": "t", "status": 400, "title": "The document is invalid", "code": "c"}, "3:5: c: what")
    decision = plan(placed(observed, begun, retries=1, replica_lost=True, replica=SECOND, checked=refused))
    end = found(decision, act.EndRun).end
    assert (end.phase, end.message, end.error["code"]) == ("Failed", "3:5: c: what", "c")


@pytest.mark.parametrize(("phase", "told"), [("Completed", []), ("Failed", ["RecordEvent"]), ("Cancelled", ["RecordEvent"])])
def test_an_ordinary_end_is_told_by_status_alone(observed: Builder, begun: LiveRun, phase: Any, told: list[str]) -> None:
    """A hundred a second would fill the cluster's store with Events."""
    begun.end = End(phase, NOW, "said")
    assert kinds(plan(placed(observed, begun))) == ["WriteStatus", *told]


def test_one_that_does_not_answer_is_looked_after_soon(observed: Builder, begun: LiveRun) -> None:
    decision = plan(placed(observed, begun, remote=Remote("EndpointUnreachable", "")))
    assert decision.again_after is not None
    assert decision.again_after <= 1


def test_nobody_is_told_by_force_on_a_replica_that_is_gone(observed: Builder, begun: LiveRun) -> None:
    o = placed(observed, begun, replica_lost=True, spec={"cancelled": True})
    assert kinds(plan(o)) == ["EndRun"]


def test_the_runners_status_tells_of_its_replicas() -> None:
    base: Json = {"metadata": {"generation": 1, "uid": "runner-uid"}, "spec": {"launch": {"mode": "Pool"}}}
    fixed: Any = {"now": NOW, "active": 0, "queued": 0, "image": "i", "invalid": None, "stigmer_problem": None}
    ready: list[Json] = []
    for replicas, problem in (((2, 1), None), ((2, 0), None), (None, "forbidden")):
        status = runner_status(base, **fixed, replicas=replicas, pool_problem=problem)
        ready += [item for item in status["conditions"] if item["type"] == "Ready"]
        assert status.get("readyReplicas") == (None if replicas is None else replicas[1])
        assert status.get("selector") == (None if replicas is None else f"{group.LABEL_POOL}=runner-uid")
    assert [item["reason"] for item in ready] == ["Ready", "NoReplica", "PoolNotMade"]


# With type temporal the state is in Temporal, and the replicas only work on it.

ON_TEMPORAL = {**SNAPSHOT, "type": "temporal", "temporal": {"address": "temporal:7233"}, "retries": 0}


def on_temporal(observed: Builder, live: LiveRun, **changes: Any) -> Observed:
    o = placed(observed, live, **changes)
    o.resource["status"]["runner"] = dict(ON_TEMPORAL)
    return o


def test_a_lost_replica_s_run_goes_on_at_another_one_as_the_same_attempt(observed: Builder, begun: LiveRun) -> None:
    assert kinds(plan(on_temporal(observed, begun, replica_lost=True))) == ["TakeReplica"]
    decision = plan(on_temporal(observed, begun, replica_lost=True, replica=SECOND))
    assert kinds(decision) == ["WriteStatus", "FollowEndpoint", "RecordEvent"]
    status, order = found(decision, act.WriteStatus).status, found(decision, act.FollowEndpoint)
    assert status["replica"]["uid"] == order.runner["replica"]["uid"] == "pod-2"
    assert (status["phase"], status["attempt"], status["launches"]) == ("Running", 1, 1)
    assert (order.attempt, order.run) == (1, None), "it is in Temporal, and only followed"


def test_one_that_has_told_nothing_is_handed_over_again(observed: Builder, live: LiveRun) -> None:
    order = found(plan(on_temporal(observed, live, replica_lost=True, replica=SECOND)), act.FollowEndpoint)
    assert order.run is not None
    assert order.attempt == 1


def test_while_no_replica_is_there_it_waits_and_says_so(observed: Builder, begun: LiveRun) -> None:
    decision = plan(on_temporal(observed, begun, replica_lost=True, replica=NoReplica(0)))
    assert kinds(decision) == ["WriteStatus"]
    status = found(decision, act.WriteStatus).status
    assert status["phase"] == "Running"
    assert "NoReplica" in {item["reason"] for item in status["conditions"]}
    assert decision.again_after


def test_cancelled_meanwhile_another_replica_ends_it(observed: Builder, begun: LiveRun) -> None:
    spec = {"cancelled": True}
    assert kinds(plan(on_temporal(observed, begun, spec=spec, replica_lost=True))) == ["TakeReplica"]
    decision = plan(on_temporal(observed, begun, spec=spec, replica_lost=True, replica=SECOND))
    assert "FollowEndpoint" in kinds(decision)


def test_cancelled_where_no_replica_comes_it_is_told_what_is_left_open(observed: Builder, begun: LiveRun) -> None:
    o = on_temporal(
        observed, begun, spec={"cancelled": True, "cancellation": {"mode": "Force"}}, replica_lost=True, replica=NoReplica(0)
    )
    decision = plan(o)
    assert kinds(decision) == ["RecordEvent", "EndRun"]
    assert found(decision, act.RecordEvent).reason == "WorkflowLeftOpen"
    assert not found(decision, act.EndRun).end.left_open, "no Job is made for it: its pods are the pool's"


@pytest.mark.parametrize("late", [False, True], ids=["cancelled by force", "too late"])
def test_any_other_replica_is_told_by_force(observed: Builder, begun: LiveRun, late: bool) -> None:
    def asked(replica: Replica | None) -> act.Plan:
        spec = {} if late else {"cancelled": True, "cancellation": {"mode": "Force"}}
        now = NOW + timedelta(hours=2) if late else NOW
        o = on_temporal(observed, begun, spec=spec, replica_lost=True, replica=replica, now=now)
        o.resource["status"]["runner"]["timeout"] = "1h"
        return plan(o)

    assert kinds(asked(None)) == ["TakeReplica"]
    decision = asked(SECOND)
    assert kinds(decision) == ["ForceCancel", "EndRun"]
    assert found(decision, act.ForceCancel).runner["replica"]["uid"] == "pod-2"


def test_one_that_does_not_answer_is_told_by_force_where_no_other_has_room(observed: Builder, begun: LiveRun) -> None:
    spec = {"cancelled": True, "cancellation": {"mode": "Force"}}
    silent = Remote(reason="EndpointUnreachable", message="no answer", silent=True)
    decision = plan(on_temporal(observed, begun, spec=spec, replica_lost=True, replica=NoReplica(1), remote=silent))
    assert kinds(decision) == ["ForceCancel", "RecordEvent", "EndRun"]
    assert found(decision, act.ForceCancel).runner["replica"]["uid"] == "pod-1"


def test_one_that_is_not_found_there_any_more_is_not_begun_anew(observed: Builder, begun: LiveRun) -> None:
    decision = plan(on_temporal(observed, begun, remote=Remote(forgotten=True)))
    assert kinds(decision) == ["RecordEvent", "EndRun"]
    assert found(decision, act.EndRun).end.phase == "Failed"


def test_a_time_out_is_kept_though_no_replica_is_there(observed: Builder, begun: LiveRun) -> None:
    o = on_temporal(observed, begun, replica_lost=True, replica=NoReplica(0), now=NOW + timedelta(hours=2))
    o.resource["status"]["runner"]["timeout"] = "1h"
    assert found(plan(o), act.EndRun).end.phase == "Failed"


def test_what_a_replica_said_when_it_ended_is_what_the_runner_says() -> None:
    status = runner_status(
        {"metadata": {"generation": 1, "uid": "runner-uid"}, "spec": {"launch": {"mode": "Pool"}}},
        now=NOW,
        active=0,
        queued=0,
        image="image",
        invalid=None,
        stigmer_problem=None,
        replicas=(2, 0),
        replica_ended="workflow-runner: temporal.unavailable: nobody listens there",
    )
    [ready] = [item for item in status["conditions"] if item["type"] == "Ready"]
    assert (ready["reason"], "temporal.unavailable" in ready["message"]) == ("NoReplica", True)
