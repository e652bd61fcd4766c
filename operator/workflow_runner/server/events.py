"""CloudEvents for runs in the cluster: taken in by HTTP, handed to the pods that listen. Built by cli.operator.

`POST /namespaces/NAMESPACE` gives events (the modes of hosts.cloud_events) to the listening executions of that
namespace and to no others. The caller bears the namespace's token: a file of that name in a folder, which is the
mount of a Secret, so that tokens are changed without a restart. A namespace without a token takes nothing.

`SinkService` registers a pod here while its Listen stream is open. An event is kept for nobody: it goes to the pods that
are connected and want it, and the answer tells what they made of it. While a pod that listened is away, as between two
streams, what it wants is not taken; nor is anything while an operator that has just started does not know yet who listens.
Whoever hears 503 sends the event again, and pods that had it may get it twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hmac
import json
import math
import re
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import structlog

from workflow_runner.hosts.cloud_events import CloudEvent
from workflow_runner.hosts.event_bus import Offer
from workflow_runner.hosts.event_endpoint import Take
from workflow_runner.interpreter.subscriptions import Wanted, wants

MOST_ON_THEIR_WAY = 100
"""Events of one stream that its pod has not answered yet."""
LARGEST_ON_THEIR_WAY = 4 * 1024 * 1024
ANSWER_SECONDS = 10.0
LATE_SECONDS = 2.0
"""A pod that owes an answer for so long is sent nothing more until it answers: no further sender waits for it."""
AWAY_SECONDS = 40.0
"""How long a pod whose stream has ended while it listened counts as one that comes back. It dials every 4 s at least, but may
need half a minute to notice that the other side has vanished without a word."""
BACK_SECONDS = 6.0
"""When a pod watches again, its stream for events follows within this, if it listens."""
MOST_TOKEN = 4096
MOST_WANTED = 1000
"""What a pod may listen for, in entries; one with more hears every event of its namespace."""

_PATH = re.compile(r"/namespaces/([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)/?")

log = structlog.get_logger(__name__)


class Ear:
    """One open Listen stream."""

    def __init__(self, late_seconds: float = LATE_SECONDS) -> None:
        self.wanted: Sequence[Wanted] = ()
        self._late_seconds = late_seconds
        self._number = 0
        self._to_send: deque[tuple[int, bytes]] = deque()
        self._unanswered: dict[int, tuple[float, int, asyncio.Future[Offer]]] = {}
        """By number: since when, its size, and the answer to come. Oldest first."""
        self._size = 0
        self._news = asyncio.Event()
        self._hung_up = False

    def put(self, event: bytes) -> asyncio.Future[Offer] | None:
        """Send an event; what the pod makes of it. None when there is no room, or the pod does not keep up."""
        now = time.monotonic()
        if self._unanswered:
            late = next(iter(self._unanswered.values()))[0] + self._late_seconds < now
            full = len(self._unanswered) >= MOST_ON_THEIR_WAY or self._size + len(event) > LARGEST_ON_THEIR_WAY
            if late or full:
                return None
        self._number += 1
        answer: asyncio.Future[Offer] = asyncio.get_running_loop().create_future()
        self._unanswered[self._number] = (now, len(event), answer)
        self._size += len(event)
        self._to_send.append((self._number, event))
        self._news.set()
        return answer

    def answered(self, number: int, offer: Offer) -> None:
        """The pod says what became of an event."""
        _, size, answer = self._unanswered.pop(number, (0.0, 0, None))
        self._size -= size
        if answer is not None and not answer.done():
            answer.set_result(offer)

    async def next(self) -> tuple[int, bytes] | None:
        """The next event to send, with its number; None when the pod has hung up."""
        while not self._to_send and not self._hung_up:
            self._news.clear()
            await self._news.wait()
        return None if self._hung_up else self._to_send.popleft()

    def hang_up(self) -> None:
        """The pod says nothing more."""
        self._hung_up = True
        self._news.set()

    def close(self) -> None:
        """The stream has ended: what was not answered has not been taken."""
        for number in list(self._unanswered):
            self.answered(number, Offer(0, 1))


class EventHub:
    """Who listens, by namespace."""

    def __init__(
        self,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        late_seconds: float = LATE_SECONDS,
        away_seconds: float = AWAY_SECONDS,
        back_seconds: float = BACK_SECONDS,
    ) -> None:
        self._answer_seconds, self._late_seconds = answer_seconds, late_seconds
        self._away_seconds, self._back_seconds = away_seconds, back_seconds
        self._complete_at = -math.inf
        self._expected: set[str] = set()
        self._ears: dict[str, set[Ear]] = {}
        self._away: dict[str, tuple[float, str, Sequence[Wanted]]] = {}
        """By execution: until when it is waited for, its namespace, and what it wants. Oldest first."""

    def expect(self, seconds: float, executions: Collection[str] = ()) -> None:
        """For so long from now, pods that listened to an earlier operator may be on their way here: those of these
        executions; when all of them are back, the wait is over."""
        self._complete_at = time.monotonic() + seconds
        self._expected = set(executions)

    def back(self, execution: str) -> None:
        """The execution's pod watches."""
        if execution in self._expected:
            self._expected.discard(execution)
            if not self._expected:
                self._complete_at = min(self._complete_at, time.monotonic() + self._back_seconds)

    @contextlib.contextmanager
    def listening(self, namespace: str, execution: str) -> Iterator[Ear]:
        """A pod of an execution of this namespace, as long as its stream is open."""
        ear = Ear(self._late_seconds)
        self._away.pop(execution, None)
        self._ears.setdefault(namespace, set()).add(ear)
        try:
            yield ear
        finally:
            ears = self._ears[namespace]
            ears.discard(ear)
            if not ears:
                del self._ears[namespace]
            ear.close()
            self._away.pop(execution, None)
            self._forget()
            if ear.wanted:
                self._away[execution] = (time.monotonic() + self._away_seconds, namespace, ear.wanted)

    async def offer(self, namespace: str, event: CloudEvent) -> Offer:
        """Give an event to the pods of a namespace that want it, and wait for what they make of it, for a bounded time."""
        if time.monotonic() < self._complete_at:
            return Offer(0, 1)
        data = json.dumps(event, ensure_ascii=False).encode(errors="replace")
        wanting = [ear for ear in self._ears.get(namespace, ()) if wants(ear.wanted, event)]
        answers = [ear.put(data) for ear in wanting]
        waiting = [answer for answer in answers if answer is not None]
        if waiting:
            await asyncio.wait(waiting, timeout=self._answer_seconds)
        offers = [answer.result() if answer is not None and answer.done() else Offer(0, 1) for answer in answers]
        self._forget()
        away = sum(1 for _, home, wanted in self._away.values() if home == namespace and wants(wanted, event))
        return Offer(sum(offer.taken for offer in offers), sum(offer.full for offer in offers) + away)

    def _forget(self) -> None:
        """Those who have not come back in time."""
        now = time.monotonic()
        while self._away and next(iter(self._away.values()))[0] < now:
            del self._away[next(iter(self._away))]


class NamespaceTokens:
    """Which namespace a request is for, and whether it may send there; its events go to `hub`."""

    def __init__(self, folder: Path, hub: EventHub) -> None:
        self._folder = folder
        self._hub = hub

    def admit(self, path: str, authorization: str) -> Take | None:
        """What takes the events of a request; None for one that may not send any."""
        namespace = self.namespace(path, authorization)
        return None if namespace is None else functools.partial(self._hub.offer, namespace)

    def namespace(self, path: str, authorization: str) -> str | None:
        """The namespace of a path whose token is borne; None where that is not so."""
        found = _PATH.fullmatch(path)
        scheme, _, given = authorization.partition(" ")
        if found is None or scheme.lower() != "bearer":
            return None
        token = self._token(found[1])
        return found[1] if token and hmac.compare_digest(given.strip().encode(), token) else None

    def _token(self, namespace: str) -> bytes:
        """As it is now: a few bytes of a memory-backed file."""
        try:
            with (self._folder / namespace).open("rb") as file:
                return file.read(MOST_TOKEN).strip()
        except FileNotFoundError:
            return b""
        except OSError as error:
            log.warning("the token of a namespace's events cannot be read", namespace=namespace, error=error.strerror)
            return b""
