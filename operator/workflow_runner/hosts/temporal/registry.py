"""What the runs of this process's workers share with the rest of the process, by execution id.

A workflow may not do input or output, but it may hand on what it has computed: its events go here, from the worker's threads,
and whoever follows a run in this process gets them on its event loop. A worker that replays a run tells its events again,
under the same numbers: those that were heard before are left out. Secrets that are not to be in Temporal are looked up here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.evaluate import JqRequest
from workflow_runner.expressions.schemas import SchemaRequest
from workflow_runner.hosts.buffer import SUPERSEDED
from workflow_runner.interpreter.events import ENDS, Event, TaskCounts

MOST_BEHIND = 100_000
"""Events that a listener may be behind."""
MOST_AT_ONCE = 500
"""Events that it hears before others have a turn of the event loop."""


class Follower:
    """Hears one run's events on an event loop, each once and in order, those above the number `after`.

    With `missed` no event is heard before those that come before it: where a worker of another process told them, `missed` is
    called, and they are to be brought by `bring`. Only the end may be heard more than once, and under another number: it is
    one when Temporal says so.
    """

    def __init__(self, hear: Callable[[int, Event], None], *, after: int = 0, missed: Callable[[], None] | None = None) -> None:
        self._hear = hear
        self._missed = missed
        self.last = after
        self.counts = TaskCounts()
        """As of the newest event."""
        self._loop = asyncio.get_running_loop()
        self._told: deque[tuple[int, Event, tuple[int, ...]]] = deque()
        self._woken = False

    def tell(self, number: int, event: Event, counts: TaskCounts) -> None:
        """From any thread. A listener that is far behind does not get what later events and the totals tell, too."""
        if len(self._told) >= MOST_BEHIND and event.type in SUPERSEDED:
            return
        totals = (counts.started, counts.completed, counts.failed, counts.skipped, counts.retried)
        self._told.append((number, event, totals))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._take)

    def bring(self, number: int, event: Event) -> None:
        """On the event loop: an event that the run itself has been asked for. Those before it that it does not tell any more
        are lost."""
        if number > self.last:
            self._heard(number, event)

    def _take(self) -> None:
        self._woken = False
        for _ in range(MOST_AT_ONCE):
            if not self._told:
                return
            number, event, totals = self._told.popleft()
            if number <= self.last:
                continue
            if self._missed is not None and number > self.last + 1:
                self._missed()
                continue
            self.counts = TaskCounts(*totals)
            self._heard(number, event)
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._take)  # others have their turn before the rest

    def _heard(self, number: int, event: Event) -> None:
        if event.type not in ENDS:
            # A run that was about to end may have to begin its last step again: something has happened meanwhile.
            self.last = number
        self._hear(number, event)


_followers: dict[str, Follower] = {}
_secrets: dict[str, Mapping[str, Json]] = {}
_requests: dict[str, JqRequest | SchemaRequest] = {}


def follow(execution_id: str, follower: Follower) -> None:
    """From now on the follower hears an execution's events."""
    _followers[execution_id] = follower


def forget(execution_id: str) -> None:
    """Nobody follows it any more, and its secrets are not needed."""
    _followers.pop(execution_id, None)
    _secrets.pop(execution_id, None)


def tell(execution_id: str, number: int, event: Event, counts: TaskCounts) -> None:
    """An event of a run. Never fails."""
    follower = _followers.get(execution_id)
    if follower is not None:
        follower.tell(number, event, counts)


def entrust(execution_id: str, secrets: Mapping[str, Json]) -> None:
    """The secrets of a run whose worker is in this process."""
    _secrets[execution_id] = secrets


def secrets_of(execution_id: str) -> Mapping[str, Json] | None:
    """None where this process was not given any."""
    return _secrets.get(execution_id)


def put_request(key: str, request: JqRequest | SchemaRequest) -> None:
    """What a local activity of this process is about to evaluate: it may be large, and is made again by a replay."""
    _requests[key] = request


def take_request(key: str) -> JqRequest | SchemaRequest | None:
    """What was put there; None where another process put it."""
    return _requests.get(key)


def drop_request(key: str) -> None:
    """It was evaluated, or is not wanted any more."""
    _requests.pop(key, None)
