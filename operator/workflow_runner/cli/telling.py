"""Who hears of the runs of `workflow-runner serve`, and of a Temporal worker's: Stigmer, the sink of lifecycle events, metrics,
and the log. Called by cli.serve and cli.worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Generic, Protocol, TypeVar

from pydantic import SecretStr

from workflow_runner.cli.eventing import Eventing
from workflow_runner.dsl.model import DocumentInfo
from workflow_runner.hosts.buffer import Kept
from workflow_runner.hosts.lifecycle import LifecycleReporter
from workflow_runner.hosts.story import log_event
from workflow_runner.interpreter.events import ENDS, Event, EventType
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.reconcile.live import LiveRun
from workflow_runner.settings import StigmerSettings
from workflow_runner.stigmer.client import Destination
from workflow_runner.stigmer.keys import KeyFile
from workflow_runner.stigmer.relay import Relay
from workflow_runner.stigmer.status import status_of

LAST_CALLBACKS_SECONDS = 5.0
"""How long what still waits for Stigmer may take when the process ends, where nothing is kept for the next one."""


class Told(Protocol):
    """An execution that is told of: hosts.local_execution, hosts.temporal.runner."""

    id: str
    delivered: int
    status: str

    @property
    def document(self) -> DocumentInfo | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def kept(self) -> Kept: ...

    def message(self, number: int, event: Event) -> WorkflowProgressEvent: ...


_E = TypeVar("_E", bound=Told)


class Executions(Protocol[_E]):
    """Those of a process, and who is to hear of them: hosts.local_executions says what each is."""

    owing: bool
    tracked: Callable[[_E], None]
    told: Callable[[_E, int, Event], None]
    forgotten: Callable[[str], None]
    owes: Callable[[str], bool]

    @property
    def keeps(self) -> bool: ...

    def delivered(self, execution_id: str, number: int) -> None: ...


class Lifecycles:
    """Lifecycle events of all runs, where there is a sink for them."""

    def __init__(self, eventing: Eventing) -> None:
        self._eventing = eventing
        self._reporters: dict[str, LifecycleReporter] = {}
        self._finishing: set[asyncio.Task[None]] = set()

    def told(self, execution: Told, event: Event) -> None:
        """Take one event."""
        reporter = self._reporters.get(execution.id)
        if reporter is None:

            def document() -> DocumentInfo | None:
                return execution.document

            reporter = self._eventing.reporter(document, execution.id)
            if reporter is None:
                return
            self._reporters[execution.id] = reporter
        reporter.report(event)
        if event.type in ENDS:
            del self._reporters[execution.id]
            task = asyncio.create_task(reporter.finish(), name=f"lifecycle of {execution.id}")
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)

    async def close(self) -> None:
        """Deliver what waits, for a bounded time."""
        await asyncio.gather(*self._finishing, *(each.finish() for each in self._reporters.values()), return_exceptions=True)


class Callbacks(Generic[_E]):
    """Every event to Stigmer, numbered as the run's own events are: nobody else numbers them here.

    `destination` gives where to, with the key as of now.
    """

    def __init__(self, executions: Executions[_E], relay: Relay, destination: Callable[[], Destination]) -> None:
        self._executions = executions
        self._relay = relay
        self._destination = destination
        self._states = destination().api == "status"
        self._runs: dict[str, LiveRun] = {}
        self._last: dict[str, int] = {}
        """The newest number of each execution that may be owed something."""

    def tracked(self, execution: _E) -> None:
        """One more execution; what an earlier process kept of its events is owed again, above what it knew as delivered."""
        run = LiveRun(execution_id=execution.id, attempt=1)
        if self._states:
            self._runs[execution.id] = run
        self._relay.track(
            execution.id, self._destination(), execution.delivered, (lambda: status_of(run)) if self._states else None
        )
        for number, event in execution.kept.events:
            self.told(execution, number, event)

    def told(self, execution: _E, number: int, event: Event) -> None:
        """One event."""
        message = execution.message(number, event)
        if (run := self._runs.get(execution.id)) is not None:
            run.ingest(message, _output(event))
        if number > execution.delivered:
            self._last[execution.id] = number
            self._relay.offer(execution.id, message)

    def moved(self, execution_id: str) -> None:
        """Stigmer has more of an execution's events than before."""
        with contextlib.suppress(KeyError):  # it was forgotten meanwhile
            delivered = self._relay.delivery(execution_id).delivered_sequence
            if delivered >= self._last.get(execution_id, 0):
                self._last.pop(execution_id, None)
            self._executions.delivered(execution_id, delivered)

    def owes(self, execution_id: str) -> bool:
        """Whether something of it waits."""
        try:
            return self._relay.delivery(execution_id).pending > 0
        except KeyError:
            return False

    def forgotten(self, execution_id: str) -> None:
        """Nothing more will be said of it."""
        self._runs.pop(execution_id, None)
        self._last.pop(execution_id, None)
        self._relay.forget(execution_id)

    async def drain(self, seconds: float) -> None:
        """Wait so long at most until nothing is owed."""
        deadline = time.monotonic() + seconds
        for execution_id, number in list(self._last.items()):
            await self._relay.delivered(execution_id, number, max(0.0, deadline - time.monotonic()))


def _output(event: Event) -> bytes:
    """The output of a run that has completed, as JSON; in the event's message it stands only where it is small."""
    if event.type is not EventType.WORKFLOW_COMPLETED:
        return b""
    try:
        return json.dumps(event.output).encode()
    except (ValueError, TypeError, RecursionError):
        return b""


@contextlib.asynccontextmanager
async def telling(
    executions: Executions[_E],
    eventing: Eventing,
    settings: StigmerSettings | None,
    *,
    ended: Callable[[str, float], None],
) -> AsyncIterator[Relay]:
    """Join the executions to whoever hears of them. `ended` gets the status of each that ends, and how many seconds it took.

    At the end, what waits for Stigmer and is not kept for the next process has been left a moment.
    """
    lifecycles = Lifecycles(eventing)
    callbacks: Callbacks[_E] | None = None

    def moved(execution_id: str) -> None:
        if callbacks is not None:
            callbacks.moved(execution_id)

    relay = Relay(changed=moved)

    def told(execution: _E, number: int, event: Event) -> None:
        log_event(event, execution.id)
        if event.type in ENDS:
            ended(execution.status, execution.seconds)
        lifecycles.told(execution, event)
        if callbacks is not None:
            callbacks.told(execution, number, event)

    executions.told = told
    async with contextlib.AsyncExitStack() as stack:
        if settings is not None:
            callbacks = Callbacks(executions, relay, await _destination(stack, settings, relay))
            executions.tracked, executions.forgotten, executions.owes = callbacks.tracked, callbacks.forgotten, callbacks.owes
            executions.owing = True
            running = asyncio.create_task(relay.run(), name="relay")
            stack.push_async_callback(_end, relay, running)
            if not executions.keeps:
                stack.push_async_callback(callbacks.drain, LAST_CALLBACKS_SECONDS)
        try:
            yield relay
        finally:
            await lifecycles.close()


async def _destination(stack: contextlib.AsyncExitStack, settings: StigmerSettings, relay: Relay) -> Callable[[], Destination]:
    destination = Destination(settings.endpoint, SecretStr(settings.api_key), use_tls=settings.use_tls, api=settings.api)
    if settings.api_key_file is None:
        return lambda: destination
    key = await stack.enter_async_context(KeyFile(settings.api_key_file, destination, relay))
    return lambda: key.destination


async def _end(relay: Relay, running: asyncio.Task[None]) -> None:
    await relay.close()
    await running
