"""WorkflowExecution: one run of a workflow document. Read by reconcile, the controller and the CRD writer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from workflow_runner.crd.base import AnyJson, Condition, ConfigMapKeyRef, Resource, Rule, SecretKeyRef, rules
from workflow_runner.crd.durations import Duration
from workflow_runner.crd.pods import RESERVED_ENV, AnyObject, PodTemplate
from workflow_runner.crd.runner import MAX_RETRIES, EndpointTls, Snapshots, Stigmer
from workflow_runner.crd.temporal import Temporal

Phase = Literal["Pending", "Queued", "Running", "Paused", "Completed", "Failed", "Cancelled"]
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


class StigmerSource(Resource):
    """A workflow that Stigmer keeps: exactly one of the fields."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "[has(self.workflowExecutionId), has(self.workflowInstanceId), has(self.workflowId)].filter(x, x).size() == 1",
                "stigmer needs exactly one of workflowExecutionId, workflowInstanceId and workflowId",
            )
        )
    )

    workflow_execution_id: str | None = Field(
        default=None,
        description=(
            "Id of an execution in Stigmer: its workflow, its environment and, unless the resource has an input, what "
            "triggered it. Progress is reported under this id."
        ),
        min_length=1,
        max_length=256,
    )
    workflow_instance_id: str | None = Field(
        default=None,
        description="Id of a workflow instance: its workflow, with its environments.",
        min_length=1,
        max_length=256,
    )
    workflow_id: str | None = Field(
        default=None,
        description="Id of a workflow; it runs as its default instance, if it has one.",
        min_length=1,
        max_length=256,
    )


class WorkflowSource(Resource):
    """The document to run: exactly one of the fields."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "[has(self.definition), has(self.yaml), has(self.configMapKeyRef), has(self.stigmer)].filter(x, x).size() == 1",
                "workflow needs exactly one of definition, yaml, configMapKeyRef and stigmer",
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
    config_map_key_ref: ConfigMapKeyRef | None = Field(
        default=None,
        description="The document as YAML text in a ConfigMap of the execution's namespace; read when the run is accepted.",
    )
    stigmer: StigmerSource | None = Field(
        default=None,
        description=(
            "A workflow in the Stigmer that the runner names in spec.stigmer; read when the run is accepted. The runner's "
            "allow.stigmer must be true."
        ),
    )


class InputSource(Resource):
    """Where the input is."""

    config_map_key_ref: ConfigMapKeyRef = Field(
        description=(
            "JSON or YAML text in a ConfigMap of the execution's namespace, read when the run is accepted. The operator "
            "reads no Secrets of executions: what is secret belongs into spec.secrets, which the run mounts."
        )
    )


class KeySelector(Resource):
    """One key of a Secret or ConfigMap, for an environment variable."""

    name: str = Field(description="Name of the Secret or ConfigMap.", min_length=1, max_length=253)
    key: str = Field(description="Key within it.", min_length=1, max_length=253)
    optional: bool | None = Field(default=None, description="true starts the run without the variable where there is no key.")


class EnvSource(Resource):
    """Where the value of an environment variable is: exactly one of the fields."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "has(self.secretKeyRef) != has(self.configMapKeyRef)",
                "valueFrom needs exactly one of secretKeyRef and configMapKeyRef",
            )
        )
    )

    secret_key_ref: KeySelector | None = Field(default=None, description="A key of a Secret that the runner allows.")
    config_map_key_ref: KeySelector | None = Field(default=None, description="A key of a ConfigMap.")


class EnvVar(Resource):
    """One environment variable: a name with a value or a valueFrom."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "has(self.value) != has(self.valueFrom)",
                "an environment variable needs exactly one of value and valueFrom",
            ),
            Rule(
                "!self.name.matches('" + RESERVED_ENV + "')",
                "names that begin with WORKFLOW_RUNNER_, PYTHON, LD_ or OPENSSL_, LOG_LEVEL and PATH belong to the operator",
                field_path=".name",
            ),
        )
    )

    name: str = Field(description="Its name.", min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    value: str | None = Field(default=None, description="Its value, taken as it is.", max_length=32768)
    value_from: EnvSource | None = Field(default=None, description="Where its value is.")


class SecretSource(Resource):
    """Where a secret of the workflow is."""

    secret_key_ref: SecretKeyRef = Field(description="A key of a Secret of the execution's namespace that the runner allows.")


class Cancellation(Resource):
    """How and why a run is cancelled."""

    reason: str | None = Field(
        default=None, description="Why, for people; it is reported with the end of the run.", max_length=1024
    )
    mode: Literal["Graceful", "Force"] = Field(
        default="Graceful",
        description="Graceful: the run ends by itself, and is ended after gracePeriod. Force: it is ended at once.",
    )
    grace_period: Duration | None = Field(default=None, description="How long a Graceful cancel may take; 30s if left out.")


_RUN_AGAIN = "cannot be changed while runId stays: give spec.runId a new value to run again"
_ANOTHER_RUN = "(has(self.runId) ? self.runId : '') != (has(oldSelf.runId) ? oldSelf.runId : '')"


_SETTLED = ("workflow", "executionId", "runnerRef", "inputFrom", "env", "secrets", "timeout", "retries", "template")


def _settled(field: str) -> Rule:
    """A field that changes only together with runId.

    Where a value is kept whatever it holds, the API server compares what it does not know key by key, and takes a key that
    only changed its name for the same: `status.specDigest` is the authority.
    """
    return Rule(
        f"{_ANOTHER_RUN} || (has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || "
        f"self.{field} == oldSelf.{field}))",
        f"{field} {_RUN_AGAIN}",
        field_path=f".{field}",
    )


class WorkflowExecutionSpec(Resource):
    """What a user asks for."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *(_settled(field) for field in _SETTLED),
            Rule(
                f"{_ANOTHER_RUN} || !oldSelf.cancelled || self.cancelled",
                "a cancelled run stays cancelled: give spec.runId a new value to run again",
                field_path=".cancelled",
            ),
            Rule(
                "!has(self.cancellation) || self.cancelled",
                "cancellation says how to cancel and has no meaning without cancelled: true",
                field_path=".cancellation",
            ),
            Rule(
                "!has(self.timeout) || duration(self.timeout) > duration('0s')",
                "timeout has to be longer than nothing: leave it out for a run that may take as long as it likes",
                field_path=".timeout",
            ),
            anyOf=[
                {"not": {"required": ["inputFrom"]}},
                # CEL does not see a value of any kind. The text is part of what the API server answers.
                {"properties": {"input": {"enum": ["no input beside inputFrom"]}}},
            ],
        )
    )

    runner_ref: RunnerRef = Field(default=RunnerRef(), description="Which runner runs it.")
    run_id: str | None = Field(
        default=None,
        description=(
            "Names this run; change it to run again. A run that is going on is cancelled first. With a new value the "
            "fields that say what to run may change, too."
        ),
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    )
    execution_id: str | None = Field(
        default=None,
        description=(
            "The id by which whoever asked for the run knows it: what Stigmer is told, and what the gRPC services take. Left "
            "out: status.executionId is that."
        ),
        min_length=1,
        max_length=256,
    )
    workflow: WorkflowSource = Field(description="What to run: the document, in exactly one of these ways.")
    input: AnyJson = Field(
        default=None,
        description="The workflow's input, any JSON value. Pinned when the run is accepted; without it the input is {}.",
    )
    input_from: InputSource | None = Field(default=None, description="Where the input is, in place of `input`.")
    env: list[EnvVar] | None = Field(
        default=None,
        description="Environment variables of the run.",
        max_length=100,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    secrets: dict[str, SecretSource] | None = Field(
        default=None,
        description=(
            "Secrets that expressions see as $secrets.NAME, by that name. The run mounts them; the operator never reads them."
        ),
        max_length=100,
        json_schema_extra=rules(
            Rule(
                "self.all(name, name.size() <= 128 && name.matches('^[A-Za-z_][A-Za-z0-9_-]*$'))",
                "the name of a secret has letters, digits, _ and -, and begins with a letter or _",
            )
        ),
    )
    timeout: Duration | None = Field(
        default=None,
        description="The run fails when it takes longer; time paused does not count. Left out: the runner's default.",
    )
    retries: int | None = Field(
        default=None,
        ge=0,
        le=MAX_RETRIES,
        description=(
            "How often a pod that was lost is replaced; without snapshots the run then begins anew. A workflow that fails "
            "is not tried again. Left out: the runner's default, else 0."
        ),
    )
    ttl_after_finished: Duration | None = Field(
        default=None,
        description="How long after its end the run's Job and pods are removed. Left out: the runner's default, else never.",
    )
    delete_after_finished: Duration | None = Field(
        default=None,
        description=(
            "How long after its end this resource itself is removed. Not for resources under GitOps: they would be "
            "applied, and run, again for ever."
        ),
    )
    template: PodTemplate | None = Field(
        default=None, description="What the run's pod shall have, as far as the runner allows it; a partial pod template."
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
    kind: str | None = Field(default=None, description="What kind of task it is, such as call, set or agent.", max_length=64)
    status: Literal["Running", "Completed", "Failed", "Skipped", "Cancelled"] = Field(description="How it stands.")
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
    mode: str = Field(description="How it starts runs.")
    image: str | None = Field(default=None, description="The image of the run, where it is launched.")
    endpoint: str | None = Field(default=None, description="Where the runner is that the run was handed to.")
    tls: EndpointTls | None = Field(default=None, description="TLS of that endpoint.")
    api_key_secret_ref: SecretKeyRef | None = Field(default=None, description="The Secret with the key for that endpoint.")
    stigmer: Stigmer | None = Field(default=None, description="Where its progress is reported.")
    template: AnyObject | None = Field(default=None, description="What its pods have, besides the execution's own template.")
    snapshots: Snapshots | None = Field(default=None, description="Where the run keeps its checkpoints.")
    temporal: Temporal | None = Field(default=None, description="The Temporal that has the run's state.")
    timeout: Duration | None = Field(
        default=None, description="The run's time-out: the execution's own, else the runner's default."
    )
    retries: int | None = Field(default=None, description="The run's retries: the execution's own, else the runner's default.")
    ttl_after_finished: Duration | None = Field(
        default=None, description="When its Job and pods go: the execution's own word, else the runner's default."
    )


class ReplicaRef(Resource):
    """The pod of a pool that a run was handed to."""

    name: str = Field(description="Name of the pod.")
    uid: str = Field(description="Its uid.")
    address: str = Field(description="Where it listens.")


class Termination(Resource):
    """What ends in Temporal what an ended run may have left open there."""

    job_name: str = Field(description="The Job that does it.")
    since: str = Field(description="Since when it is to be done.", json_schema_extra={"format": "date-time"})


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
    run_id: str | None = Field(default=None, description="The spec.runId that this status tells of.")
    observed_generation: int | None = Field(
        default=None, description="The generation this status was made for.", json_schema_extra={"format": "int64"}
    )
    conditions: list[Condition] = Field(
        default=[],
        description="Accepted, Reconciling, Stalled, Completed; OutputLost and SpecChanged where they apply.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    launches: int | None = Field(
        default=None,
        description="How many Jobs or bare pods were made for this run, or how often it was handed to an endpoint.",
    )
    failures: int | None = Field(
        default=None, description="How many of them were lost without a word of the run; counted against spec.retries."
    )
    queue_position: int | None = Field(default=None, description="Its place among the executions that wait, from 1.")
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
    execution_id: str | None = Field(
        default=None,
        description="Id of the run. Stigmer knows it by this, unless spec.workflow.stigmer names an execution there.",
    )
    attempt: int | None = Field(default=None, description="Which launch this is, from 1.")
    spec_digest: str | None = Field(default=None, description="SHA-256 of the document and input that the run was pinned to.")
    runner: RunnerSnapshot | None = Field(default=None, description="What the runner said when the run was accepted.")
    job_name: str | None = Field(default=None, description="The Job that runs it.")
    pod_name: str | None = Field(default=None, description="The pod that runs it.")
    replica: ReplicaRef | None = Field(default=None, description="The pod of the runner's pool that runs it.")
    temporal_workflow_id: str | None = Field(
        default=None, description="Id of the workflow in Temporal that is the run, where its state is kept there."
    )
    termination: Termination | None = Field(
        default=None, description="There until what the ended run may have left open in Temporal is ended, too."
    )
    submit_time: str | None = Field(
        default=None,
        description="Since when the run is being handed to its runner's endpoint, or is there.",
        json_schema_extra={"format": "date-time"},
    )
    suspended: bool | None = Field(default=None, description="true while a paused run has given its machine back.")
    paused_since: str | None = Field(
        default=None, description="Since when it is paused.", json_schema_extra={"format": "date-time"}
    )
    paused_seconds: float | None = Field(
        default=None,
        ge=0,
        description="How long the run was paused, up to its last resume.",
        json_schema_extra={"format": "double"},
    )
    control: Control | None = Field(default=None, description="How the newest request to pause, resume or cancel stands.")
    callback: Callback | None = Field(default=None, description="Which events are safe, and what Stigmer has.")
    start_time: str | None = Field(
        default=None, description="When the workflow began to run.", json_schema_extra={"format": "date-time"}
    )
    completion_time: str | None = Field(default=None, description="When it ended.", json_schema_extra={"format": "date-time"})
