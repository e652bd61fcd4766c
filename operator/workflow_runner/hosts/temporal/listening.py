"""Events for a run on Temporal that listens: from this process's bus to its workflow, by signal. `run` owns one.

The bus is to know what the run wants, so that what others want neither comes here nor goes into its history. The run is asked
for that as soon as something has begun to listen, and gets everything until it has answered.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from workflow_runner.hosts.event_bus import CloudEvent, EventBus
from workflow_runner.hosts.temporal.rpc import MOST_PAUSE
from workflow_runner.interpreter.subscriptions import EVERYTHING, Subscription, Wanted

Status = Mapping[str, Any]
"""A messages.Status, as the query gives it."""


class Listening:
    """What a run listens for, as far as it is known here. Two tasks make it work: `ask` and `hand_on`."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._wanted: tuple[Wanted, ...] = ()
        self._subscription: Subscription | None = None
        self._hands_on = False
        self._changed, self._unknown = asyncio.Event(), asyncio.Event()
        """What is wanted is another thing; it is not known exactly."""
        self.changes = 0
        """How often a task has begun to listen, or listens no more."""

    def begins(self) -> None:
        """A task has begun to listen."""
        self._want(EVERYTHING)
        self.ends()

    def ends(self) -> None:
        """A task listens no more; others may."""
        self.changes += 1
        self._unknown.set()

    def stands(self, status: Status, *, as_of: int) -> None:
        """What the run says, that was asked when there had been so many `changes`."""
        if as_of == self.changes:
            self._unknown.clear()
            # A worker of an earlier version does not say what is wanted.
            self._want(status.get("wanted", EVERYTHING) if status["listening"] else ())

    async def ask(self, status: Callable[[], Awaitable[Status | None]]) -> None:
        """Ask the run when it is not known what it wants; `status` gives None where no worker answers. Does not return."""
        pause = 1.0
        while True:
            await self._unknown.wait()
            changes = self.changes
            found = await status()
            if found is None:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause = min(2 * pause, MOST_PAUSE)
            else:
                pause = 1.0
                self.stands(found, as_of=changes)

    async def hand_on(self, send: Callable[[CloudEvent], Awaitable[None]]) -> None:
        """Give `send` what comes to the bus while the run listens. Does not return."""
        self._hands_on = True
        self._subscribe(self._wanted)
        try:
            while True:
                self._changed.clear()
                if self._subscription is None:
                    await self._changed.wait()
                elif self._subscription.waiting:
                    await send(cast("CloudEvent", self._subscription.waiting.pop(0)))
                else:
                    await self._news(self._bus.arrived(self._subscription))
        finally:
            self._hands_on = False
            self._subscribe(())

    def _subscribe(self, wanted: tuple[Wanted, ...]) -> None:
        """The bus hears at once of what is wanted; what waits and is not wanted any more is left out."""
        before = self._subscription
        if wanted == (() if before is None else before.wanted):
            return
        self._subscription = None
        if wanted:
            self._subscription = after = Subscription(wanted, [])
            if before is not None:
                after.waiting += [event for event in before.waiting if after.wants(cast("CloudEvent", event))]
            self._bus.subscribe(after)
        if before is not None:
            self._bus.unsubscribe(before)

    async def _news(self, arrived: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(one.wait()) for one in (self._changed, arrived)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _want(self, wanted: Sequence[Wanted]) -> None:
        self._wanted = tuple(wanted)
        if self._hands_on:
            self._subscribe(self._wanted)
        self._changed.set()
