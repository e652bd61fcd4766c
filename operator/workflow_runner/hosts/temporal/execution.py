"""One execution of a runner's service whose run is in Temporal. Made by executions.py.

Its events have the numbers that the run gave them. What is asked of it has been taken by Temporal when it is answered.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping

from temporalio.client import Client

from workflow_runner.dsl.model import DocumentInfo
from workflow_runner.dsl.templates import Json
from workflow_runner.errors import Unavailable, WorkflowRunnerError
from workflow_runner.hosts.buffer import NOTHING_KEPT, Kept
from workflow_runner.hosts.execution_events import ExecutionEvents
from workflow_runner.hosts.executions import Stopping, WrongState
from workflow_runner.hosts.temporal.run import TemporalRun, terminated
from workflow_runner.interpreter.events import Event

GRACE_SECONDS = 30.0
"""How long what a cancelled run is doing may take to end."""
FORCE_SECONDS = 5.0
"""How long a run that is cancelled by force may take, before it is terminated in Temporal."""
ANSWER_SECONDS = 15.0
"""So long Temporal may take to take what is asked of a run."""

log = logging.getLogger(__name__)

Told = Callable[["TemporalExecution", int, Event], None]


class TemporalExecution(ExecutionEvents):
    """See the module's text. `told` takes every event, with its number."""

    def __init__(
        self, client: Client, execution_id: str, told: Told, *, digest: str, secrets: Mapping[str, Json] | None = None
    ) -> None:
        super().__init__(execution_id, "", secrets=secrets)
        self.digest = digest
        """Of what was asked for; see hosts.execution_store."""
        self._client = client
        self._told = told
        self._run: TemporalRun | None = None
        self._document: DocumentInfo | None = None
        self.begun_here = False
        """This process has started its run."""
        self.asked_at = asyncio.get_running_loop().time()
        """When somebody last asked after it, by the event loop's clock."""
        self._cancelled = False
        self._forcing: asyncio.Task[None] | None = None
        self._known = asyncio.Event()

    @property
    def kept(self) -> Kept:
        """Nothing is kept here: Temporal has it all."""
        return NOTHING_KEPT

    @property
    def document(self) -> DocumentInfo | None:
        """What the document says of itself, or of one that another process started, what its run's memo says of it."""
        return self._document if self._run is None or self._run.document is None else self._run.document

    def is_found(self, workflow: str) -> None:
        """Another process has started it; `workflow` is `namespace/name:version`."""
        namespace, _, rest = workflow.partition("/")
        name, _, version = rest.partition(":")
        self.workflow_name = name
        self._document = DocumentInfo(dsl="", namespace=namespace, name=name, version=version) if name else None

    def hear(self, number: int, event: Event) -> None:
        """What its run tells."""
        if self.ended:
            return
        self._buffer.skip_to(number - 1)
        event = self._bounded(self._without_secrets(event))
        self._add(event)
        self._told(self, self.last, event)
        self._wake()

    async def run(self, run: TemporalRun, *, attached: bool) -> None:
        """Follow its run to the end, or until `leave`."""
        self._run, self.begun_here = run, not attached
        self.asked_at = asyncio.get_running_loop().time()
        if run.document is not None:
            self.workflow_name = run.document.name
        run.caught_up = self._known.set
        if not attached:
            self._known.set()
        why: WorkflowRunnerError = Stopping(f"this runner is stopping: execution {self.id!r} goes on in Temporal")
        try:
            await run.run()
        except WorkflowRunnerError as error:
            why = Unavailable(str(error), code=error.code)
            log.warning("a run on Temporal cannot be followed any more", extra={"execution": self.id, "error": str(why)})
        except Exception:
            log.exception("a run on Temporal cannot be followed: this is a bug of the workflow runner")
            why = Unavailable("a bug of the workflow runner keeps it from following the run; its log says more")
        finally:
            self._left = why
            self._known.set()
            if self._forcing is not None:
                self._forcing.cancel()
                await asyncio.gather(self._forcing, return_exceptions=True)
            self._wake()

    async def known(self, seconds: float) -> bool:
        """Whether what was told before this process came is known, after so many seconds at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._known.wait()
        except TimeoutError:
            return False
        return True

    def look(self) -> None:
        """Somebody asks how it stands: what a worker elsewhere has told of it is to be known soon."""
        self.asked_at = asyncio.get_running_loop().time()
        if self._run is not None and not self.ended:
            self._run.look()

    def is_idle(self, seconds: float) -> bool:
        """Whether nobody has asked after it for so long, nor reads it."""
        return not self._readers and asyncio.get_running_loop().time() - self.asked_at > seconds

    def check_followed(self) -> None:
        """Raise what keeps it from being followed here, where it has not ended."""
        if self._left is not None and not self.ended:
            raise self._left

    def leave(self) -> None:
        """It is not followed here any more; the run goes on."""
        if self._run is not None:
            self._run.cancel("the runner is stopping", goes_on=True)

    async def cancel(self, reason: str, *, force: bool) -> None:
        """See Executions.cancel."""
        if self.ended:
            return
        run = self._followed()
        self._cancelled = True
        run.cancel(reason, force=force, grace_seconds=GRACE_SECONDS)
        if force and (self._forcing is None or self._forcing.done()):
            self._forcing = asyncio.create_task(self._terminated(reason), name=f"force {self.id}")
        await self._handed_on(run)

    async def pause(self, reason: str) -> None:
        """See Executions.pause."""
        run = self._steerable("paused")
        run.pause(reason)
        await self._handed_on(run)

    async def resume(self) -> None:
        """See Executions.resume."""
        run = self._steerable("resumed")
        run.resume()
        await self._handed_on(run)

    async def _terminated(self, reason: str) -> None:
        """A run that no worker ends is ended by Temporal."""
        while True:  # ended with the run, or with its following
            await asyncio.sleep(FORCE_SECONDS * random.uniform(1.0, 1.2))  # noqa: S311 - jitter
            try:
                await terminated(self._client, self.id, reason or "cancelled by force")
            except WorkflowRunnerError as error:
                log.warning("a run cannot be terminated; it is tried again", extra={"execution": self.id, "error": str(error)})

    def _followed(self) -> TemporalRun:
        if self._run is None or self._left is not None:
            raise self._left or Stopping(f"execution {self.id!r} is only just being found; ask again in a moment")
        return self._run

    def _steerable(self, what: str) -> TemporalRun:
        if self.ended or self._cancelled:
            stands = f"has ended ({self.status})" if self.ended else "is about to end"
            raise WrongState(f"execution {self.id!r} {stands}: it cannot be {what} any more")
        return self._followed()

    async def _handed_on(self, run: TemporalRun) -> None:
        handed, ended = asyncio.create_task(run.handed_on()), asyncio.create_task(self._over())
        try:
            done, _ = await asyncio.wait([handed, ended], timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (handed, ended):
                task.cancel()
        if handed not in done and not self.ended:
            self.check_followed()
            raise Unavailable(f"Temporal has not taken it within {ANSWER_SECONDS:g} s; it is handed on when it answers")

    async def _over(self) -> None:
        news = asyncio.Event()
        self._readers.add(news)
        try:
            while not (self.ended or self._left is not None):
                news.clear()
                await news.wait()
        finally:
            self._readers.discard(news)
