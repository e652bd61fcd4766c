"""Everything the interpreter needs from outside itself; each host implements it.

The interpreter reads no clock, draws no random number and does no input or output: it asks here, so
that the same code runs on asyncio and, replayed, in a durable host. Tests have a third
implementation with virtual time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.evaluate import JqRequest
from workflow_runner.interpreter.events import Event
from workflow_runner.interpreter.frames import WorkflowFrame

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Call:
    """A side effect that a task asks for; all of it is JSON, so a host may carry it elsewhere.

    `protocol` is the language's name for it ("http"); `arguments` are the task's `with`, evaluated and
    completed (calls/<protocol>.py says which there are). `idempotency_key` is the same whenever this
    visit of this task is tried again, by a retry, a replay or a continued run.
    """

    protocol: str
    arguments: Mapping[str, Json]
    idempotency_key: str
    reference: str


class DeadlinePassed(Exception):
    """The work given to `Effects.within` was stopped at its deadline."""


class Effects(Protocol):
    """What a host does for the interpreter. Cancellation arrives as an exception from any await here."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        ...

    def random(self) -> float:
        """A number in [0, 1), for jitter."""
        ...

    def report(self, event: Event) -> None:
        """Take an event; must be quick and must not raise."""
        ...

    async def checkpoint(self, frame: WorkflowFrame) -> None:
        """Called before each task with the root of the state; pause and cancel bite here."""
        ...

    async def sleep(self, until: datetime) -> None:
        """Return at `until` or later."""
        ...

    async def within(self, until: datetime, work: Awaitable[_T]) -> _T:
        """Await `work`; at `until` cancel it and raise DeadlinePassed. Paused time does not count."""
        ...

    async def call(self, request: Call) -> Json:
        """Carry out a side effect and give its output. Raises Fault."""
        ...

    async def evaluate(self, request: JqRequest) -> Json:
        """Evaluate a jq program that may not end by itself, where it can be stopped. Raises EvaluationFailed."""
        ...
