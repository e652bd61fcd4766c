"""What the operator can do about an execution; each is carried out by controller.apply, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workflow_runner.reconcile.live import Desired, End

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Hold the resource until its run has ended."""


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the resource go."""


@dataclass(frozen=True, slots=True)
class BeginRun:
    """Start the fold of the run's events (controller keeps it in memory) for this attempt."""

    execution_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class EndRun:
    """The operator itself found the run ended: tell Stigmer with an event of its own."""

    end: End


@dataclass(frozen=True, slots=True)
class SetDesired:
    """Tell the pod what it shall do."""

    desired: Desired


@dataclass(frozen=True, slots=True)
class TakeTurn:
    """Ask for a place among the running executions of the runner; then plan again."""

    limit: int | None


@dataclass(frozen=True, slots=True)
class CreateInput:
    """Make the ConfigMap that holds an input too large for an annotation; one that is there already is as good."""

    manifest: Json


@dataclass(frozen=True, slots=True)
class CreateWorkload:
    """Launch a Job or a pod; one of that name that is there already and ours is as good. What follows this action
    in a plan is not carried out when the API server says no."""

    manifest: Json


@dataclass(frozen=True, slots=True)
class SuspendJob:
    """Take the Job's pod away and keep the Job, or let it have a pod again."""

    name: str
    suspend: bool


@dataclass(frozen=True, slots=True)
class DeleteWorkload:
    """Remove the Job with its pod, or the pod. `at_once` leaves the container a second, not its grace period."""

    kind: str
    name: str
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class CleanUp:
    """Remove what an ended run has left of Jobs, pods and inputs."""


@dataclass(frozen=True, slots=True)
class DeleteExecution:
    """Remove the resource itself."""


@dataclass(frozen=True, slots=True)
class WriteStatus:
    """Make status what this is, whole."""

    status: Json


@dataclass(frozen=True, slots=True)
class WriteCallback:
    """Make status.callback what this is, and touch nothing else of an ended run's status."""

    callback: Json


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """A Kubernetes Event on the resource; `key` makes it the same event when it is recorded twice."""

    key: str
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ForgetRun:
    """Drop what memory holds of the run."""


Action = (
    AddFinalizer
    | RemoveFinalizer
    | BeginRun
    | EndRun
    | SetDesired
    | TakeTurn
    | CreateInput
    | CreateWorkload
    | SuspendJob
    | DeleteWorkload
    | CleanUp
    | DeleteExecution
    | WriteStatus
    | WriteCallback
    | RecordEvent
    | ForgetRun
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Actions in order, and in how many seconds to look again (None: when something changes)."""

    actions: tuple[Action, ...] = ()
    again_after: float | None = None
    gives_way: bool = False
    """Something else than its turn keeps the run from its launch: it has no place in its runner's line meanwhile."""
