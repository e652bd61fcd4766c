"""Executions whose runs are in Temporal: what `workflow-runner serve` offers there, a pool's replicas above all. Built by
cli.serve, called by server/.

What is accepted is in Temporal, under the execution's id, with the digest of what was asked for. This process follows the
runs that it was asked about: any of those that share the queue can be asked about any run, and goes on with the others' when
one of them is gone.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from msgspec.structs import replace
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from workflow_runner import telemetry
from workflow_runner.errors import InvalidInput, Unavailable, WorkflowRunnerError
from workflow_runner.hosts import start_requests
from workflow_runner.hosts.acceptances import Acceptances
from workflow_runner.hosts.documents import Documents
from workflow_runner.hosts.execution_store import digest_of
from workflow_runner.hosts.executions import (
    MOST_EVENTS_A_PAGE,
    Caller,
    OtherContent,
    Started,
    StartRequest,
    Stopping,
    TooMany,
    UnknownExecution,
)
from workflow_runner.hosts.kept_executions import Bounds, KeptExecutions
from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.execution import TemporalExecution
from workflow_runner.hosts.temporal.limits import LARGEST_PLAIN, LARGEST_STORED
from workflow_runner.hosts.temporal.rpc import RPC_SECONDS
from workflow_runner.hosts.temporal.run import TemporalRun
from workflow_runner.interpreter.events import ENDS, Event
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ExecutionStatus, WorkflowProgressEvent
from workflow_runner.settings.temporal import TemporalSettings

DIGEST, WORKFLOW = "digest", "workflow"
"""Members of a run's memo."""
KNOWN_SECONDS = 7.0
"""So long a question waits for what a run told before this process came. Who asks may wait for ten."""
RETRY_SECONDS = 5.0
MOST_FOUND_AT_ONCE = 16
MOST_TAKEN_UP = 10_000
ENDED_BEFORE = timedelta(hours=1)
"""An end that is older has been told, or nobody was there for longer than that."""
TIDY_SECONDS, IDLE_SECONDS = 60.0, 600.0

log = logging.getLogger(__name__)


class TemporalExecutions:
    """Implements executions.Executions. Use it from one event loop; `close` it."""

    def __init__(
        self,
        documents: Documents,
        client: Client,
        settings: TemporalSettings,
        *,
        bounds: Bounds | None = None,
    ) -> None:
        """Somebody has to poll the queue `settings.engine_task_queue`. Events that runs listen to come to them by signal."""
        self._documents = documents
        self._client = client
        self._settings = settings
        self._executions: KeptExecutions[TemporalExecution] = KeptExecutions(
            bounds or Bounds(), owes=self._owed, forget=self._forget
        )
        self._starting: Acceptances[bool] = Acceptances()
        self._finding: dict[str, asyncio.Task[TemporalExecution]] = {}
        self._find_at_once = asyncio.Semaphore(MOST_FOUND_AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._telling: set[str] = set()
        """Of these somebody is told."""
        self._tidying: asyncio.Task[None] | None = None
        self._taking_up = False
        """The runs that are open are still to be taken up."""
        self._stopping = False
        self.owing = False
        """These five as in hosts.local_executions."""
        self.tracked: Callable[[TemporalExecution], None] = lambda execution: None
        self.told: Callable[[TemporalExecution, int, Event], None] = lambda execution, number, event: None
        self.forgotten: Callable[[str], None] = lambda execution_id: None
        self.owes: Callable[[str], bool] = lambda execution_id: False

    @property
    def keeps(self) -> bool:
        """Temporal keeps the runs, and nobody what of them has been told outside: that has a moment when the process ends."""
        return False

    @property
    def live(self) -> int:
        """How many are followed here, and have not ended."""
        return self._executions.live

    def by_status(self) -> dict[str, int]:
        """How many there are of each status."""
        return self._executions.by_status()

    def delivered(self, execution_id: str, number: int) -> None:
        """Stigmer has an execution's events up to this number."""
        execution = self._executions.get(execution_id)
        if execution is not None:
            execution.delivered = max(execution.delivered, number)

    async def go_on(self) -> int:
        """Follow the runs that are open on the queue, where somebody outside is to hear of them; how many there are. The others
        are followed when somebody asks after them."""
        self._tidying = asyncio.create_task(self._tidied(), name="tidy executions")
        if not self.owing:
            return 0
        try:
            return await self._taken_up()
        except RPCError as error:
            log.warning("the open runs are not known yet; it is tried again", extra={"error": error.message[:300]})
            self._taking_up = True
            return 0

    async def _taken_up(self) -> int:
        """Those that are open, and those that ended a short while ago, maybe before anybody had heard of it."""
        queue, since = self._settings.engine_task_queue, datetime.now(UTC) - ENDED_BEFORE
        ours = f"WorkflowType = '{names.RUN}' AND TaskQueue = '{queue}'"
        query = f"{ours} AND (ExecutionStatus = 'Running' OR CloseTime > '{since.isoformat(timespec='seconds')}')"
        prefix = names.run_id("")
        found: set[str] = set()
        async for each in self._client.list_workflows(query, rpc_timeout=RPC_SECONDS):
            execution_id = each.id.removeprefix(prefix)
            if not each.id.startswith(prefix) or execution_id in found or execution_id in self._executions:
                continue
            found.add(execution_id)
            self._begin_to_find(execution_id, tells=True)
            if len(found) >= MOST_TAKEN_UP:
                log.warning("there are more open runs than are taken up; the others are followed when somebody asks")
                break
        return len(found)

    async def _tidied(self) -> None:
        """Leave what nobody asks after any more; take up what could not be."""
        while True:
            await asyncio.sleep(TIDY_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            try:
                if self._taking_up:
                    await self._taken_up()
                    self._taking_up = False
            except RPCError as error:
                log.warning("the open runs are not known yet; it is tried again", extra={"error": error.message[:300]})
            if not self.owing:
                for execution in list(self._executions):
                    if not execution.ended and execution.is_idle(IDLE_SECONDS):
                        execution.leave()

    async def start(self, request: StartRequest, caller: Caller) -> Started:
        """See Executions.start."""
        start_requests.check(request)
        digest = digest_of(request)
        if not request.execution_id:
            request = replace(request, execution_id=str(uuid.uuid4()))
        execution_id = request.execution_id
        known = self._executions.get(execution_id)
        if known is not None:
            OtherContent.check(execution_id, known.digest, digest)
        if known is not None or await self._starting.is_under_way(execution_id, digest):
            return _started(execution_id, begun=False)
        if (finding := self._finding.get(execution_id)) is not None:
            await asyncio.wait([finding])
            return await self.start(request, caller)
        if self._stopping:
            raise Stopping.here()
        most = self._executions.bounds.live
        # Those that nobody follows here have gone on to another process, or to nobody.
        begun = sum(each.begun_here and not each.ended and not each.is_idle(TIDY_SECONDS) for each in self._executions)
        if begun + len(self._starting) >= most:
            raise TooMany(f"{begun} executions were begun here and go on, and there may be {most}", seconds=RETRY_SECONDS)
        begun_here = await self._starting.accept(execution_id, digest, self._accept(request, digest))
        return _started(execution_id, begun=begun_here)

    async def cancel(self, execution_id: str, reason: str, caller: Caller, *, force: bool) -> None:
        """See Executions.cancel."""
        await (await self._find(execution_id)).cancel(reason, force=force)

    async def pause(self, execution_id: str, reason: str, caller: Caller) -> None:
        """See Executions.pause."""
        await (await self._find(execution_id)).pause(reason)

    async def resume(self, execution_id: str, reason: str, caller: Caller) -> None:
        """See Executions.resume."""
        await (await self._find(execution_id)).resume()

    async def status(self, execution_id: str, caller: Caller) -> ExecutionStatus:
        """See Executions.status."""
        execution = await self._find(execution_id)
        execution.look()
        return execution.state()

    async def events(
        self, execution_id: str, after: int, most: int, caller: Caller
    ) -> tuple[list[WorkflowProgressEvent], bool]:
        """See Executions.events."""
        execution = await self._find(execution_id)
        execution.look()
        return execution.events(after, min(most or MOST_EVENTS_A_PAGE, MOST_EVENTS_A_PAGE))

    async def subscribe(self, execution_id: str, after: int, caller: Caller) -> AsyncIterator[WorkflowProgressEvent]:
        """See Executions.subscribe."""
        execution = await self._find(execution_id)
        async for event in execution.subscribe(after):
            yield event

    async def close(self, seconds: float) -> None:
        """Take nothing more in, and follow nothing any more: the runs go on in Temporal. What is being accepted has so many
        seconds."""
        self._stopping = True
        if self._tidying is not None:
            self._tidying.cancel()
            await asyncio.gather(self._tidying, return_exceptions=True)
        pending: list[asyncio.Task[bool] | asyncio.Task[TemporalExecution]] = [*self._starting.tasks]
        pending += self._finding.values()
        if pending:
            await asyncio.wait(pending, timeout=seconds)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for execution in list(self._executions):
            execution.leave()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._documents.close()

    async def _accept(self, request: StartRequest, digest: str) -> bool:
        """Whether this began it, and not an earlier call, here or at another process."""
        limit = start_requests.time_limit(request)
        workflow = await self._documents.read(request.document)
        start_requests.check_awaited(request, workflow)
        secrets = start_requests.secrets_of(request, workflow)
        encrypted = self._settings.payloads.keys is not None
        if secrets and not encrypted:
            raise InvalidInput(
                f"the document reads {', '.join(sorted(secrets))[:200]} as secrets, and Temporal's history is not encrypted",
                code="temporal.secrets-unencrypted",
                hint="give the runner encryption keys (docs/temporal.md)",
            )
        telemetry.conceal_all(secrets, passing=True)
        execution = TemporalExecution(self._client, request.execution_id, self._report, digest=digest, secrets=secrets)
        run = self._run(
            execution,
            partial(
                TemporalRun,
                self._client,
                workflow,
                request.input,
                secrets=secrets,
                environment={name: value for name, value in request.environment.items() if name not in secrets},
                timeout=limit,
                memo={DIGEST: digest},
            ),
        )
        try:
            begun = await run.begin()
            if not begun:
                memo = await run.memo()
                OtherContent.check(execution.id, str(memo.get(DIGEST, "")), digest)
        except OtherContent:
            run.give_up()
            raise
        except RPCError as error:
            run.give_up()
            raise _unavailable(error) from error
        self._follow(execution, run, attached=not begun, tells=True)
        return begun

    def _run(self, execution: TemporalExecution, make: Callable[..., TemporalRun]) -> TemporalRun:
        settings = self._settings
        return make(
            task_queue=settings.engine_task_queue,
            execution_id=execution.id,
            run_id="",
            report=execution.hear,
            encrypted=settings.payloads.keys is not None,
            largest_payload=LARGEST_PLAIN if settings.payloads.store is None else LARGEST_STORED,
            heartbeat_seconds=settings.heartbeat_seconds,
            activity_queue=settings.runner_task_queue,
            asking=True,
        )

    def _follow(self, execution: TemporalExecution, run: TemporalRun, *, attached: bool, tells: bool) -> None:
        self._executions.add(execution)
        if tells:
            self._telling.add(execution.id)
            self.tracked(execution)
        self._tasks[execution.id] = asyncio.create_task(
            self._followed(execution, run, attached=attached), name=f"execution {execution.id}"
        )

    async def _followed(self, execution: TemporalExecution, run: TemporalRun, *, attached: bool) -> None:
        try:
            await execution.run(run, attached=attached)
        finally:
            del self._tasks[execution.id]
            if not execution.ended:
                # Whoever asks next finds it in Temporal.
                self._executions.drop(execution.id)
                self._forget(execution)
                self._taking_up = self._taking_up or self.owing

    def _report(self, execution: TemporalExecution, number: int, event: Event) -> None:
        if execution.id in self._telling:
            self.told(execution, number, event)
        if event.type in ENDS:
            self._executions.note_end(execution)

    def _owed(self, execution_id: str) -> bool:
        return self.owes(execution_id)

    def _forget(self, execution: TemporalExecution) -> None:
        if execution.id in self._telling:
            self._telling.discard(execution.id)
            self.forgotten(execution.id)

    async def _find(self, execution_id: str) -> TemporalExecution:
        await self._starting.settled(execution_id)
        execution = self._executions.get(execution_id)
        if execution is None:
            execution = await asyncio.shield(self._begin_to_find(execution_id))
        if not await execution.known(KNOWN_SECONDS) and not execution.last:
            raise Unavailable(
                f"execution {execution_id!r:.300} is in Temporal, and no worker has told yet how it stands; ask again",
                code="temporal.unavailable",
            )
        execution.check_followed()
        return execution

    def _begin_to_find(self, execution_id: str, *, tells: bool = False) -> asyncio.Task[TemporalExecution]:
        task = self._finding.get(execution_id)
        if task is None:
            if self._stopping:
                raise Stopping.here()
            finding = self._found(execution_id, tells=tells)
            task = self._finding[execution_id] = asyncio.create_task(finding, name=f"find {execution_id}")
            task.add_done_callback(partial(self._looked_for, execution_id))
        return task

    def _looked_for(self, execution_id: str, task: asyncio.Task[TemporalExecution]) -> None:
        del self._finding[execution_id]
        if not task.cancelled():
            task.exception()  # whoever asked has heard it, or has gone

    async def _found(self, execution_id: str, *, tells: bool) -> TemporalExecution:
        """One that another process accepted, or that this one has forgotten. Raises UnknownExecution and Unavailable. Of one
        that has ended long ago nobody is told, unless it `tells`."""
        async with self._find_at_once:
            try:
                found = await self._client.get_workflow_handle(names.run_id(execution_id)).describe(rpc_timeout=RPC_SECONDS)
                memo = await found.memo()
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    raise UnknownExecution(f"there is no execution {execution_id!r:.300} here") from error
                raise _unavailable(error) from error
        if not self._is_ours(found):
            raise UnknownExecution(f"there is no execution {execution_id!r:.300} here")
        execution = TemporalExecution(self._client, execution_id, self._report, digest=str(memo.get(DIGEST, "")))
        execution.is_found(str(memo.get(WORKFLOW, "")))
        run = self._run(execution, partial(TemporalRun, self._client, None, None, secrets={}))
        self._follow(execution, run, attached=True, tells=tells or found.status is WorkflowExecutionStatus.RUNNING)
        return execution

    def _is_ours(self, found: WorkflowExecutionDescription) -> bool:
        return found.workflow_type == names.RUN and found.task_queue == self._settings.engine_task_queue


def _started(execution_id: str, *, begun: bool) -> Started:
    return Started(execution_id, begun=begun, temporal_workflow_id=names.run_id(execution_id))


def _unavailable(error: RPCError) -> WorkflowRunnerError:
    said = telemetry.redact(error.message)[:500]
    return Unavailable(f"Temporal does not answer: {error.status.name}: {said}", code="temporal.unavailable")
