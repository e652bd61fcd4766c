"""Temporal for the commands that run one document: what `run --engine temporal` and launched pods build."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from workflow_runner.dsl.model import Workflow
from workflow_runner.dsl.templates import Json
from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.hosts.event_bus import EventBus
from workflow_runner.hosts.local import Source
from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.client import connect
from workflow_runner.hosts.temporal.limits import LARGEST_PLAIN, LARGEST_STORED
from workflow_runner.hosts.temporal.run import TemporalRun
from workflow_runner.hosts.temporal.worker import RunWorker
from workflow_runner.interpreter.events import Event
from workflow_runner.settings.temporal import TemporalSettings

if TYPE_CHECKING:
    from workflow_runner.calls.addresses import AddressRules
    from workflow_runner.hosts.temporal.client import Client


class Temporal:
    """One execution's way to Temporal: a client, and a worker that polls the execution's own queue."""

    def __init__(self, client: Client, settings: TemporalSettings, execution_id: str, bus: EventBus) -> None:
        self._client = client
        self._settings = settings
        self._execution_id = execution_id
        self._bus = bus

    def run(
        self,
        workflow: Workflow | Source,
        input_: Json,
        *,
        run_id: str,
        secrets: Mapping[str, Json],
        report: Callable[[int, Event], None],
        timeout: timedelta | None = None,
    ) -> TemporalRun:
        """The execution's run, not yet started."""
        payloads = self._settings.payloads
        return TemporalRun(
            self._client,
            workflow,
            input_,
            task_queue=names.own_queue(self._execution_id),
            execution_id=self._execution_id,
            run_id=run_id,
            secrets=secrets,
            report=report,
            encrypted=payloads.keys is not None,
            largest_payload=LARGEST_PLAIN if payloads.store is None else LARGEST_STORED,
            timeout=timeout,
            heartbeat_seconds=self._settings.heartbeat_seconds,
            activity_queue=self._settings.runner_task_queue,
            bus=self._bus,
        )


@contextlib.asynccontextmanager
async def open_temporal(
    settings: TemporalSettings,
    execution_id: str,
    bus: EventBus,
    addresses: AddressRules | None,
    options: HostOptions,
) -> AsyncIterator[Temporal]:
    """Connect, and work on the execution's queue until the block ends. Raises what client.connect raises."""
    client = await connect(settings)
    worker = RunWorker(client, names.own_queue(execution_id), addresses=addresses, options=options, publish=bus.publish)
    async with worker:
        yield Temporal(client, settings, execution_id, bus)
