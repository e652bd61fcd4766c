"""What the operator sees of one execution when it decides. Made by controller, read by `plan`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from workflow_runner.crd.execution import WorkflowExecutionSpec
from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.launchers.job import LaunchSettings
from workflow_runner.reconcile.live import LiveRun

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The document is valid: how it is called, what pins it, and the text that hands it to a pod."""

    workflow: str
    digest: str
    packed: str

    @property
    def workflow_name(self) -> str:
        """The name alone, of `namespace/name:version`."""
        return self.workflow.split("/", 1)[-1].rsplit(":", 1)[0]


@dataclass(frozen=True, slots=True)
class Refused:
    """The document or input cannot run: an entry for status.error and a message with every place."""

    error: Json
    message: str


@dataclass(frozen=True, slots=True)
class Runner:
    """The WorkflowRunner an execution refers to, as it is now."""

    name: str
    namespace: str
    uid: str
    generation: int
    spec: WorkflowRunnerSpec


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the callbacks to Stigmer stand; numbers are outward ones."""

    delivered_sequence: int
    last_error: str | None
    pending: int


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything `plan` looks at.

    `checked` is None where nobody needed to look at the document. `job` is None when there is none;
    it was asked for from the API server where that mattered. `seconds_since_write` is None when this
    operator has not written the status yet.
    """

    now: datetime
    resource: Json
    spec: WorkflowExecutionSpec
    runner: Runner | None
    checked: Accepted | Refused | None
    job: Json | None
    pod: Json | None
    live: LiveRun | None
    delivery: Delivery | None
    launch: LaunchSettings
    launch_error: str | None = None
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
