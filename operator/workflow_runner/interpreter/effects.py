"""Everything the interpreter needs from outside itself; each host implements it.

The interpreter reads no clock, draws no random number and does no input or output: it asks here, so
that the same code runs on asyncio and, replayed, in a durable host. Tests have a third
implementation with virtual time.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.evaluate import Here, JqRequest
from workflow_runner.expressions.schemas import SchemaRequest
from workflow_runner.interpreter.events import Event
from workflow_runner.interpreter.frames import WorkflowFrame
from workflow_runner.interpreter.subscriptions import Subscription

_T = TypeVar("_T")


class Call(Struct, frozen=True):
    """A side effect that a task asks for; all of it is JSON, so a host may carry it elsewhere.

    `protocol` is the language's name for it ("http"); `arguments` are the task's `with`, evaluated and
    completed (calls/<protocol>.py says which there are). `idempotency_key` is the same whenever this
    visit of this task is tried again, by a retry, a replay or a continued run.

    `authentication` is the policy for it, as `interpreter.authentication.carried` writes it: no value of a secret is in
    it, only names. The host that carries the call out puts them in (`authentication.resolved`), at the last moment.
    It is no part of `arguments`, so that nothing that shows or records those shows it. `resource_authentication` is
    likewise the policy for getting the document (OpenAPI, proto) that the call needs first.
    """

    protocol: str
    arguments: Mapping[str, Json]
    idempotency_key: str
    reference: str
    authentication: Mapping[str, Json] | None = None
    resource_authentication: Mapping[str, Json] | None = None

    def __repr__(self) -> str:
        """Without what the document says: the policies and the arguments (headers, addresses) may hold credentials."""
        return f"Call({self.protocol!r}, {self.idempotency_key!r}, {self.reference!r})"


class DeadlinePassed(Exception):
    """The work given to `Effects.within` was stopped at its deadline."""


class Effects(Protocol):
    """What a host does for the interpreter. Cancellation arrives as an exception from any await here."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        ...

    def clock(self) -> datetime:
        """The run's own time: `now` less the time that the run has spent paused. What is to come is told by it."""
        ...

    def random(self) -> float:
        """A number in [0, 1), for jitter."""
        ...

    def uuid(self) -> str:
        """A name that nothing else has."""
        ...

    def subscribe(self, subscription: Subscription) -> None:
        """From now on put the CloudEvents that arrive and are wanted into the subscription's queue, oldest first.

        The queue is part of the state: a run that goes on subscribes again with what was in it. Which of them it
        consumes the interpreter decides. The host bounds the queue.
        """
        ...

    def unsubscribe(self, subscription: Subscription) -> None:
        """No more events for it."""
        ...

    async def arrival(self, subscription: Subscription) -> None:
        """Return when there is an event in the subscription's queue, which was empty. Pause bites here."""
        ...

    def report(self, event: Event) -> None:
        """Take an event; must be quick and must not raise."""
        ...

    async def checkpoint(self, frame: WorkflowFrame) -> None:
        """Called before each task with the root of the state; pause and cancel bite here.

        Several branches may be here at once.
        """
        ...

    async def sleep(self, until: datetime) -> None:
        """Return when the run's clock says `until` or later."""
        ...

    async def within(self, until: datetime, work: Coroutine[Any, Any, _T]) -> _T:
        """Await `work`; when the run's clock says `until`, cancel it, and once it has ended raise DeadlinePassed.

        Work that ended by itself was in time. After `until` it is not begun. Between the end of the work and what
        follows it no other branch has a turn: a state written down there would have the end without what follows.
        """
        ...

    async def gather(self, branches: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Run all at the same time and return when all have returned.

        As soon as one raises, the others are cancelled, and when they have ended that exception is raised. Likewise
        when the caller is cancelled.
        """
        ...

    async def call(self, request: Call) -> Json:
        """Carry out a side effect and give its output. Raises Fault."""
        ...

    @property
    def here(self) -> Here | None:
        """Says whether a bounded program may run where the interpreter does, or is for `evaluate`, too; None: it may."""
        ...

    async def evaluate(self, request: JqRequest | SchemaRequest) -> Json:
        """Run a jq program or a schema that may not end by itself, where it can be stopped. Raises EvaluationFailed."""
        ...
