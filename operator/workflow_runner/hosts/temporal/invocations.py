"""How an execution that Temporal was asked to carry out ended, for whoever waits: cli.invoke."""

from __future__ import annotations

from msgspec import Struct
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError

from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.rpc import persistently
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import enum_pb2
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecutionStatus

INVOCATION_ENDED = "temporal.invocation-ended"
"""It was terminated, or Temporal's own time-out has passed."""


class Ended(Struct, frozen=True):
    """The final status, or why there is none: `error` begins with a code."""

    status: WorkflowExecutionStatus | None
    error: str = ""
    cancelled: bool = False


async def ended(client: Client, execution_id: str) -> Ended:
    """Waits for the end, however long it takes. Raises RPCError for what Temporal refuses for good."""
    handle = client.get_workflow_handle(names.invoke_id(execution_id), result_type=WorkflowExecutionStatus)
    try:
        status = await persistently(handle.result, "an execution cannot be followed")
    except WorkflowFailureError as failure:
        match failure.cause:
            case CancelledError():
                return Ended(None, "cancelled", cancelled=True)
            case ApplicationError() as error:
                return Ended(None, f"{error.type}: {error.message}")
            case _ as cause:
                return Ended(None, f"{INVOCATION_ENDED}: {cause}"[:500])
    return Ended(status, status.error, cancelled=status.phase == enum_pb2.EXECUTION_CANCELLED)
