"""Listens to a local run for tests, and waits for what it tells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from tests.unit.interpreter.virtual import whole

from workflow_runner.dsl.templates import Json
from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.hosts.event_bus import EventBus
from workflow_runner.hosts.local import LocalRun, Source
from workflow_runner.interpreter.events import Event, EventType
from workflow_runner.interpreter.frames import WorkflowFrame


class Recorder:
    """Keeps events; `then` is called with each one's number, from 0, before anything else runs."""

    def __init__(self, then: Callable[[int], None] | None = None) -> None:
        self.events: list[Event] = []
        self._then = then
        self._news = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()
        if self._then is not None:
            self._then(len(self.events) - 1)

    async def until(self, wanted: str) -> None:
        """Wait until an event is told, in the short form of `lines`."""

        async def look() -> None:
            while wanted not in self.lines:
                self._news.clear()
                await self._news.wait()

        await asyncio.wait_for(look(), 10)

    @property
    def lines(self) -> list[str]:
        """The events in short: "started a", "workflow_paused"."""
        return [short(event) for event in self.events]


def short(event: Event) -> str:
    place = f"[{event.iteration}]" if event.iteration else ""
    return f"{event.type.value.removeprefix('task_')} {event.task_name}{place}".strip()


STEERING = {EventType.WORKFLOW_PAUSED, EventType.WORKFLOW_RESUMED}


def local_run(
    text: str,
    input_: Json = None,
    *,
    report: Callable[[Event], None],
    secrets: Mapping[str, Json] | None = None,
    start_from: WorkflowFrame | None = None,
    checkpointed: Callable[[WorkflowFrame], Awaitable[None]] | None = None,
    timeout: timedelta | None = None,
    bus: EventBus | None = None,
    options: HostOptions | None = None,
) -> LocalRun:
    """A run of a document by its text; the `document` part is added."""
    return LocalRun(
        Source(whole(text), "test.yaml"),
        input_,
        execution_id="exec-1",
        run_id="run-1",
        secrets=secrets or {},
        report=report,
        start_from=start_from,
        checkpointed=checkpointed,
        timeout=timeout,
        bus=bus,
        options=options,
    )
