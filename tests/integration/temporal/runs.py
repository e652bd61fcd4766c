"""Runs documents on Temporal for the tests of this folder: in this process, or with workers that may be killed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowHistory
from tests.until import until

from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.hosts.event_bus import EventBus, Offer
from workflow_runner.hosts.local import Source
from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.client import connect
from workflow_runner.hosts.temporal.run import TemporalRun
from workflow_runner.hosts.temporal.worker import RunWorker
from workflow_runner.interpreter.events import Event, EventType
from workflow_runner.interpreter.outcome import Outcome
from workflow_runner.interpreter.subscriptions import Wanted
from workflow_runner.settings.temporal import PayloadSettings, TemporalSettings

HEADER = "document: {dsl: '1.0.3', namespace: tests, name: test, version: '1.0.0'}\n"
HEARTBEAT_SECONDS = 1.5


def document(text: str) -> str:
    """A document from its tasks, with or without the first lines."""
    text = dedent(text)
    return text if text.startswith("document:") or "\ndocument:" in text else HEADER + text


@dataclass
class Followed:
    """A run that goes on while the test does something: its events so far, and how it ends."""

    client: Client
    execution_id: str
    run: TemporalRun
    task: asyncio.Task[Outcome]
    events: list[tuple[int, Event]]

    def types(self) -> list[str]:
        """The kinds of the events so far."""
        return [event.type.value for _, event in self.events]

    async def told(self, type_: EventType, name: str = "", *, seconds: float = 30.0) -> Event:
        """Wait for an event, and give it."""

        def found() -> Event | None:
            return next((one for _, one in self.events if one.type is type_ and name in ("", one.task_name)), None)

        await until(lambda: found() is not None or self.task.done(), seconds)
        event = found()
        assert event is not None, (self.types(), self.task)
        return event

    async def outcome(self, seconds: float = 60.0) -> Outcome:
        """How it ends."""
        async with asyncio.timeout(seconds):
            return await self.task

    async def described(self) -> WorkflowExecutionDescription:
        """What Temporal says of it."""
        return await self.client.get_workflow_handle(names.run_id(self.execution_id)).describe()

    async def histories(self) -> list[WorkflowHistory]:
        """That of the run, and those of the runs that it was continued as new by, in order."""
        id_, found = names.run_id(self.execution_id), []
        next_ = (await self.described()).raw_description.workflow_execution_info.first_run_id
        while next_:
            history = await self.client.get_workflow_handle(id_, run_id=next_).fetch_history()
            found.append(history)
            next_ = history.events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        return found

    async def status(self) -> dict[str, Any]:
        """What the workflow says of itself."""
        answer: dict[str, Any] = await self.client.get_workflow_handle(names.run_id(self.execution_id)).query(names.STATUS)
        return answer


@dataclass
class Setting:
    """Where runs are started: a client of a server, with a bus for events."""

    client: Client
    payloads: PayloadSettings
    bus: EventBus = field(default_factory=EventBus)

    def offer(self, type_: str, data: Any = None) -> Offer:
        """An event comes to the process."""
        return self.bus.offer(
            {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "urn:test", "type": type_, "data": data}
        )

    def wanted(self) -> list[tuple[Wanted, ...]]:
        """What each listener of the process wants."""
        return [each.wanted for each in self.bus.subscriptions]

    @contextlib.asynccontextmanager
    async def following(
        self, text: str, input_: Any = None, *, execution_id: str = "", queue: str = "", **options: Any
    ) -> AsyncIterator[Followed]:
        """Start or attach to a run of a document, and follow it; a worker has to be there."""
        execution_id = execution_id or str(uuid.uuid4())
        events: list[tuple[int, Event]] = []
        run = TemporalRun(
            self.client,
            Source(document(text), "test.yaml"),
            input_,
            task_queue=queue or execution_id,
            execution_id=execution_id,
            run_id="r-1",
            secrets=options.pop("secrets", {}),
            report=lambda number, event: events.append((number, event)),
            encrypted=self.payloads.keys is not None,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            bus=self.bus,
            **options,
        )
        task = asyncio.create_task(run.run())
        try:
            yield Followed(self.client, execution_id, run, task, events)
        finally:
            if not task.done():
                run.cancel("the test is over")
            await asyncio.gather(task, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def running(
        self, text: str, input_: Any = None, *, host: HostOptions | None = None, execution_id: str = "", **options: Any
    ) -> AsyncIterator[Followed]:
        """The same, with a worker in this process."""
        execution_id = execution_id or str(uuid.uuid4())
        worker = RunWorker(self.client, execution_id, options=host or HostOptions(), sticky_seconds=1.0)
        async with worker, self.following(text, input_, execution_id=execution_id, **options) as followed:
            yield followed


async def setting(address: str, payloads: PayloadSettings | None = None) -> Setting:
    """For a server."""
    payloads = payloads or PayloadSettings()
    return Setting(await connect(TemporalSettings(address, payloads=payloads)), payloads)


class WorkerProcesses:
    """Workers of one queue in processes of their own. One that is killed is replaced; the others go on meanwhile."""

    def __init__(self, address: str, queue: str) -> None:
        self._address, self._queue = address, queue
        self._processes: list[asyncio.subprocess.Process] = []
        self._starting: set[asyncio.Task[None]] = set()

    async def add(self) -> None:
        """One more, once it works."""
        self._processes.append(await _started(self._address, self._queue))

    async def kill_one(self) -> None:
        """The oldest dies at once; the next one is on its way. Waits until there is another one to go on."""
        await until(lambda: len(self._processes) > 1, 30)
        process = self._processes.pop(0)
        process.kill()
        await process.wait()
        task = asyncio.create_task(self.add())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def close(self) -> None:
        """End them all."""
        await asyncio.gather(*self._starting, return_exceptions=True)
        for process in self._processes:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def worker_processes(address: str, queue: str, count: int = 1) -> AsyncIterator[WorkerProcesses]:
    """So many of them."""
    workers = WorkerProcesses(address, queue)
    try:
        await asyncio.gather(*(workers.add() for _ in range(count)))
        yield workers
    finally:
        await workers.close()


async def _started(address: str, queue: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.temporal.working", address, queue, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"works\n"
    return process
