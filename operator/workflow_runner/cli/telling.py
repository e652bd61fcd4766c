"""Who hears of the runs of `workflow-runner serve`: Stigmer, the sink of lifecycle events, and the log. Called by cli.serve."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from pydantic import SecretStr

from workflow_runner.cli.eventing import Eventing
from workflow_runner.dsl.model import DocumentInfo
from workflow_runner.hosts.lifecycle import LifecycleReporter
from workflow_runner.hosts.local_execution import ENDS, LocalExecution
from workflow_runner.hosts.local_executions import LocalExecutions
from workflow_runner.hosts.story import log_event
from workflow_runner.interpreter.events import Event
from workflow_runner.reconcile.live import LiveRun
from workflow_runner.settings import StigmerSettings
from workflow_runner.stigmer.client import Destination
from workflow_runner.stigmer.keys import KeyFile
from workflow_runner.stigmer.relay import Relay
from workflow_runner.stigmer.status import status_of


class Lifecycles:
    """Lifecycle events of all runs, where there is a sink for them."""

    def __init__(self, eventing: Eventing) -> None:
        self._eventing = eventing
        self._reporters: dict[str, LifecycleReporter] = {}
        self._finishing: set[asyncio.Task[None]] = set()

    def told(self, execution: LocalExecution, event: Event) -> None:
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


class Callbacks:
    """Every event to Stigmer, numbered as the run's own events are: nobody else numbers them here."""

    def __init__(self, executions: LocalExecutions, relay: Relay, settings: StigmerSettings) -> None:
        self._executions = executions
        self._relay = relay
        self._states = settings.api == "status"
        self._runs: dict[str, LiveRun] = {}
        self.destination = Destination(
            settings.endpoint, SecretStr(settings.api_key), use_tls=settings.use_tls, api=settings.api
        )

    def tracked(self, execution: LocalExecution) -> None:
        """One more execution; what an earlier process kept of its events is owed again, above what it knew as delivered."""
        run = LiveRun(execution_id=execution.id, attempt=1)
        if self._states:
            self._runs[execution.id] = run
        self._relay.track(
            execution.id, self.destination, execution.delivered, (lambda: status_of(run)) if self._states else None
        )
        for number, event in execution.kept.events:
            self.told(execution, number, event)

    def told(self, execution: LocalExecution, number: int, event: Event) -> None:
        """One event."""
        message = execution.message(number, event)
        if (run := self._runs.get(execution.id)) is not None:
            run.ingest(message)
        if number > execution.delivered:
            self._relay.offer(execution.id, message)

    def moved(self, execution_id: str) -> None:
        """Stigmer has more of an execution's events than before."""
        self._executions.delivered(execution_id, self._relay.delivery(execution_id).delivered_sequence)

    def owes(self, execution_id: str) -> bool:
        """Whether something of it waits."""
        try:
            return self._relay.delivery(execution_id).pending > 0
        except KeyError:
            return False

    def forgotten(self, execution_id: str) -> None:
        """Nothing more will be said of it."""
        self._runs.pop(execution_id, None)
        self._relay.forget(execution_id)


@contextlib.asynccontextmanager
async def telling(executions: LocalExecutions, eventing: Eventing, settings: StigmerSettings | None) -> AsyncIterator[Relay]:
    """Join the executions to whoever hears of them. At the end what still waits for Stigmer has been left a moment."""
    lifecycles = Lifecycles(eventing)
    callbacks: Callbacks | None = None

    def moved(execution_id: str) -> None:
        if callbacks is not None:
            callbacks.moved(execution_id)

    relay = Relay(changed=moved)

    def told(execution: LocalExecution, number: int, event: Event) -> None:
        log_event(event, execution.id)
        lifecycles.told(execution, event)
        if callbacks is not None:
            callbacks.told(execution, number, event)

    executions.told = told
    async with contextlib.AsyncExitStack() as stack:
        if settings is not None:
            callbacks = Callbacks(executions, relay, settings)
            executions.tracked, executions.forgotten, executions.owes = callbacks.tracked, callbacks.forgotten, callbacks.owes
            if settings.api_key_file is not None:
                key = await stack.enter_async_context(KeyFile(settings.api_key_file, callbacks.destination, relay))
                callbacks.destination = key.destination
            running = asyncio.create_task(relay.run(), name="relay")
            stack.push_async_callback(_end, relay, running)
        try:
            yield relay
        finally:
            await lifecycles.close()


async def _end(relay: Relay, running: asyncio.Task[None]) -> None:
    await relay.close()
    await running
