"""WorkflowExecution: one run of a workflow document. Read by reconcile, the controller and the CRD writer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from workflow_runner.crd.base import AnyJson, Condition, Resource, Rule, rules
from workflow_runner.crd.runner import Stigmer

Phase = Literal["Pending", "Running", "Paused", "Completed", "Failed", "Cancelled"]
TERMINAL_PHASES = frozenset({"Completed", "Failed", "Cancelled"})

MAX_TASKS = 50
"""status.tasks holds at most this many: the newest, and the failed ones first of all."""
MAX_YAML = 1_048_576


class RunnerRef(Resource):
    """Which WorkflowRunner runs the execution."""

    name: str = Field(default="default", description="Name of the WorkflowRunner.", min_length=1, max_length=253)
    namespace: str | None = Field(
        default=None,
        description=(
            "Namespace of the WorkflowRunner. Left out: the execution's own namespace and, where that has no runner "
            "of this name, the operator's."
        ),
        min_length=1,
        max_length=63,
    )


class DocumentHead(Resource):
    """The `document` part of a workflow, as far as the API server checks it."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})

    dsl: str = Field(description="Version of the workflow language, such as 1.0.0.", max_length=64)
    namespace: str = Field(description="Namespace of the workflow (not of Kubernetes).", max_length=63)
    name: str = Field(description="Name of the workflow.", max_length=63)
    version: str = Field(description="Semantic version of the workflow.", max_length=256)


class Definition(Resource):
    """A Serverless Workflow document written as an object."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})

    document: DocumentHead = Field(description="Which workflow this is.")
    do: list[dict[str, Any]] = Field(
        description="The tasks, in order; each item has one key, the task's name.",
        min_length=1,
        json_schema_extra={"items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    )


class WorkflowSource(Resource):
    """The document to run: exactly one of the fields."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "[has(self.definition), has(self.yaml)].filter(x, x).size() == 1",
                "workflow needs exactly one of definition and yaml",
            ),
            Rule(
                "has(self.definition) == has(oldSelf.definition)",
                "the workflow of an execution cannot be changed: create another WorkflowExecution",
            ),
            Rule(
                "!has(self.yaml) || !has(oldSelf.yaml) || self.yaml == oldSelf.yaml",
                "the workflow of an execution cannot be changed: create another WorkflowExecution",
                field_path=".yaml",
            ),
            Rule(
                "!has(self.definition) || !has(oldSelf.definition) || self.definition.document == oldSelf.definition.document",
                "the workflow of an execution cannot be changed: create another WorkflowExecution",
                field_path=".definition",
            ),
            Rule(
                "!has(self.yaml) || self.yaml.trim() != ''",
                "yaml is blank: write a Serverless Workflow document",
                field_path=".yaml",
            ),
        )
    )

    definition: Definition | None = Field(default=None, description="The document as an object.")
    yaml: str | None = Field(default=None, description="The document as YAML text.", max_length=MAX_YAML)


class Cancellation(Resource):
    """How and why a run is cancelled."""

    reason: str | None = Field(
        default=None, description="Why, for people; it is reported with the end of the run.", max_length=1024
    )


class WorkflowExecutionSpec(Resource):
    """What a user asks for."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "self.runnerRef == oldSelf.runnerRef",
                "the runner of an execution cannot be changed: create another WorkflowExecution",
                field_path=".runnerRef",
            ),
            Rule(
                "!oldSelf.cancelled || self.cancelled",
                "a cancelled execution stays cancelled: create another WorkflowExecution to run again",
                field_path=".cancelled",
            ),
            Rule(
                "!has(self.cancellation) || self.cancelled",
                "cancellation says how to cancel and has no meaning without cancelled: true",
                field_path=".cancellation",
            ),
        )
    )

    runner_ref: RunnerRef = Field(default=RunnerRef(), description="Which runner runs it.")
    workflow: WorkflowSource = Field(description="What to run: the document, in exactly one of these ways.")
    input: AnyJson = Field(
        default=None,
        description="The workflow's input, any JSON value. Pinned when the run is accepted; without it the input is {}.",
    )
    paused: bool = Field(default=False, description="true holds the run before its next task; false lets it go on.")
    cancelled: bool = Field(default=False, description="true ends the run for good. Wins over paused.")
    cancellation: Cancellation | None = Field(default=None, description="Details of a cancellation.")


class TaskCounts(Resource):
    """Totals of the run; a task in a loop counts once a pass."""

    started: int = Field(default=0, description="Tasks begun.", json_schema_extra={"format": "int64"})
    completed: int = Field(default=0, description="Tasks that ended well.", json_schema_extra={"format": "int64"})
    failed: int = Field(default=0, description="Tasks that failed, caught or not.", json_schema_extra={"format": "int64"})
    skipped: int = Field(default=0, description="Tasks whose `if` was false.", json_schema_extra={"format": "int64"})
    retried: int = Field(default=0, description="Further tries of `try` tasks.", json_schema_extra={"format": "int64"})


class ExecutionError(Resource):
    """What ended the run, after RFC 7807."""

    type: str = Field(description="URI of the error's type.", max_length=2048)
    status: int = Field(description="HTTP-like status code of the error.")
    title: str | None = Field(default=None, description="What kind of error it is.", max_length=4096)
    detail: str | None = Field(default=None, description="What happened this time.", max_length=8192)
    instance: str | None = Field(default=None, description="JSON pointer of the task that failed.", max_length=4096)
    code: str | None = Field(default=None, description="Stable code of this project, where it found the error.", max_length=256)


class TaskStatus(Resource):
    """One task, in one pass of its loops."""

    name: str = Field(description="Name of the task.", max_length=1024)
    reference: str = Field(description="JSON pointer of the task in the document.", max_length=4096)
    iteration: str | None = Field(
        default=None, description='Passes of the enclosing loops, outermost first ("4.0").', max_length=1024
    )
    status: Literal["Running", "Completed", "Failed", "Skipped"] = Field(description="How it stands.")
    start_time: str | None = Field(default=None, description="When it began.", json_schema_extra={"format": "date-time"})
    completion_time: str | None = Field(default=None, description="When it ended.", json_schema_extra={"format": "date-time"})
    retries: int | None = Field(default=None, description="How often it was tried again.")
    error: ExecutionError | None = Field(default=None, description="Why it failed.")


class RunnerSnapshot(Resource):
    """What the runner said when the run was accepted; the run keeps it to its end."""

    name: str = Field(description="Name of the WorkflowRunner.")
    namespace: str = Field(description="Its namespace.")
    uid: str = Field(description="Its uid.")
    generation: int = Field(description="Its generation then.")
    type: str = Field(description="Its engine.")
    mode: str = Field(description="Its launch mode.")
    image: str = Field(description="The image of the run.")
    stigmer: Stigmer | None = Field(default=None, description="Where its progress is reported.")


class Control(Resource):
    """How the newest request to pause, resume or cancel stands."""

    observed_generation: int = Field(description="The generation of the spec that asked.")
    desired: Literal["Run", "Pause", "Cancel"] = Field(description="What it asked for.")
    result: Literal["Pending", "Accepted", "Applied", "Refused"] = Field(
        description="Pending: not answered yet. Accepted: seen by the runner. Applied: so. Refused: see reason."
    )
    reason: str | None = Field(default=None, description="Why, for people.", max_length=1024)
    request_time: str = Field(description="When the operator saw the request.", json_schema_extra={"format": "date-time"})


class OwedEvent(Resource):
    """An event that Stigmer must have and has not; kept so that an operator restart loses none."""

    sequence: int = Field(description="Its number towards Stigmer.", json_schema_extra={"format": "int64"})
    type: str = Field(description="Its event_type.", max_length=64)
    time: str = Field(description="When it happened.", json_schema_extra={"format": "date-time"})
    name: str | None = Field(default=None, description="The task's name, on task_failed.", max_length=1024)
    reference: str | None = Field(default=None, description="The task's JSON pointer, on task_failed.", max_length=4096)
    iteration: str | None = Field(default=None, description="Passes of the enclosing loops, on task_failed.", max_length=1024)
    error: ExecutionError | None = Field(default=None, description="Why the task failed.")


class Callback(Resource):
    """Which events are safe, and what Stigmer has (docs/sink-protocol.md)."""

    source_sequence: int = Field(
        default=0, description="Highest event of this attempt that this status contains.", json_schema_extra={"format": "int64"}
    )
    base_sequence: int = Field(
        default=0, description="Added to an attempt's numbers to give Stigmer's.", json_schema_extra={"format": "int64"}
    )
    delivered_sequence: int | None = Field(
        default=None,
        description="Highest number that Stigmer has; absent without a Stigmer.",
        json_schema_extra={"format": "int64"},
    )
    last_error: str | None = Field(
        default=None, description="Why the last delivery failed, until one succeeds.", max_length=1024
    )
    owed: list[OwedEvent] = Field(
        default=[],
        description="Phase changes and failed tasks that Stigmer has not yet; empty while it keeps up.",
        max_length=50,
    )


class WorkflowExecutionStatus(Resource):
    """What the operator has seen. Bounded: a million-task run has the size of a hundred-task run."""

    phase: Phase | None = Field(default=None, description="Where the run stands.")
    observed_generation: int | None = Field(
        default=None, description="The generation this status was made for.", json_schema_extra={"format": "int64"}
    )
    conditions: list[Condition] = Field(
        default=[],
        description="Accepted, Reconciling, Stalled, Completed; OutputLost where it applies.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    progress: int | None = Field(default=None, ge=0, le=100, description="How much of the workflow is done, in percent.")
    task_counts: TaskCounts | None = Field(default=None, description="Totals of the run.")
    tasks: list[TaskStatus] = Field(
        default=[],
        description="The newest tasks and the failed ones, at most 50, in order of their start.",
        max_length=MAX_TASKS,
    )
    output: AnyJson = Field(default=None, description="What the workflow gave.")
    error: ExecutionError | None = Field(default=None, description="Why the run failed.")
    workflow: str | None = Field(default=None, description="namespace/name:version of the document.")
    execution_id: str | None = Field(default=None, description="Id of the run, as Stigmer knows it.")
    attempt: int | None = Field(default=None, description="Which launch this is, from 1.")
    spec_digest: str | None = Field(default=None, description="SHA-256 of the document and input that the run was pinned to.")
    runner: RunnerSnapshot | None = Field(default=None, description="What the runner said when the run was accepted.")
    job_name: str | None = Field(default=None, description="The Job that runs it.")
    pod_name: str | None = Field(default=None, description="The pod that runs it.")
    control: Control | None = Field(default=None, description="How the newest request to pause, resume or cancel stands.")
    callback: Callback | None = Field(default=None, description="Which events are safe, and what Stigmer has.")
    start_time: str | None = Field(
        default=None, description="When the workflow began to run.", json_schema_extra={"format": "date-time"}
    )
    completion_time: str | None = Field(default=None, description="When it ended.", json_schema_extra={"format": "date-time"})
