"""When a run's state is written down (snapshots.py), and by whom: never the event loop. Built by cli.execute.

A run is to go on at its last checkpoint, and no call may be forgotten that another one was made after. So the state
is on disk before each call and each wait; what happens in between can be done over, and is written down now and
then. Whoever asks while a write is under way shares the next one.

Whatever becomes of a write, the run goes on, with an older state on disk: that is logged once, and once more when
it is over.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from workflow_runner.errors import Temporary
from workflow_runner.hosts.buffer import Kept
from workflow_runner.hosts.snapshots import Ended, Snapshots, State
from workflow_runner.interpreter import frame_codec
from workflow_runner.interpreter.frames import WorkflowFrame

INTERVAL_SECONDS = 0.25
"""At least so far apart are writes that nothing waits for."""
SHARE = 10
"""The same, in times of what the last write took: a large state is written more seldom."""
WRITE_SECONDS = 10.0
"""How long anybody waits for a write; a volume that hangs holds nothing up beyond that."""

log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Checkpoints:
    """Writes one run's states. Use it from the event loop."""

    def __init__(
        self,
        snapshots: Snapshots,
        frame: Callable[[], WorkflowFrame],
        kept: Callable[[], Kept],
        *,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        """`frame` and `kept` give the run's state and its events as of now, one belonging to the other."""
        self._write_seconds = write_seconds
        self._snapshots = snapshots
        self._frame = frame
        self._kept = kept
        self._due = 0.0
        self._asked = self._answered = self._saved = 0
        """Numbers of requests: the newest, and up to which they are answered at all, and with a state on disk."""
        self._worker: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._trouble: str | None = None
        self._final: State | None = None
        self._closed = False

    async def passed(self) -> None:
        """Between two tasks: now and then, a write begins. Never waits."""
        if time.monotonic() >= self._due and (self._worker is None or self._worker.done()):
            self._ask()

    async def save(self) -> bool:
        """Wait until the state as of now is on disk. False when it is not; then nothing is tried again at once."""
        if self._trouble is not None and time.monotonic() < self._due:
            return False
        request = self._ask()
        try:
            async with asyncio.timeout(self._write_seconds):
                while self._answered < request:
                    await self._news.wait()
        except TimeoutError:
            self._failed("snapshot.unwritable", f"a write takes longer than {self._write_seconds:g} s")
            self._due = math.inf  # until it ends
        return self._saved >= request

    def freeze(self) -> None:
        """The state as of now is the last one: what the run does from here on is not its own doing."""
        if self._final is None and not self._closed:
            self._final = self._state()
            self._closed = True
            self._due = 0.0

    def told_its_end(self) -> None:
        """Nothing is written from here on, unless it says how the run has ended (`ended`)."""
        self._closed = True

    def ended(self, ended: Ended) -> None:
        """The run has ended: what is written from here on says so."""
        self._final = self._state(ended)
        self._due = 0.0

    async def remove(self) -> None:
        """Whoever is to know of the end knows it: remove what was written."""
        try:
            async with asyncio.timeout(self._write_seconds):
                self._closed, self._final = True, None
                if self._worker is not None:
                    await asyncio.wait([self._worker])
                await _in_thread(self._snapshots.remove)
        except (OSError, TimeoutError) as error:
            log.warning("the state of a run that has ended cannot be removed", extra={"error": str(error)})

    def _state(self, ended: Ended | None = None) -> State | None:
        """None for a run that has not begun its tasks: it has nothing to go on from."""
        frame = self._frame()
        return None if frame.tasks is None else State(frame_codec.encode(frame), self._kept(), ended)

    def _ask(self) -> int:
        self._asked += 1
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return self._asked

    async def _work(self) -> None:
        while self._answered < self._asked:
            request = self._asked
            if await self._written():
                self._saved = request
            self._answered = request
            self._news.set()
            self._news = asyncio.Event()

    async def _written(self) -> bool:
        began = time.monotonic()
        try:
            state = self._final if self._closed else self._state()
            if state is None:
                return False
            await _in_thread(lambda: self._snapshots.write(state))
        except Temporary as error:
            self._failed(error.code, str(error))
            return False
        except Exception:
            log.exception("the run's state could not be written down: this is a bug of the workflow runner")
            return False
        finally:
            ended = time.monotonic()
            self._due = ended + max(INTERVAL_SECONDS, SHARE * (ended - began))
        if self._trouble is not None:
            self._trouble = None
            log.info("the run's state can be written down again")
        return True

    def _failed(self, code: str, error: str) -> None:
        if self._trouble is None:
            log.warning(
                "the run's state cannot be written down; the run goes on, and a restart would begin at an older state",
                extra={"code": code, "error": error},
            )
        self._trouble = code


async def _in_thread(function: Callable[[], _T]) -> _T:
    """Like asyncio.to_thread, but no exit of the process waits for a volume that hangs."""
    done: concurrent.futures.Future[_T] = concurrent.futures.Future()

    def work() -> None:
        done.set_running_or_notify_cancel()
        try:
            done.set_result(function())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            done.set_exception(error)

    threading.Thread(target=work, name="snapshot", daemon=True).start()
    return await asyncio.wrap_future(done)
