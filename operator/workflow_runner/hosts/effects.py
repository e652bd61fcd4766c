"""The interpreter's effects on asyncio; `local` makes one LocalEffects a run."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from workflow_runner.calls import Calls
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.evaluate import JqRequest
from workflow_runner.expressions.schemas import SchemaRequest
from workflow_runner.hosts.elsewhere import Elsewhere, HostOptions, Start
from workflow_runner.hosts.event_bus import CloudEvent, EventBus
from workflow_runner.hosts.hold import Hold
from workflow_runner.hosts.jq_worker import JqWorker
from workflow_runner.interpreter.authentication import resolved
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.events import Event
from workflow_runner.interpreter.frames import WorkflowFrame
from workflow_runner.interpreter.subscriptions import Subscription

if TYPE_CHECKING:
    from workflow_runner.calls.addresses import AddressRules

_T = TypeVar("_T")
_CHANCE = random.SystemRandom()

_BREATH_SECONDS = 0.005
"""How long tasks that never wait may keep the event loop to themselves."""


class LocalEffects:
    """Implements interpreter.effects.Effects."""

    def __init__(
        self,
        hold: Hold,
        report: Callable[[Event], None],
        checkpointed: Callable[[WorkflowFrame], Awaitable[None]] | None = None,
        before_effect: Callable[[], Awaitable[None]] | None = None,
        *,
        secrets: Mapping[str, Json] | None = None,
        addresses: AddressRules | None = None,
        bus: EventBus | None = None,
        options: HostOptions | None = None,
        start: Start | None = None,
    ) -> None:
        self._hold = hold
        self._bus = bus or EventBus()
        self._checkpointed = checkpointed
        self._before_effect = before_effect
        self._secrets = secrets or {}
        options = options or HostOptions()
        self._calls = Calls(addresses, options.processes, options.agents)
        self._elsewhere = Elsewhere(self._calls, options, start)
        self._worker = JqWorker() if options.jq is None else options.jq.turns()
        self._breathe_at = 0.0
        self.report = report

    here = None
    """Bounded programs run in this process."""

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)

    def clock(self) -> datetime:
        """The wall clock less the time paused."""
        return self._hold.clock()

    def random(self) -> float:
        """A number in [0, 1)."""
        return _CHANCE.random()

    def uuid(self) -> str:
        """Drawn."""
        return str(uuid.uuid4())

    def subscribe(self, subscription: Subscription) -> None:
        """Listen on the bus."""
        self._bus.subscribe(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Listen no more."""
        self._bus.unsubscribe(subscription)

    async def arrival(self, subscription: Subscription) -> None:
        """Return when there is an event, and not while the run is held."""
        if self._before_effect is not None:
            await self._before_effect()
        while not subscription.waiting or self._hold.asked:
            await self._hold.wait_for(self._bus.arrived(subscription))

    async def checkpoint(self, frame: WorkflowFrame) -> None:
        """Stand still while paused; now and then let others use the event loop."""
        if self._hold.asked:
            await self._hold.stand()
        elif (now := time.monotonic()) >= self._breathe_at:
            # Before, not after: the branches of a fork that come by meanwhile need not do the same.
            self._breathe_at = now + _BREATH_SECONDS
            await asyncio.sleep(0)
        if self._checkpointed is not None:
            await self._checkpointed(frame)

    async def sleep(self, until: datetime) -> None:
        """Return when the run's clock says `until`, and not while the run is held."""
        if self._before_effect is not None and until > self.clock():
            await self._before_effect()
        while until > self.clock():
            await self._hold.sleep(until)

    async def within(self, until: datetime, work: Coroutine[Any, Any, _T]) -> _T:
        """Await `work` until then, time held apart."""
        return await self._hold.within(until, work)

    async def gather(self, branches: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Run the branches at the same time."""
        await self._hold.gather(branches)

    async def call(self, request: Call) -> Json:
        """Carry out a call in this process."""
        if self._before_effect is not None:
            await self._before_effect()
        if request.protocol == "emit":
            await self._bus.emit(cast("CloudEvent", request.arguments["event"]))
            return None
        if request.protocol == "function":
            return await self._elsewhere.function(request.arguments, await self._resolved(request.authentication))
        if request.protocol == "workflow":
            return await self._elsewhere.workflow(request.arguments, request.idempotency_key)
        answer = await self._calls.call(
            request.protocol,
            request.arguments,
            idempotency_key=request.idempotency_key,
            authentication=await self._resolved(request.authentication),
            resource_authentication=await self._resolved(request.resource_authentication),
        )
        if request.protocol != "authorization":
            # Others had the event loop while the answer was waited for.
            self._breathe_at = time.monotonic() + _BREATH_SECONDS
        return answer

    async def _resolved(self, policy: Mapping[str, Json] | None) -> Mapping[str, Json] | None:
        return None if policy is None else await resolved(policy, self._secrets, self.evaluate)

    async def evaluate(self, request: JqRequest | SchemaRequest) -> Json:
        """Run a program or a schema in a child process that can be killed."""
        return await self._worker.evaluate(request)

    def pause(self, reason: str) -> None:
        """Hold what nobody waits for, too."""
        self._elsewhere.pause(reason)

    def resume(self) -> None:
        """Let it go on."""
        self._elsewhere.resume()

    @property
    def left(self) -> bool:
        """Whether something goes on that nobody waits for."""
        return self._elsewhere.left

    def leave(self) -> None:
        """What is broken off from now on will be asked for again."""
        self._calls.leave()

    async def linger(self) -> None:
        """Wait for what nobody waited for, a little."""
        await self._elsewhere.linger()

    async def close(self) -> None:
        """Close connections and end the child process, and what nobody waited for."""
        await self._elsewhere.close()
        await self._calls.close()
        await self._worker.aclose()
