"""An operator that restarts goes on telling Stigmer, by either API, from what status says and the pod tells again."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.stigmer.conftest import Running, plain
from tests.servers.stigmer import StigmerServer

from workflow_runner.controller.runs import Runs
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import enum_pb2
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1.sink_pb2 import ProgressBatch
from workflow_runner.reconcile.live import End, LiveRun
from workflow_runner.reconcile.timestamps import from_milliseconds
from workflow_runner.stigmer.client import Api

Json = dict[str, Any]
CREATED = "2026-11-21T12:00:00Z"
RUNNING: Json = {
    "executionId": "run-1",
    "attempt": 1,
    "podName": "pod",
    "phase": "Running",
    "startTime": CREATED,
    "tasks": [{"name": "a", "reference": "/do/0/a", "kind": "set", "status": "Running", "startTime": CREATED}],
    "callback": {"sourceSequence": 5, "baseSequence": 10, "deliveredSequence": 12},
}


def batch(**events: int) -> ProgressBatch:
    made = [
        WorkflowProgressEvent(event_type=kind, sequence_number=number, task_name="a", task_reference="/do/0/a")
        for kind, number in events.items()
    ]
    return ProgressBatch(events=made, output_json=b'{"a": 1}')


def restored(running: Running, stigmer: StigmerServer, api: Api, status: Json) -> Runs:
    runs = Runs(running.relay, lambda uid: None, lambda uid: False)
    run = LiveRun.from_status(status)
    runs.begin("uid", run, plain(stigmer, api=api), delivered=status["callback"]["deliveredSequence"])
    return runs


@pytest.mark.parametrize("api", ["progress", "status"])
async def test_what_the_pod_tells_again_and_what_it_does_since_then_arrive(
    running: Running, stigmer: StigmerServer, api: Api
) -> None:
    runs = restored(running, stigmer, api, RUNNING)
    # What was recorded and not delivered, then what is new.
    assert runs.take("uid", "pod", CREATED, batch(task_started=4, task_retried=5, task_completed=6)) == 6
    assert await running.relay.delivered("uid", 16, 20)
    runs.take("uid", "pod", CREATED, batch(workflow_completed=7))
    assert await running.relay.delivered("uid", 17, 20)
    delivery = runs.delivery("uid")
    assert delivery is not None
    assert (delivery.delivered_sequence, delivery.pending) == (17, 0)
    assert runs.watermarks("uid") == (5, 5)
    if api == "progress":
        assert stigmer.numbers("run-1") == [14, 15, 16, 17]
        return
    last = stigmer.states_of("run-1")[-1]
    assert last.phase == enum_pb2.EXECUTION_COMPLETED
    assert [(task.task_id, task.task_type) for task in last.tasks] == [("/do/0/a", enum_pb2.WORKFLOW_TASK_TRANSFORM)]
    assert last.output["a"] == 1


@pytest.mark.parametrize("api", ["progress", "status"])
async def test_an_end_that_was_owed_arrives(running: Running, stigmer: StigmerServer, api: Api) -> None:
    owed = [
        {"sequence": 13, "type": "task_failed", "time": CREATED, "name": "a", "reference": "/do/0/a"},
        {"sequence": 15, "type": "workflow_failed", "time": CREATED},
    ]
    error = {"type": "t", "status": 500, "title": "It broke"}
    ended = {**RUNNING, "phase": "Failed", "completionTime": CREATED, "error": error}
    ended["callback"] = {**RUNNING["callback"], "owed": owed}
    runs = restored(running, stigmer, api, ended)
    assert await running.relay.delivered("uid", 15, 20)
    assert runs.delivery("uid") is not None
    if api == "progress":
        assert stigmer.numbers("run-1") == [13, 15]
        return
    [state] = stigmer.states_of("run-1")
    assert (state.phase, state.error) == (enum_pb2.EXECUTION_FAILED, "It broke")


@pytest.mark.parametrize("api", ["progress", "status"])
async def test_an_end_that_the_operator_finds_itself_arrives(running: Running, stigmer: StigmerServer, api: Api) -> None:
    runs = restored(running, stigmer, api, RUNNING)
    runs.conclude("uid", End("Failed", from_milliseconds(0), "gone", error={"type": "t", "status": 500, "title": "Lost"}))
    run = runs.get("uid")
    assert run is not None
    number = run.base_sequence + run.source_sequence
    assert await running.relay.delivered("uid", number, 20)
    if api == "progress":
        assert stigmer.events("run-1")[-1].event_type == "workflow_failed"
    else:
        assert stigmer.states_of("run-1")[-1].error == "Lost"
        assert [task.status for task in stigmer.states_of("run-1")[-1].tasks] == [enum_pb2.WORKFLOW_TASK_FAILED]
