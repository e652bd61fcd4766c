"""Holding a run: what pause and resume mean on asyncio. `local` has one Hold a run.

A pause is asked for at any moment. Each branch of the run stands still where it can: before a task, or inside a wait.
When all of them stand (one that calls something ends its call first), the pause has taken effect: the state may be
written down, and it is told, once, however many branches there are.

The run's own clock (frames.py) stands still from the moment on in which the first branch stands until the pause is
over or taken back. So a pause lets no deadline pass and no wait end, neither of a branch that stands nor of one that
is still calling, and afterwards everything has the time left that it had.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from workflow_runner.hosts.branches import run_together
from workflow_runner.hosts.waiting import all_done, first_done
from workflow_runner.interpreter.effects import DeadlinePassed
from workflow_runner.interpreter.events import EventType
from workflow_runner.interpreter.frames import WorkflowFrame

_T = TypeVar("_T")


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class Hold:
    """Whether a run is to be held, and whether it is. `tell` hears when it is held and when it goes on.

    `frame` is the run's state, of which `paused` and `paused_since` are kept here. `write`, where given, is awaited
    with it when a pause has taken effect, before that is told, and when it is over, before anything goes on. `now` is the
    clock on the wall.
    """

    def __init__(
        self,
        tell: Callable[[EventType, str], None],
        frame: WorkflowFrame,
        write: Callable[[WorkflowFrame], Awaitable[None]] | None = None,
        now: Callable[[], datetime] = _wall_clock,
    ) -> None:
        self._tell = tell
        self._frame = frame
        self._write = write
        self._now = now
        self._drained: Callable[[], None] | None = None
        self._asked = asyncio.Event()
        self._released = asyncio.Event()
        self._released.set()
        self._reason = ""
        self._since = frame.paused_since
        """When the run's clock stopped; None while it goes."""
        self._began = False
        self._live = 1
        """How many branches could take a step: those of a fork, not the branch that waits for them."""
        self._standing = 0
        self._gate = asyncio.Event()
        """Opens when the pause is over for those who stand at it; the next pause has another."""
        self._keeper: asyncio.Task[None] | None = None
        """What sees a pause through that has taken effect."""
        self._failure: Exception | None = None
        self._limits: dict[asyncio.Timeout, datetime] = {}
        self.held = False

    @property
    def asked(self) -> bool:
        """Whether everybody is to stand still: for a pause that has not been taken back, or for good."""
        return self._asked.is_set()

    def ask(self, reason: str) -> None:
        """Hold as soon as possible. The reason of the first of several requests stands."""
        if self._released.is_set():
            self._reason = reason
            self._asked.set()
            self._released.clear()

    def release(self) -> None:
        """Go on; a pause that has not taken effect yet is forgotten."""
        if self._drained is None:
            self._asked.clear()
        self._released.set()
        if self._keeper is None and self._began:
            self._start_clock()
            self._open_gate()

    def drain(self, drained: Callable[[], None]) -> None:
        """Have everybody stand still for good, and call `drained` when they do: the state can be continued elsewhere.
        The run's clock goes on, and nothing is told."""
        if self._drained is None:
            self._drained = drained
            self._asked.set()

    def begin(self) -> None:
        """A run begins, or goes on from its frame: where that was written in a pause that is over by now, say so."""
        self._began = True
        if self._since is not None and not self.asked:
            self._start_clock()
            self._tell(EventType.WORKFLOW_RESUMED, "")

    def clock(self) -> datetime:
        """The run's own time."""
        return (self._since or self._now()) - self._frame.paused

    async def stand(self) -> None:
        """Stand still while a pause is asked for."""
        while self._asked.is_set():
            gate = self._gate
            if not self._released.is_set():
                self._stop_clock()
            self._standing += 1
            try:
                self._look()
                await gate.wait()
            finally:
                self._standing -= 1
            if self._failure is not None:
                raise self._failure

    async def sleep(self, until: datetime) -> None:
        """Sleep until the run's clock says `until`, or until a pause is over that came before: whichever is first."""
        try:
            async with asyncio.timeout(self._left(until)):
                await self._asked.wait()
        except TimeoutError:
            return
        await self.stand()

    async def wait_for(self, happened: asyncio.Event) -> None:
        """Wait until something has happened, or until a pause is over that came before: whichever is first."""
        if happened.is_set() and not self.asked:
            return
        waits = [asyncio.ensure_future(each.wait()) for each in (happened, self._asked)]
        try:
            await first_done(waits)
        finally:
            for wait in waits:
                wait.cancel()
        await self.stand()

    async def within(self, until: datetime, work: Coroutine[Any, Any, _T]) -> _T:
        """Await `work` until the run's clock says `until`; then cancel it and raise DeadlinePassed."""
        if self._left(until) <= 0:
            work.close()
            raise DeadlinePassed
        limit = asyncio.timeout(None if self._since is not None else self._left(until))
        try:
            async with limit:
                self._limits[limit] = until
                try:
                    return await work
                finally:
                    del self._limits[limit]
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlinePassed from error

    async def gather(self, branches: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Run branches at the same time, in the place of the one that waits for them."""
        if not branches:
            return
        remaining = len(branches)

        def ended() -> None:
            nonlocal remaining
            remaining -= 1
            if remaining:  # the last one's place is taken by who waits
                self._live -= 1
                self._look()

        self._live += remaining - 1
        await run_together(branches, ended)

    async def close(self) -> None:
        """The run has ended; nothing is told any more."""
        keeper = self._keeper
        if keeper is not None:
            keeper.cancel()
            await all_done([keeper])
        self.held = False

    def _look(self) -> None:
        """A pause takes effect when everybody stands."""
        if not self._asked.is_set() or self._standing != self._live or self._keeper is not None:
            return
        if self._drained is not None:
            # A pause that came before is on: whoever continues has its clock stand still, too.
            self._frame.paused_since = self._since
            self._drained()
        else:
            self._keeper = asyncio.create_task(self._keep(), name="pause")

    async def _keep(self) -> None:
        """See a pause through, from when it took effect until everybody goes on."""
        try:
            self._frame.paused_since = self._since
            if self._write is not None:
                await self._write(self._frame)
            told = not self._released.is_set()
            if told:
                self.held = True
                self._tell(EventType.WORKFLOW_PAUSED, self._reason)
                while not self._released.is_set():
                    await self._released.wait()
                self.held = False
            self._start_clock()
            if self._write is not None:
                await self._write(self._frame)
            if told:
                self._tell(EventType.WORKFLOW_RESUMED, "")
        except Exception as error:  # noqa: BLE001 - raised in the run
            self._failure = error
        finally:
            self.held = False
            self._keeper = None
        self._open_gate()

    def _open_gate(self) -> None:
        gate, self._gate = self._gate, asyncio.Event()
        gate.set()

    def _stop_clock(self) -> None:
        if self._since is None:
            self._since = self._now()
            self._reschedule()

    def _start_clock(self) -> None:
        if self._since is not None:
            self._frame.paused += max(self._now() - self._since, timedelta(0))
            self._since = self._frame.paused_since = None
            self._reschedule()

    def _reschedule(self) -> None:
        for limit, until in self._limits.items():
            if not limit.expired():
                moment = asyncio.get_running_loop().time() + self._left(until)
                limit.reschedule(None if self._since is not None else moment)

    def _left(self, until: datetime) -> float:
        """Seconds until the run's clock says `until`."""
        return (until - self.clock()).total_seconds()
