"""Executions that run in this process: what `workflow-runner serve` offers. Built by cli.serve, called by server/.

With a store (execution_store.py) what was accepted outlives the process: the next one goes on with it. Without one it lasts
as long as the process. Executions that have ended are kept for those who ask, the newest ones.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

from msgspec import Struct
from msgspec.structs import replace

from workflow_runner import telemetry
from workflow_runner.dsl.durations import parse_duration
from workflow_runner.dsl.model import Workflow
from workflow_runner.errors import InvalidInput, WorkflowRunnerError
from workflow_runner.hosts.documents import Documents
from workflow_runner.hosts.execution_store import Accepted, ExecutionStore, Stored, digest_of
from workflow_runner.hosts.executions import (
    AWAITED,
    MOST_EVENTS_A_PAGE,
    Caller,
    OtherContent,
    Started,
    StartRequest,
    Stopping,
    TooMany,
    UnknownExecution,
)
from workflow_runner.hosts.local_execution import ENDS, Environment, LocalExecution
from workflow_runner.hosts.snapshots import Snapshot, Snapshots
from workflow_runner.interpreter.events import Event
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ExecutionStatus, WorkflowProgressEvent

MOST_ENDED_FACTOR = 10
"""So many times the bound may be kept while somebody has not heard of their end."""
LONGEST_ID = 256
RETRY_SECONDS = 5.0

log = logging.getLogger(__name__)

Told = Callable[[LocalExecution, int, Event], None]


class Bounds(Struct, frozen=True):
    """How much there may be: executions that have not ended; those that have; and the events of these together."""

    live: int = 2000
    ended: int = 1000
    events: int = 100_000


class LocalExecutions:
    """Implements executions.Executions. Use it from one event loop; `close` it."""

    def __init__(
        self,
        documents: Documents,
        environment: Environment,
        *,
        store: ExecutionStore | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self._documents = documents
        self._environment = environment
        self._store = store
        self._bounds = bounds or Bounds()
        self._executions: dict[str, LocalExecution] = {}
        self._ended: dict[str, None] = {}
        """In the order of their ends."""
        self._ended_events = 0
        self._starting: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._writing: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.tracked: Callable[[LocalExecution], None] = lambda execution: None
        """Told of every execution before its first event."""
        self.told: Told = lambda execution, number, event: None
        """Told of every event."""
        self.forgotten: Callable[[str], None] = lambda execution_id: None
        """Told of every execution that is no longer kept."""
        self.owes: Callable[[str], bool] = lambda execution_id: False
        """Whether somebody is still to be told of an execution's events."""

    def delivered(self, execution_id: str, number: int) -> None:
        """Whoever is told of an execution's events has them up to this number."""
        execution = self._executions.get(execution_id)
        if execution is None or number <= execution.delivered:
            return
        execution.delivered = number
        if execution.ended and number >= execution.last and self._store is not None:
            # So that the next process does not tell it again.
            self._keep(asyncio.create_task(self._write_end(execution), name=f"end of {execution_id}"))

    @property
    def live(self) -> int:
        """How many have not ended."""
        return len(self._executions) - len(self._ended)

    def by_status(self) -> dict[str, int]:
        """How many there are of each status."""
        counts: dict[str, int] = {}
        for execution in self._executions.values():
            counts[execution.status] = counts.get(execution.status, 0) + 1
        return counts

    async def go_on(self) -> int:
        """Go on with what an earlier process accepted; how many executions had not ended."""
        if self._store is None:
            return 0
        count = 0
        for stored in await asyncio.to_thread(lambda: list(self._store.all() if self._store else ())):
            count += await self._back(stored)
        return count

    async def start(self, request: StartRequest, caller: Caller) -> Started:
        """See Executions.start."""
        self._check(request)
        digest = digest_of(request)
        if not request.execution_id:
            request = replace(request, execution_id=str(uuid.uuid4()))
        known = self._executions.get(request.execution_id)
        if known is not None:
            return _same(known.accepted.digest, digest, request.execution_id)
        starting = self._starting.get(request.execution_id)
        if starting is not None:
            found = _same(starting[0], digest, request.execution_id)
            await asyncio.shield(starting[1])
            return found
        if self._stopping:
            raise Stopping("this runner is stopping; ask another one, or this one again in a moment")
        if self.live + len(self._starting) >= self._bounds.live:
            raise TooMany(
                f"{self.live} executions are running here, and there may be {self._bounds.live}", seconds=RETRY_SECONDS
            )
        # Once begun, it is finished: a caller that goes away must not leave an execution that is half accepted.
        task = asyncio.create_task(self._accept(request, digest), name=f"accept {request.execution_id}")
        self._starting[request.execution_id] = (digest, task)
        task.add_done_callback(lambda done: self._accepted(request.execution_id, done))
        await asyncio.shield(task)
        return Started(request.execution_id)

    async def cancel(self, execution_id: str, reason: str, caller: Caller, *, force: bool) -> None:
        """See Executions.cancel."""
        execution = await self._find(execution_id)
        execution.cancel(reason, force=force)
        await self._write(execution)

    async def pause(self, execution_id: str, reason: str, caller: Caller) -> None:
        """See Executions.pause."""
        execution = await self._find(execution_id)
        execution.pause(reason)
        await self._write(execution)

    async def resume(self, execution_id: str, reason: str, caller: Caller) -> None:
        """See Executions.resume."""
        execution = await self._find(execution_id)
        execution.resume()
        await self._write(execution)

    async def status(self, execution_id: str, caller: Caller) -> ExecutionStatus:
        """See Executions.status."""
        return (await self._find(execution_id)).state()

    async def events(
        self, execution_id: str, after: int, most: int, caller: Caller
    ) -> tuple[list[WorkflowProgressEvent], bool]:
        """See Executions.events."""
        return (await self._find(execution_id)).events(after, min(most or MOST_EVENTS_A_PAGE, MOST_EVENTS_A_PAGE))

    async def subscribe(self, execution_id: str, after: int, caller: Caller) -> AsyncIterator[WorkflowProgressEvent]:
        """See Executions.subscribe."""
        execution = await self._find(execution_id)
        async for event in execution.subscribe(after):
            yield event

    async def close(self, seconds: float) -> None:
        """Take nothing more in, and end. With a store the runs stop before their next task and the next process goes on;
        without one they have so many seconds to end, and are cancelled then."""
        self._stopping = True
        deadline = time.monotonic() + seconds
        live = [execution for execution in self._executions.values() if not execution.ended]
        if self._store is not None:
            for execution in live:
                if execution.accepted.wanted == "Run":
                    execution.hold()
        while not all(execution.held if self._store else execution.ended for execution in live):
            if (left := deadline - time.monotonic()) <= 0:
                break
            tasks = [task for task in self._tasks.values() if not task.done()]
            if not tasks:
                break
            await asyncio.wait(tasks, timeout=min(left, 0.1), return_when=asyncio.FIRST_COMPLETED)
        for execution in live:
            if not execution.ended and execution.accepted.wanted != "Cancel":
                if self._store is not None:
                    execution.interrupt()
                else:
                    execution.cancel("the runner was stopped", force=False)
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=max(5.0, deadline - time.monotonic()))
        for task in tasks:
            task.cancel()
        starting = [task for _, task in self._starting.values()]
        await asyncio.gather(*tasks, *starting, *self._writing, return_exceptions=True)
        await self._documents.close()
        if self._store is not None:
            self._store.close()

    def _check(self, request: StartRequest) -> None:
        if len(request.execution_id) > LONGEST_ID or not request.execution_id.isprintable():
            raise InvalidInput(
                f"workflow_execution_id is longer than {LONGEST_ID} characters, or has some that cannot be printed",
                code="execution.bad-id",
            )
        if not request.document:
            raise InvalidInput("workflow_yaml is empty: there is nothing to run", code="input.missing")

    async def _accept(self, request: StartRequest, digest: str) -> None:
        _timeout(request)
        workflow = await self._documents.read(request.document)
        if request.awaited and isinstance(workflow.timeout, timedelta) and workflow.timeout > AWAITED:
            raise InvalidInput(
                f"the document's time limit is {workflow.timeout}, and a caller may wait for {AWAITED}",
                code="execution.too-long",
                hint="start it with ExecuteAsync, and follow it with Subscribe or GetStatus",
            )
        accepted = Accepted(request, digest, time.time())
        if self._store is not None:
            await asyncio.to_thread(self._store.write, accepted)
        self._begin(accepted, workflow, None if self._store is None else self._store.snapshots(accepted))

    def _accepted(self, execution_id: str, task: asyncio.Task[None]) -> None:
        self._starting.pop(execution_id, None)
        if not task.cancelled():
            task.exception()  # the caller has heard it, or has gone

    def _begin(
        self, accepted: Accepted, workflow: Workflow, snapshots: Snapshots | None, snapshot: Snapshot | None = None
    ) -> None:
        environment = accepted.request.environment
        secrets = {name: environment[name] for name in workflow.use.secrets if name in environment}
        telemetry.conceal_all(secrets, passing=True)
        execution = LocalExecution(
            accepted,
            workflow,
            self._environment,
            self._report,
            timeout=_timeout(accepted.request),
            secrets=secrets,
            snapshots=snapshots,
            snapshot=snapshot,
        )
        self._executions[execution.id] = execution
        self.tracked(execution)
        self._tasks[execution.id] = asyncio.create_task(self._run(execution), name=f"execution {execution.id}")

    async def _run(self, execution: LocalExecution) -> None:
        try:
            await execution.run()
        finally:
            self._tasks.pop(execution.id, None)

    def _report(self, execution: LocalExecution, number: int, event: Event) -> None:
        self.told(execution, number, event)
        if event.type in ENDS:
            self._ended[execution.id] = None
            self._ended_events += execution.size
            if self._store is not None:
                self._keep(asyncio.create_task(self._write_end(execution), name=f"end of {execution.id}"))
            self._make_room()

    def _make_room(self) -> None:
        bounds = self._bounds
        for execution_id in list(self._ended):
            few = len(self._ended) <= bounds.ended and self._ended_events <= bounds.events
            if few:
                return
            if self.owes(execution_id) and len(self._ended) <= bounds.ended * MOST_ENDED_FACTOR:
                continue
            self._forget(execution_id)

    def _forget(self, execution_id: str) -> None:
        del self._ended[execution_id]
        execution = self._executions.pop(execution_id)
        self._ended_events -= execution.size
        self.forgotten(execution_id)
        if self._store is not None:
            self._keep(asyncio.create_task(self._remove(execution_id), name=f"forget {execution_id}"))

    async def _find(self, execution_id: str) -> LocalExecution:
        starting = self._starting.get(execution_id)
        if starting is not None:
            await asyncio.wait([starting[1]])
        execution = self._executions.get(execution_id)
        if execution is None:
            raise UnknownExecution(f"there is no execution {execution_id!r:.300} here")
        return execution

    async def _back(self, stored: Stored) -> int:
        accepted = stored.accepted
        if stored.ended is not None:
            execution = LocalExecution(accepted, None, self._environment, self._report, ended=stored.ended)
            execution.delivered = stored.delivered
            self._executions[execution.id] = execution
            self._ended[execution.id] = None
            self._ended_events += execution.size
            self.tracked(execution)
            return 0
        assert self._store is not None  # noqa: S101 - it was read from there
        accepted.begun += 1
        snapshots = self._store.snapshots(accepted)
        try:
            await asyncio.to_thread(self._store.write, accepted)
            workflow = await self._documents.read(accepted.request.document)
            snapshot = await asyncio.to_thread(snapshots.read)
        except WorkflowRunnerError as error:
            log.error(
                "an execution cannot be gone on with; it is left alone",
                extra={"execution": accepted.request.execution_id, "code": error.code, "error": str(error)},
            )
            return 0
        self._begin(accepted, workflow, snapshots, snapshot)
        return 1

    async def _write(self, execution: LocalExecution) -> None:
        """What is wanted of it now; a caller that has an answer can rely on it."""
        if self._store is not None and not execution.ended:
            await asyncio.to_thread(self._store.write, execution.accepted)

    async def _write_end(self, execution: LocalExecution) -> None:
        assert self._store is not None  # noqa: S101 - see where it is called
        try:
            await asyncio.to_thread(self._store.end, execution.id, execution.kept, execution.delivered)
        except WorkflowRunnerError as error:
            log.warning("how an execution ended cannot be written down", extra={"execution": execution.id, "error": str(error)})

    async def _remove(self, execution_id: str) -> None:
        assert self._store is not None  # noqa: S101 - see where it is called
        try:
            await asyncio.to_thread(self._store.remove, execution_id)
        except WorkflowRunnerError as error:
            log.warning("an execution cannot be removed", extra={"execution": execution_id, "error": str(error)})

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)


def _same(known: str, digest: str, execution_id: str) -> Started:
    if known != digest:
        raise OtherContent(
            f"execution {execution_id!r:.300} exists, and runs something else; choose another id for another run"
        )
    return Started(execution_id, begun=False)


def _timeout(request: StartRequest) -> timedelta | None:
    text = request.config.get("timeout")
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidInput(f"config.timeout is {text!r:.100}: {error}", code="input.invalid", hint="write PT5M") from error
