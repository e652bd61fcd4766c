"""What the operator sees of one execution when it decides. Made by controller, read by `plan`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from workflow_runner.crd import group
from workflow_runner.crd.execution import WorkflowExecutionSpec
from workflow_runner.crd.runner import ENDPOINT, POOL, WorkflowRunnerSpec
from workflow_runner.launchers.run import LaunchSettings
from workflow_runner.reconcile.live import End, LiveRun

Json = dict[str, Any]


class Accepted(Struct, frozen=True):
    """The document is valid: how it is called, what pins it, and the text that hands it to a pod. `environment` holds the
    plain values that a workflow of Stigmer's comes with, `secrets` the names of the others: the pod asks for those."""

    workflow: str
    digest: str
    packed: str
    environment: dict[str, str] = {}
    secrets: tuple[str, ...] = ()

    @property
    def workflow_name(self) -> str:
        """The name alone, of `namespace/name:version`."""
        return self.workflow.split("/", 1)[-1].rsplit(":", 1)[0]


class Refused(Struct, frozen=True):
    """The document or input cannot run: an entry for status.error and a message with every place."""

    error: Json
    message: str


class Missing(Struct, frozen=True):
    """Something that the run is made from is not there, or cannot be read, yet: a reason in CamelCase and a message, and
    in how many seconds to look again, where that is not as usual."""

    reason: str
    message: str
    again_after: float | None = None


class Turn(Struct, frozen=True):
    """Whether a run may start now under its runner's limit; if not, how many are to start up to and with it."""

    granted: bool
    position: int = 0


class Runner(Struct, frozen=True):
    """The WorkflowRunner an execution refers to, as it is now."""

    name: str
    namespace: str
    uid: str
    generation: int
    spec: WorkflowRunnerSpec


class Delivery(Struct, frozen=True):
    """How the callbacks to Stigmer stand; numbers are outward ones."""

    delivered_sequence: int
    last_error: str | None
    pending: int


class Replica(Struct, frozen=True):
    """A place for a run in its runner's pool: a pod, and where it listens."""

    name: str
    uid: str
    address: str


class NoReplica(Struct, frozen=True):
    """There is no place: so many replicas are ready, and all of them have as many runs as they may have."""

    ready: int


class Remote(Struct, frozen=True):
    """A run at its runner's endpoint, as whoever follows it there knows it now.

    `reason` (CamelCase) and `message` say what stands in the way for the moment; `silent` that nobody has answered there
    for a while. `forgotten`: the runner is there, and does not know the run. `end` is one that came by another way than the
    run's last event.
    """

    reason: str = ""
    message: str = ""
    silent: bool = False
    forgotten: bool = False
    end: End | None = None


class Observed(Struct, frozen=True):
    """Everything `plan` looks at.

    `checked` is None where nobody needed to look at the document, or while that is under way. `job` and `pod` are
    None when there is none; they were asked for from the API server where that mattered. `turn` is None until the
    plan has asked for it. `held_up` is the word of the Job controller or the kubelet on why there is no pod, or no
    container. `spec_changed` says whether document or input are others than those that the run was pinned to; None
    where nobody looked. `remote` is None where nobody follows the run at an endpoint. `replica` is None until the plan has
    asked for a place in a pool; `replica_lost` says that the pod is gone which had the run, or does not answer while another
    one could go on with it. `termination_job` is the Job that ends in Temporal what an ended run has left open; None where
    there is none. `seconds_since_write` is None when
    this operator has not written the status yet.
    """

    now: datetime
    resource: Json
    spec: WorkflowExecutionSpec
    runner: Runner | None
    checked: Accepted | Refused | Missing | None
    job: Json | None
    pod: Json | None
    live: LiveRun | None
    delivery: Delivery | None
    launch: LaunchSettings
    operator_namespace: str = ""
    launch_error: str | None = None
    turn: Turn | None = None
    held_up: str | None = None
    spec_changed: bool | None = None
    remote: Remote | None = None
    replica: Replica | NoReplica | None = None
    replica_lost: bool = False
    termination_job: Json | None = None
    seconds_since_write: float | None = None
    status_interval: float = 1.0

    @property
    def metadata(self) -> Json:
        value: Json = self.resource["metadata"]
        return value

    @property
    def status(self) -> Json:
        return self.resource.get("status") or {}

    @property
    def generation(self) -> int:
        return int(self.metadata.get("generation", 0))

    @property
    def uid(self) -> str:
        return str(self.metadata["uid"])

    @property
    def namespace(self) -> str:
        return str(self.metadata["namespace"])

    @property
    def run_id(self) -> str:
        """The run that the spec asks for; empty where it names none."""
        return self.spec.run_id or ""

    @property
    def execution_id(self) -> str:
        """The id of the run that the spec asks for."""
        return group.execution_id(self.uid, self.run_id)

    @property
    def snapshot(self) -> Json:
        """What the runner said when the run was pinned; empty before."""
        return self.status.get("runner") or {}

    @property
    def mode(self) -> str:
        """How the run is, or would be, started: Job, Pod, Pool or Endpoint."""
        now = self.runner.spec.mode if self.runner is not None else "Job"
        return str(self.snapshot.get("mode") or now)

    @property
    def workload(self) -> Json | None:
        """What the operator has made to run the workflow: the Job, or in Pod mode the pod; nothing at an endpoint."""
        return self.pod if self.mode == "Pod" else self.job

    @property
    def at_endpoint(self) -> bool:
        """Whether the run is, or would be, handed to a runner at an endpoint, or in a pool."""
        return self.mode in (ENDPOINT, POOL)

    @property
    def on_temporal(self) -> bool:
        """Whether the run's state is in Temporal, and its pod only works on it."""
        return "temporal" in self.snapshot

    @property
    def keeps_state(self) -> bool:
        """Whether the run outlives its pod: its state is on a volume, or in Temporal."""
        return self.on_temporal or "snapshots" in self.snapshot

    @property
    def in_line(self) -> bool:
        """Whether status says that the run waits for its turn."""
        return self.status.get("phase") == "Queued" and "queuePosition" in self.status

    @property
    def suspended(self) -> bool:
        """Whether a paused run has given its machine back."""
        return bool(self.status.get("suspended"))
