"""What is particular to a Stigmer that takes whole states: the newest is owed, and no other."""

from __future__ import annotations

from tests.integration.stigmer.conftest import Running, event, plain
from tests.servers.stigmer import Behaviour, StigmerServer

from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.reconcile.live import LiveRun
from workflow_runner.stigmer.client import Destination
from workflow_runner.stigmer.status import status_of


class Run:
    """A run's fold, told event by event."""

    def __init__(self, running: Running, destination: Destination) -> None:
        self.live, self.relay = LiveRun(execution_id="run-1", attempt=1), running.relay
        self.relay.track("run-1", destination, 0, lambda: status_of(self.live))

    def tell(self, *numbers: int, kind: str = "task_completed", task: str = "step", **fields: object) -> None:
        for number in numbers:
            told = WorkflowProgressEvent(event_type=kind, sequence_number=number, timestamp_ms=1_000 * number)
            if kind.startswith("task_"):
                told.task_name, told.task_reference = task, f"/do/{number}/{task}"
            assert self.live.ingest(told)
            assert self.relay.offer("run-1", self.live.outward(told))


async def test_while_a_state_is_on_its_way_all_newer_ones_become_one(running: Running, stigmer: StigmerServer) -> None:
    stigmer.behaviour = Behaviour(seconds=0.3)
    run = Run(running, plain(stigmer, api="status"))
    run.tell(1, kind="workflow_started")
    await stigmer.until(lambda: len(stigmer.calls) == 1)
    run.tell(*range(2, 200))
    run.tell(200, kind="workflow_completed")
    assert running.relay.delivery("run-1").pending == 2
    assert await running.relay.delivered("run-1", 200, 20)
    assert [len(state.tasks) for state in stigmer.states_of("run-1")] == [0, 50]
    assert stigmer.states_of("run-1")[-1].completed_at


async def test_a_state_is_sent_as_it_is_when_its_turn_comes(running: Running, stigmer: StigmerServer) -> None:
    """Not as it was when it was offered: there is no queue of old states."""
    await stigmer.down()
    run = Run(running, plain(stigmer, api="status"))
    run.tell(1, kind="workflow_started")
    await running.until(lambda: running.relay.delivery("run-1").last_error is not None)
    run.tell(2, 3)
    await stigmer.up()
    assert await running.relay.delivered("run-1", 3, 20)
    [state] = stigmer.states_of("run-1")
    assert [task.task_id for task in state.tasks] == ["/do/2/step", "/do/3/step"]


async def test_the_end_that_comes_while_another_state_is_refused_for_good_arrives(
    running: Running, stigmer: StigmerServer
) -> None:
    stigmer.behaviour = Behaviour("refuse", seconds=0.1)
    run = Run(running, plain(stigmer, api="status"))
    run.tell(1, kind="workflow_started")
    await stigmer.until(lambda: len(stigmer.calls) == 3)
    # Its last try is under way: what is given up is that one, not the end.
    run.tell(2, kind="workflow_completed")
    stigmer.behaviour = Behaviour()
    assert await running.relay.delivered("run-1", 2, 20)
    assert [bool(state.completed_at) for state in stigmer.states_of("run-1")] == [True]


async def test_a_run_that_goes_over_to_events_tells_events(running: Running, stigmer: StigmerServer) -> None:
    await stigmer.down()
    running.relay.track("run-1", plain(stigmer, api="status"), 0, lambda: status_of(LiveRun(execution_id="run-1", attempt=1)))
    running.relay.offer("run-1", event(1))
    await running.until(lambda: running.relay.delivery("run-1").last_error is not None)
    running.relay.track("run-1", plain(stigmer), 0)
    running.relay.offer("run-1", event(2))
    running.relay.offer("run-1", event(3))
    await stigmer.up()
    assert await running.relay.delivered("run-1", 3, 20)
    assert (stigmer.numbers("run-1"), stigmer.states) == ([1, 2, 3], [])
