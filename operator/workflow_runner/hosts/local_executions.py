"""Executions that run in this process: what `workflow-runner serve` offers. Built by cli.serve, called by server/.

With a store (execution_store.py) what was accepted outlives the process: the next one goes on with it. Without one it lasts
as long as the process. Executions that have ended are kept for those who ask, the newest ones, and of the older among these
only how they ended.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable

from msgspec.structs import replace

from workflow_runner import telemetry
from workflow_runner.dsl.model import Workflow
from workflow_runner.errors import WorkflowRunnerError
from workflow_runner.hosts import start_requests
from workflow_runner.hosts.acceptances import Acceptances
from workflow_runner.hosts.buffer import Kept
from workflow_runner.hosts.documents import Documents
from workflow_runner.hosts.execution_store import Accepted, ExecutionStore, Stored, digest_of
from workflow_runner.hosts.executions import (
    MOST_EVENTS_A_PAGE,
    Caller,
    OtherContent,
    Started,
    StartRequest,
    Stopping,
    TooMany,
    UnknownExecution,
    WrongState,
)
from workflow_runner.hosts.kept_executions import Bounds, KeptExecutions
from workflow_runner.hosts.local_execution import Ended, Environment, LocalExecution
from workflow_runner.hosts.snapshots import Snapshot, Snapshots
from workflow_runner.interpreter.events import ENDS, Event
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ExecutionStatus, WorkflowProgressEvent

BEGUN_AT_ONCE = 8
"""Of those that an earlier process left."""
RETRY_SECONDS = 5.0

log = logging.getLogger(__name__)

Told = Callable[[LocalExecution, int, Event], None]


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
        self._executions: KeptExecutions[LocalExecution] = KeptExecutions(
            bounds or Bounds(), owes=self._owed, forget=self._forget
        )
        self._starting: Acceptances[None] = Acceptances()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._writing: set[asyncio.Task[None]] = set()
        self._removing: dict[str, asyncio.Task[None]] = {}
        self._stopping = self._closed = False
        self.owing = False
        """Somebody outside is to be told of events, and says by `delivered` which ones have come there."""
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
        if execution.ended and number >= execution.last and self._store is not None and not self._closed:
            # So that the next process does not tell it again.
            self._keep(asyncio.create_task(self._write_end(execution, execution.kept), name=f"end of {execution_id}"))

    @property
    def keeps(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    @property
    def live(self) -> int:
        """How many have not ended."""
        return self._executions.live

    def by_status(self) -> dict[str, int]:
        """How many there are of each status."""
        return self._executions.by_status()

    async def go_on(self) -> int:
        """Know what an earlier process accepted, and begin to go on with it; how many executions had not ended."""
        if self._store is None:
            return 0
        places, count = asyncio.Semaphore(BEGUN_AT_ONCE), 0
        for stored in await asyncio.to_thread(lambda: list(self._store.all() if self._store else ())):
            if stored.ended is not None:
                self._back(stored, stored.ended)
                continue
            accepted = stored.accepted
            self._starting.begin(accepted.request.execution_id, accepted.digest, self._begin_again(accepted, places))
            count += 1
        return count

    async def start(self, request: StartRequest, caller: Caller) -> Started:
        """See Executions.start."""
        start_requests.check(request)
        digest = digest_of(request)
        if not request.execution_id:
            request = replace(request, execution_id=str(uuid.uuid4()))
        execution_id = request.execution_id
        known = self._executions.get(execution_id)
        if known is not None:
            OtherContent.check(execution_id, known.accepted.digest, digest)
        if known is not None or await self._starting.is_under_way(execution_id, digest):
            return Started(execution_id, begun=False)
        if self._stopping:
            raise Stopping.here()
        self._check_intact(execution_id)
        most = self._executions.bounds.live
        if self.live + len(self._starting) >= most:
            raise TooMany(f"{self.live} executions are running here, and there may be {most}", seconds=RETRY_SECONDS)
        if self._store is None and (workflow := self._documents.known(request.document)) is not None:
            self._begin(self._accepting(request, digest, workflow), workflow, None)
            return Started(execution_id)
        await self._starting.accept(execution_id, digest, self._accept(request, digest))
        return Started(execution_id)

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
        if starting := self._starting.tasks:
            await asyncio.wait(starting, timeout=seconds)
        live = [execution for execution in self._executions if not execution.ended]
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
        starting = self._starting.tasks
        await asyncio.gather(*tasks, *starting, return_exceptions=True)
        self._closed = True
        await asyncio.gather(*self._writing, return_exceptions=True)
        await self._documents.close()
        if self._store is not None:
            self._store.close()

    def _check_intact(self, execution_id: str) -> None:
        if self._store is not None and self._store.left_alone(execution_id):
            raise WrongState(
                f"what was kept of execution {execution_id!r:.300} cannot be read back",
                code="state.damaged",
                hint="the runner's log says why; choose another id, or mend or remove what is in the state folder",
            )

    async def _accept(self, request: StartRequest, digest: str) -> None:
        start_requests.time_limit(request)
        workflow = await self._documents.read(request.document)
        if self._stopping:
            raise Stopping.here()
        accepted = self._accepting(request, digest, workflow)
        if self._store is not None:
            if (removing := self._removing.get(request.execution_id)) is not None:
                await asyncio.wait([removing])  # an execution of this id that was forgotten just now
            await asyncio.to_thread(self._store.write, accepted)
        self._begin(accepted, workflow, None if self._store is None else self._store.snapshots(accepted))

    @staticmethod
    def _accepting(request: StartRequest, digest: str, workflow: Workflow) -> Accepted:
        start_requests.check_awaited(request, workflow)
        return Accepted(request, digest, time.time())

    def _begin(
        self, accepted: Accepted, workflow: Workflow, snapshots: Snapshots | None, snapshot: Snapshot | None = None
    ) -> None:
        secrets = start_requests.secrets_of(accepted.request, workflow)
        telemetry.conceal_all(secrets, passing=True)
        execution = LocalExecution(
            accepted,
            workflow,
            self._environment,
            self._report,
            timeout=start_requests.time_limit(accepted.request),
            secrets=secrets,
            snapshots=snapshots,
            snapshot=snapshot,
            owing=self.owing,
            conclude=None if self._store is None else self._write_end,
        )
        self._executions.add(execution)
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
            self._executions.note_end(execution)

    def _owed(self, execution_id: str) -> bool:
        return self.owes(execution_id)

    def _forget(self, execution: LocalExecution) -> None:
        self.forgotten(execution.id)
        if self._store is not None and not self._closed:
            self._removing[execution.id] = task = asyncio.create_task(self._remove(execution), name=f"forget {execution.id}")
            self._keep(task)
            task.add_done_callback(lambda _: self._removing.pop(execution.id, None))

    async def _find(self, execution_id: str) -> LocalExecution:
        await self._starting.settled(execution_id)
        execution = self._executions.get(execution_id)
        if execution is None:
            self._check_intact(execution_id)
            raise UnknownExecution(f"there is no execution {execution_id!r:.300} here")
        return execution

    def _back(self, stored: Stored, kept: Kept) -> None:
        """One that ended in an earlier process."""
        ended = Ended(kept, stored.output_left_out)
        execution = LocalExecution(stored.accepted, None, self._environment, self._report, ended=ended, owing=self.owing)
        execution.delivered = stored.delivered
        self._executions.add(execution)
        self.tracked(execution)
        self._executions.note_end(execution)

    async def _begin_again(self, accepted: Accepted, places: asyncio.Semaphore) -> None:
        """One that had not ended."""
        assert self._store is not None  # noqa: S101 - it was read from there
        async with places:
            if self._stopping:
                raise Stopping.here()
            accepted.begun += 1
            snapshots = self._store.snapshots(accepted)
            try:
                await asyncio.to_thread(self._store.write, accepted)
                workflow = await self._documents.read(accepted.request.document)
                snapshot = await asyncio.to_thread(snapshots.read)
            except WorkflowRunnerError as error:
                execution_id = accepted.request.execution_id
                self._store.leave_alone(execution_id)
                log.error(
                    "an execution cannot be gone on with; it is left alone",
                    extra={"execution": execution_id, "code": error.code, "error": str(error)},
                )
                self._check_intact(execution_id)  # raises
                return
            self._begin(accepted, workflow, snapshots, snapshot)

    async def _write(self, execution: LocalExecution) -> None:
        """What is wanted of it now; a caller that has an answer can rely on it."""
        if self._store is None:
            return
        async with execution.writing:
            if execution.ended:
                return
            if self._closed:
                raise Stopping.here()
            # As it is now: when it ends meanwhile it lets go of its request.
            await asyncio.to_thread(self._store.write, replace(execution.accepted))

    async def _write_end(self, execution: LocalExecution, kept: Kept) -> None:
        assert self._store is not None  # noqa: S101 - see where it is called
        left_out = execution.output_left_out
        try:
            async with execution.writing:
                await asyncio.to_thread(self._store.end, execution.id, kept, execution.delivered, output_left_out=left_out)
        except WorkflowRunnerError as error:
            log.warning(
                "how an execution ended cannot be written down; a restart would go on with it where it was",
                extra={"execution": execution.id, "code": error.code, "error": str(error)},
            )

    async def _remove(self, execution: LocalExecution) -> None:
        assert self._store is not None  # noqa: S101 - see where it is called
        try:
            async with execution.writing:
                await asyncio.to_thread(self._store.remove, execution.id)
        except WorkflowRunnerError as error:
            log.warning("an execution cannot be removed", extra={"execution": execution.id, "error": str(error)})

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
