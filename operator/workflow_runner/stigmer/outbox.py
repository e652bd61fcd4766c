"""What one execution still owes to Stigmer: events in order, bounded. Used by relay.py.

Over the bound the oldest events that later ones make superfluous go first: a task that has started,
completed, was skipped or tried again. What a receiver must not miss stays: the phases of the workflow and
failed tasks.

For a receiver that takes whole states (`newest_only`) every event makes the ones before it superfluous: the newest is
owed, and nothing else but what is on its way.
"""

from __future__ import annotations

import bisect
from collections import deque

from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent

SUPERSEDED = frozenset({"task_started", "task_completed", "task_skipped", "task_cancelled", "task_retried"})

# A workflow may fail the same task a million times in a loop that catches it. Beyond this many times
# the bound even the oldest task_failed goes: memory is finite, and the workflow's own events are few.
FAILED_BOUND_FACTOR = 10


class Outbox:
    """Events above `delivered`, by ascending sequence number; the first may be on its way (`hold`)."""

    def __init__(self, *, delivered: int, most: int, newest_only: bool = False) -> None:
        self.delivered = delivered
        """Everything up to here is delivered, coalesced away or given up: nothing is owed."""
        self.coalesced = 0
        """How many events were dropped for room; where the newest only is owed, none is."""
        self.newest_only = newest_only
        self._most = most
        self._events: list[WorkflowProgressEvent] = []
        self._superseded: deque[int] = deque()
        self._failed: deque[int] = deque()
        self._highest = delivered
        self._held = 0

    def __len__(self) -> int:
        return len(self._events)

    def oldest_ms(self) -> int | None:
        """When the next event happened, in milliseconds since the epoch; None without one, or without its time."""
        return (self._events[0].timestamp_ms or None) if self._events else None

    def offer(self, event: WorkflowProgressEvent) -> bool:
        """Take an event in; False when it is here, on its way, or behind what was delivered."""
        number = event.sequence_number
        if number <= max(self.delivered, self._held):
            return False
        place = self._place(number)
        if place < len(self._events) and self._events[place].sequence_number == number:
            return False
        self._events.insert(place, event)
        self._highest = max(self._highest, number)
        if self.newest_only:
            del self._events[1 if self._held else 0 : -1]
            return self._events[-1] is event
        if event.event_type in SUPERSEDED:
            self._superseded.append(number)
        elif event.event_type == "task_failed":
            self._failed.append(number)
        if len(self._events) > self._most:
            self._make_room()
        return True

    def hold(self) -> WorkflowProgressEvent:
        """The next event, which stays until `done` or `release`. IndexError when there is none."""
        if self.newest_only:
            del self._events[:-1]
        event = self._events[0]
        self._held = event.sequence_number
        return event

    def release(self) -> None:
        """The held event did not get across; it stays the next one."""
        self._held = 0

    def done(self) -> None:
        """The held event is no longer owed."""
        self.delivered = max(self.delivered, self._held)
        self._held = 0
        del self._events[0]
        self._settle()

    def give_up(self, number: int) -> None:
        """The event of this number, released before, is never taken: it is not owed any longer."""
        self.delivered = max(self.delivered, number)
        del self._events[: self._place(number + 1)]
        self._settle()

    def skip_to(self, delivered: int) -> None:
        """Somebody knows that everything up to `delivered` has arrived; a held event stays."""
        if delivered <= self.delivered:
            return
        self.delivered = delivered
        keep = self._place(delivered + 1)
        del self._events[1 if self._held and keep else 0 : keep]
        self._settle()

    def _settle(self) -> None:
        if not self._events:
            # The last numbers may have been coalesced away; nothing is owed up to the highest offered.
            self.delivered = max(self.delivered, self._highest)
        for numbers in (self._superseded, self._failed):
            while numbers and numbers[0] <= self.delivered:
                numbers.popleft()

    def _make_room(self) -> None:
        if self._drop_oldest(self._superseded):
            return
        if len(self._events) > self._most * FAILED_BOUND_FACTOR:
            self._drop_oldest(self._failed)

    def _drop_oldest(self, numbers: deque[int]) -> bool:
        while numbers:
            number = numbers.popleft()
            place = self._place(number)
            # Not what is on its way; and an out-of-order number may have been delivered since.
            if number != self._held and place < len(self._events) and self._events[place].sequence_number == number:
                del self._events[place]
                self.coalesced += 1
                return True
        return False

    def _place(self, number: int) -> int:
        return bisect.bisect_left(self._events, number, key=lambda event: event.sequence_number)
