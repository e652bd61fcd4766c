"""The operator's decisions in Pod mode, about lost workloads, and about pauses that give the machine back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace
from tests.unit.reconcile.conftest import JOB, NOW, Builder, event, job
from tests.unit.reconcile.test_plan import condition, kinds, written

from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.reconcile import actions as act
from workflow_runner.reconcile.execution import plan
from workflow_runner.reconcile.live import ControlAnswer, LiveRun
from workflow_runner.reconcile.observed import Accepted, Missing, Observed
from workflow_runner.reconcile.run_end import Lost, pod_end

Json = dict[str, Any]

POD = JOB
DISRUPTED = [{"type": "DisruptionTarget", "status": "True"}]
SNAPSHOTS = {"persistentVolumeClaim": {"claimName": "states"}}
ACCEPTED = Accepted("examples/hello:0.1.0", "sha256:abc", "packed")


def bare(state: Json | None = None, **status: Any) -> Json:
    statuses = [{"name": "workflow", "state": state}] if state is not None else []
    metadata = {"name": POD, "namespace": "ns", "uid": "pod-uid"}
    return {"kind": "Pod", "metadata": metadata, "status": {"containerStatuses": statuses, **status}}


def deleted(pod: Json) -> Json:
    return {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "2026-11-21T12:00:00Z"}}


def in_pod_mode(observed: Builder, live: LiveRun, *, retries: int = 0, status: Json | None = None, **changes: Any) -> Observed:
    changes = {"job": None, "pod": bare({"running": {}}), **changes}
    snapshot = {"mode": "Pod", "retries": retries, **changes.pop("snapshot", {})}
    base = {"podName": POD, "launches": 1, "runner": snapshot}
    result = observed.launched(live, status={**base, **(status or {})}, **changes)
    trimmed = {key: value for key, value in result.status.items() if key != "jobName"}
    return replace(result, resource={**result.resource, "status": trimmed})


class TestPodMode:
    def test_a_bare_pod_is_pinned_and_created(self, observed: Builder) -> None:
        spec = WorkflowRunnerSpec.model_validate({"launch": {"mode": "Pod"}})
        decision = plan(observed(runner=replace(observed.runner, spec=spec)))
        status = written(decision)
        assert (status["runner"]["mode"], status["podName"]) == ("Pod", POD)
        assert "jobName" not in status
        [manifest] = [action.manifest for action in decision.actions if isinstance(action, act.CreateWorkload)]
        assert (manifest["kind"], manifest["metadata"]["name"]) == ("Pod", POD)

    def test_its_word_ends_the_run(self, observed: Builder, live: LiveRun) -> None:
        ended = bare({"terminated": {"exitCode": 0, "message": '{"phase":"Completed","output":1}'}})
        [action] = plan(in_pod_mode(observed, live, pod=ended)).actions
        assert isinstance(action, act.EndRun)
        assert action.end.output == 1

    def test_a_kill_that_the_node_does_not_explain_is_no_want_of_memory_where_the_pod_had_to_go(self) -> None:
        lost = pod_end(bare({"terminated": {"exitCode": 137, "reason": "Error"}}, conditions=DISRUPTED), NOW)
        assert isinstance(lost, Lost)
        assert lost.end.error is not None
        assert lost.end.error["code"] == "run.pod-failed"

    @pytest.mark.parametrize(
        ("pod", "code"),
        [
            (None, "run.pod-lost"),
            (bare({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}), "run.out-of-memory"),
            (bare({"terminated": {"exitCode": 137, "reason": "Error"}}), "run.out-of-memory"),
            (bare(phase="Failed", reason="Evicted", message="disk pressure"), "run.pod-failed"),
            (deleted(bare({"terminated": {"exitCode": 143}}, phase="Failed")), "run.pod-lost"),
            (deleted(bare({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})), "run.out-of-memory"),
        ],
    )
    def test_a_lost_pod_fails_the_run_and_says_why(self, observed: Builder, live: LiveRun, pod: Json | None, code: str) -> None:
        [action] = plan(in_pod_mode(observed, live, pod=pod)).actions
        assert isinstance(action, act.EndRun)
        assert action.end.error is not None
        assert action.end.error["code"] == code

    def test_with_retries_left_it_is_launched_again_under_another_name(self, observed: Builder, live: LiveRun) -> None:
        decision = plan(in_pod_mode(observed, live, retries=1, pod=None, checked=ACCEPTED))
        assert kinds(decision) == ["CreateWorkload", "WriteStatus", "RecordEvent"]
        [manifest] = [action.manifest for action in decision.actions if isinstance(action, act.CreateWorkload)]
        status = written(decision)
        assert (status["launches"], status["failures"]) == (2, 1)
        assert status["podName"] == manifest["metadata"]["name"] != POD

    def test_retries_come_to_an_end(self, observed: Builder, live: LiveRun) -> None:
        lost = in_pod_mode(observed, live, retries=1, pod=None, checked=ACCEPTED, status={"failures": 1})
        assert kinds(plan(lost)) == ["EndRun"]

    def test_a_drained_node_costs_no_retry(self, observed: Builder, live: LiveRun) -> None:
        drained = bare({"terminated": {"exitCode": 143}}, phase="Failed", conditions=DISRUPTED)
        decision = plan(in_pod_mode(observed, live, pod=drained, checked=ACCEPTED))
        assert "CreateWorkload" in kinds(decision)
        assert "failures" not in written(decision)

    def test_it_waits_while_the_document_is_read_again(self, observed: Builder, live: LiveRun) -> None:
        assert plan(in_pod_mode(observed, live, retries=1, pod=None)) == act.Plan()

    def test_another_document_by_now_is_not_run_under_the_old_pin(self, observed: Builder, live: LiveRun) -> None:
        other = replace(ACCEPTED, digest="sha256:other")
        [action] = plan(in_pod_mode(observed, live, retries=1, pod=None, checked=other)).actions
        assert isinstance(action, act.EndRun)
        assert action.end.error is not None
        assert action.end.error["code"] == "run.input-changed"

    def test_a_relaunch_that_is_refused_says_why_and_counts_once(self, observed: Builder, live: LiveRun) -> None:
        refused = in_pod_mode(observed, live, retries=1, pod=None, checked=ACCEPTED, launch_error="pods: exceeded quota: x")
        decision = plan(refused)
        status = written(decision)
        assert condition(status, "Reconciling")[1] == "QuotaExceeded"
        assert (status.get("launches"), status.get("failures")) == (1, None)
        assert decision.again_after

    def test_cancel_asks_the_pod_and_then_takes_it_away(self, observed: Builder, live: LiveRun) -> None:
        asked = in_pod_mode(observed, live, spec={"cancelled": True})
        first = written(plan(asked))
        late = in_pod_mode(observed, live, spec={"cancelled": True}, status=first, now=NOW + timedelta(seconds=31))
        assert plan(late).actions[0] == act.DeleteWorkload("Pod", POD, at_once=True)

    def test_a_pod_that_is_going_is_waited_for(self, observed: Builder, live: LiveRun) -> None:
        going = bare({"running": {}})
        going["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
        assert "EndRun" not in kinds(plan(in_pod_mode(observed, live, retries=1, pod=going)))


class TestLostJob:
    def test_a_job_deleted_with_retries_left_is_made_again(self, observed: Builder, live: LiveRun) -> None:
        status = {"runner": {"mode": "Job", "retries": 2}, "launches": 1}
        decision = plan(observed.launched(live, job=None, pod=None, status=status, checked=ACCEPTED))
        assert kinds(decision) == ["CreateWorkload", "WriteStatus", "RecordEvent"]
        assert written(decision)["jobName"] != JOB


class TestSuspension:
    def paused(self, live: LiveRun) -> LiveRun:
        live.ingest(event(1, "workflow_started"))
        live.ingest(event(2, "workflow_paused"))
        live.answer = ControlAnswer(2, "Applied", "", suspendable=True)
        return live

    def held(self, observed: Builder, live: LiveRun, **changes: Any) -> Observed:
        status = {"runner": {"mode": "Job", "snapshots": SNAPSHOTS}, **changes.pop("status", {})}
        metadata = {"generation": 2}
        return observed.launched(
            live, phase="Paused", spec={"paused": True, **changes.pop("spec", {})}, status=status, metadata=metadata, **changes
        )

    def test_a_pause_whose_state_is_on_disk_suspends_the_job(self, observed: Builder, live: LiveRun) -> None:
        status = written(plan(self.held(observed, self.paused(live))))
        assert status["suspended"] is True
        decision = plan(self.held(observed, live, status=status))
        assert decision.actions[0] == act.SuspendJob(JOB, suspend=True)

    def test_without_the_pods_word_it_stays(self, observed: Builder, live: LiveRun) -> None:
        self.paused(live).answer = ControlAnswer(2, "Applied", "", suspendable=False)
        assert "suspended" not in written(plan(self.held(observed, live)))

    def test_a_suspended_job_is_left_alone(self, observed: Builder, live: LiveRun) -> None:
        suspended = job()
        suspended["spec"] = {"suspend": True}
        status = written(plan(self.held(observed, self.paused(live))))
        second = plan(self.held(observed, live, status=status, job=suspended, pod=None))
        final = written(second) if second.actions else status
        assert plan(self.held(observed, live, status=final, job=suspended, pod=None)).actions == ()
        assert (final["phase"], final["suspended"]) == ("Paused", True)

    def test_resume_brings_the_pod_back(self, observed: Builder, live: LiveRun) -> None:
        status = written(plan(self.held(observed, self.paused(live))))
        resumed = observed.launched(live, phase="Paused", status=status, metadata={"generation": 3}, pod=None)
        decision = plan(resumed)
        assert decision.actions[0] == act.SuspendJob(JOB, suspend=False)
        after = written(decision)
        assert "suspended" not in after
        assert (after["control"]["desired"], after["control"]["result"]) == ("Run", "Pending")

    def test_cancel_of_a_suspended_run_waits_for_nobody(self, observed: Builder, live: LiveRun) -> None:
        status = written(plan(self.held(observed, self.paused(live))))
        stopped = self.held(observed, live, status=status, spec={"cancelled": True}, pod=None)
        assert kinds(plan(stopped)) == ["DeleteWorkload", "EndRun"]

    def test_a_suspended_run_whose_job_somebody_deleted_comes_back_when_it_is_resumed(
        self, observed: Builder, live: LiveRun
    ) -> None:
        status = written(plan(self.held(observed, self.paused(live))))
        held = self.held(observed, live, status=status, job=None, pod=None)
        assert "EndRun" not in kinds(plan(held))
        resumed = observed.launched(
            live, phase="Paused", status=status, metadata={"generation": 3}, job=None, pod=None, checked=ACCEPTED
        )
        assert "CreateWorkload" in kinds(plan(resumed))

    def test_in_pod_mode_the_pod_goes_and_another_comes(self, observed: Builder, live: LiveRun) -> None:
        self.paused(live)
        held = in_pod_mode(
            observed, live, phase="Paused", snapshot={"snapshots": SNAPSHOTS}, spec={"paused": True}, metadata={"generation": 2}
        )
        status = written(plan(held))
        assert status["suspended"] is True
        again = in_pod_mode(observed, live, phase="Paused", spec={"paused": True}, metadata={"generation": 2}, status=status)
        assert plan(again).actions[0] == act.DeleteWorkload("Pod", POD)
        gone = in_pod_mode(
            observed, live, phase="Paused", spec={"paused": True}, metadata={"generation": 2}, status=status, pod=None
        )
        assert "EndRun" not in kinds(plan(gone))
        resumed = in_pod_mode(
            observed, live, phase="Paused", metadata={"generation": 3}, status=status, pod=None, checked=ACCEPTED
        )
        decision = plan(resumed)
        assert kinds(decision)[:2] == ["CreateWorkload", "WriteStatus"]
        assert written(decision)["launches"] == 2

    def test_two_pods_never_share_the_snapshots(self, observed: Builder, live: LiveRun) -> None:
        self.paused(live)
        held = in_pod_mode(
            observed, live, phase="Paused", snapshot={"snapshots": SNAPSHOTS}, spec={"paused": True}, metadata={"generation": 2}
        )
        status = written(plan(held))
        going = bare({"running": {}})
        going["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
        resumed = in_pod_mode(
            observed, live, phase="Paused", metadata={"generation": 3}, status=status, pod=going, checked=ACCEPTED
        )
        decision = plan(resumed)
        assert "CreateWorkload" not in kinds(decision)
        assert decision.again_after


class TestPodThatOutlivesItsJob:
    """A Job was deleted and its pod takes its time: it may still make calls and write snapshots."""

    STATUS: ClassVar[Json] = {"runner": {"mode": "Job", "retries": 3}, "launches": 1}

    def lost(self, observed: Builder, live: LiveRun, pod: Json | None, **changes: Any) -> Observed:
        return observed.launched(live, status=self.STATUS, job=None, pod=pod, checked=ACCEPTED, **changes)

    def test_nothing_is_launched_beside_it(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        decision = plan(self.lost(observed, live, deleted(bare({"running": {}}))))
        assert decision.actions == ()
        assert decision.again_after

    def test_one_that_nobody_told_to_go_is_told(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        assert plan(self.lost(observed, live, bare({"running": {}}))).actions == (act.DeleteWorkload("Pod", POD),)

    @pytest.mark.parametrize("pod", [None, bare({"terminated": {"exitCode": 143}}, phase="Failed")])
    def test_when_it_is_over_the_run_is_launched_again(self, observed: Builder, live: LiveRun, pod: Json | None) -> None:
        live.ingest(event(1, "workflow_started"))
        assert "CreateWorkload" in kinds(plan(self.lost(observed, live, pod)))

    def test_the_same_holds_for_a_job_that_went_before_the_run_began(self, observed: Builder, live: LiveRun) -> None:
        assert "CreateWorkload" not in kinds(plan(self.lost(observed, live, bare({"running": {}}), phase="Pending")))
        assert "CreateWorkload" in kinds(plan(self.lost(observed, live, None, phase="Pending")))


def test_a_relaunch_that_lacks_a_config_map_looks_again(observed: Builder, live: LiveRun) -> None:
    live.ingest(event(1, "workflow_started"))
    status = {"runner": {"mode": "Job", "retries": 3}, "launches": 1}
    decision = plan(observed.launched(live, status=status, job=None, pod=None, checked=Missing("Gone", "not there")))
    assert decision.again_after


@pytest.mark.parametrize("paused", [0.0, 1e300])
def test_a_pod_whose_clock_is_at_the_end_of_time_keeps_nobody_from_deciding(
    observed: Builder, live: LiveRun, paused: float
) -> None:
    live.ingest(event(1, "workflow_started", seconds=(datetime.max.replace(tzinfo=UTC) - NOW).total_seconds() - 1))
    live.paused_seconds = paused
    running = observed.launched(live, status={"runner": {"mode": "Job", "timeout": "1h", "retries": 0}})
    assert "WriteStatus" in kinds(plan(running))
    assert "EndRun" in kinds(plan(replace(running, job=job(conditions=[{"type": "Complete", "status": "True"}]))))
