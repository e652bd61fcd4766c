"""Invocations of Stigmer's executions, for record: how one ends with a runner and without, and when it is cancelled.

What is recorded is the workflow that invokes (invoke_workflow). The workers are processes of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from temporalio.client import WorkflowFailureError
from tests import canaries
from tests.integration.temporal.topology import CANCELLED, COMPLETED, FAILED, GREET, LISTEN, Topology, result
from tests.unit.stigmer.specs import task
from tests.until import until

Invocation: TypeAlias = Callable[[Topology, str], Awaitable[None]]
"""Has the execution of that id invoked, and returns when that has ended."""
SHORT = {"TEMPORAL_WORKFLOW_EXECUTION_TIMEOUT_SECONDS": "2"}
ALL = "orchestrator,runner,engine"


async def _ends(place: Topology, id_: str, phase: int) -> None:
    """Invoke it, and wait for its end."""
    handle = await place.invoke(id_)
    try:
        status = await result(handle)
    except WorkflowFailureError:
        status = place.final(id_)
    assert status.phase == phase, status


async def _completed(place: Topology, id_: str) -> None:
    place.record(id_, GREET)
    await place.worker(ALL)
    await _ends(place, id_, COMPLETED)


async def _timed_out(place: Topology, id_: str) -> None:
    place.record(id_, LISTEN)
    await place.worker(ALL, **SHORT)
    await _ends(place, id_, FAILED)


async def _refused(place: Topology, id_: str) -> None:
    """By the runner: the secret would be in Temporal's history."""
    call = task("call", "SET", {"variables": {"token": "Bearer ${TOKEN}"}})
    place.record(id_, call, secrets={"TOKEN": canaries.WORKFLOW_SECRET})
    await place.worker(ALL)
    await _ends(place, id_, FAILED)


async def _no_runner(place: Topology, id_: str) -> None:
    place.record(id_, GREET)
    await place.worker("orchestrator", **SHORT)
    await _ends(place, id_, FAILED)


async def _another_role(place: Topology, id_: str) -> None:
    """Who polls the runner's queue does not know the activity, and is asked again: runners may be there as well."""
    place.record(id_, GREET)
    await place.worker("orchestrator")
    (await place.worker("engine", TEMPORAL_WORKFLOW_EXECUTION_TASK_QUEUE="workflow_execution_runner")).misplaced = True
    await _ends(place, id_, FAILED)


async def _cancelled(place: Topology, id_: str) -> None:
    place.record(id_, LISTEN)
    await place.worker(ALL)
    await place.invoke(id_)
    await place.listens(id_)
    await place.invocation(id_).cancel()
    await _ends(place, id_, CANCELLED)


async def _cancelled_early(place: Topology, id_: str) -> None:
    """Before a runner took it."""
    place.record(id_, GREET)
    await place.worker("orchestrator")
    handle = await place.invoke(id_)

    async def waits_for_a_runner() -> bool:
        return bool((await handle.describe()).raw_description.pending_activities)

    await until(waits_for_a_runner)
    await handle.cancel()
    await _ends(place, id_, CANCELLED)


INVOCATIONS: dict[str, Invocation] = {
    "invocations/completed": _completed,
    "invocations/timed-out": _timed_out,
    "invocations/refused": _refused,
    "invocations/no-runner": _no_runner,
    "invocations/another-role": _another_role,
    "invocations/cancelled": _cancelled,
    "invocations/cancelled-early": _cancelled_early,
}
"""By name."""
