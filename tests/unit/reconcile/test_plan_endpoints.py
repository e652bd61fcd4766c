"""What the operator decides about a run whose runner is at an endpoint."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.reconcile.conftest import NOW, UID, Builder, event

from workflow_runner.crd import group
from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2
from workflow_runner.reconcile import actions as act
from workflow_runner.reconcile.execution import plan
from workflow_runner.reconcile.live import End, LiveRun
from workflow_runner.reconcile.observed import Missing, Observed, Remote, Runner, Turn
from workflow_runner.reconcile.remote import end_of_state, events_of_state
from workflow_runner.reconcile.timestamps import to_text

Json = dict[str, Any]

ENDPOINT = "grpcs://runner:9090"
SNAPSHOT: Json = {"name": "elsewhere", "namespace": "ns", "uid": "r", "generation": 1, "type": "other", "mode": "Endpoint"}
SNAPSHOT |= {"endpoint": ENDPOINT, "retries": 0}
FORGOTTEN = Remote(forgotten=True)


def runner(**spec: Any) -> Runner:
    parts = {"type": "other", "endpoint": ENDPOINT, **spec}
    return Runner("elsewhere", "ns", "runner-uid", 1, WorkflowRunnerSpec.model_validate(parts))


def there(
    observed: Builder, live: LiveRun, *, remote: Remote | None = None, status: Json | None = None, **changes: Any
) -> Observed:
    """A run that was handed over a minute ago."""
    base: Json = {"phase": "Running", "attempt": 1, "launches": 1, "specDigest": "sha256:abc", "executionId": UID}
    base |= {"runner": SNAPSHOT, "submitTime": to_text(NOW - timedelta(minutes=1)), "workflow": "examples/hello:0.1.0"}
    base |= {"startTime": to_text(NOW - timedelta(minutes=1)), "callback": {"sourceSequence": 3, "baseSequence": 0}}
    metadata = {"finalizers": [group.FINALIZER], **changes.pop("metadata", {})}
    if (status or {}).get("phase") == "Pending":
        del base["startTime"]
    return observed(
        status={**base, **(status or {})},
        metadata=metadata,
        live=live,
        runner=runner(),
        remote=remote,
        **{"checked": None, **changes},
    )


def kinds(decision: act.Plan) -> list[str]:
    return [type(action).__name__ for action in decision.actions]


def found(decision: act.Plan, kind: type) -> Any:
    [action] = [action for action in decision.actions if isinstance(action, kind)]
    return action


@pytest.fixture
def begun(live: LiveRun) -> LiveRun:
    live.ingest(event(1, "workflow_started"))
    live.ingest(event(3, "task_started", task_name="a", task_reference="/do/0/a"))
    return live


class TestHandingOver:
    def test_what_is_pinned_is_written_before_anything_is_handed_over(self, observed: Builder) -> None:
        decision = plan(observed(runner=runner()))
        assert kinds(decision) == ["AddFinalizer", "WriteStatus", "BeginRun", "FollowEndpoint"]
        status = found(decision, act.WriteStatus).status
        assert status["submitTime"] == to_text(NOW)
        assert (status["runner"]["mode"], status["runner"]["endpoint"]) == ("Endpoint", ENDPOINT)
        assert not {"jobName", "podName", "image"} & {*status, *status["runner"]}
        order = found(decision, act.FollowEndpoint)
        assert (order.attempt, order.execution_id, order.run.digest) == (1, UID, "sha256:abc")

    def test_how_the_endpoint_is_reached_is_kept_with_the_run(self, observed: Builder) -> None:
        tls = {"caBundle": "-----BEGIN CERTIFICATE-----"}
        way = {"tls": tls, "apiKeySecretRef": {"name": "key", "key": "token"}}
        status = found(plan(observed(runner=runner(**way))), act.WriteStatus).status
        assert {key: status["runner"][key] for key in way} == way

    def test_a_run_that_may_be_there_is_handed_over_again_after_a_restart(self, observed: Builder, live: LiveRun) -> None:
        o = there(observed, live, checked=observed.accepted, status={"phase": "Pending", "callback": {}})
        order = found(plan(o), act.FollowEndpoint)
        assert order.run is not None
        assert order.attempt == 1

    def test_not_before_its_document_has_been_read_again(self, observed: Builder, live: LiveRun) -> None:
        assert "FollowEndpoint" not in kinds(plan(there(observed, live, status={"phase": "Pending", "callback": {}})))

    def test_nor_with_another_document_than_it_was_pinned_to(self, observed: Builder, live: LiveRun) -> None:
        other = replace(observed.accepted, digest="sha256:other")
        assert found(plan(there(observed, live, checked=other)), act.FollowEndpoint).run is None

    def test_a_run_that_has_told_something_is_followed_and_not_handed_over(self, observed: Builder, begun: LiveRun) -> None:
        assert found(plan(there(observed, begun)), act.FollowEndpoint).run is None

    def test_who_is_followed_is_not_followed_again(self, observed: Builder, begun: LiveRun) -> None:
        assert "FollowEndpoint" not in kinds(plan(there(observed, begun, remote=Remote())))

    def test_no_place_no_run(self, observed: Builder) -> None:
        decision = plan(observed(runner=runner(limits={"maxConcurrentExecutions": 1}), turn=Turn(granted=False, position=2)))
        assert found(decision, act.WriteStatus).status["phase"] == "Queued"
        assert "FollowEndpoint" not in kinds(decision)

    @pytest.mark.parametrize(
        ("spec", "field"),
        [
            ({"secrets": {"x": {"secretKeyRef": {"name": "a", "key": "b"}}}}, "spec.secrets.x"),
            ({"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]}, "spec.env[0]"),
            ({"template": {"metadata": {"labels": {"a": "b"}}}}, "spec.template"),
        ],
        ids=["secrets", "env", "template"],
    )
    def test_what_only_pods_can_have_is_not_allowed(self, observed: Builder, spec: Json, field: str) -> None:
        everything = {"allow": {"secrets": ["*"], "template": ["metadata.labels"]}}
        status = found(plan(observed(runner=runner(**everything), spec=spec)), act.WriteStatus).status
        [condition] = [item for item in status["conditions"] if item["type"] == "Completed"]
        assert condition["reason"] == "NotAllowed"
        assert field in condition["message"]


class TestFollowing:
    def test_trouble_is_shown_whatever_the_phase(self, observed: Builder, begun: LiveRun) -> None:
        decision = plan(there(observed, begun, remote=Remote("EndpointUnreachable", "nobody answers")))
        status = found(decision, act.WriteStatus).status
        assert status["phase"] == "Running"
        shown = {item["type"]: (item["reason"], item["message"]) for item in status["conditions"]}
        assert shown["Completed"] == ("EndpointUnreachable", "nobody answers")

    def test_an_end_that_only_the_state_tells_ends_the_run(self, observed: Builder, begun: LiveRun) -> None:
        end = End("Completed", NOW, output={"a": 1})
        assert plan(there(observed, begun, remote=Remote(end=end))).actions == (act.EndRun(end),)

    def test_a_forgotten_run_fails(self, observed: Builder, begun: LiveRun) -> None:
        end = found(plan(there(observed, begun, remote=FORGOTTEN)), act.EndRun).end
        assert (end.phase, end.error["code"]) == ("Failed", "run.forgotten")

    def test_or_begins_anew_while_retries_last_status_first(self, observed: Builder, begun: LiveRun) -> None:
        begun.counts = {"started": 1}
        o = there(observed, begun, remote=FORGOTTEN, checked=observed.accepted, status={"runner": {**SNAPSHOT, "retries": 1}})
        decision = plan(o)
        assert kinds(decision) == ["WriteStatus", "StartOver", "FollowEndpoint", "RecordEvent"]
        status = found(decision, act.WriteStatus).status
        assert (status["attempt"], status["launches"], status["failures"]) == (2, 2, 1)
        assert status["callback"]["sourceSequence"] == 0
        assert not {"tasks", "taskCounts"} & set(status)
        assert found(decision, act.FollowEndpoint).attempt == 2
        begun.start_over()
        assert (begun.attempt, begun.base_sequence) == (2, status["callback"]["baseSequence"])
        again = there(observed, begun, remote=FORGOTTEN, checked=observed.accepted, status=status)
        assert found(plan(again), act.EndRun).end.error["code"] == "run.forgotten"

    def test_it_waits_for_a_document_that_is_not_there_any_more(self, observed: Builder, begun: LiveRun) -> None:
        missing = Missing("ConfigMapNotFound", "no such ConfigMap")
        o = there(observed, begun, remote=FORGOTTEN, checked=missing, status={"runner": {**SNAPSHOT, "retries": 1}})
        assert found(plan(o), act.WriteStatus).status["conditions"][1]["reason"] == "ConfigMapNotFound"

    def test_a_time_out_counts_from_the_handing_over_where_nothing_began(self, observed: Builder, live: LiveRun) -> None:
        status = {"phase": "Pending", "runner": {**SNAPSHOT, "timeout": "50s"}}
        assert plan(there(observed, live, remote=Remote(), status=status)).again_after == pytest.approx(5)
        late = there(observed, live, remote=Remote(), status={**status, "runner": {**SNAPSHOT, "timeout": "40s"}})
        assert kinds(plan(late)) == ["ForceCancel", "EndRun"]


class TestCancelling:
    def test_it_asks_first(self, observed: Builder, begun: LiveRun) -> None:
        o = there(observed, begun, remote=Remote(), spec={"cancelled": True})
        assert found(plan(o), act.SetDesired).desired.state == "Cancel"

    def test_then_it_tells_by_force_and_does_not_wait(self, observed: Builder, begun: LiveRun) -> None:
        begun_at = to_text(NOW - timedelta(seconds=31))
        control = {"observedGeneration": 1, "desired": "Cancel", "result": "Pending", "requestTime": begun_at}
        o = there(
            observed, begun, remote=Remote("EndpointUnreachable", ""), spec={"cancelled": True}, status={"control": control}
        )
        decision = plan(o)
        assert kinds(decision) == ["ForceCancel", "EndRun"]
        assert found(decision, act.EndRun).end.phase == "Cancelled"

    def test_nobody_is_told_where_the_run_is_not_known(self, observed: Builder, begun: LiveRun) -> None:
        o = there(observed, begun, remote=FORGOTTEN, spec={"cancelled": True})
        decision = plan(o)
        assert kinds(decision) == ["EndRun"]
        assert found(decision, act.EndRun).end.phase == "Cancelled"

    def test_a_deleted_run_is_followed_to_be_cancelled_after_a_restart(self, observed: Builder, begun: LiveRun) -> None:
        o = there(observed, begun, metadata={"deletionTimestamp": to_text(NOW)})
        assert kinds(plan(o)) == ["FollowEndpoint", "SetDesired"]

    def test_so_is_one_that_may_never_have_arrived(self, observed: Builder, live: LiveRun) -> None:
        status = {"phase": "Pending", "callback": {}}
        o = there(observed, live, metadata={"deletionTimestamp": to_text(NOW)}, status=status)
        assert found(plan(o), act.FollowEndpoint).run is None

    def test_a_run_that_has_told_nothing_yet_is_asked_to_end_and_not_taken_for_one_that_never_began(
        self, observed: Builder, live: LiveRun
    ) -> None:
        o = there(observed, live, remote=Remote(), spec={"cancelled": True}, status={"phase": "Pending", "callback": {}})
        assert "EndRun" not in kinds(plan(o))

    def test_a_run_that_was_never_handed_over_is_cancelled_at_once(self, observed: Builder) -> None:
        decision = plan(observed(runner=runner(), spec={"cancelled": True}))
        assert kinds(decision) == ["BeginRun", "EndRun"]


class TestStates:
    def state(self, status: str, **fields: Any) -> io_pb2.ExecutionStatus:
        return io_pb2.ExecutionStatus(workflow_execution_id=UID, status=status, **fields)

    def test_a_story_is_made_from_states(self, live: LiveRun) -> None:
        story: list[str] = []
        for status in ("pending", "running", "running", "paused", "running", "completed"):
            for item in events_of_state(live, self.state(status), NOW):
                assert live.ingest(item)
                story.append(item.event_type)
        assert story == ["workflow_started", "workflow_paused", "workflow_resumed", "workflow_completed"]
        assert live.end is not None

    def test_an_end_has_output_and_error_as_they_were(self) -> None:
        state = self.state("completed")
        state.output.number_value = 3.0
        end = end_of_state(state, NOW)
        assert end is not None
        assert (end.output, type(end.output), end.output_known) == (3, int, True)
        end = end_of_state(self.state("failed"), NOW)
        assert end is not None
        assert end.error is not None
        assert "gave no reason" in end.error["title"]
        assert end_of_state(self.state("running"), NOW) is None

    def test_an_output_that_the_state_has_not_is_not_known(self) -> None:
        end = end_of_state(self.state("completed"), NOW)
        assert end is not None
        assert not end.output_known
