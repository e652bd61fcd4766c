"""The worker of the role runner: it takes the activity ExecuteWorkflow, and no workflow tasks. Built by cli.worker.

The activity starts an execution's run on the engine's queue, or attaches to it, and is left open: whoever follows the run here
completes it when the run has ended, and says by heartbeats that it is still followed. A runner that dies is noticed by their
absence; Temporal then gives the activity to another one, which attaches to the same run. What it had delivered to Stigmer the
heartbeats have told.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import AsyncActivityCancelledError, Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from workflow_runner.dsl.model import DocumentInfo
from workflow_runner.errors import Internal, Temporary, Unavailable, WorkflowRunnerError
from workflow_runner.hosts.buffer import NOTHING_KEPT, Kept
from workflow_runner.hosts.events import sendable
from workflow_runner.hosts.local import Source
from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.failures import failure
from workflow_runner.hosts.temporal.limits import LARGEST_PLAIN, LARGEST_STORED
from workflow_runner.hosts.temporal.records import Prepared, Records, execution_of
from workflow_runner.hosts.temporal.rpc import RPC_SECONDS, persistently, unflagging
from workflow_runner.hosts.temporal.run import TemporalRun
from workflow_runner.interpreter.events import ENDS, Event, EventType
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.reconcile.live import LiveRun
from workflow_runner.settings.temporal import TemporalSettings

FILE = "WorkflowSpec"
"""What messages call a document that was made of one."""
LAST_CALLBACKS_SECONDS = 10.0
"""So long the last events of a run may take to Stigmer before the execution's end is told all the same."""

log = logging.getLogger(__name__)


class Followed:
    """One execution that is followed here. It is told of as those of a runner's service are (cli/telling.py)."""

    def __init__(self, info: activity.Info, execution_id: str, delivered: int) -> None:
        self.id = execution_id
        self.delivered = delivered
        """Stigmer has its events up to this number."""
        self.status = "pending"
        self.document: DocumentInfo | None = None
        self.name = ""
        """The document's."""
        self.info = info
        """Of the newest try of the activity."""
        self.live = LiveRun(execution_id=execution_id, attempt=1)
        self.run: TemporalRun | None = None
        self.gone = False
        """Somebody else has the activity."""
        self._begun = datetime.now(UTC)

    @property
    def kept(self) -> Kept:
        """Nothing is kept here: Temporal has it all."""
        return NOTHING_KEPT

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        start, end = self.live.start or self._begun, self.live.end
        return max(0.0, ((datetime.now(UTC) if end is None else end.time) - start).total_seconds())

    def message(self, number: int, event: Event) -> WorkflowProgressEvent:
        """An event as a message."""
        name = self.name if self.document is None else self.document.name
        return sendable(event, execution_id=self.id, workflow_name=name, attempt=1, sequence=number)

    def note(self, number: int, event: Event) -> None:
        """What becomes of the execution by an event."""
        self.status = event.status if event.type in ENDS else "paused" if event.type is EventType.WORKFLOW_PAUSED else "running"
        self.live.ingest(self.message(number, event), _output(event))


class Runner:
    """`async with` it: the worker polls until the block ends; runs that have not ended then are left to other runners."""

    def __init__(self, client: Client, settings: TemporalSettings, records: Records, *, most: int = 2000) -> None:
        """`most` is how many executions are followed here at the same time."""
        self._client = client
        self._settings = settings
        self._records = records
        self._places = asyncio.Semaphore(most)
        self._followed: dict[str, Followed] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        beat = timedelta(seconds=settings.heartbeat_seconds / 3)
        self._worker = Worker(
            client,
            task_queue=settings.runner_task_queue,
            activities=[self.execute],
            max_concurrent_activities=min(most, 200),
            max_heartbeat_throttle_interval=beat,
            default_heartbeat_throttle_interval=beat,
        )
        self.owing = False
        self.tracked: Callable[[Followed], None] = lambda execution: None
        """These four as in hosts.local_executions."""
        self.told: Callable[[Followed, int, Event], None] = lambda execution, number, event: None
        self.forgotten: Callable[[str], None] = lambda execution_id: None
        self.owes: Callable[[str], bool] = lambda execution_id: False
        self.settled: Callable[[str, int, float], Awaitable[bool]] = _at_once
        """Waits until Stigmer has an execution's events up to a number, for so many seconds."""

    @property
    def keeps(self) -> bool:
        """Temporal does."""
        return True

    def by_status(self) -> dict[str, int]:
        """How many executions there are here of each status."""
        counts: dict[str, int] = {}
        for followed in self._followed.values():
            counts[followed.status] = counts.get(followed.status, 0) + 1
        return counts

    def delivered(self, execution_id: str, number: int) -> None:
        """Stigmer has an execution's events up to this number."""
        followed = self._followed.get(execution_id)
        if followed is not None:
            followed.delivered = max(followed.delivered, number)

    async def __aenter__(self) -> Runner:
        await self._worker.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await self._worker.shutdown()
        for followed in self._followed.values():
            if followed.run is not None:
                followed.run.cancel("the runner is stopping", goes_on=True)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    @activity.defn(name=names.EXECUTE)
    async def execute(self, argument: Any) -> None:
        """Carry out the execution that a WorkflowExecution or an id names. Completed by `_follow`, with the final status."""
        execution_id, info = execution_of(argument).metadata.id, activity.info()
        beating = asyncio.create_task(_beat_meanwhile(self._settings.heartbeat_seconds / 3))
        try:
            await self._taken(execution_id, info)
        except WorkflowRunnerError as error:
            raise failure(error, "an execution cannot be begun", execution_id, for_good=self._for_good(info)) from None
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
        activity.raise_complete_async()

    async def _taken(self, execution_id: str, info: activity.Info) -> None:
        if self._stopping:
            raise Unavailable("this runner is stopping", code="temporal.runner-stopping")
        known = self._followed.get(execution_id)
        if known is not None and not known.gone:
            # Temporal has given up on the former try: it was cut off from here for a while.
            known.info = info
            return
        if known is not None:
            await asyncio.wait([self._tasks[execution_id]])
        await self._places.acquire()
        try:
            followed = Followed(info, execution_id, _delivered(info))
            followed.run = await self._run(followed)
            if (known := self._followed.get(execution_id)) is not None:
                known.info = info
                self._places.release()
                return
        except BaseException:
            self._places.release()
            raise
        self._followed[execution_id] = followed
        self._tasks[execution_id] = asyncio.create_task(self._follow(followed, followed.run), name=f"follow {execution_id}")

    def _for_good(self, info: activity.Info) -> bool:
        """What cannot be had for as long as an execution may take is not to be had."""
        waited = (datetime.now(UTC) - info.scheduled_time).total_seconds()
        return waited >= self._settings.time_limit_seconds and not self._stopping

    async def _run(self, followed: Followed) -> TemporalRun:
        """The run, which is not started yet, or was by another try; Stigmer is asked for what a new one is made from."""
        found = await self._described(followed.id)
        prepared: Prepared | None = None
        secrets: dict[str, Any] = {}
        if found is None:
            prepared = await self._records.prepare(followed.id)
            secrets = {**prepared.plain, **prepared.secrets}
        else:
            followed.name = await _name_in(found)
            followed.live.start = found.start_time
            log.info("attaching to a run that was started before", extra={"id": followed.id})
            try:
                secrets = dict(await self._records.secrets_of(followed.id))  # concealed from now on
            except Temporary:
                raise
            except WorkflowRunnerError as error:
                log.warning("what Stigmer had of a run is not there any more; it goes on", extra={"error": str(error)})
        settings = self._settings
        return TemporalRun(
            self._client,
            None if prepared is None else Source(prepared.document, FILE, check=False),
            None if prepared is None else prepared.input,
            task_queue=settings.engine_task_queue,
            execution_id=followed.id,
            run_id="",
            secrets=secrets,
            plain={} if prepared is None else dict(prepared.plain),
            report=lambda number, event: self._report(followed, number, event),
            after=followed.delivered if found is None else 0,
            encrypted=settings.payloads.keys is not None,
            largest_payload=LARGEST_PLAIN if settings.payloads.store is None else LARGEST_STORED,
            timeout=timedelta(seconds=settings.time_limit_seconds),
            heartbeat_seconds=settings.heartbeat_seconds,
            activity_queue=settings.runner_task_queue,
            asking=True,
        )

    async def _described(self, execution_id: str) -> WorkflowExecutionDescription | None:
        return await _description(self._client, names.run_id(execution_id))

    def _report(self, followed: Followed, number: int, event: Event) -> None:
        followed.document = None if followed.run is None else followed.run.document
        followed.note(number, event)
        self.told(followed, number, event)

    async def _follow(self, followed: Followed, run: TemporalRun) -> None:
        """Until the run has ended, and Temporal has the answer."""
        self.tracked(followed)
        beating = asyncio.create_task(unflagging(lambda: self._beat(followed, run)), name=f"beat {followed.id}")
        try:
            await self._answer(followed, await self._ended(followed, run))
        except Exception:
            log.exception("an execution cannot be followed any more; another try attaches to it", extra={"id": followed.id})
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            del self._followed[followed.id], self._tasks[followed.id]
            self._places.release()
            self.forgotten(followed.id)

    async def _ended(self, followed: Followed, run: TemporalRun) -> ApplicationError | None:
        """None when there is a final status; else why there is none."""
        try:
            await run.run()
        except WorkflowRunnerError as error:
            return failure(error, "an execution cannot be carried out", followed.id)
        except Exception as error:
            log.exception("an execution cannot be followed: this is a bug of the workflow runner", extra={"id": followed.id})
            bug = f"{type(error).__name__} in the runner: this is a bug of the workflow runner"
            return ApplicationError(bug, type=Internal.code, non_retryable=True)
        if followed.live.end is None:
            return _handed_over()
        await self.settled(followed.id, followed.live.source_sequence, LAST_CALLBACKS_SECONDS)
        return None

    async def _answer(self, followed: Followed, trouble: ApplicationError | None) -> None:
        """Complete the activity. Whoever has it now, if it is another one, completes it, too: Temporal takes one answer."""
        if followed.gone:
            return
        async with asyncio.timeout(60 if self._stopping else None):
            token = followed.info.task_token
            while True:
                handle = self._client.get_async_activity_handle(task_token=token)
                try:
                    if trouble is None:
                        status = self._records.status_of(followed.live, followed.info.workflow_id or "")
                        await persistently(lambda: handle.complete(status, rpc_timeout=RPC_SECONDS), "an end cannot be told")  # noqa: B023
                    else:
                        await persistently(lambda: handle.fail(trouble, rpc_timeout=RPC_SECONDS), "an end cannot be told")  # noqa: B023
                except RPCError as error:
                    if error.status is not RPCStatusCode.NOT_FOUND:
                        raise
                    if token != followed.info.task_token:
                        token = followed.info.task_token  # another try has come here meanwhile
                        continue
                    log.info(
                        "nobody waits for an execution's end any more, or waits at another runner", extra={"id": followed.id}
                    )
                return

    async def _beat(self, followed: Followed, run: TemporalRun) -> None:
        """Say again and again that the run is followed, and how far Stigmer has come; hear that it is to be cancelled."""
        pause = (followed.info.heartbeat_timeout or timedelta(seconds=30)).total_seconds() / 3
        while True:
            await asyncio.sleep(pause * random.uniform(0.7, 1.0))  # noqa: S311 - jitter
            info = followed.info
            handle = self._client.get_async_activity_handle(task_token=info.task_token)
            try:
                await handle.heartbeat({"delivered": followed.delivered}, rpc_timeout=RPC_SECONDS)
            except AsyncActivityCancelledError as error:
                if error.details is None or error.details.cancel_requested:
                    run.cancel("cancelled in Temporal")
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND and info is followed.info:
                    await self._not_wanted(followed, run)
                else:
                    log.debug("a heartbeat is late: %s", error.status.name)

    async def _not_wanted(self, followed: Followed, run: TemporalRun) -> None:
        """This try is over in Temporal. Where the invocation has ended so does the run; else another try follows it."""
        info = followed.info
        try:
            found = await _description(self._client, info.workflow_id or "", info.workflow_run_id)
        except Unavailable:
            return  # the next heartbeat asks again
        if info is not followed.info:
            return  # the other try came here
        followed.gone = True
        if found is not None and found.status is WorkflowExecutionStatus.RUNNING:
            log.warning("another try follows an execution: this runner was cut off from Temporal", extra={"id": followed.id})
            run.cancel("another runner follows it", goes_on=True)
        else:
            run.cancel("its invocation has ended in Temporal")


def _handed_over() -> ApplicationError:
    return ApplicationError(
        "the runner is stopping; another one attaches to the run",
        type="temporal.runner-stopping",
        next_retry_delay=timedelta(milliseconds=10),
        category=ApplicationErrorCategory.BENIGN,
    )


async def _at_once(execution_id: str, number: int, seconds: float) -> bool:
    return True


async def _beat_meanwhile(pause: float) -> None:
    while True:
        activity.heartbeat(*activity.info().heartbeat_details)
        await asyncio.sleep(pause)


async def _description(client: Client, id_: str, run_id: str | None = None) -> WorkflowExecutionDescription | None:
    """None where there is no such workflow. Raises Unavailable."""
    try:
        return await client.get_workflow_handle(id_, run_id=run_id).describe(rpc_timeout=RPC_SECONDS)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise Unavailable(f"Temporal does not answer: {error.message}"[:500], code="temporal.unavailable") from error


async def _name_in(found: WorkflowExecutionDescription) -> str:
    named = str((await found.memo()).get("workflow", ""))
    return named.partition("/")[2].partition(":")[0]


def _delivered(info: activity.Info) -> int:
    """What Stigmer had of it when the former try said so."""
    match info.heartbeat_details:
        case [{"delivered": int(number)}, *_]:
            return number
    return 0


def _output(event: Event) -> bytes:
    """The output of a run that has completed, as JSON."""
    if event.type is not EventType.WORKFLOW_COMPLETED:
        return b""
    try:
        return json.dumps(event.output).encode()
    except (ValueError, TypeError, RecursionError):
        return b""
