"""What the services of server/ ask of whoever carries executions out: this process (local_executions.py), or the cluster.

UnknownExecution        there is no such execution, or it is no longer kept
OtherContent            the id is taken by an execution of something else
WrongState              what is asked for cannot be any more
TooMany (Temporary)     there is no room now
Stopping (Unavailable)  this process takes nothing new: another one will
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any, Protocol

from msgspec import Struct, field

from workflow_runner.errors import Temporary, Unavailable, WorkflowRunnerError
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ExecutionStatus, WorkflowProgressEvent

MOST_EVENTS_A_PAGE = 1000
AWAITED = timedelta(minutes=10)
"""The longest that a caller may wait for a run."""


class UnknownExecution(WorkflowRunnerError):
    """Nobody here knows an execution of this id."""

    code = "execution.unknown"


class OtherContent(WorkflowRunnerError):
    """The id belongs to an execution of another document, input, environment or configuration."""

    code = "execution.other-content"

    @classmethod
    def check(cls, execution_id: str, known: object, wanted: object) -> None:
        """Raise it where what is wanted now is not what is known under the id, whatever both are told apart by."""
        if known != wanted:
            raise cls(f"execution {execution_id!r:.300} exists, and runs something else; choose another id for another run")


class WrongState(WorkflowRunnerError):
    """The execution has gone too far for what is asked."""

    code = "execution.wrong-state"


class OutOfTime(WorkflowRunnerError):
    """A caller waited as long as it may; the run was cancelled."""

    code = "execution.out-of-time"


class TooMany(Temporary):
    """There is no room for another execution. `seconds`: when it is worth trying again."""

    code = "execution.too-many"

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Stopping(Unavailable):
    """This process is about to end; what it has accepted is kept, or comes to its end first."""

    code = "execution.stopping"

    @classmethod
    def here(cls) -> Stopping:
        """For whoever wants something new of this process."""
        return cls("this runner is stopping; ask another one, or this one again in a moment")


class Caller(Struct, frozen=True):
    """Who calls: a name of the form that Kubernetes' access reviews take, with groups; empty where nobody asks."""

    user: str = ""
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class StartRequest(Struct, frozen=True):
    """One run that somebody asks for.

    `execution_id` may be empty: whoever starts it draws one. `environment` is what processes see and what the document
    reads as `$secrets` where it names it in `use.secrets`; `labels` are the caller's own words for the workflow (name, version,
    namespace), which change nothing; of `config`, `timeout` (ISO 8601) limits the run.
    """

    execution_id: str
    document: str
    input: Any = None
    """JSON; msgspec, which reads it back from a file, does not know that type."""
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    awaited: bool = False
    """The caller waits for the end: a document that says that it may take longer than AWAITED is refused."""

    def __repr__(self) -> str:
        """Without the document, the input and the environment, which may have secrets in them."""
        return f"StartRequest(execution_id={self.execution_id!r})"


class Started(Struct, frozen=True):
    """An accepted execution. `begun`: this very call began it, and not one before."""

    execution_id: str
    begun: bool = True
    temporal_workflow_id: str = ""


class Executions(Protocol):
    """Starts, steers and tells of executions. Each raises Unauthenticated or PermissionDenied where the caller may not, and
    UnknownExecution for an id that is not known."""

    async def start(self, request: StartRequest, caller: Caller) -> Started:
        """Accept a run; it goes on whatever becomes of the caller. The same content under a known id is the same run.

        Raises DocumentErrors and InvalidInput for what cannot be run, OtherContent, TooMany and Stopping.
        """

    async def cancel(self, execution_id: str, reason: str, caller: Caller, *, force: bool) -> None:
        """End a run, paused or not; one that has ended is left as it is."""

    async def pause(self, execution_id: str, reason: str, caller: Caller) -> None:
        """Hold a run before its next task. Raises WrongState for one that ends or has ended."""

    async def resume(self, execution_id: str, reason: str, caller: Caller) -> None:
        """Let a run go on. Raises WrongState for one that has ended."""

    async def status(self, execution_id: str, caller: Caller) -> ExecutionStatus:
        """How a run stands."""

    async def events(
        self, execution_id: str, after: int, most: int, caller: Caller
    ) -> tuple[list[WorkflowProgressEvent], bool]:
        """At most so many events above a sequence number, ascending, and whether there are more now."""

    def subscribe(self, execution_id: str, after: int, caller: Caller) -> AsyncIterator[WorkflowProgressEvent]:
        """The events above a sequence number, those that are there and those that come, until the run's last one."""
