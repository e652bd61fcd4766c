"""The worker of the role orchestrator: it takes workflow tasks only. Built by cli.worker.

It has no activities that could be taken from its queue: then Temporal would give it those that are a runner's.
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from workflow_runner.errors import Unavailable, WorkflowRunnerError
from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.failures import failure
from workflow_runner.hosts.temporal.invoke_workflow import InvokeWorkflow, Terms, UnknownWorkflow
from workflow_runner.hosts.temporal.records import Records
from workflow_runner.hosts.temporal.rpc import RPC_SECONDS
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import enum_pb2
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecutionStatus
from workflow_runner.settings.temporal import TemporalSettings

_OVER = frozenset({RPCStatusCode.NOT_FOUND, RPCStatusCode.ALREADY_EXISTS})
"""What Temporal says of an activity that has ended: by an earlier try, by its own time-out, or with its workflow."""

log = logging.getLogger(__name__)


class Orchestrator:
    """`async with` it: the worker polls until the block ends."""

    def __init__(self, client: Client, settings: TemporalSettings, records: Records) -> None:
        self._client = client
        self._settings = settings
        self._records = records
        self._worker = Worker(
            client,
            task_queue=settings.stigmer_task_queue,
            workflows=[InvokeWorkflow, UnknownWorkflow],
            activities=[self.terms, self.update_status, self.complete_callback],
            no_remote_activities=True,
            workflow_runner=UnsandboxedWorkflowRunner(),
        )

    async def __aenter__(self) -> Orchestrator:
        await self._worker.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._worker.shutdown()

    @activity.defn(name=names.TERMS)
    async def terms(self) -> dict[str, Any]:
        """This process's settings, for an execution that begins."""
        settings = self._settings
        terms = Terms(settings.runner_task_queue, settings.time_limit_seconds, settings.heartbeat_seconds)
        written: dict[str, Any] = msgspec.to_builtins(terms)
        return written

    @activity.defn(name=names.UPDATE_STATUS)
    async def update_status(self, execution_id: str, status: WorkflowExecutionStatus) -> None:
        """Has Stigmer write a status."""
        try:
            await self._records.update(execution_id, status)
        except WorkflowRunnerError as error:
            raise failure(error, "the status of an execution cannot be written", execution_id) from None

    @activity.defn(name=names.COMPLETE_CALLBACK)
    async def complete_callback(self, execution_id: str, token: bytes | None, status: WorkflowExecutionStatus) -> None:
        """Complete the activity that waits for the end, should there be one. None for a token: Stigmer is asked for it.

        Temporal takes one completion of an activity: where an earlier try got there, and its answer did not, there is nothing
        left to do.
        """
        try:
            token = await self._records.callback_token(execution_id) if token is None else token
        except WorkflowRunnerError as error:
            raise failure(error, "it is not known who waits for an execution", execution_id) from None
        if not token:
            return
        handle = self._client.get_async_activity_handle(task_token=token)
        try:
            if status.phase == enum_pb2.EXECUTION_COMPLETED:
                await handle.complete(status, rpc_timeout=RPC_SECONDS)
            else:
                await handle.fail(_ended_badly(status), rpc_timeout=RPC_SECONDS)
        except RPCError as error:
            if error.status in _OVER:
                log.info(
                    "the callback of an execution was completed before, or nobody waits any more", extra={"id": execution_id}
                )
            elif error.status is RPCStatusCode.INVALID_ARGUMENT:
                log.error(
                    "the callback of an execution cannot be completed: its token is none of this server's",
                    extra={"code": "temporal.callback-token-invalid", "id": execution_id, "error": error.message[:300]},
                )
            else:
                away = Unavailable(f"Temporal does not take it: {error.message}", code="temporal.unavailable")
                raise failure(away, "the callback of an execution cannot be completed", execution_id) from error
        else:
            log.info("the callback of an execution is completed", extra={"id": execution_id})


def _ended_badly(status: WorkflowExecutionStatus) -> ApplicationError:
    """The failure that whoever waits gets: tried again, nobody would complete it."""
    cancelled = status.phase == enum_pb2.EXECUTION_CANCELLED
    message = status.error or ("the execution was cancelled" if cancelled else "the execution failed")
    return ApplicationError(message, status, type=names.CANCELLED if cancelled else names.FAULT, non_retryable=True)
