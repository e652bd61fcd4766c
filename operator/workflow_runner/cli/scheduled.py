"""`run --scheduled`: starts the document at each occurrence of its schedule, until it is stopped. Called by `run`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from workflow_runner.cli.eventing import Eventing
from workflow_runner.dsl.model import Workflow
from workflow_runner.dsl.templates import Json
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.local import LocalRun
from workflow_runner.hosts.scheduler import Scheduler, Triggers, local_zone
from workflow_runner.interpreter.events import Event
from workflow_runner.interpreter.outcome import Outcome

if TYPE_CHECKING:
    from workflow_runner.calls.addresses import AddressRules
    from workflow_runner.hosts.elsewhere import HostOptions


async def run_scheduled(
    workflow: Workflow,
    input_: Json,
    secrets: Mapping[str, Json],
    eventing: Eventing,
    report_for: Callable[[str], Callable[[Event], None]],
    conclude: Callable[[Outcome], object],
    addresses: AddressRules | None,
    host: HostOptions,
) -> None:
    """Start runs until cancelled. `input_` is None where none was given; `report_for` gives what takes the events of the run
    of an execution id, `conclude` hears how each ended. Raises InvalidInput where the document has no schedule."""
    schedule = workflow.schedule
    if schedule is None:
        raise InvalidInput(
            "--scheduled was given, and the document has no `schedule`",
            code="input.no-schedule",
            hint="leave it out to run once",
        )

    async def start(given: Json) -> None:
        execution_id = str(uuid.uuid4())
        async with eventing.telling(lambda: workflow.document, execution_id, report_for(execution_id)) as report:
            local = LocalRun(
                workflow,
                given,
                execution_id=execution_id,
                run_id="",
                secrets=secrets,
                report=report,
                addresses=addresses,
                bus=eventing.bus,
                options=host,
            )
            running = asyncio.ensure_future(local.run())
            try:
                outcome = await asyncio.shield(running)
            except asyncio.CancelledError:
                local.cancel("the command was stopped")
                conclude(await running)
                raise
        conclude(outcome)

    scheduler = Scheduler(start)
    if schedule.on is None:
        await scheduler.by_time(schedule, {} if input_ is None else input_, local_zone())
        return
    if input_ is not None:
        raise InvalidInput(
            "--input was given, and the input of this workflow are the events that start it", code="input.ambiguous"
        )
    triggers = Triggers(workflow, schedule.on, eventing.bus, secrets)
    async with triggers.open():
        await scheduler.by_events(triggers)
