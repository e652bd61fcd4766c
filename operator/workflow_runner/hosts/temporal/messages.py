"""What goes into a run's workflow and comes out of it, as JSON: its argument, its signals, the answers to its queries.

Other programs may read and write these (docs/temporal.md), so members are never renamed, and new ones have defaults.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from workflow_runner.interpreter.events import TaskCounts

Object = dict[str, Any]


class Steering(Struct, frozen=True, rename="camel"):
    """The argument of pause, resume and cancel. `generation` is what the answer in `status` repeats.

    `mode` and `grace_seconds` are of cancel: a graceful one gives calls that are under way so long to end once they have been
    told to stop; a forced one leaves them to themselves. `request_follows` says that Temporal is asked to cancel the run, too,
    which has it closed as cancelled; by the signal alone it is closed as failed, with the type WorkflowCancelled.
    """

    reason: str = ""
    generation: int = 0
    mode: Literal["Graceful", "Force"] = "Graceful"
    grace_seconds: float = 30.0
    request_follows: bool = False


class Control(Struct, rename="camel"):
    """How the newest request to a run stands: accepted, applied, or refused since it comes too late."""

    request: str = ""
    generation: int = 0
    result: str = ""
    reason: str = ""


class Carried(Struct, rename="camel"):
    """What a run that is continued as new takes along.

    `frame` is its state (interpreter/frame_codec), `events` the newest of its events and `last` the number of the newest one;
    `paused` says that a pause has been asked for, whatever has become of it. `runs` counts the continuations.
    """

    frame: Object
    last: int
    events: list[Object]
    paused: bool = False
    pause_reason: str = ""
    control: Control = field(default_factory=Control)
    runs: int = 1


class Start(Struct, rename="camel"):
    """A run: its document, which has been checked, and its input.

    `secrets` are values by name, of a run whose payloads are encrypted. Where it is None no expression has any, and calls find
    theirs in the worker's process. `timeout_seconds` bounds the run besides its document, paused time excluded.
    `environment` is what processes see besides.
    `heartbeat_seconds` is how long a worker may be silent. `activity_queue` is where `call: activity` goes.
    `largest_payload` is what one call, its answer, or the state of a run that is continued may have in bytes.
    """

    execution_id: str
    document: Object | str
    input: Any = None
    """JSON; msgspec, which reads it, does not know that type."""
    run_id: str = ""
    version: str = ""
    secrets: Object | None = None
    environment: Object = field(default_factory=dict)
    timeout_seconds: float | None = None
    heartbeat_seconds: float = 10.0
    activity_queue: str = ""
    largest_payload: int = 1_900_000
    depth: int = 0
    carried: Carried | None = None

    def __repr__(self) -> str:
        """Without the document, the input and the secrets."""
        return f"Start(execution_id={self.execution_id!r})"

    @property
    def time_limit(self) -> timedelta | None:
        """The bound that the host gives the run."""
        return None if self.timeout_seconds is None else timedelta(seconds=self.timeout_seconds)


class CallRequest(Struct, rename="camel"):
    """A side effect for the activity. `secrets` are those that the run takes along; else the worker's process has them."""

    execution_id: str
    protocol: str
    arguments: Object
    idempotency_key: str
    reference: str
    authentication: Object | None = None
    resource_authentication: Object | None = None
    secrets: Object | None = None
    largest_payload: int = 1_900_000

    def __repr__(self) -> str:
        """Without arguments, policies and secrets."""
        return f"CallRequest({self.protocol!r}, {self.reference!r})"


class Status(Struct, rename="camel"):
    """The answer to the query `status`. `wanted` is what a run that is `listening` may want (interpreter/subscriptions)."""

    execution_id: str
    phase: Literal["Running", "Paused", "Completed", "Failed", "Cancelled"]
    progress: int
    counts: TaskCounts
    last_sequence: int
    control: Control
    listening: bool = False
    wanted: list[dict[str, str]] = field(default_factory=list)
    continued: int = 0
    """How often the run was continued as new."""
    error: Object | None = None


class EventPage(Struct, rename="camel"):
    """The answer to the query `events`: the newest ones above a number, in order, as `snapshots.event_to_json` writes them,
    and how the run stands."""

    events: list[Object]
    status: Status
    more: bool = False


def to_json(message: Struct) -> Object:
    """A message as the payload converter wants it: members with their defaults are left to the reader."""
    written: Object = msgspec.to_builtins(message, builtin_types=())
    return written
