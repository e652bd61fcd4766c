"""The operator's decisions about runs whose state is in Temporal: their pods come and go, their workflow is ended once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.reconcile.conftest import JOB, NOW, UID, Builder, event, job, pod
from tests.unit.reconcile.test_plan import condition, kinds, written

from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.launchers.termination import termination_name
from workflow_runner.reconcile import actions as act
from workflow_runner.reconcile.bounds import minimal
from workflow_runner.reconcile.execution import plan
from workflow_runner.reconcile.live import ControlAnswer, Desired, LiveRun
from workflow_runner.reconcile.observed import Accepted, Delivery, Observed
from workflow_runner.reconcile.temporal import LONGEST_RETRY
from workflow_runner.reconcile.timestamps import to_text

Json = dict[str, Any]

TEMPORAL: Json = {"address": "temporal:7233", "namespace": "orders"}
SPEC: Json = {"type": "temporal", "temporal": TEMPORAL}
ACCEPTED = Accepted("examples/hello:0.1.0", "sha256:abc", "packed")
WORKFLOW = f"stigmer/workflow-execution/run/{UID}"
TERMINATION = termination_name("hello", UID, "")
DONE, GIVEN_UP = {"type": "Complete", "status": "True"}, {"type": "Failed", "status": "True"}


def refused(code: str = "temporal.unavailable", *, at: float = 0.0, exit_code: int = 75) -> Json:
    """The container of a pod that Temporal did not let begin, so many seconds after NOW."""
    message = f'{{"code": "{code}", "message": "no route to temporal:7233."}}'
    finished = to_text(NOW + timedelta(seconds=at))
    return {"terminated": {"exitCode": exit_code, "message": message, "finishedAt": finished}}


def suspended_job() -> Json:
    return {**job(), "spec": {"suspend": True}}


class Runs:
    """Runs of type temporal that differ from one at work in what a test says."""

    def __init__(self, observed: Builder, live: LiveRun) -> None:
        self.observed = observed
        self.live = live
        live.desired = Desired("Run", "", 1)

    def __call__(self, *, mode: str = "Job", **changes: Any) -> Observed:
        snapshot = {"mode": mode, "type": "temporal", "retries": 100, "temporal": TEMPORAL, **changes.pop("snapshot", {})}
        status = {
            "runner": snapshot,
            "launches": 1,
            "temporalWorkflowId": WORKFLOW,
            "callback": {"sourceSequence": self.live.source_sequence, "baseSequence": 0},
            **({"podName": JOB} if mode == "Pod" else {}),
            **changes.pop("status", {}),
        }
        if mode == "Pod":
            changes = {"job": None, **changes}
        result = self.observed.launched(changes.pop("live", self.live), status=status, **changes)
        if mode != "Pod":
            return result
        trimmed = {key: value for key, value in result.status.items() if key != "jobName"}
        return replace(result, resource={**result.resource, "status": trimmed})

    def begun(self) -> None:
        self.live.ingest(event(1, "workflow_started"))

    def paused(self) -> None:
        self.begun()
        self.live.ingest(event(2, "workflow_paused"))
        self.live.answer = ControlAnswer(2, "Applied", "", suspendable=True)


@pytest.fixture
def runs(observed: Builder, live: LiveRun) -> Runs:
    return Runs(observed, live)


def bare(state: Json | None = None) -> Json:
    found = pod(state)
    return {**found, "metadata": {**found["metadata"], "name": JOB}}


def the_end(decision: act.Plan) -> act.EndRun:
    [found] = [action for action in decision.actions if isinstance(action, act.EndRun)]
    return found


def after_the_end(o: Observed, live: LiveRun) -> Observed:
    """The same, once the controller has taken the end that was found."""
    live.conclude(the_end(plan(o)).end)
    return replace(o, live=live)


class TestLaunch:
    @pytest.mark.parametrize("mode", ["Job", "Pod"])
    def test_the_run_keeps_where_its_temporal_is_and_says_which_workflow_it_is(self, observed: Builder, mode: str) -> None:
        spec = WorkflowRunnerSpec.model_validate({**SPEC, "launch": {"mode": mode}})
        decision = plan(observed(runner=replace(observed.runner, spec=spec)))
        status = written(decision)
        assert status["temporalWorkflowId"] == WORKFLOW
        assert (status["runner"]["type"], status["runner"]["temporal"]) == ("temporal", TEMPORAL)
        [manifest] = [action.manifest for action in decision.actions if isinstance(action, act.CreateWorkload)]
        assert manifest["kind"] == mode
        of_pod = manifest["spec"] if mode == "Pod" else manifest["spec"]["template"]["spec"]
        variables = {entry["name"]: entry.get("value") for entry in of_pod["containers"][0]["env"]}
        assert (variables["WORKFLOW_RUNNER_ENGINE"], variables["TEMPORAL_NAMESPACE"]) == ("temporal", "orders")

    def test_a_run_id_is_part_of_the_workflows_id(self, observed: Builder) -> None:
        spec = WorkflowRunnerSpec.model_validate(SPEC)
        decision = plan(observed(runner=replace(observed.runner, spec=spec), spec={"runId": "two"}))
        assert written(decision)["temporalWorkflowId"] == f"{WORKFLOW}-two"

    @pytest.mark.parametrize(("says", "retries"), [({}, 100), ({"retries": 3}, 3), ({"retries": 0}, 0)])
    def test_lost_pods_are_replaced_very_often_unless_somebody_says_how_often(
        self, observed: Builder, says: Json, retries: int
    ) -> None:
        spec = WorkflowRunnerSpec.model_validate(SPEC)
        decision = plan(observed(runner=replace(observed.runner, spec=spec), spec=says))
        [manifest] = [action.manifest for action in decision.actions if isinstance(action, act.CreateWorkload)]
        assert manifest["spec"]["backoffLimit"] == written(decision)["runner"]["retries"] == retries

    def test_another_runners_run_has_no_workflow_there(self, observed: Builder) -> None:
        assert "temporalWorkflowId" not in written(plan(observed()))

    def test_an_execution_may_not_say_where_temporal_is(self, observed: Builder) -> None:
        spec = WorkflowRunnerSpec.model_validate(SPEC)
        asked = {"env": [{"name": "TEMPORAL_SERVICE_ADDRESS", "value": "evil:7233"}]}
        status = written(plan(observed(runner=replace(observed.runner, spec=spec), spec=asked)))
        told = condition(status, "Accepted")
        assert told[1] == "NotAllowed"
        assert "TEMPORAL_SERVICE_ADDRESS belongs to the operator" in told[2]
        assert kinds(plan(observed(spec=asked)))[-1] == "CreateWorkload", "where that is nobody's, it may be set"


class TestLostPods:
    def test_a_bare_pod_that_is_gone_is_made_again(self, runs: Runs) -> None:
        runs.begun()
        decision = plan(runs(mode="Pod", pod=None, checked=ACCEPTED))
        assert kinds(decision)[:2] == ["CreateWorkload", "WriteStatus"]
        assert written(decision)["failures"] == 1

    def test_the_last_try_leaves_nothing_open(self, runs: Runs) -> None:
        runs.begun()
        lost = plan(runs(mode="Pod", pod=None, checked=ACCEPTED, status={"failures": 100}))
        assert the_end(lost).end.left_open

    def test_the_pods_own_word_needs_nobody_else(self, runs: Runs) -> None:
        runs.begun()
        told = {"terminated": {"exitCode": 1, "message": '{"phase":"Failed"}'}}
        assert not the_end(plan(runs(pod=pod(told)))).end.left_open
        assert the_end(plan(runs(pod=pod({"terminated": {"exitCode": 3}})))).end.told

    def test_a_job_that_failed_may_have_left_its_workflow(self, runs: Runs) -> None:
        runs.begun()
        failed = job(conditions=[{**GIVEN_UP, "reason": "BackoffLimitExceeded"}])
        assert the_end(plan(runs(job=failed, pod=None))).end.left_open


class TestSuspension:
    def paused(self, runs: Runs, **changes: Any) -> Observed:
        changes = {"phase": "Paused", "spec": {"paused": True}, "metadata": {"generation": 2}, **changes}
        return runs(**changes)

    def test_a_pause_that_temporal_has_suspends_the_job(self, runs: Runs) -> None:
        runs.paused()
        status = written(plan(self.paused(runs)))
        assert status["suspended"] is True
        assert plan(self.paused(runs, status=status)).actions[0] == act.SuspendJob(JOB, suspend=True)

    def test_a_cancel_wakes_it_so_that_its_pod_ends_the_workflow(self, runs: Runs) -> None:
        runs.paused()
        asked = {"spec": {"paused": True, "cancelled": True}, "status": {"suspended": True}, "pod": None}
        decision = plan(self.paused(runs, job=suspended_job(), **asked))
        assert decision.actions[0] == act.SuspendJob(JOB, suspend=False)
        status = written(decision)
        assert "suspended" not in status
        assert decision.again_after == 30
        # Its pod is on its way: it is not given up before the grace period is over.
        later = self.paused(runs, spec=asked["spec"], status=status, pod=None, now=NOW + timedelta(seconds=5))
        waiting = plan(later)
        assert kinds(waiting) == ["SetDesired"]
        assert isinstance(waiting.actions[0], act.SetDesired)
        assert waiting.actions[0].desired.state == "Cancel"
        over = plan(self.paused(runs, spec=asked["spec"], status=status, pod=None, now=NOW + timedelta(seconds=31)))
        assert kinds(over) == ["DeleteWorkload", "EndRun"]
        assert the_end(over).end.left_open

    def test_in_pod_mode_a_pod_is_made_for_it(self, runs: Runs) -> None:
        runs.paused()
        asked = {"spec": {"paused": True, "cancelled": True}, "status": {"suspended": True}, "pod": None}
        decision = plan(self.paused(runs, mode="Pod", checked=ACCEPTED, **asked))
        assert kinds(decision)[:2] == ["CreateWorkload", "WriteStatus"]
        reading = plan(self.paused(runs, mode="Pod", checked=None, **asked))
        assert (reading.actions, reading.again_after) == ((), 30)

    @pytest.mark.parametrize("mode", ["Job", "Pod"])
    def test_force_wakes_nobody(self, runs: Runs, mode: str) -> None:
        runs.paused()
        asked = {"paused": True, "cancelled": True, "cancellation": {"mode": "Force"}}
        work = {} if mode == "Pod" else {"job": suspended_job()}
        decision = plan(self.paused(runs, mode=mode, spec=asked, status={"suspended": True}, pod=None, **work))
        assert "SuspendJob" not in kinds(decision)
        assert the_end(decision).end.left_open

    def test_a_deleted_one_is_woken_while_its_job_is_there(self, runs: Runs) -> None:
        runs.paused()
        gone = {"metadata": {"generation": 2, "deletionTimestamp": to_text(NOW)}, "status": {"suspended": True}, "pod": None}
        assert "SuspendJob" in kinds(plan(self.paused(runs, job=suspended_job(), **gone)))
        assert kinds(plan(self.paused(runs, job=None, **gone))) == ["EndRun"]
        assert kinds(plan(self.paused(runs, mode="Pod", **gone))) == ["EndRun"], "nothing is made for what is being deleted"


class TestTermination:
    def test_a_cancel_by_force_ends_the_workflow_by_a_job(self, runs: Runs, live: LiveRun) -> None:
        runs.begun()
        forced = {"cancelled": True, "cancellation": {"mode": "Force", "reason": "enough"}}
        at_work = runs(spec=forced, metadata={"generation": 2})
        ended = after_the_end(at_work, live)
        decision = plan(ended)
        status = written(decision)
        assert (status["phase"], status["termination"]["jobName"]) == ("Cancelled", TERMINATION)

        def now(**changes: Any) -> act.Plan:
            resource = {**ended.resource, "status": status}
            return plan(replace(ended, live=None, resource=resource, **changes))

        made = now()
        assert kinds(made) == ["CreateWorkload"]
        [create] = made.actions
        assert isinstance(create, act.CreateWorkload)
        assert create.manifest["metadata"]["name"] == TERMINATION
        assert create.manifest["metadata"]["ownerReferences"]
        container = create.manifest["spec"]["template"]["spec"]["containers"][0]
        assert container["args"] == ["terminate"]
        assert {"name": "WORKFLOW_RUNNER_TERMINATION_REASON", "value": "The run was cancelled: enough"} in container["env"]
        under_way = now(termination_job=job())
        assert under_way.actions == ()
        assert under_way.again_after, "the resource is held meanwhile"
        over = now(termination_job=job(conditions=[DONE]))
        assert kinds(over) == ["WriteStatus"]
        status = written(over)
        assert "termination" not in status
        assert kinds(now()) == ["RemoveFinalizer", "ForgetRun"]

    def test_a_job_that_gives_up_tells_whom_to_look_for(self, runs: Runs) -> None:
        status = {"termination": {"jobName": TERMINATION, "since": to_text(NOW)}, "completionTime": to_text(NOW)}
        given_up = runs(live=None, phase="Cancelled", status=status, termination_job=job(conditions=[GIVEN_UP]))
        decision = plan(given_up)
        assert kinds(decision) == ["RecordEvent", "WriteStatus"]
        [told] = [action for action in decision.actions if isinstance(action, act.RecordEvent)]
        assert (told.type, told.reason) == ("Warning", "WorkflowLeftOpen")
        assert WORKFLOW in told.message
        assert "temporal:7233, namespace orders" in told.message
        assert "termination" not in written(decision)

    def test_a_run_that_never_began_has_left_nothing(self, runs: Runs) -> None:
        forced = {"cancelled": True, "cancellation": {"mode": "Force"}}
        for state in (None, {"waiting": {"reason": "ContainerCreating"}}, refused()):
            waits = runs(spec=forced, phase="Pending", pod=pod(state), metadata={"generation": 2})
            assert not the_end(plan(waits)).end.left_open
        at_work = runs(spec=forced, phase="Pending", pod=pod({"running": {}}), metadata={"generation": 2})
        assert the_end(plan(at_work)).end.left_open, "its first event may be on the way"

    def test_a_run_whose_job_is_gone_may_have_begun(self, runs: Runs) -> None:
        gone: Json = {"phase": "Pending", "job": None, "pod": None, "metadata": {"deletionTimestamp": to_text(NOW)}}
        assert the_end(plan(runs(**gone))).end.left_open
        never_made = runs(**gone, launch_error="jobs: exceeded quota: x")
        assert not the_end(plan(never_made)).end.left_open

    def test_a_run_of_another_kind_leaves_nothing_there(self, observed: Builder, live: LiveRun) -> None:
        forced = {"cancelled": True, "cancellation": {"mode": "Force"}}
        assert not the_end(plan(observed.launched(live, spec=forced))).end.left_open

    def test_a_timeout_that_the_operator_finds_is_one(self, runs: Runs) -> None:
        runs.begun()
        late = runs(snapshot={"timeout": "1m"}, now=NOW + timedelta(seconds=76))
        assert the_end(plan(late)).end.left_open

    def test_stigmer_is_not_waited_for(self, runs: Runs, live: LiveRun) -> None:
        status = {"termination": {"jobName": TERMINATION, "since": to_text(NOW)}, "completionTime": to_text(NOW)}
        owes = runs(live=None, phase="Cancelled", status=status, delivery=Delivery(0, "down", 3))
        assert kinds(plan(owes)) == ["CreateWorkload"]

    def test_the_next_run_waits_for_it_for_a_while(self, runs: Runs) -> None:
        status = {"termination": {"jobName": TERMINATION, "since": to_text(NOW)}, "completionTime": to_text(NOW)}

        def now(seconds: float, **changes: Any) -> list[str]:
            moment = NOW + timedelta(seconds=seconds)
            return kinds(plan(runs(live=None, phase="Cancelled", status=status, spec={"runId": "two"}, now=moment, **changes)))

        assert now(1) == ["CreateWorkload"]
        assert now(1, termination_job=job()) == []
        begins = ["CleanUp", "ForgetRun", "WriteStatus"]
        assert now(1, termination_job=job(conditions=[DONE])) == begins
        assert now(60, termination_job=job()) == ["RecordEvent", *begins]


class TestDeletion:
    def deleted(self, runs: Runs, live: LiveRun, *, seconds: float = 0.0, **changes: Any) -> Observed:
        """Deleted at NOW while at work; its grace period is over and its end found `seconds` later than that."""
        runs.begun()
        gone = {"deletionTimestamp": to_text(NOW)}
        o = after_the_end(runs(metadata=gone, now=NOW + timedelta(seconds=31)), live)
        return replace(o, now=NOW + timedelta(seconds=31 + seconds), **changes)

    def test_it_holds_until_the_workflow_is_ended(self, runs: Runs, live: LiveRun) -> None:
        [create] = plan(self.deleted(runs, live)).actions
        assert isinstance(create, act.CreateWorkload)
        assert create.manifest["metadata"]["name"] == TERMINATION
        assert "ownerReferences" not in create.manifest["metadata"], "a deletion in the foreground would take it along"

    def test_then_it_goes(self, runs: Runs, live: LiveRun) -> None:
        waits = plan(self.deleted(runs, live, termination_job=job()))
        assert waits.actions == ()
        assert waits.again_after
        done = plan(replace(self.deleted_again(runs, live), termination_job=job(conditions=[DONE])))
        assert kinds(done) == ["CleanUp", "RemoveFinalizer", "ForgetRun"]

    def deleted_again(self, runs: Runs, live: LiveRun) -> Observed:
        return replace(runs(metadata={"deletionTimestamp": to_text(NOW)}), live=live, now=NOW + timedelta(seconds=31))

    def test_it_goes_in_time_though_temporal_is_not_there_and_says_so(self, runs: Runs, live: LiveRun) -> None:
        before = plan(self.deleted(runs, live, seconds=58, termination_job=job()))
        assert before.actions == ()
        over = plan(replace(self.deleted_again(runs, live), now=NOW + timedelta(seconds=92), termination_job=job()))
        assert kinds(over) == ["RecordEvent", "CleanUp", "RemoveFinalizer", "ForgetRun"]
        [told] = [action for action in over.actions if isinstance(action, act.RecordEvent)]
        assert WORKFLOW in told.message

    def test_a_namespace_that_goes_takes_no_job(self, runs: Runs, live: LiveRun) -> None:
        refusal = "jobs: unable to create new content in namespace x because it is being terminated"
        over = plan(self.deleted(runs, live, launch_error=refusal))
        assert kinds(over) == ["RecordEvent", "CleanUp", "RemoveFinalizer", "ForgetRun"]

    def test_one_whose_end_its_pod_told_goes_at_once(self, runs: Runs, live: LiveRun) -> None:
        runs.begun()
        live.ingest(event(2, "workflow_cancelled"))
        gone = plan(runs(metadata={"deletionTimestamp": to_text(NOW)}))
        assert kinds(gone) == ["CleanUp", "RemoveFinalizer", "ForgetRun"]

    def test_one_that_had_ended_before_waits_for_what_is_left(self, runs: Runs) -> None:
        status = {"termination": {"jobName": TERMINATION, "since": to_text(NOW)}, "completionTime": to_text(NOW)}
        gone = runs(live=None, phase="Cancelled", status=status, metadata={"deletionTimestamp": to_text(NOW)})
        assert kinds(plan(gone)) == ["CreateWorkload"]


class TestTemporalInTheWay:
    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            ("temporal.unavailable", "TemporalUnreachable"),
            ("temporal.namespace-missing", "TemporalNamespaceMissing"),
            ("temporal.tls-failed", "TemporalTls"),
            ("temporal.unauthenticated", "TemporalUnauthorized"),
            ("temporal.other", "TemporalNotUsable"),
        ],
    )
    @pytest.mark.parametrize("mode", ["Job", "Pod"])
    def test_the_run_is_stalled_and_not_failed(self, runs: Runs, code: str, reason: str, mode: str) -> None:
        held = runs(mode=mode, phase="Pending", pod=bare(refused(code)), checked=ACCEPTED)
        decision = plan(held)
        status = written(decision)
        assert (status["phase"], kinds(decision)) == ("Pending", ["WriteStatus"])
        stalled = condition(status, "Stalled")
        assert stalled[:2] == ("True", reason)
        assert "no route to temporal:7233." in stalled[2]
        assert condition(status, "Reconciling")[0] == "False"
        assert "failures" not in status

    def test_a_pod_that_says_nothing_more_is_understood(self, runs: Runs) -> None:
        silent = pod({"terminated": {"exitCode": 75, "message": "Killed"}})
        assert condition(written(plan(runs(phase="Pending", pod=silent))), "Stalled")[1] == "TemporalNotUsable"

    def test_also_where_the_run_had_begun_before(self, runs: Runs) -> None:
        runs.begun()
        status = written(plan(runs(pod=pod(refused()))))
        assert (status["phase"], condition(status, "Stalled")[:2]) == ("Running", ("True", "TemporalUnreachable"))

    def test_no_time_out_ends_it(self, runs: Runs) -> None:
        old = {**job(), "metadata": {**job()["metadata"], "creationTimestamp": "2026-11-20T12:00:00Z"}}
        held = runs(phase="Pending", job=old, pod=pod(refused()), snapshot={"timeout": "1m"})
        assert kinds(plan(held)) == ["WriteStatus"]

    def stalled(self, runs: Runs, mode: str = "Job") -> Json:
        return written(plan(runs(mode=mode, phase="Pending", pod=bare(refused()), checked=ACCEPTED)))

    def test_it_stays_so_while_the_next_pod_tries(self, runs: Runs) -> None:
        status = self.stalled(runs)
        for state in (None, {"waiting": {"reason": "ContainerCreating"}}, {"running": {"startedAt": to_text(NOW)}}):
            tries = plan(runs(phase="Pending", status=status, pod=pod(state)))
            assert "WriteStatus" not in kinds(tries), state
        assert tries.again_after == 30

    def test_it_goes_when_the_run_goes_on(self, runs: Runs, live: LiveRun) -> None:
        status = self.stalled(runs)
        running = pod({"running": {"startedAt": to_text(NOW)}})
        after = plan(runs(phase="Pending", status=status, pod=running, now=NOW + timedelta(seconds=31)))
        assert condition(written(after), "Stalled")[0] == "False", "it has run for so long that it has got through"
        live.ingest(event(1, "workflow_started", seconds=-10))
        begun = written(plan(runs(phase="Pending", status=status, pod=running)))
        # The events tell sooner.
        assert (begun["phase"], condition(begun, "Stalled")[0]) == ("Running", "False")

    def test_a_pod_from_before_a_pause_says_nothing_any_more(self, runs: Runs) -> None:
        runs.begun()
        resumed = job(conditions=[{"type": "Suspended", "status": "False", "lastTransitionTime": to_text(NOW)}])
        decision = plan(runs(job=resumed, pod=pod(refused(at=-60))))
        assert condition(written(decision), "Stalled")[0] == "False"

    def test_a_bare_pod_is_made_again_after_a_while_and_takes_the_others_place(self, runs: Runs) -> None:
        status = self.stalled(runs, "Pod")
        held = runs(mode="Pod", phase="Pending", status=status, pod=bare(refused()), checked=ACCEPTED)
        waits = plan(held)
        assert waits.actions == ()
        assert waits.again_after is not None
        assert 3.7 <= waits.again_after <= 6.3
        again = plan(replace(held, now=NOW + timedelta(seconds=7)))
        assert kinds(again) == ["CreateWorkload", "WriteStatus", "RecordEvent", "DeleteWorkload"]
        assert again.actions[-1] == act.DeleteWorkload("Pod", JOB)
        after = written(again)
        assert (after["launches"], "failures" in after) == (2, False)
        assert condition(after, "Stalled")[:2] == ("True", "TemporalUnreachable")
        assert after["podName"] != JOB

    def test_the_longer_it_lasts_the_later_it_is_tried_again_and_there_is_no_last_time(self, runs: Runs) -> None:
        status = self.stalled(runs, "Pod")
        waits = []
        for minutes in (1, 4, 60, 60 * 24 * 30):
            moment = NOW + timedelta(minutes=minutes)
            pod_now = bare(refused(at=60 * minutes))
            decision = plan(
                runs(
                    mode="Pod",
                    phase="Pending",
                    status=status,
                    pod=pod_now,
                    checked=ACCEPTED,
                    now=moment,
                    snapshot={"retries": 0},
                )
            )
            assert "EndRun" not in kinds(decision)
            assert decision.again_after is not None
            waits.append(decision.again_after)
        assert waits == sorted(waits)
        assert waits[0] < 40
        assert LONGEST_RETRY * 0.75 <= waits[-1] <= LONGEST_RETRY * 1.25

    def test_a_cancel_waits_for_nobody(self, runs: Runs) -> None:
        asked = runs(phase="Pending", pod=pod(refused()), spec={"cancelled": True}, metadata={"generation": 2})
        decision = plan(asked)
        assert kinds(decision) == ["DeleteWorkload", "EndRun"]
        assert not the_end(decision).end.left_open

    def test_a_refused_pod_of_another_kind_of_run_is_a_failure(self, observed: Builder, live: LiveRun) -> None:
        failed = job(conditions=[{**GIVEN_UP, "reason": "BackoffLimitExceeded"}])
        [action] = plan(observed.launched(live, job=failed, pod=pod(refused()))).actions
        assert isinstance(action, act.EndRun)
        assert action.end.phase == "Failed"

    def test_and_uses_up_retries(self, observed: Builder, live: LiveRun) -> None:
        status = {"runner": {"mode": "Pod", "retries": 0}, "podName": JOB}
        [action] = plan(observed.launched(live, job=None, pod=bare(refused()), status=status)).actions
        assert isinstance(action, act.EndRun)
        assert action.end.phase == "Failed"


def test_what_is_left_to_be_done_survives_a_status_that_is_refused(runs: Runs) -> None:
    status = {"phase": "Cancelled", "termination": {"jobName": "t"}, "temporalWorkflowId": WORKFLOW, "output": "much"}
    assert minimal(status) == {key: status[key] for key in ("phase", "termination", "temporalWorkflowId")} | {
        "conditions": [],
        "callback": {},
    }


def test_the_pods_word_of_a_cancel_needs_no_job(runs: Runs, live: LiveRun) -> None:
    runs.begun()
    live.ingest(event(2, "workflow_cancelled"))
    live.desired = Desired("Cancel", "", 2)
    status = written(plan(runs(spec={"cancelled": True}, metadata={"generation": 2})))
    assert status["phase"] == "Cancelled"
    assert "termination" not in status
