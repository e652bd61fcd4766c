"""The API group's names, for every module that speaks of the resources."""

from __future__ import annotations

import hashlib
import re

GROUP = "workflowrunner.stigmer.ai"
VERSION = "v1"
API_VERSION = f"{GROUP}/{VERSION}"

EXECUTION_KIND = "WorkflowExecution"
EXECUTION_PLURAL = "workflowexecutions"
RUNNER_KIND = "WorkflowRunner"
RUNNER_PLURAL = "workflowrunners"

FINALIZER = f"{GROUP}/cancel"
"""Held on an execution until its run has ended: deleting the resource cancels the run first."""

DEFAULT_RUNNER = "default"

LABEL_EXECUTION = f"{GROUP}/execution"
LABEL_EXECUTION_UID = f"{GROUP}/execution-uid"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_POOL = f"{GROUP}/pool"
"""On what belongs to a runner's pool: the runner's uid."""
LABEL_RUN_ID = f"{GROUP}/run-id"
"""On what belongs to a run whose execution has a spec.runId."""
ANNOTATION_INPUT = f"{GROUP}/input"
"""On a launched pod: the compressed document and input (launchers.payload)."""

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "workflow-runner"
NAME_LABEL = "app.kubernetes.io/name"
TERMINATION = "workflow-termination"
"""That label's value on a Job that ends in Temporal what a run has left open."""

LABEL_JOB_NAME = "batch.kubernetes.io/job-name"
"""Kubernetes' own, on the pods of a Job."""

SINK_AUDIENCE = "workflow-runner-sink"
"""The audience of the projected tokens with which pods come to the sink."""


def name_of(execution_id: str) -> str:
    """The name of the WorkflowExecution of somebody's id: what of the id can be in a name, and what tells it from others."""
    readable = re.sub(r"[^a-z0-9]+", "-", execution_id.lower())[:40].strip("-")
    digest = hashlib.sha256(execution_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{readable}-{digest}" if readable else f"execution-{digest}"


def execution_id(uid: str, run_id: str) -> str:
    """The id of one run of an execution (status.executionId): another runId is another run."""
    return f"{uid}-{run_id}" if run_id else uid


TEMPORAL_RUN = "stigmer/workflow-execution/run"
"""The workflow in Temporal that is one run of an execution; a name that others rely on."""


def temporal_workflow_id(execution_id: str) -> str:
    """The id of that workflow (status.temporalWorkflowId)."""
    return f"{TEMPORAL_RUN}/{execution_id}"
