"""Where events go outside of the process: CloudEvents by HTTP POST to one address, in structured mode.

The bus publishes what runs emit through it (event_bus.py), and waits; `lifecycle` tells through it what runs do.
A delivery that may succeed later is tried again, after pauses that double and are drawn, until its deadline.
Whoever receives may get an event twice: `source` and `id` say that it is the same.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from msgspec import Struct

from workflow_runner import telemetry
from workflow_runner.calls.imports import imported
from workflow_runner.dsl.problems import COMMUNICATION, Problem, WorkflowFault
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.event_bus import CloudEvent

if TYPE_CHECKING:
    import aiohttp

ATTEMPT_SECONDS = 10.0
DEADLINE_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
MOST_AT_ONCE = 32
MOST_PENDING = 1000
"""Deliveries that wait or are under way; more are refused at once."""

_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_CHANCE = random.SystemRandom()


class _Refused(Struct, frozen=True):
    """One attempt that failed: what was said, the status where there was one, and whether another try may help."""

    why: str
    status: int | None = None
    later: bool = True
    pause: float = 0.0


_REFUSED_ADDRESS = _Refused("its address is link-local or a cloud's metadata service, where no event goes", later=False)
"""The sink is the choice of whoever runs the runner: no other rule for calls is for it."""


class EventSink:
    """Deliveries to one address. Use it from one event loop; the connections are made at the first delivery."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        attempt_seconds: float = ATTEMPT_SECONDS,
        deadline_seconds: float = DEADLINE_SECONDS,
        most_pending: int = MOST_PENDING,
    ) -> None:
        """`url` is http or https; it may hold credentials and a query, which are never shown. `token` is sent as a
        bearer's, in place of the address's user. Raises InvalidInput."""
        self._shown = shown_address(url)
        self._url = url
        self._token = token
        _conceal(url, token)
        self._attempt_seconds, self._deadline_seconds = attempt_seconds, deadline_seconds
        self._most_pending = most_pending
        self._pending = 0
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    def __str__(self) -> str:
        """The address without what may be secret."""
        return self._shown

    async def send(self, event: CloudEvent) -> None:
        """Return when the sink has taken the event. Raises WorkflowFault (`communication`, with the sink's status)
        when it refuses it, or did not take it until the deadline."""
        if self._pending >= self._most_pending:
            raise _fault(f"more than {self._most_pending:,} events wait for {self._shown} already", 503)
        self._pending += 1
        refused = _Refused("it did not get its turn")
        try:
            async with asyncio.timeout(self._deadline_seconds), self._places:
                pause = FIRST_PAUSE_SECONDS
                while True:
                    answer = await self._attempt(event)
                    if answer is None:
                        return
                    refused = answer
                    if not refused.later:
                        break
                    await asyncio.sleep(max(refused.pause, pause * _CHANCE.uniform(0.5, 1.0)))
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        except TimeoutError as error:
            why = f"{refused.why}, within {self._deadline_seconds:g} s"
            raise _fault(f"the event was not taken by {self._shown}: {why}", refused.status) from error
        finally:
            self._pending -= 1
        raise _fault(f"the event was not taken by {self._shown}: {refused.why}", refused.status)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _attempt(self, event: CloudEvent) -> _Refused | None:
        # Not by runs that send nothing.
        client = await imported("aiohttp")
        connections = await imported("workflow_runner.calls.connections")
        try:
            body = json.dumps(event, ensure_ascii=False, allow_nan=False).encode(errors="replace")
        except ValueError:
            return _Refused("the event has an infinite number", later=False)
        session = self._opened(client, connections)
        try:
            url = connections.URL(self._url)
            if self._token is not None:
                url = url.with_user(None)  # the library sends no two credentials, and the token is the newer one
            connections.check_literal(connections.DEFAULT_RULES, "an event", url)
            async with session.post(url, data=io.BytesIO(body), allow_redirects=False) as response:
                if 200 <= response.status < 300:
                    return None
                later = response.status in _LATER
                return _Refused(f"it answered {response.status}", response.status, later, _wanted_pause(response.headers))
        except TimeoutError:
            return _Refused(f"no answer within {self._attempt_seconds:g} s")
        except WorkflowFault:
            return _REFUSED_ADDRESS
        except (client.ClientError, OSError) as error:
            if isinstance(getattr(error, "os_error", None), connections.AddressRefused):
                return _REFUSED_ADDRESS
            return _Refused(f"it cannot be reached ({type(error).__name__})")
        except ValueError:
            return _Refused("its address cannot be used", later=False)

    def _opened(self, client: Any, connections: Any) -> aiohttp.ClientSession:
        """The session, which is opened at the first delivery."""
        if self._session is None:
            headers = {"User-Agent": "workflow-runner", "Content-Type": "application/cloudevents+json; charset=utf-8"}
            if self._token is not None:
                headers["Authorization"] = f"Bearer {self._token}"
            self._session = client.ClientSession(
                connector=connections.connector(connections.DEFAULT_RULES, limit=MOST_AT_ONCE),
                timeout=client.ClientTimeout(total=self._attempt_seconds),
                headers=headers,
                cookie_jar=client.DummyCookieJar(),
            )
        assert self._session is not None  # noqa: S101 - it was just made
        return self._session


def shown_address(url: str) -> str:
    """The address of a sink without what may be secret. Raises InvalidInput for one that cannot be used."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _no_address() from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _no_address()
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return urlunsplit((parts.scheme, host if port is None else f"{host}:{port}", parts.path, "", ""))


def _conceal(url: str, token: str | None) -> None:
    """What must be in no log: the token, and a password and a query in the address, which are keys."""
    parts = urlsplit(url)
    for secret in (token, parts.password, parts.query, *(value for _, value in parse_qsl(parts.query))):
        if secret:
            telemetry.conceal(secret)
            telemetry.conceal(unquote(secret))


def _wanted_pause(headers: Any) -> float:
    text = headers.get("Retry-After", "")
    return min(float(text), LONGEST_PAUSE_SECONDS) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def _no_address() -> InvalidInput:
    return InvalidInput("the address of an event sink must be an http or https URL with a host", code="input.bad-sink")


def _fault(detail: str, status: int | None) -> WorkflowFault:
    return WorkflowFault(Problem.standard(COMMUNICATION, detail, status=status))
