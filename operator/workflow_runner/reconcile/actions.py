"""What the operator can do about an execution; each is carried out by controller.apply, in order."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from workflow_runner.launchers.run import LaunchedRun
from workflow_runner.reconcile.live import Desired, End

Json = dict[str, Any]


class AddFinalizer(Struct, frozen=True):
    """Hold the resource until its run has ended."""


class RemoveFinalizer(Struct, frozen=True):
    """Let the resource go."""


class BeginRun(Struct, frozen=True):
    """Start the fold of the run's events (controller keeps it in memory) for this attempt."""

    execution_id: str
    attempt: int


class EndRun(Struct, frozen=True):
    """The operator itself found the run ended: tell Stigmer with an event of its own."""

    end: End


class SetDesired(Struct, frozen=True):
    """Tell the pod what it shall do."""

    desired: Desired


class TakeTurn(Struct, frozen=True):
    """Ask for a place among the running executions of the runner; then plan again."""

    limit: int | None


class TakeReplica(Struct, frozen=True):
    """Ask for a place in the runner's pool; then plan again."""


class CreateInput(Struct, frozen=True):
    """Make the ConfigMap that holds an input too large for an annotation; one that is there already is as good."""

    manifest: Json


class CreateWorkload(Struct, frozen=True):
    """Launch a Job or a pod; one of that name that is there already and ours is as good. What follows this action
    in a plan is not carried out when the API server says no."""

    manifest: Json


class FollowEndpoint(Struct, frozen=True):
    """Follow the run at its runner's endpoint, from now on until it ends. `run` is what to start there where it is not known
    there yet; None for a run that is known to have been there. `runner` is what status.runner says."""

    runner: Json
    execution_id: str
    attempt: int
    workflow: str
    run: LaunchedRun | None


class StartOver(Struct, frozen=True):
    """The run's fold begins anew, with the next attempt."""


class ForceCancel(Struct, frozen=True):
    """Tell the endpoint once more, without waiting for it, that the run is over."""

    runner: Json
    execution_id: str
    reason: str


class SuspendJob(Struct, frozen=True):
    """Take the Job's pod away and keep the Job, or let it have a pod again."""

    name: str
    suspend: bool


class DeleteWorkload(Struct, frozen=True):
    """Remove the Job with its pod, or the pod. `at_once` leaves the container a second, not its grace period."""

    kind: str
    name: str
    at_once: bool = False


class CleanUp(Struct, frozen=True):
    """Remove what an ended run has left of Jobs, pods and inputs."""


class DeleteExecution(Struct, frozen=True):
    """Remove the resource itself."""


class WriteStatus(Struct, frozen=True):
    """Make status what this is, whole."""

    status: Json


class WriteCallback(Struct, frozen=True):
    """Make status.callback what this is, and touch nothing else of an ended run's status."""

    callback: Json


class RecordEvent(Struct, frozen=True):
    """A Kubernetes Event on the resource; `key` makes it the same event when it is recorded twice."""

    key: str
    type: str
    reason: str
    message: str


class ForgetRun(Struct, frozen=True):
    """Drop what memory holds of the run."""


Action = (
    AddFinalizer
    | RemoveFinalizer
    | BeginRun
    | EndRun
    | SetDesired
    | TakeTurn
    | TakeReplica
    | CreateInput
    | CreateWorkload
    | FollowEndpoint
    | StartOver
    | ForceCancel
    | SuspendJob
    | DeleteWorkload
    | CleanUp
    | DeleteExecution
    | WriteStatus
    | WriteCallback
    | RecordEvent
    | ForgetRun
)


class Plan(Struct, frozen=True):
    """Actions in order, and in how many seconds to look again (None: when something changes)."""

    actions: tuple[Action, ...] = ()
    again_after: float | None = None
    gives_way: bool = False
    """Something else than its turn keeps the run from its launch: it has no place in its runner's line meanwhile."""
