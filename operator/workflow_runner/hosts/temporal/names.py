"""The names by which workflows, activities, signals and queries are known to Temporal, and to others who use them.

Those of the topology with Stigmer's server are fixed by it (docs/temporal.md).
"""

from __future__ import annotations

RUN = "stigmer/workflow-execution/run"
"""The workflow that runs one document; its id has the execution's id behind it."""

CALL, EVALUATE, BREATHE = "Call", "Evaluate", "Breathe"
"""The activity that carries out a side effect, the local one for expressions that may not end, and one that does nothing."""

INVOKE = "stigmer/workflow-execution/invoke"
"""The workflow that has an execution of Stigmer's carried out; its id has the execution's id behind it."""

EXECUTE = "ExecuteWorkflow"
"""The activity that carries one out: a runner's."""

UPDATE_STATUS, COMPLETE_CALLBACK, TERMS = "UpdateWorkflowExecutionStatus", "CompleteCallback", "Terms"
"""Local activities of the one that invokes: what it writes to Stigmer, whom it tells of the end, and its settings."""

ACTIVITY_QUEUE = "activityTaskQueue"
"""The member of its memo that names the queue of ExecuteWorkflow."""

PAUSE, RESUME, CANCEL, EVENT = "pause", "resume", "cancel", "event"
"""Signals. Of the first three the argument is a Steering, of the last a CloudEvent."""

STATUS, EVENTS = "status", "events"
"""Queries."""

FAULT, CANCELLED, REFUSED = "WorkflowFault", "WorkflowCancelled", "WorkflowRefused"
"""Types of failures: an error of the document, with its problem; a cancel by signal; and what this project refuses."""


def run_id(execution_id: str) -> str:
    """The id of the workflow that runs an execution."""
    return f"{RUN}/{execution_id}"


def invoke_id(execution_id: str) -> str:
    """The id of the workflow that has an execution carried out."""
    return f"{INVOKE}/{execution_id}"


def own_queue(execution_id: str) -> str:
    """The task queue of an execution that has a worker to itself."""
    return f"workflow_execution_run/{execution_id}"
