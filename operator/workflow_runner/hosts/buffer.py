"""The events that a launched pod keeps for the operator: numbered, in order, bounded. Used by reporter.py.

Everything in here is constant time: a loop of 10,000 passes adds 20,000 events while it runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from workflow_runner.interpreter.events import Event, EventType

SUPERSEDED = frozenset({EventType.TASK_STARTED, EventType.TASK_COMPLETED, EventType.TASK_SKIPPED, EventType.TASK_RETRIED})
"""What may be dropped for room: later events and the totals tell the same."""

# A loop may catch a million failures. Beyond this many times the bound the oldest task_failed goes too;
# the workflow's own events are few and always stay.
FAILED_BOUND_FACTOR = 10


class Buffer:
    """Events from 1 on, kept until `forget`; `sent` is where the next batch begins."""

    __slots__ = ("_events", "_failed", "_most", "_superseded", "delivered", "last", "sent")

    def __init__(self, *, most: int) -> None:
        self.last = 0
        """The number of the newest event."""
        self.sent = 0
        self.delivered = 0
        """Up to here nothing is kept."""
        self._most = most
        self._events: dict[int, Event] = {}
        self._superseded: deque[int] = deque()
        self._failed: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._events)

    @property
    def unsent(self) -> int:
        """How many events were made since the last batch, dropped ones among them."""
        return self.last - self.sent

    def add(self, event: Event) -> None:
        """Number an event and keep it; over the bound the oldest superseded one goes."""
        self.last = number = self.last + 1
        self._events[number] = event
        if event.type in SUPERSEDED:
            self._superseded.append(number)
        elif event.type is EventType.TASK_FAILED:
            self._failed.append(number)
        if len(self._events) > self._most:
            if self._superseded:
                del self._events[self._superseded.popleft()]
            elif self._failed and len(self._events) > self._most * FAILED_BOUND_FACTOR:
                del self._events[self._failed.popleft()]

    def unsent_events(self) -> Iterator[tuple[int, Event]]:
        """The numbers and events above `sent`, ascending; the caller moves `sent` along."""
        for number in range(self.sent + 1, self.last + 1):
            event = self._events.get(number)
            if event is not None:
                yield number, event

    def rewind(self) -> None:
        """A new stream: everything that is kept is to be sent again."""
        self.sent = self.delivered

    def forget(self, delivered: int) -> None:
        """Drop what has reached everybody. A lower number than before changes nothing."""
        for number in range(self.delivered + 1, min(delivered, self.last) + 1):
            self._events.pop(number, None)
            self.delivered = number
        self.sent = max(self.sent, self.delivered)
        for numbers in (self._superseded, self._failed):
            while numbers and numbers[0] <= self.delivered:
                numbers.popleft()
