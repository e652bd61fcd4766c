"""The operator's decisions, one observed state each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace
from tests.unit.reconcile.conftest import JOB, NOW, UID, Builder, event, job, pod

from workflow_runner.crd import group
from workflow_runner.crd.runner import Stigmer, WorkflowRunnerSpec
from workflow_runner.reconcile import actions as act
from workflow_runner.reconcile.execution import plan
from workflow_runner.reconcile.live import ControlAnswer, End, LiveRun
from workflow_runner.reconcile.observed import Delivery, Observed, Refused
from workflow_runner.reconcile.status import in_progress

Json = dict[str, Any]


def kinds(decision: act.Plan) -> list[str]:
    return [type(action).__name__ for action in decision.actions]


def written(decision: act.Plan) -> Json:
    [status] = [action.status for action in decision.actions if isinstance(action, act.WriteStatus)]
    return status


def condition(status: Json, kind: str) -> tuple[str, str, str]:
    [found] = [item for item in status["conditions"] if item["type"] == kind]
    return found["status"], found["reason"], found["message"]


class TestLaunch:
    def test_a_valid_execution_is_held_pinned_and_launched_in_this_order(self, observed: Builder) -> None:
        decision = plan(observed())
        assert kinds(decision) == ["AddFinalizer", "WriteStatus", "BeginRun", "CreateWorkload"]
        status = written(decision)
        assert status["phase"] == "Pending"
        assert status["specDigest"] == "sha256:abc"
        assert (status["executionId"], status["attempt"], status["jobName"]) == (UID, 1, JOB)
        assert condition(status, "Accepted")[0] == "True"

    def test_an_operator_killed_after_the_pin_creates_the_same_job(self, observed: Builder, live: LiveRun) -> None:
        first = plan(observed())
        [manifest] = [action.manifest for action in first.actions if isinstance(action, act.CreateWorkload)]
        again = plan(observed(status=written(first), metadata={"finalizers": [group.FINALIZER]}, live=live))
        assert [action.manifest for action in again.actions if isinstance(action, act.CreateWorkload)] == [manifest]
        assert "WriteStatus" not in kinds(again)

    def test_nothing_is_launched_twice(self, observed: Builder, live: LiveRun) -> None:
        assert "CreateWorkload" not in kinds(plan(observed.launched(live, phase="Pending")))

    def test_a_missing_runner_is_waited_for(self, observed: Builder) -> None:
        decision = plan(observed(runner=None))
        status = written(decision)
        assert kinds(decision) == ["WriteStatus"]
        assert condition(status, "Accepted")[:2] == ("False", "RunnerNotFound")
        assert "'default'" in condition(status, "Accepted")[2]
        assert decision.again_after is not None

    def test_an_unchanged_wait_for_a_runner_writes_nothing(self, observed: Builder) -> None:
        status = written(plan(observed(runner=None)))
        assert kinds(plan(observed(runner=None, status=status))) == []

    def test_an_invalid_document_fails_with_no_job(self, observed: Builder) -> None:
        refusal = Refused({"type": "t", "status": 400, "title": "The document is invalid", "code": "c"}, "x.yaml:3:5: c: what")
        first = plan(observed(checked=refusal))
        assert kinds(first) == ["BeginRun", "EndRun"]
        live = LiveRun(execution_id=UID, attempt=0)
        live.conclude(first.actions[1].end)  # type: ignore[union-attr]
        status = written(plan(observed(checked=refusal, live=live)))
        assert status["phase"] == "Failed"
        assert condition(status, "Accepted") == ("False", "InvalidDocument", "x.yaml:3:5: c: what")
        assert condition(status, "Stalled")[0] == "True"
        assert status["error"]["code"] == "c"

    def test_a_job_that_cannot_be_created_is_told_and_tried_again(self, observed: Builder) -> None:
        decision = plan(observed(launch_error="exceeded quota"))
        assert "exceeded quota" in condition(written(decision), "Reconciling")[2]
        assert "CreateWorkload" in kinds(decision)
        assert decision.again_after


class TestControl:
    def test_paused_before_launch_starts_nothing(self, observed: Builder) -> None:
        decision = plan(observed(spec={"paused": True}))
        assert "CreateWorkload" not in kinds(decision)
        status = written(decision)
        assert status["phase"] == "Paused"
        assert status["control"]["result"] == "Applied"

    def test_a_held_run_is_launched_when_resumed(self, observed: Builder) -> None:
        held = written(plan(observed(spec={"paused": True})))
        decision = plan(observed(status=held, metadata={"generation": 2, "finalizers": [group.FINALIZER]}))
        assert kinds(decision) == ["WriteStatus", "BeginRun", "CreateWorkload"]

    def test_pause_reaches_a_running_pod(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        decision = plan(observed.launched(live, spec={"paused": True}, metadata={"generation": 2}))
        [wish] = [action.desired for action in decision.actions if isinstance(action, act.SetDesired)]
        assert (wish.state, wish.generation) == ("Pause", 2)
        assert written(decision)["control"]["result"] == "Pending"

    def test_pause_is_applied_when_the_pod_says_so(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        live.ingest(event(2, "workflow_paused"))
        status = written(plan(observed.launched(live, spec={"paused": True})))
        assert status["phase"] == "Paused"
        assert status["control"]["result"] == "Applied"

    def test_a_refusal_of_the_pod_is_shown(self, observed: Builder, live: LiveRun) -> None:
        live.answer = ControlAnswer(2, "Refused", "not now")
        status = written(plan(observed.launched(live, spec={"paused": True}, metadata={"generation": 2})))
        assert (status["control"]["result"], status["control"]["reason"]) == ("Refused", "not now")

    def test_cancel_before_launch_ends_the_run_at_once(self, observed: Builder) -> None:
        decision = plan(observed(spec={"cancelled": True, "cancellation": {"reason": "typo"}}))
        assert kinds(decision) == ["BeginRun", "EndRun"]
        assert decision.actions[1].end == End("Cancelled", NOW, "typo")  # type: ignore[union-attr]

    def test_cancel_wins_where_the_job_was_pinned_and_never_made(self, observed: Builder, live: LiveRun) -> None:
        pinned = written(plan(observed(launch_error="exceeded quota")))
        decision = plan(observed(status=pinned, spec={"cancelled": True}, checked=None, live=live))
        assert decision.actions[-1] == act.EndRun(End("Cancelled", NOW, "spec.cancelled is true"))

    def test_a_run_pinned_and_then_paused_before_its_job_is_held(self, observed: Builder, live: LiveRun) -> None:
        pinned = written(plan(observed(launch_error="exceeded quota")))
        assert "CreateWorkload" not in kinds(plan(observed(status=pinned, spec={"paused": True}, live=live)))

    def test_an_early_end_waits_a_moment_for_the_runner_that_was_applied_with_it(self, observed: Builder) -> None:
        young = {"creationTimestamp": "2026-11-21T11:59:59Z"}
        decision = plan(observed(runner=None, spec={"cancelled": True}, metadata=young))
        assert (kinds(decision), decision.again_after) == ([], 1.0)

    def test_cancel_wins_over_pause(self, observed: Builder, live: LiveRun) -> None:
        decision = plan(observed.launched(live, phase="Paused", spec={"paused": True, "cancelled": True}))
        [wish] = [action.desired for action in decision.actions if isinstance(action, act.SetDesired)]
        assert wish.state == "Cancel"

    def test_a_pod_that_ignores_cancel_is_removed_after_the_grace_period(self, observed: Builder, live: LiveRun) -> None:
        first = written(plan(observed.launched(live, spec={"cancelled": True})))
        late = observed.launched(live, status=first, spec={"cancelled": True}, now=NOW + timedelta(seconds=31))
        assert kinds(plan(late)) == ["DeleteWorkload", "EndRun"]

    def test_a_pod_that_never_started_is_not_asked_but_removed(self, observed: Builder, live: LiveRun) -> None:
        waiting = pod({"waiting": {"reason": "ImagePullBackOff"}})
        assert kinds(plan(observed.launched(live, pod=waiting, spec={"cancelled": True}))) == ["DeleteWorkload", "EndRun"]

    def test_cancel_after_the_end_is_refused_not_lost(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_completed"), b"{}")
        status = written(plan(observed.launched(live, spec={"cancelled": True})))
        assert status["phase"] == "Completed"
        assert status["control"]["result"] == "Refused"


class TestFollow:
    def test_a_run_that_has_just_begun_may_end_before_anything_is_written(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        decision = plan(observed.launched(live, phase="Pending", now=NOW + timedelta(milliseconds=50)))
        assert "WriteStatus" not in kinds(decision)
        assert decision.again_after == pytest.approx(0.45)

    def test_the_first_event_makes_it_running_with_one_kubernetes_event(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        decision = plan(observed.launched(live, phase="Pending", now=NOW + timedelta(seconds=1)))
        assert written(decision)["phase"] == "Running"
        assert [action.reason for action in decision.actions if isinstance(action, act.RecordEvent)] == ["Running"]

    def test_task_progress_waits_for_the_status_interval(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        live.urgent = False
        live.ingest(event(2, "task_started", task_reference="/do/0/a", task_name="a"))
        decision = plan(observed.launched(live, seconds_since_write=0.25))
        assert "WriteStatus" not in kinds(decision)
        assert decision.again_after == pytest.approx(0.75)

    def test_task_progress_is_written_when_the_interval_is_over(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        live.urgent = False
        live.ingest(event(2, "task_started", task_reference="/do/0/a", task_name="a"))
        status = written(plan(observed.launched(live, seconds_since_write=1.5)))
        assert [task["name"] for task in status["tasks"]] == ["a"]
        assert status["callback"]["sourceSequence"] == 2

    def test_nothing_new_writes_nothing(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        status = written(plan(observed.launched(live, phase="Pending", now=NOW + timedelta(seconds=1))))
        live.urgent = False
        assert kinds(plan(observed.launched(live, status=status))) == ["SetDesired"]
        live.desired = plan(observed.launched(live, status=status)).actions[0].desired  # type: ignore[union-attr]
        assert plan(observed.launched(live, status=status)) == act.Plan()

    def test_a_job_deleted_behind_our_back_fails_the_run(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        [action] = plan(observed.launched(live, job=None)).actions
        assert isinstance(action, act.EndRun)
        assert action.end.error is not None
        assert action.end.error["code"] == "run.job-deleted"


class TestPending:
    @pytest.mark.parametrize("reason", ["ImagePullBackOff", "ErrImagePull", "CreateContainerConfigError"])
    def test_a_pod_that_cannot_start_stalls_the_run_and_says_why(self, observed: Builder, live: LiveRun, reason: str) -> None:
        waiting = pod({"waiting": {"reason": reason, "message": "no such image"}})
        status = written(plan(observed.launched(live, phase="Pending", pod=waiting)))
        assert condition(status, "Stalled") == ("True", reason, f"The pod cannot start: {reason}: no such image")
        assert condition(status, "Completed")[2] == f"The pod cannot start: {reason}: no such image"

    def test_a_pod_without_a_node_is_told_and_waited_for(self, observed: Builder, live: LiveRun) -> None:
        homeless = pod()
        homeless["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: memory"}]
        status = written(plan(observed.launched(live, phase="Pending", pod=homeless)))
        assert condition(status, "Reconciling") == ("True", "Unschedulable", "The pod has no node yet: 0/1 nodes: memory")
        assert condition(status, "Stalled")[0] == "False"

    def test_what_is_mended_is_forgotten(self, observed: Builder, live: LiveRun) -> None:
        waiting = pod({"waiting": {"reason": "ErrImagePull"}})
        before = written(plan(observed.launched(live, phase="Pending", pod=waiting)))
        live.ingest(event(1, "workflow_started"))
        after = written(plan(observed.launched(live, phase="Pending", status=before, now=NOW + timedelta(seconds=1))))
        assert (after["phase"], condition(after, "Stalled")[0]) == ("Running", "False")


class TestEnd:
    def test_the_last_event_gives_the_output(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        live.ingest(event(2, "workflow_completed"), b'{"n":9007199254740993}')
        status = written(plan(observed.launched(live)))
        assert (status["phase"], status["output"], status["progress"]) == ("Completed", {"n": 9007199254740993}, 100)
        assert condition(status, "Completed")[0] == "True"

    def test_the_last_write_waits_a_moment_for_stigmer(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_completed"), b"{}")
        soon = observed.launched(live, delivery=Delivery(0, None, 1), now=NOW + timedelta(milliseconds=50))
        assert plan(soon).again_after
        late = replace(soon, now=NOW + timedelta(milliseconds=500))
        assert written(plan(late))["phase"] == "Completed"

    def test_the_termination_message_ends_a_run_whose_last_event_was_lost(self, observed: Builder, live: LiveRun) -> None:
        terminated = {
            "exitCode": 0,
            "message": '{"phase":"Completed","output":{"a":1},"lastSequence":9}',
            "finishedAt": "2026-11-21T11:59:59Z",
        }
        [action] = plan(observed.launched(live, pod=pod({"terminated": terminated}))).actions
        assert isinstance(action, act.EndRun)
        assert (action.end.phase, action.end.output, action.end.sequence) == ("Completed", {"a": 1}, 9)

    @pytest.mark.parametrize(("code", "phase"), [(0, "Completed"), (1, "Failed"), (2, "Failed"), (3, "Cancelled")])
    def test_the_exit_code_alone_tells_the_phase(self, observed: Builder, live: LiveRun, code: int, phase: str) -> None:
        [action] = plan(observed.launched(live, pod=pod({"terminated": {"exitCode": code, "reason": "Error"}}))).actions
        assert isinstance(action, act.EndRun)
        assert action.end.phase == phase

    def test_a_completed_run_without_its_output_says_so(self, observed: Builder, live: LiveRun) -> None:
        live.conclude(End("Completed", NOW, output_known=False))
        assert condition(written(plan(observed.launched(live))), "OutputLost")[0] == "True"

    def test_a_killed_container_is_the_job_controllers_to_judge(self, observed: Builder, live: LiveRun) -> None:
        killed = pod({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})
        assert "EndRun" not in kinds(plan(observed.launched(live, pod=killed)))
        failed = job(conditions=[{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}])
        [action] = plan(observed.launched(live, pod=killed, job=failed)).actions
        assert isinstance(action, act.EndRun)
        assert action.end.error is not None
        assert action.end.error["code"] == "run.out-of-memory"

    @pytest.mark.parametrize("still_there", [True, False])
    def test_a_pod_that_somebody_deleted_is_told_as_gone(self, observed: Builder, live: LiveRun, still_there: bool) -> None:
        failed = job(conditions=[{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}])
        going = pod({"terminated": {"exitCode": 143}})
        going["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
        [action] = plan(observed.launched(live, pod=going if still_there else None, job=failed)).actions
        assert isinstance(action, act.EndRun)
        assert action.end.error is not None
        assert action.end.error["code"] == "run.pod-lost"
        assert "BackoffLimitExceeded" in action.end.error["detail"]

    def test_an_ended_run_is_kept_until_stigmer_has_it_all(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_completed"), b"{}")
        waiting = observed.launched(live, delivery=Delivery(0, None, 1), now=NOW + timedelta(seconds=1))
        waiting = replace(
            waiting, resource={**waiting.resource, "status": {**waiting.status, "callback": {"deliveredSequence": 0}}}
        )
        status = written(plan(waiting))
        assert [item["type"] for item in status["callback"]["owed"]] == ["workflow_completed"]
        live.forget_delivered(1)
        done = replace(waiting, resource={**waiting.resource, "status": status}, delivery=Delivery(1, None, 0))
        decision = plan(done)
        assert decision.actions == (
            act.WriteCallback({"sourceSequence": 1, "baseSequence": 0, "deliveredSequence": 1}),
            act.RemoveFinalizer(),
            act.ForgetRun(),
        )

    def test_an_ended_run_shows_no_task_at_work_and_keeps_its_output_however_late_stigmer_hears_of_it(
        self, observed: Builder, live: LiveRun
    ) -> None:
        live.ingest(event(1, "task_started", task_reference="/do/0/a", task_name="a"))
        live.ingest(event(2, "workflow_cancelled"))
        first = written(plan(observed.launched(live, delivery=Delivery(0, "down", 2), now=NOW + timedelta(seconds=1))))
        assert [task["status"] for task in first["tasks"]] == ["Failed"]
        later = observed.launched(live, phase="Cancelled", status=first, delivery=Delivery(2, None, 0))
        assert "WriteStatus" not in kinds(plan(later))

    def test_an_ended_run_is_left_alone(self, observed: Builder) -> None:
        assert (
            plan(observed(status={"phase": "Completed", "jobName": JOB, "observedGeneration": 1, "conditions": []}))
            == act.Plan()
        )


class TestDelete:
    DELETING: ClassVar[Json] = {"deletionTimestamp": "2026-11-21T12:00:00Z", "finalizers": [group.FINALIZER]}

    def test_a_running_run_is_cancelled_first(self, observed: Builder, live: LiveRun) -> None:
        decision = plan(observed.launched(live, metadata=self.DELETING))
        [wish] = [action.desired for action in decision.actions if isinstance(action, act.SetDesired)]
        assert wish.state == "Cancel"
        assert "RemoveFinalizer" not in kinds(decision)

    def test_it_goes_when_the_run_has_ended(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_cancelled"))
        assert kinds(plan(observed.launched(live, metadata=self.DELETING))) == ["CleanUp", "RemoveFinalizer", "ForgetRun"]

    def test_it_goes_after_the_grace_period_whatever_happens(self, observed: Builder, live: LiveRun) -> None:
        late = observed.launched(live, metadata=self.DELETING, now=NOW + timedelta(seconds=31))
        assert kinds(plan(late)) == ["DeleteWorkload", "EndRun"]
        live.conclude(End("Cancelled", NOW))
        stuck = observed.launched(
            live, metadata=self.DELETING, delivery=Delivery(0, "down", 1), now=NOW + timedelta(seconds=41)
        )
        assert kinds(plan(stuck)) == ["CleanUp", "RemoveFinalizer", "ForgetRun"]

    def test_one_that_was_never_launched_goes_at_once(self, observed: Builder) -> None:
        assert kinds(plan(observed(metadata=self.DELETING))) == ["RemoveFinalizer", "ForgetRun"]

    def test_nothing_is_created_for_it(self, observed: Builder) -> None:
        assert "CreateWorkload" not in kinds(plan(observed(metadata={"deletionTimestamp": "2026-11-21T12:00:00Z"})))


class TestStatus:
    def test_conditions_change_their_time_with_their_status_only(self, observed: Builder) -> None:
        first = in_progress(observed(), "Pending")
        later: Observed = observed(status=first, now=NOW + timedelta(minutes=1))
        second = in_progress(later, "Running")
        times = {item["type"]: item["lastTransitionTime"] for item in second["conditions"]}
        assert times["Reconciling"] == "2026-11-21T12:00:00Z"
        assert {item["reason"] for item in second["conditions"] if item["type"] == "Reconciling"} == {"Running"}

    def test_a_runner_with_stigmer_is_remembered_with_its_address(self, observed: Builder) -> None:
        spec = WorkflowRunnerSpec(stigmer=Stigmer(endpoint="stigmer:443"))
        status = written(plan(observed(runner=replace(observed.runner, spec=spec))))
        assert status["runner"]["stigmer"] == {"endpoint": "stigmer:443", "useTLS": True, "api": "progress"}
        assert status["callback"]["deliveredSequence"] == 0
