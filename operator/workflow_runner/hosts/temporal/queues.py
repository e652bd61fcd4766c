"""Who polls a task queue, and what stands in the way of an execution that does not begin. Used by cli.worker and cli.invoke.

Temporal itself waits in silence where nobody polls, where a worker of another role does, or where one fails again and again:
here that is found and said.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from temporalio.api.enums.v1 import EventType, PendingActivityState, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from workflow_runner import telemetry
from workflow_runner.errors import Unavailable
from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.rpc import RPC_SECONDS
from workflow_runner.settings.temporal import TemporalSettings

Kind = Literal["workflow", "activity"]
_TYPES = {"workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, "activity": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY}
_MOST_EVENTS = 100
_NOT_REGISTERED = ("is not registered", "unknown workflow type", "unable to find workflow type")


class Finding(Struct, frozen=True):
    """Something that keeps an execution from going on, and what to do."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


async def polled(client: Client, queue: str, kind: Kind) -> bool:
    """Whether somebody has polled the queue for such tasks in the last minutes. Raises Unavailable."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=_TYPES[kind]
    )
    try:
        found = await client.workflow_service.describe_task_queue(request, retry=True, timeout=RPC_SECONDS)
    except RPCError as error:
        raise _unavailable(error) from error
    return bool(found.pollers)


def nobody_polls(queue: str, role: str) -> Finding:
    """What is said of a queue without pollers."""
    return Finding(
        "temporal.nobody-polls",
        f"nobody polls the queue {queue!r} (start a worker with the role {role} for it, or correct the queue's name: it is "
        "the same for those who put something into it)",
    )


async def diagnose(client: Client, execution_id: str, settings: TemporalSettings) -> list[Finding]:
    """What keeps an execution from beginning or going on, as far as Temporal knows; empty where nothing does, or it has
    ended. Raises Unavailable."""
    handle = client.get_workflow_handle(names.invoke_id(execution_id))
    found = await _described(handle)
    if found is None:
        return [
            Finding(
                "temporal.not-started",
                f"execution {execution_id!r} is not in Temporal's namespace {client.namespace!r} (`workflow-runner invoke "
                f"{execution_id}` starts it)",
            )
        ]
    if found.status is not WorkflowExecutionStatus.RUNNING:
        return []
    waiting = found.raw_description.pending_workflow_task
    if waiting.attempt > 1:
        return [await _failing(handle, found)]
    if found.history_length <= 2 and not await polled(client, found.task_queue, "workflow"):
        return [nobody_polls(found.task_queue, "orchestrator")]
    for pending in found.raw_description.pending_activities:
        if pending.activity_type.name != names.EXECUTE:
            continue
        if pending.HasField("last_failure") and pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED:
            said = telemetry.redact(pending.last_failure.message)[:500]
            return [Finding("temporal.runner-failed", f"{names.EXECUTE} failed and is tried again ({pending.attempt}): {said}")]
        if pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED:
            queue = str((await found.memo()).get(names.ACTIVITY_QUEUE, settings.runner_task_queue))
            return [] if await polled(client, queue, "activity") else [nobody_polls(queue, "runner")]
    run = await _described(client.get_workflow_handle(names.run_id(execution_id)))
    if run is None or run.status is not WorkflowExecutionStatus.RUNNING or await polled(client, run.task_queue, "workflow"):
        return []
    return [nobody_polls(run.task_queue, "engine")]


async def _described(handle: WorkflowHandle[object, object]) -> WorkflowExecutionDescription | None:
    try:
        return await handle.describe(rpc_timeout=RPC_SECONDS)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise _unavailable(error) from error


async def _failing(handle: WorkflowHandle[object, object], found: WorkflowExecutionDescription) -> Finding:
    """Why its workflow task fails again and again: the history says it once."""
    said = "no reason is given"
    looked_at = 0
    try:
        async for event in handle.fetch_history_events(page_size=_MOST_EVENTS, rpc_timeout=RPC_SECONDS):
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                said = telemetry.redact(event.workflow_task_failed_event_attributes.failure.message)[:500]
            looked_at += 1
            if looked_at == _MOST_EVENTS:
                break
    except RPCError as error:
        raise _unavailable(error) from error
    if any(sign in said.lower() for sign in _NOT_REGISTERED):
        return Finding(
            "temporal.unknown-workflow-type",
            f"the worker that polls the queue {found.task_queue!r} does not know the workflow {found.workflow_type!r}: {said} "
            "(a worker of another role polls this queue: end it, or give the two queues of their own)",
        )
    return Finding("temporal.worker-failing", f"the worker at the queue {found.task_queue!r} fails again and again: {said}")


def _unavailable(error: RPCError) -> Unavailable:
    return Unavailable(f"Temporal does not answer: {error.status.name}: {error.message}"[:500], code="temporal.unavailable")
