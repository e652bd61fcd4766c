"""What a run on Temporal is told: to pause, to go on, to end, and events that it listens for. Used by run.TemporalRun.

Each is tried until Temporal has it, or the run is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from workflow_runner.hosts.event_bus import CloudEvent
from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.messages import Steering, to_json
from workflow_runner.hosts.temporal.rpc import LATER, MISSING_SECONDS, RPC_SECONDS, persistently, unless_gone

Handle = WorkflowHandle[Any, Any]

log = logging.getLogger(__name__)


class Signals:
    """The newest wish of whoever steers one run, until Temporal has it.

    With `shared` others may steer the run, too: what was wanted here before says nothing of what it does now.
    """

    def __init__(self, *, shared: bool) -> None:
        self._shared = shared
        self._paused: bool | None = None
        self._reason = ""
        self._holds = 0
        """How often somebody has wanted it to pause, or to go on."""
        self.cancelled: Steering | None = None
        """How it is to end, if it is."""
        self._sent = False
        """Something was handed on, or may have been."""
        self._news = asyncio.Event()
        self._handed_on = asyncio.Event()

    def hold(self, paused: bool, reason: str = "") -> bool:
        """It is to pause, or to go on; whether that is anything new."""
        if not self._shared and self._paused is paused:
            return False
        self._paused, self._reason = paused, reason
        self._holds += 1
        self._want()
        return True

    def cancel(self, how: Steering) -> bool:
        """It is to end; whether that is anything new: the first word counts, unless a later one is to force it."""
        if self.cancelled is not None and how.mode != "Force":
            return False
        self.cancelled = how
        self._want()
        return True

    def _want(self) -> None:
        self._handed_on.clear()
        self._news.set()

    async def handed_on(self) -> None:
        """Until Temporal has what was last wanted of the run."""
        await self._handed_on.wait()

    async def send(self, handle: Handle, *, attached: bool) -> None:
        """Hands on what is wanted, until cancelled. A run that is not `attached` to is known to go on so far; not any more when
        this begins again after an error."""
        paused, holds = None if attached or self._shared or self._sent else False, 0
        cancelled: Steering | None = None
        while True:
            self._news.clear()
            if self.cancelled is not cancelled:
                cancelled = self.cancelled
                await _handed(lambda: self._cancel(handle), "a cancel cannot be handed on")
            elif holds != self._holds and cancelled is None:
                holds = self._holds
                if self._paused is paused and not self._shared:
                    continue
                paused, self._sent = self._paused, True
                name = names.PAUSE if paused else names.RESUME
                steering = to_json(Steering(self._reason if paused else ""))
                await _handed(
                    lambda name=name, steering=steering: _signal(handle, name, steering),  # type: ignore[misc]
                    "a pause or resume cannot be handed on",
                )
            else:
                self._handed_on.set()
                await self._news.wait()

    async def _cancel(self, handle: Handle) -> None:
        assert self.cancelled is not None  # noqa: S101 - who calls has seen it
        # The signal says how; Temporal's own request has the run closed as cancelled, also where it takes no signals any more.
        try:
            await _signal(handle, names.CANCEL, to_json(self.cancelled))
        except RPCError as error:
            if error.status in LATER or error.status is RPCStatusCode.NOT_FOUND:
                raise
            log.warning("a run takes no signals any more; it is cancelled without one", extra={"error": error.message[:300]})
        await handle.cancel(rpc_timeout=RPC_SECONDS)


async def send_event(handle: Handle, event: CloudEvent) -> None:
    """Hands on an event that the run listens for."""
    await _handed(lambda: _signal(handle, names.EVENT, event), "an event cannot be handed on")


async def _signal(handle: Handle, name: str, argument: dict[str, Any]) -> None:
    await handle.signal(name, argument, rpc_timeout=RPC_SECONDS)


async def _handed(send: Callable[[], Awaitable[None]], what: str) -> None:
    """Until Temporal has it. A run that has ended hears nothing: that is found out by whoever waits for the end."""
    await unless_gone(persistently(send, what, missing_seconds=MISSING_SECONDS))
