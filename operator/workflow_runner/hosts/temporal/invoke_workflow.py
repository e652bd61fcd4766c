"""The workflow that has an execution of Stigmer's carried out. Registered by orchestrator.

It hands the execution to a runner (ExecuteWorkflow), writes the status that comes back to Stigmer, and completes the callback
of whoever waits for the end: each a local activity that is tried until Stigmer and Temporal have it. Where no runner brings a
status (none is there, what it was asked for cannot be run, it was lost for good), the status is FAILED and says why; the run,
should there be one, is cancelled. Cancelled itself, it has the run cancelled, and is closed when that has wound up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from google.protobuf import json_format
from msgspec import Struct
from temporalio import exceptions, workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, ApplicationErrorCategory
from temporalio.workflow import ActivityCancellationType

from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.records import ended_status, execution_of
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import enum_pb2
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecution, WorkflowExecutionStatus

MOST_TIME = timedelta(days=366)
"""Of an execution, paused time and all; its own time limit is the run's, which knows what was paused."""
OTHERS_TRIES = 4
"""So often a worker that does not know ExecuteWorkflow may take it from one that does."""
_NOT_REGISTERED = ("NotFoundError", "ActivityNotRegisteredError")
"""What workers of the SDKs call that."""
_EXECUTE = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=1.5,
    maximum_interval=timedelta(seconds=10),
    maximum_attempts=1000,
    non_retryable_error_types=_NOT_REGISTERED,
)
_LOCAL = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=60))
_LOCAL_TIME, _LOCAL_ATTEMPT = timedelta(hours=24), timedelta(seconds=60)


class Terms(Struct, frozen=True, rename="camel"):
    """By which settings an execution goes; they stay the same for all of its time."""

    runner_task_queue: str
    wait_seconds: float
    """So long it waits for a runner."""
    heartbeat_seconds: float


class _Failed(Exception):
    """No status came back: why."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@workflow.defn(name=names.INVOKE, sandboxed=False)
class InvokeWorkflow:
    """One execution."""

    def __init__(self) -> None:
        self._cancel_requested = False
        self._execute: asyncio.Task[Any] | None = None

    @workflow.run
    async def run(self, argument: Any) -> WorkflowExecutionStatus:
        """The final status; an execution that could not be carried out is a failure."""
        story = asyncio.create_task(self._story(_named(argument)))
        while not story.done():
            try:
                await asyncio.shield(story)
            except asyncio.CancelledError:
                if not story.done():
                    self._cancel_requested = True
                    if self._execute is not None:
                        self._execute.cancel()
        return story.result()

    async def _story(self, execution: WorkflowExecution) -> WorkflowExecutionStatus:
        execution_id, me = execution.metadata.id, workflow.info().workflow_id
        failed: _Failed | None = None
        try:
            status = await self._executed(execution_id)
        except asyncio.CancelledError:
            await self._end_run(execution_id)
            reason = workflow.cancellation_reason() or "cancelled in Temporal"
            status = ended_status(enum_pb2.EXECUTION_CANCELLED, reason, me, workflow.now())
        except _Failed as error:
            await self._end_run(execution_id)
            failed = error
            status = ended_status(enum_pb2.EXECUTION_FAILED, f"{error.code}: {error}", me, workflow.now())
        told = await _told(execution, status)
        if self._cancel_requested and status.phase == enum_pb2.EXECUTION_CANCELLED:
            raise asyncio.CancelledError
        if failed is not None:
            raise _failure(str(failed), failed.code) from failed
        if told is not None:
            raise told
        return status

    async def _executed(self, execution_id: str) -> WorkflowExecutionStatus:
        """What a runner made of it. Raises CancelledError, or _Failed."""
        found = await workflow.execute_local_activity(names.TERMS, start_to_close_timeout=_LOCAL_ATTEMPT, retry_policy=_LOCAL)
        terms = msgspec.convert(found, Terms)
        queue = workflow.memo_value(names.ACTIVITY_QUEUE, default=terms.runner_task_queue)
        tries = 1
        while True:
            if self._cancel_requested:
                raise asyncio.CancelledError
            self._execute = workflow.start_activity(
                names.EXECUTE,
                # The id alone: whoever carries it out asks Stigmer, and what Stigmer knows need not be in this history.
                _named(execution_id),
                task_queue=queue,
                schedule_to_start_timeout=timedelta(seconds=terms.wait_seconds),
                start_to_close_timeout=MOST_TIME,
                heartbeat_timeout=timedelta(seconds=terms.heartbeat_seconds),
                retry_policy=_EXECUTE,
                # The runner says when the run has ended.
                cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
            try:
                answer = await self._execute
            except ActivityError as error:
                if self._cancel_requested or isinstance(error.cause, exceptions.CancelledError):
                    # Also where the runner was lost that was to answer.
                    raise asyncio.CancelledError from error
                if tries < OTHERS_TRIES and _not_registered(error):
                    workflow.logger.warning("a worker without ExecuteWorkflow polls %s; it is tried again", queue)
                    await workflow.sleep(min(10, 2**tries))
                    tries += 1
                    continue
                raise _why(error, queue, terms) from error
            if isinstance(answer, WorkflowExecutionStatus):
                return answer
            if isinstance(answer, dict):  # from a runner whose library does not name its messages
                with contextlib.suppress(json_format.ParseError):
                    return json_format.ParseDict(answer, WorkflowExecutionStatus(), ignore_unknown_fields=True)
            raise _Failed("temporal.other-answer", f"the runner at {queue} answered with something that is no status")

    async def _end_run(self, execution_id: str) -> None:
        """Nobody follows the run any more, should there be one: it shall not go on."""
        try:
            await workflow.get_external_workflow_handle(names.run_id(execution_id)).cancel()
        except ApplicationError:
            workflow.logger.debug("there is no run to be cancelled")


@workflow.defn(dynamic=True, sandboxed=False)
class UnknownWorkflow:
    """Whatever else is started on the orchestrator's queue: it hears at once that it waits in vain."""

    @workflow.run
    async def run(self, arguments: Sequence[RawValue]) -> None:
        """Fails."""
        info = workflow.info()
        raise _failure(
            f"there is no workflow type {info.workflow_type!r} here: the queue {info.task_queue!r} is polled by the role "
            f"orchestrator, which knows {names.INVOKE!r} only (correct the type, or the queue that it is started on)",
            "temporal.unknown-workflow-type",
        )


def _named(argument: Any) -> WorkflowExecution:
    try:
        return execution_of(argument)
    except InvalidInput as error:
        raise _failure(str(error), error.code) from error


async def _told(execution: WorkflowExecution, status: WorkflowExecutionStatus) -> ApplicationError | None:
    """Has Stigmer write the status, then completes the callback, which is owed in any case; why the former cannot be."""
    refused: ApplicationError | None = None
    try:
        await _local(names.UPDATE_STATUS, execution.metadata.id, status)
    except ActivityError as error:
        refused = _failure(f"the status cannot be written to Stigmer: {_said(error)}", _type_of(error, "stigmer.refused"))
    known = execution.HasField("spec")
    try:
        await _local(names.COMPLETE_CALLBACK, execution.metadata.id, execution.spec.callback_token if known else None, status)
    except ActivityError as error:
        return refused or _failure(f"the callback cannot be completed: {_said(error)}", _type_of(error, "stigmer.refused"))
    return refused


async def _local(name: str, *arguments: Any) -> None:
    await workflow.execute_local_activity(
        name,
        args=arguments,
        start_to_close_timeout=_LOCAL_ATTEMPT,
        schedule_to_close_timeout=_LOCAL_TIME,
        retry_policy=_LOCAL,
    )


def _failure(message: str, code: str) -> ApplicationError:
    return ApplicationError(message[:4000], type=code, non_retryable=True, category=ApplicationErrorCategory.BENIGN)


def _not_registered(error: ActivityError) -> bool:
    return isinstance(error.cause, ApplicationError) and error.cause.type in _NOT_REGISTERED


def _said(error: ActivityError) -> str:
    return str(getattr(error.cause, "message", "") or error.cause or error)[:2000]


def _type_of(error: ActivityError, otherwise: str) -> str:
    return (isinstance(error.cause, ApplicationError) and error.cause.type) or otherwise


def _why(error: ActivityError, queue: str, terms: Terms) -> _Failed:
    """An activity's failure, as those know it who look after the workers."""
    cause = error.cause
    if isinstance(cause, exceptions.TimeoutError):
        if cause.type is exceptions.TimeoutType.SCHEDULE_TO_START:
            return _Failed(
                "temporal.no-runner",
                f"nobody took {names.EXECUTE} from the queue {queue!r} within {terms.wait_seconds:g} s "
                "(start a worker with the role runner that polls this queue, or correct the queue's name)",
            )
        return _Failed(
            "temporal.runner-lost",
            f"runners that took {names.EXECUTE} from the queue {queue!r} did not come back (look at their logs)",
        )
    if _not_registered(error):
        return _Failed(
            "temporal.activity-not-registered",
            f"the worker that polls the queue {queue!r} has no activity {names.EXECUTE}: {_said(error)} (a worker of "
            "another role polls this queue: end it, or give the two queues of their own)",
        )
    return _Failed(_type_of(error, "temporal.runner-failed"), _said(error))
