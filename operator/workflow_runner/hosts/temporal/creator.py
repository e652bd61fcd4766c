"""Starts the workflow that has an execution carried out: for whoever creates executions, once the record is written.

Where starting fails the record stays as it is: the error says so, and starting again does no harm, since an execution that was
started after all is found. Used by cli.invoke.
"""

from __future__ import annotations

from msgspec import Struct
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from workflow_runner.errors import Unavailable
from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.invoke_workflow import MOST_TIME
from workflow_runner.hosts.temporal.rpc import RPC_SECONDS
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecution
from workflow_runner.settings.temporal import TemporalSettings


class Invocation(Struct, frozen=True):
    """`workflow_id` is its id in Temporal; `attached` says that it had been started before."""

    workflow_id: str
    attached: bool


class InvokeWorkflowCreator:
    """Starts executions."""

    def __init__(self, client: Client, settings: TemporalSettings) -> None:
        self._client = client
        self._settings = settings

    async def create(self, execution_id: str, *, again: bool = False) -> Invocation:
        """Start an execution, or find that it was started; it does not wait for anything. With `again` one that could not be
        carried out is started once more; where its run had begun that stays as it is. Raises Unavailable
        (`temporal.not-started`)."""
        reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY if again else WorkflowIDReusePolicy.REJECT_DUPLICATE
        # Who carries it out asks Stigmer for the rest; its runtime environment, for one, would be readable in Temporal.
        execution = WorkflowExecution(kind="WorkflowExecution")
        execution.metadata.id = execution_id
        id_ = names.invoke_id(execution_id)
        try:
            await self._client.start_workflow(
                names.INVOKE,
                execution,
                id=id_,
                task_queue=self._settings.stigmer_task_queue,
                execution_timeout=MOST_TIME,
                memo={names.ACTIVITY_QUEUE: self._settings.runner_task_queue},
                id_reuse_policy=reuse,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                static_summary=f"execution {execution_id}"[:200],
                rpc_timeout=RPC_SECONDS,
            )
        except WorkflowAlreadyStartedError:
            return Invocation(id_, attached=True)
        except RPCError as error:
            raise Unavailable(
                f"execution {execution_id!r} could not be started in Temporal: {error.status.name}: {error.message}"[:700],
                code="temporal.not-started",
                hint="its record stays; start it again when Temporal is there, which does no harm if it was started after all",
            ) from error
        return Invocation(id_, attached=False)
