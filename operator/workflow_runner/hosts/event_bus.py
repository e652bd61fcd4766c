"""Events between the runs of one process, and from outside to them: the bus of the local host.

Runs subscribe to it (hosts/effects.py). What a run emits, and what an endpoint takes in (event_endpoint.py, the
sink's stream), goes to every listener that may want it, at once: a listener hears what arrives while it listens,
and there is no store for those who come later. Queues are bounded. From outside, an event for which there is no
room is refused, so that its sender tries again; a run that emits waits for a while.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from msgspec import Struct, field

from workflow_runner.dsl.problems import COMMUNICATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.subscriptions import Subscription

CloudEvent: TypeAlias = dict[str, Json]

MOST_WAITING = 1000
LARGEST_WAITING = 8 * 1024 * 1024
"""Events, and characters of them as JSON, that one listener's queue holds; a single event always finds room."""
ROOM_SECONDS = 30.0
"""How long an emit waits for a listener that cannot keep up."""

Publish: TypeAlias = Callable[[CloudEvent], Awaitable[None]]
"""Takes an event out of the process, or raises WorkflowFault."""


class _Listener(Struct):
    subscription: Subscription
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    """Set, and replaced, when the queue was emptied or the listener went."""
    sizes: deque[int] = field(default_factory=deque)
    total: int = 0

    def has_room(self, size: int) -> bool:
        while len(self.sizes) > len(self.subscription.waiting):
            self.total -= self.sizes.popleft()
        return not self.sizes or (len(self.sizes) < MOST_WAITING and self.total + size <= LARGEST_WAITING)

    def put(self, event: CloudEvent, size: int) -> None:
        self.sizes.append(size)
        self.total += size
        self.subscription.waiting.append(event)
        self.arrived.set()

    def makes_room(self) -> None:
        self.room.set()
        self.room = asyncio.Event()


class Offer(Struct, frozen=True):
    """What became of an event: how many listeners took it, and how many wanted it and had no room."""

    taken: int
    full: int


class EventBus:
    """Use it from one event loop. `publish` takes emitted events out of the process before they go to the listeners here."""

    def __init__(
        self,
        publish: Publish | None = None,
        *,
        room_seconds: float = ROOM_SECONDS,
    ) -> None:
        self.publish = publish
        """Takes what runs emit out of the process; None: nothing does."""
        self._room_seconds = room_seconds
        self.changed: Callable[[], None] = lambda: None
        """Told when somebody begins or ends to listen."""
        self._listeners: dict[Subscription, _Listener] = {}

    @property
    def subscriptions(self) -> list[Subscription]:
        """Who listens."""
        return list(self._listeners)

    def subscribe(self, subscription: Subscription) -> None:
        """Put what arrives and is wanted into the subscription's queue from now on."""
        listener = self._listeners[subscription] = _Listener(subscription)
        for event in subscription.waiting:  # of a run that goes on
            size = size_of(event)
            listener.sizes.append(size)
            listener.total += size
        self.changed()

    def unsubscribe(self, subscription: Subscription) -> None:
        """The end of that."""
        listener = self._listeners.pop(subscription, None)
        if listener is not None:
            listener.makes_room()
            self.changed()

    def arrived(self, subscription: Subscription) -> asyncio.Event:
        """Set as soon as the subscription's queue, which is empty now, has an event."""
        listener = self._listeners[subscription]
        listener.arrived.clear()
        if subscription.waiting:
            listener.arrived.set()
        listener.makes_room()
        return listener.arrived

    def offer(self, event: CloudEvent) -> Offer:
        """Give an event to everybody who may want it and has room. Never waits."""
        size = size_of(event)
        wanting = [each for each in self._listeners.values() if each.subscription.wants(event)]
        taking = [each for each in wanting if each.has_room(size)]
        for listener in taking:
            listener.put(event, size)
        return Offer(len(taking), len(wanting) - len(taking))

    async def emit(self, event: CloudEvent) -> None:
        """Publish an event of a run. Raises WorkflowFault (`communication`): when it cannot be taken out of the process,
        and when a listener here stays without room."""
        if self.publish is not None:
            await self.publish(event)
        size = size_of(event)
        full: list[_Listener] = []
        for listener in list(self._listeners.values()):
            if listener.subscription.wants(event):
                if listener.has_room(size):
                    listener.put(event, size)
                else:
                    full.append(listener)
        try:
            async with asyncio.timeout(self._room_seconds):
                for listener in full:
                    while listener.subscription in self._listeners and not listener.has_room(size):
                        await listener.room.wait()
                    if listener.subscription in self._listeners:
                        listener.put(event, size)
        except TimeoutError as error:
            detail = f"a listener had no room for the event within {self._room_seconds:g} s: too many wait for it already"
            raise WorkflowFault(Problem.standard(COMMUNICATION, detail, status=503)) from error


def size_of(event: Json) -> int:
    """Characters of an event as JSON."""
    try:
        return len(json.dumps(event))
    except (ValueError, RecursionError):
        return LARGEST_WAITING
