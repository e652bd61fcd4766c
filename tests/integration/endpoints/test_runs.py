"""Runs of executions whose runner is at an endpoint: handed over, followed, steered, and not lost by anybody's death."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path

from tests.integration.endpoints.operators import operator
from tests.integration.serve.conftest import Serve
from tests.integration.serve.served import Served
from tests.unit.reconcile.conftest import UID
from tests.until import until

from workflow_runner.reconcile.timestamps import to_text

HELLO = "do: [{step: {set: {message: '${ .name }', big: 7}}}]"
STEPS = "do: [{first: {set: {a: 1}}}, {nap: {wait: PT2S}}, {last: {set: {done: true}}}]"
LONG = "do: [{first: {set: {a: 1}}}, {nap: {wait: PT10M}}]"
TWO = "do: [{a: {wait: PT1S}}, {b: {wait: PT1S}}, {c: {wait: PT1S}}, {last: {set: {done: true}}}]"


async def test_a_run_is_handed_over_and_its_story_and_output_come_home(served: Served) -> None:
    async with operator(HELLO, served.address, input={"name": "Ada"}) as made:
        status = await made.reaches("Completed")
    assert status["output"] == {"message": "Ada", "big": 7}
    assert isinstance(status["output"]["big"], int)
    assert status["taskCounts"]["completed"] == 1
    assert [task["name"] for task in status["tasks"]] == ["step"]
    assert (status["runner"]["mode"], status["runner"]["type"]) == ("Endpoint", "other")
    assert status["runner"]["endpoint"] == f"grpc://{served.address}"
    assert (status["executionId"], status["attempt"], status["launches"]) == (UID, 1, 1)
    assert "jobName" not in status
    assert "podName" not in status
    assert made.server.jobs == {}


async def test_a_failure_comes_home_with_its_reason(served: Served) -> None:
    text = "do: [{bad: {raise: {error: {type: https://example.com/no, status: 418, title: No tea}}}}]"
    async with operator(text, served.address) as made:
        status = await made.reaches("Failed")
    assert (status["error"]["type"], status["error"]["status"]) == ("https://example.com/no", 418)
    assert status["error"]["instance"] == "/do/0/bad"


async def test_pause_and_resume_are_passed_on_and_acknowledged(served: Served) -> None:
    async with operator(TWO, served.address) as made:
        await made.reaches("Running")
        made.patch(paused=True)
        status = await made.reaches("Paused")
        assert (status["control"]["desired"], status["control"]["result"]) == ("Pause", "Applied")
        assert (await served.status(UID)).status == "paused"
        made.patch(paused=False)
        status = await made.reaches("Completed")
        assert status["pausedSeconds"] > 0


async def test_cancel_is_passed_on(served: Served) -> None:
    async with operator(LONG, served.address) as made:
        await made.reaches("Running")
        made.patch(cancelled=True, cancellation={"reason": "enough"})
        status = await made.reaches("Cancelled")
        assert (status["control"]["result"], made.condition()["message"]) == (
            "Applied",
            "The run was cancelled: the workflow was cancelled: enough",
        )
        assert (await served.status(UID)).status == "cancelled"


async def test_the_environment_goes_along_and_waits_for_a_config_map(served: Served) -> None:
    text = "use: {secrets: [GREETING, PLACE]}\ndo: [{step: {set: {said: '${ $secrets.GREETING + $secrets.PLACE }'}}}]"
    env = [
        {"name": "GREETING", "value": "hello "},
        {"name": "PLACE", "valueFrom": {"configMapKeyRef": {"name": "site", "key": "place"}}},
    ]
    async with operator(text, served.address, env=env) as made:
        condition = await made.says("ConfigMapKeyNotFound")
        assert "site" in condition["message"]
        made.server.config_maps["site"] = {"place": "there"}
        status = await made.reaches("Completed")
    assert status["output"] == {"said": "hello there"}


async def test_secrets_do_not_go_to_an_endpoint(served: Served) -> None:
    async with operator(HELLO, served.address, secrets={"x": {"secretKeyRef": {"name": "a", "key": "b"}}}) as made:
        condition = await made.says("NotAllowed")
        assert "spec.secrets.x: Secrets stay where they are" in condition["message"]
        assert "submitTime" not in made.status


async def test_an_input_that_would_not_arrive_as_it_is_fails_the_run(served: Served) -> None:
    async with operator(HELLO, served.address, input={"name": {"number": 2**53 + 1}}) as made:
        status = await made.reaches("Failed")
    assert status["error"]["code"] == "endpoint.unsendable"
    assert "/name/number" in status["error"]["detail"]


async def test_an_operator_that_restarts_goes_on_with_the_first_event_it_has_not_seen(served: Served) -> None:
    async with operator(TWO, served.address) as made:
        await made.until(lambda status: status.get("callback", {}).get("sourceSequence", 0) > 3)
        await made.restart()
        status = await made.reaches("Completed")
    assert (status["output"], status["attempt"], status["launches"]) == ({"done": True}, 1, 1)
    assert status["taskCounts"]["completed"] == 4
    assert len([line for line in served.lines("workflow completed") if line["execution"] == UID]) == 1


async def test_an_operator_that_was_away_at_the_end_hears_of_it(served: Served) -> None:
    async with operator(STEPS, served.address) as made:
        await made.reaches("Running")
        await made.stop()
        await served.end(UID)
        await made.start()
        status = await made.reaches("Completed")
    assert status["output"] == {"done": True}


async def test_an_endpoint_that_is_away_at_first_gets_the_run_when_it_comes(serve: Serve) -> None:
    served = await serve()
    await served.stop()
    async with operator(HELLO, served.address, input={"name": "Ada"}) as made:
        condition = await made.says("EndpointUnreachable")
        assert served.address in condition["message"]
        assert made.status["phase"] == "Pending"
        await served.start()
        assert (await made.reaches("Completed"))["output"]["message"] == "Ada"


async def test_an_endpoint_that_dies_and_returns_with_its_state_goes_on(kept: Served) -> None:
    async with operator(TWO, kept.address) as made:
        await made.until(lambda status: status.get("taskCounts", {}).get("completed", 0) >= 1)
        await kept.kill()
        await made.says("EndpointUnreachable")
        assert made.status["phase"] == "Running"
        await kept.start()
        status = await made.reaches("Completed")
    assert (status["output"], status["attempt"]) == ({"done": True}, 1)


async def test_a_runner_that_has_forgotten_the_run_fails_it_with_the_reason(served: Served) -> None:
    async with operator(LONG, served.address) as made:
        await made.reaches("Running")
        await served.kill()
        await made.says("EndpointUnreachable")
        await served.start()
        status = await made.reaches("Failed")
    assert status["error"]["code"] == "run.forgotten"
    assert status["error"]["title"] == "The runner has forgotten the run"


async def test_retries_hand_a_forgotten_run_over_again(served: Served) -> None:
    async with operator(TWO, served.address, retries=1) as made:
        await made.until(lambda status: status.get("taskCounts", {}).get("completed", 0) >= 1)
        await served.kill()
        await served.start()
        status = await made.reaches("Completed")
        outward = status["callback"]["baseSequence"]
    assert (status["attempt"], status["launches"], status["failures"]) == (2, 2, 1)
    assert (status["output"], status["taskCounts"]["completed"]) == ({"done": True}, 4)
    assert outward > 0
    assert "event Relaunched" in made.server.calls


async def test_an_operator_that_dies_between_the_loss_and_the_next_attempt_begins_that_attempt_once(served: Served) -> None:
    """What status says of the new attempt is where the next operator begins: no second loss is counted."""
    async with operator(TWO, served.address, retries=1) as made:
        await made.until(lambda status: status.get("taskCounts", {}).get("completed", 0) >= 1)
        await served.kill()
        # It dies before it hands anything over.
        made.endpoints.follow = lambda *_: None  # type: ignore[method-assign]
        await served.start()
        await made.until(lambda status: status.get("launches") == 2)
        await made.restart()
        status = await made.reaches("Completed")
    assert (status["attempt"], status["launches"], status["failures"]) == (2, 2, 1)
    assert status["taskCounts"]["completed"] == 4


async def test_a_runner_that_hangs_is_told_of_and_heard_again(served: Served) -> None:
    async with operator(TWO, served.address) as made:
        await made.until(lambda status: status.get("taskCounts", {}).get("completed", 0) >= 1)
        served.signal(signal.SIGSTOP)
        try:
            condition = await made.says("EndpointUnreachable")
            assert "DEADLINE_EXCEEDED" in condition["message"]
        finally:
            served.signal(signal.SIGCONT)
        status = await made.reaches("Completed")
    assert status["taskCounts"]["completed"] == 4


async def test_a_cancel_ends_within_the_grace_period_though_the_endpoint_is_dead(served: Served) -> None:
    async with operator(LONG, served.address) as made:
        await made.reaches("Running")
        await served.kill()
        made.patch(cancelled=True, cancellation={"gracePeriod": "1s"})
        status = await made.reaches("Cancelled")
    assert status["control"]["result"] == "Applied"


async def test_a_deletion_goes_through_though_the_endpoint_is_dead(served: Served) -> None:
    async with operator(LONG, served.address, cancellation={"gracePeriod": "0s"}, cancelled=False) as made:
        await made.reaches("Running")
        await served.kill()
        made.patch(cancelled=True)
        made.delete(to_text(datetime.now(UTC)))
        await until(lambda: not (made.server.resource or {})["metadata"].get("finalizers"), 30)


async def test_a_deletion_cancels_the_run_at_its_endpoint(served: Served) -> None:
    async with operator(LONG, served.address) as made:
        await made.reaches("Running")
        made.delete(to_text(datetime.now(UTC)))
        await until(lambda: not (made.server.resource or {})["metadata"].get("finalizers"), 30)
        assert (await served.end(UID)).status == "cancelled"


async def test_a_time_out_ends_the_run_at_its_endpoint(served: Served) -> None:
    async with operator(LONG, served.address, timeout="1s") as made:
        status = await made.reaches("Failed")
    assert status["error"]["status"] == 408
    assert (await served.status(UID)).status == "failed"


async def test_a_run_that_waits_for_its_endpoint_longer_than_it_may_take_fails(served: Served) -> None:
    await served.stop()
    async with operator(LONG, served.address, timeout="1s") as made:
        status = await made.reaches("Failed", seconds=40)
        assert status["error"]["code"] == "run.timeout"
        assert "startTime" not in status


async def test_the_run_id_is_part_of_the_id_there(served: Served) -> None:
    async with operator(HELLO, served.address, runId="again", input={"name": 1}) as made:
        status = await made.reaches("Completed")
    assert status["executionId"] == f"{UID}-again"


async def test_a_paused_runner_takes_nothing_new_and_what_runs_goes_on(served: Served) -> None:
    async with operator(TWO, served.address) as made:
        await made.reaches("Running")
        made.see_runner(paused=True)
        status = await made.reaches("Completed")
        assert status["output"] == {"done": True}
    async with operator(HELLO, served.address, runner={"paused": True}) as made:
        await made.says("RunnerPaused")
        assert "submitTime" not in made.status


async def test_a_key_from_a_secret_opens_the_endpoint_and_a_wrong_one_is_told_of(serve: Serve, tmp_path: Path) -> None:
    (keys := tmp_path / "keys").mkdir()
    (keys / "operator").write_text("the-right-key-0001\n")
    served = await serve(WORKFLOW_RUNNER_API_KEYS=str(keys))
    ref = {"apiKeySecretRef": {"name": "key", "key": "token"}}
    async with operator(HELLO, served.address, runner=ref, input={"name": "Ada"}) as made:
        assert "ns/key" in (await made.says("SecretNotUsable"))["message"]
        made.server.secrets["key"] = {"token": b"a-wrong-key-00002"}
        condition = await made.says("EndpointRefusesKey")
        assert "UNAUTHENTICATED" in condition["message"]
        assert "a-wrong-key-00002" not in str(made.server.statuses)
        made.server.secrets["key"] = {"token": b"the-right-key-0001\n"}
        assert (await made.reaches("Completed", seconds=60))["output"]["message"] == "Ada"
