"""The operator's decisions about what may not start yet, and about what an ended run leaves behind."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from msgspec.structs import replace
from tests.unit.reconcile.conftest import JOB, NOW, UID, Builder, event, job, pod
from tests.unit.reconcile.test_plan import condition, kinds, written

from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.reconcile import actions as act
from workflow_runner.reconcile.execution import plan
from workflow_runner.reconcile.live import End, LiveRun
from workflow_runner.reconcile.observed import Accepted, Delivery, Missing, Observed, Turn

Json = dict[str, Any]


def with_runner(observed: Builder, **spec: Any) -> dict[str, Any]:
    return {"runner": replace(observed.runner, spec=WorkflowRunnerSpec.model_validate(spec))}


class TestLine:
    def test_a_place_is_asked_for_before_anything_is_written(self, observed: Builder) -> None:
        decision = plan(observed(turn=None, **with_runner(observed, limits={"maxConcurrentExecutions": 3})))
        assert decision.actions == (act.TakeTurn(3),)

    def test_who_waits_is_queued_with_its_position(self, observed: Builder) -> None:
        limits = with_runner(observed, limits={"maxConcurrentExecutions": 3})
        decision = plan(observed(turn=Turn(False, 7), **limits))
        status = written(decision)
        assert (status["phase"], status["queuePosition"]) == ("Queued", 7)
        assert condition(status, "Reconciling")[:2] == ("True", "MaxConcurrentExecutions")
        assert "at most 3" in condition(status, "Completed")[2]
        assert "AddFinalizer" not in kinds(decision)

    def test_a_position_is_not_rewritten_for_every_step_of_the_line(self, observed: Builder) -> None:
        limits = with_runner(observed, limits={"maxConcurrentExecutions": 3})
        first = written(plan(observed(turn=Turn(False, 7), **limits)))
        soon = plan(observed(turn=Turn(False, 6), status=first, seconds_since_write=1.0, **limits))
        assert soon.actions == ()
        assert soon.again_after
        later = written(plan(observed(turn=Turn(False, 6), status=first, seconds_since_write=60.0, **limits)))
        assert later["queuePosition"] == 6

    def test_its_turn_launches_it_and_takes_the_position_away(self, observed: Builder) -> None:
        queued = written(plan(observed(turn=Turn(False, 1), **with_runner(observed, limits={"maxConcurrentExecutions": 1}))))
        status = written(plan(observed(status=queued)))
        assert status["phase"] == "Pending"
        assert "queuePosition" not in status

    def test_a_paused_runner_takes_nothing_new_and_keeps_what_runs(self, observed: Builder, live: LiveRun) -> None:
        paused = with_runner(observed, paused=True)
        decision = plan(observed(turn=None, **paused))
        status = written(decision)
        assert (status["phase"], condition(status, "Reconciling")[1]) == ("Queued", "RunnerPaused")
        assert "TakeTurn" not in kinds(decision)
        live.ingest(event(1, "workflow_started"))
        assert (
            written(plan(observed.launched(live, phase="Pending", now=NOW + timedelta(seconds=1), **paused)))["phase"]
            == "Running"
        )

    def test_cancel_takes_a_queued_execution_out(self, observed: Builder) -> None:
        queued = written(plan(observed(turn=Turn(False, 1))))
        decision = plan(observed(status=queued, spec={"cancelled": True}))
        assert kinds(decision) == ["BeginRun", "EndRun"]
        live = LiveRun(execution_id=UID, attempt=0)
        live.conclude(End("Cancelled", NOW))
        status = written(plan(observed(status=queued, spec={"cancelled": True}, live=live)))
        assert status["phase"] == "Cancelled"
        assert "queuePosition" not in status


class TestSources:
    def test_a_config_map_that_is_not_there_is_waited_for(self, observed: Builder) -> None:
        decision = plan(observed(checked=Missing("ConfigMapNotFound", "There is no ConfigMap 'x'.")))
        assert condition(written(decision), "Accepted") == ("False", "ConfigMapNotFound", "There is no ConfigMap 'x'.")
        assert decision.again_after

    def test_what_the_runner_does_not_allow_is_stalled_and_not_launched(self, observed: Builder) -> None:
        spec = {"secrets": {"key": {"secretKeyRef": {"name": "db", "key": "password"}}}}
        decision = plan(observed(spec=spec))
        status = written(decision)
        assert condition(status, "Stalled")[:2] == ("True", "NotAllowed")
        assert "spec.secrets" in condition(status, "Accepted")[2]
        assert "CreateWorkload" not in kinds(decision)

    def test_once_allowed_it_is_launched(self, observed: Builder) -> None:
        spec = {"secrets": {"key": {"secretKeyRef": {"name": "db", "key": "password"}}}}
        allowed = with_runner(observed, allow={"secrets": ["db"]})
        assert "CreateWorkload" in kinds(plan(observed(spec=spec, **allowed)))

    def test_an_input_too_large_for_an_annotation_is_stored_first(self, observed: Builder) -> None:
        accepted = Accepted("examples/hello:0.1.0", "sha256:abc", "x" * (200 * 1024))
        assert kinds(plan(observed(checked=accepted)))[-2:] == ["CreateInput", "CreateWorkload"]


class TestRefusedPods:
    def test_a_quota_is_told_and_waited_for(self, observed: Builder, live: LiveRun) -> None:
        refused = 'pods "x" is forbidden: exceeded quota: small, requested: pods=1'
        status = written(plan(observed.launched(live, phase="Pending", pod=None, held_up=refused)))
        assert condition(status, "Reconciling")[1] == "QuotaExceeded"
        assert condition(status, "Stalled")[0] == "False"

    def test_an_admission_webhooks_no_stalls(self, observed: Builder, live: LiveRun) -> None:
        refused = 'admission webhook "policy" denied the request: no'
        status = written(plan(observed.launched(live, phase="Pending", pod=None, held_up=refused)))
        assert condition(status, "Stalled")[:2] == ("True", "AdmissionDenied")

    def test_what_the_api_server_finds_invalid_stalls(self, observed: Builder, live: LiveRun) -> None:
        refused = 'Pod "x" is invalid: spec.containers[0].volumeMounts[0].mountPath: Invalid value: "a": must be unique'
        status = written(plan(observed.launched(live, phase="Pending", pod=None, held_up=refused)))
        assert condition(status, "Stalled")[:2] == ("True", "ManifestRejected")

    def test_a_volume_that_cannot_be_mounted_is_told(self, observed: Builder, live: LiveRun) -> None:
        waiting = pod({"waiting": {"reason": "ContainerCreating"}})
        said = 'MountVolume.SetUp failed for volume "secrets": secret "db" not found'
        status = written(plan(observed.launched(live, phase="Pending", pod=waiting, held_up=said)))
        assert condition(status, "Reconciling") == ("True", "VolumesNotReady", f"The pod waits: {said}")


class TestTimeout:
    def timed(self, observed: Builder, live: LiveRun, seconds: float, **changes: Any) -> Observed:
        live.ingest(event(1, "workflow_started"))
        status = {"runner": {"mode": "Job", "timeout": "10s", "retries": 0}, **changes.pop("status", {})}
        return observed.launched(live, status=status, now=NOW + timedelta(seconds=seconds), **changes)

    def test_a_run_that_outlasts_its_time_and_does_not_end_itself_is_ended(self, observed: Builder, live: LiveRun) -> None:
        decision = plan(self.timed(observed, live, 26))
        assert kinds(decision) == ["DeleteWorkload", "EndRun"]
        error = decision.actions[1].end.error  # type: ignore[union-attr]
        assert error is not None
        assert (error["status"], error["code"]) == (408, "run.timeout")

    def test_the_pod_has_a_margin_to_end_it_itself_and_the_operator_comes_back(self, observed: Builder, live: LiveRun) -> None:
        decision = plan(self.timed(observed, live, 20))
        assert "EndRun" not in kinds(decision)
        assert decision.again_after is not None
        assert decision.again_after <= 5

    def test_time_paused_does_not_count(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        live.ingest(event(2, "workflow_paused", seconds=1))
        live.ingest(event(3, "workflow_resumed", seconds=101))
        status = {"runner": {"mode": "Job", "timeout": "10s"}}
        assert "EndRun" not in kinds(plan(observed.launched(live, status=status, now=NOW + timedelta(seconds=120))))
        assert "EndRun" in kinds(plan(observed.launched(live, status=status, now=NOW + timedelta(seconds=126))))

    def test_a_paused_run_is_never_timed_out(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        live.ingest(event(2, "workflow_paused", seconds=1))
        status = {"runner": {"mode": "Job", "timeout": "10s"}}
        held = observed.launched(live, spec={"paused": True}, status=status, now=NOW + timedelta(hours=9))
        assert "EndRun" not in kinds(plan(held))
        assert written(plan(held))["pausedSince"] == "2026-11-21T12:00:01.000Z"

    def test_a_pod_that_never_starts_is_timed_out_too(self, observed: Builder, live: LiveRun) -> None:
        young = job()
        young["metadata"]["creationTimestamp"] = "2026-11-21T12:00:00Z"
        status = {"runner": {"mode": "Job", "timeout": "10s"}}
        waiting = observed.launched(live, phase="Pending", job=young, pod=None, status=status)
        assert "EndRun" not in kinds(plan(waiting))
        assert "EndRun" in kinds(plan(replace(waiting, now=NOW + timedelta(seconds=26))))


class TestCancellation:
    def test_force_asks_nobody(self, observed: Builder, live: LiveRun) -> None:
        spec = {"cancelled": True, "cancellation": {"mode": "Force"}}
        decision = plan(observed.launched(live, spec=spec))
        assert kinds(decision) == ["DeleteWorkload", "EndRun"]
        assert decision.actions[0] == act.DeleteWorkload("Job", JOB, at_once=True)

    def test_a_grace_period_of_the_spec_holds(self, observed: Builder, live: LiveRun) -> None:
        spec = {"cancelled": True, "cancellation": {"gracePeriod": "2m"}}
        first = written(plan(observed.launched(live, spec=spec)))
        soon = observed.launched(live, status=first, spec=spec, now=NOW + timedelta(seconds=119))
        assert "EndRun" not in kinds(plan(soon))
        assert "EndRun" in kinds(plan(replace(soon, now=NOW + timedelta(seconds=121))))

    def test_force_after_graceful_does_not_wait_for_the_grace_period(self, observed: Builder, live: LiveRun) -> None:
        first = written(plan(observed.launched(live, spec={"cancelled": True})))
        spec = {"cancelled": True, "cancellation": {"mode": "Force"}}
        assert "EndRun" in kinds(plan(observed.launched(live, status=first, spec=spec, now=NOW + timedelta(seconds=1))))


class TestRunId:
    ENDED: ClassVar[Json] = {"phase": "Completed", "runId": "one", "jobName": JOB, "executionId": f"{UID}-one", "output": 1}

    def test_the_run_id_is_in_the_ids_and_the_names(self, observed: Builder) -> None:
        plain, named = plan(observed()), plan(observed(spec={"runId": "one"}))
        assert written(named)["executionId"] == f"{UID}-one"
        assert written(named)["runId"] == "one"
        names = {
            action.manifest["metadata"]["name"]
            for p in (plain, named)
            for action in p.actions
            if isinstance(action, act.CreateWorkload)
        }
        assert len(names) == 2

    def test_a_new_value_begins_anew_and_nothing_of_the_old_run_stays(self, observed: Builder) -> None:
        decision = plan(observed(spec={"runId": "two"}, status=self.ENDED, metadata={"generation": 2}))
        assert kinds(decision) == ["CleanUp", "ForgetRun", "WriteStatus"]
        status = written(decision)
        assert (status["phase"], status["runId"]) == ("Pending", "two")
        assert not {"jobName", "executionId", "output", "callback"} & set(status)

    def test_a_live_run_is_cancelled_first(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        running = observed.launched(live, status={"runId": "one"}, spec={"runId": "two"}, metadata={"generation": 2})
        decision = plan(running)
        [wish] = [action.desired for action in decision.actions if isinstance(action, act.SetDesired)]
        assert wish.state == "Cancel"
        status = written(decision)
        assert (status["runId"], status["control"]["desired"]) == ("one", "Cancel")
        late = observed.launched(live, status=status, spec={"runId": "two"}, now=NOW + timedelta(seconds=31))
        assert kinds(plan(late)) == ["DeleteWorkload", "EndRun"]
        live.conclude(End("Cancelled", NOW))
        ended = written(plan(observed.launched(live, status=status, spec={"runId": "two"}, metadata={"generation": 2})))
        assert (ended["phase"], ended["runId"]) == ("Cancelled", "one")
        again = plan(observed(status=ended, spec={"runId": "two"}, metadata={"generation": 2}))
        assert written(again)["runId"] == "two"

    def test_a_live_run_without_a_run_id_keeps_having_none_to_its_end(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        other: Json = {"spec": {"runId": "two"}, "metadata": {"generation": 2}}
        followed = written(plan(observed.launched(live, **other)))
        live.conclude(End("Cancelled", NOW))
        ended = written(plan(observed.launched(live, status=followed, **other)))
        assert "runId" not in followed | ended
        assert written(plan(observed(status=ended, **other)))["runId"] == "two"

    def test_a_first_run_id_on_a_run_without_one_is_another_run(self, observed: Builder) -> None:
        old = {key: value for key, value in self.ENDED.items() if key != "runId"}
        assert written(plan(observed(spec={"runId": "two"}, status=old)))["runId"] == "two"

    def test_the_same_run_id_is_left_alone(self, observed: Builder) -> None:
        ended = {**self.ENDED, "observedGeneration": 1, "conditions": []}
        assert plan(observed(spec={"runId": "one"}, status=ended)) == act.Plan()


class TestSpecChanged:
    def test_a_change_under_the_same_run_id_is_told_and_changes_nothing(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_started"))
        status = written(
            plan(observed.launched(live, spec_changed=True, metadata={"generation": 2}, now=NOW + timedelta(seconds=1)))
        )
        assert condition(status, "SpecChanged")[:2] == ("True", "DigestDiffers")
        assert status["phase"] == "Running"
        back = written(plan(observed.launched(live, status=status, spec_changed=False, metadata={"generation": 3})))
        assert condition(back, "SpecChanged")[0] == "False"

    def test_an_ended_run_follows_the_generation(self, observed: Builder) -> None:
        ended = {"phase": "Completed", "observedGeneration": 1, "conditions": [], "jobName": JOB}
        status = written(plan(observed(status=ended, spec_changed=True, metadata={"generation": 2})))
        assert (status["observedGeneration"], status["phase"]) == (2, "Completed")
        assert condition(status, "SpecChanged")[0] == "True"

    def test_cancelling_what_has_ended_is_refused_in_status(self, observed: Builder) -> None:
        ended = {"phase": "Completed", "observedGeneration": 1, "conditions": [], "jobName": JOB}
        status = written(plan(observed(status=ended, spec={"cancelled": True}, metadata={"generation": 2})))
        assert (status["phase"], status["control"]["result"]) == ("Completed", "Refused")


class TestCleanUp:
    ENDED: ClassVar[Json] = {
        "phase": "Completed",
        "observedGeneration": 1,
        "conditions": [],
        "jobName": JOB,
        "completionTime": "2026-11-21T11:59:00Z",
        "runner": {"mode": "Job", "ttlAfterFinished": "90s"},
    }

    def test_what_a_run_left_goes_when_its_time_is_over(self, observed: Builder) -> None:
        soon = plan(observed(status=self.ENDED, job=job()))
        assert (soon.actions, soon.again_after) == ((), 30.0)
        assert kinds(plan(observed(status=self.ENDED, job=job(), now=NOW + timedelta(seconds=31)))) == ["CleanUp"]
        assert plan(observed(status=self.ENDED, now=NOW + timedelta(seconds=31))) == act.Plan()

    def test_the_executions_own_word_wins(self, observed: Builder) -> None:
        assert kinds(plan(observed(status=self.ENDED, job=job(), spec={"ttlAfterFinished": "10s"}))) == ["CleanUp"]

    def test_the_resource_goes_only_where_it_says_so(self, observed: Builder) -> None:
        assert kinds(plan(observed(status=self.ENDED, spec={"deleteAfterFinished": "30s"}))) == ["DeleteExecution"]
        assert plan(observed(status=self.ENDED, spec={"deleteAfterFinished": "2m"})).again_after == 60.0

    def test_nothing_goes_before_stigmer_has_heard_of_the_end(self, observed: Builder) -> None:
        waiting = observed(status=self.ENDED, job=job(), spec={"deleteAfterFinished": "1s"}, delivery=Delivery(0, "down", 1))
        assert not {"CleanUp", "DeleteExecution"} & set(kinds(plan(waiting)))


def test_a_phase_that_somebody_wrote_over_a_live_run_is_written_over(observed: Builder, live: LiveRun) -> None:
    live.ingest(event(1, "workflow_started"))
    edited = observed.launched(live, phase="Completed", now=NOW + timedelta(seconds=1))
    assert written(plan(edited))["phase"] == "Running"


class TestClocksAhead:
    """A node's clock may be ahead of ours: an end in the future is no reason to wait for it."""

    OWES = Delivery(0, "down", 1)

    def test_a_deletion_does_not_wait_for_the_pods_clock(self, observed: Builder, live: LiveRun) -> None:
        live.ingest(event(1, "workflow_completed", seconds=3600))
        gone: Json = {"metadata": {"deletionTimestamp": "2026-11-21T12:00:00Z"}}
        waiting = observed.launched(live, delivery=self.OWES, **gone)
        assert plan(waiting).again_after == 0.5
        assert "RemoveFinalizer" in kinds(plan(replace(waiting, now=NOW + timedelta(seconds=41))))

    def test_nor_does_the_next_run(self, observed: Builder) -> None:
        ended = {"phase": "Completed", "runId": "one", "jobName": JOB}
        for seconds, waits in ((-31, False), (-29, True), (29, True), (31, False)):
            completion = (NOW + timedelta(seconds=seconds)).isoformat()
            status = {**ended, "completionTime": completion}
            decision = plan(observed(spec={"runId": "two"}, status=status, delivery=self.OWES))
            assert (decision.again_after == 0.5) is waits, seconds
