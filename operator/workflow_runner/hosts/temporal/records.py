"""What the roles with Stigmer ask of it: a port, which cli/stigmer_records.py fills. And executions as arguments have them.

Executions and their statuses are Stigmer's own messages: others start these workflows too, and read what they return.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from google.protobuf import json_format

from workflow_runner.dsl.templates import Json
from workflow_runner.errors import InvalidInput
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import enum_pb2
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecution, WorkflowExecutionStatus
from workflow_runner.reconcile.live import LiveRun
from workflow_runner.reconcile.timestamps import to_text

LONGEST_ERROR = 8192


class Prepared(Protocol):
    """Everything that a run needs. `document` has been checked; `plain` and `secrets` are the environment's values by name."""

    @property
    def document(self) -> dict[str, Any]: ...
    @property
    def input(self) -> Json: ...
    @property
    def plain(self) -> Mapping[str, str]: ...
    @property
    def secrets(self) -> Mapping[str, str]: ...


class Records(Protocol):
    """Stigmer's executions. Every method raises Temporary for what may be different later, else another WorkflowRunnerError."""

    async def prepare(self, execution_id: str) -> Prepared:
        """What an execution is made from."""
        ...

    async def secrets_of(self, execution_id: str) -> Mapping[str, Json]:
        """The environment's secret values by name, as they are now."""
        ...

    async def callback_token(self, execution_id: str) -> bytes:
        """The token of whoever waits for the end; empty where nobody does."""
        ...

    async def update(self, execution_id: str, status: WorkflowExecutionStatus) -> None:
        """Write a status."""
        ...

    def status_of(self, run: LiveRun, workflow_id: str) -> WorkflowExecutionStatus:
        """A run as Stigmer knows it; `workflow_id` is that of the workflow in Temporal that had it carried out."""
        ...


def execution_of(argument: Any) -> WorkflowExecution:
    """The execution that an argument names: a WorkflowExecution, the same as proto3 JSON, or an id. Raises InvalidInput."""
    execution = WorkflowExecution()
    match argument:
        case WorkflowExecution():
            execution = argument
        case str():
            execution.metadata.id = argument
        case dict():
            try:
                json_format.ParseDict(argument, execution, ignore_unknown_fields=True)
            except json_format.ParseError as error:
                raise InvalidInput(f"the argument is no WorkflowExecution: {error}"[:500], code="execution.bad-id") from error
    if not execution.metadata.id:
        message = "the argument names no execution: it is a WorkflowExecution with metadata.id, or the id alone"
        raise InvalidInput(message, code="execution.bad-id")
    return execution


def ended_status(phase: enum_pb2.ExecutionPhase, error: str, workflow_id: str, now: datetime) -> WorkflowExecutionStatus:
    """The status of an execution of which there is nothing to tell but how it ended."""
    return WorkflowExecutionStatus(
        phase=phase,
        error=error[:LONGEST_ERROR],
        completed_at=to_text(now.astimezone(UTC)),
        temporal_workflow_id=workflow_id,
    )
