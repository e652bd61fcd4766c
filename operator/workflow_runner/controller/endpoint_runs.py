"""Follows one attempt of a run at its runner's endpoint: hands it over, listens, passes on pause, resume and cancel.

Made by endpoints.py, one a run. It decides nothing: what it finds stands in `remote`, events go to the live run, and reconcile
says what follows. It gives up only where the runner says that there is nothing to follow.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import grpc
import structlog
from msgspec import Struct

from workflow_runner.cluster import ClusterError
from workflow_runner.controller.endpoint_client import UNREACHABLE, EndpointClient, EndpointError
from workflow_runner.controller.runs import Runs
from workflow_runner.errors import InvalidInput, Temporary
from workflow_runner.launchers.endpoint import build_request
from workflow_runner.launchers.run import LaunchedRun
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2
from workflow_runner.reconcile.actions import FollowEndpoint
from workflow_runner.reconcile.live import ControlAnswer, Desired, LiveRun
from workflow_runner.reconcile.observed import Remote
from workflow_runner.reconcile.remote import end_of_state, events_of_state, refused_by_runner
from workflow_runner.stigmer.client import Backoff

BETWEEN_TRIES = Backoff(first=0.5, most=15.0)
LONGEST_WAIT = 60.0
"""However much later a runner without room wants to be asked again."""

log = structlog.get_logger(__name__)

_NEVER = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.OUT_OF_RANGE})
"""Answers to ExecuteAsync after which it is not tried again."""
_LOST = frozenset({grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.DATA_LOSS})
"""Answers to a question after a run that say that there is none to go on with."""
_NO = frozenset({grpc.StatusCode.UNIMPLEMENTED, *_NEVER})
"""Answers to a pause or the like that mean no."""


class NotYet(Temporary):
    """Something that the run needs is not there: `reason` in CamelCase, and a message."""

    code = "endpoint.waiting"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Pace(Struct, frozen=True):
    """Seconds. `silent`: after so long without an event the runner is asked how the run stands. `gone`: a runner that has not
    answered for so long may be no more. `poll`: between questions where there is no stream. `sure`: before a runner that does
    not know a run is asked a last time. `look` and `look_again`: between looks at a runner that is well, and at one that is
    not. And how many `streams` may be open to one endpoint: the runs above that are asked after.
    """

    silent: float = 30.0
    poll: float = 2.0
    gone: float = 20.0
    sure: float = 1.0
    look: float = 20.0
    look_again: float = 5.0
    streams: int = 1000
    between_tries: Backoff = BETWEEN_TRIES


Connect = Callable[[], Awaitable[EndpointClient]]
Values = Callable[[LaunchedRun], Awaitable[dict[str, str]]]


class EndpointRun:
    """See the module's text. `connect` gives the connection to use now, `values` what spec.env holds; both raise NotYet.
    `changed` is called whenever `remote` is another."""

    def __init__(
        self,
        uid: str,
        order: FollowEndpoint,
        *,
        runs: Runs,
        connect: Connect,
        values: Values,
        changed: Callable[[str], None],
        pace: Pace,
    ) -> None:
        self.remote = Remote()
        self._uid = uid
        self._id = order.execution_id
        self._attempt = order.attempt
        self._workflow = order.workflow
        self._run = order.run
        """What to start; None once it is known to be there."""
        self._runs = runs
        self._connect = connect
        self._values = values
        self._changed = changed
        self._pace = pace
        self._wake = asyncio.Event()
        self._told: Desired | None = None
        """What the runner answered to last."""
        self._pause_taken = False
        self._heard_events = 0
        self._unreachable_since: float | None = None
        self._client: EndpointClient | None = None

    def steer(self) -> None:
        """What the run shall do may be something else."""
        self._wake.set()

    async def follow(self) -> None:
        """Until the run has ended or there is nothing to follow, however long the endpoint is away."""
        steering = asyncio.create_task(self._steer(), name=f"steer {self._id}")
        failures = 0
        try:
            while self._live() is not None and not self._over:
                heard, wait = self._heard_events, 0.0
                try:
                    await self._once()
                except EndpointError as error:
                    wait = min(error.retry_after or 0.0, LONGEST_WAIT)
                    self._hindered(error.reason, error.message)
                except NotYet as error:
                    self._hindered(error.reason, error.message)
                except ClusterError as error:
                    self._hindered("ClusterBusy", error.message)
                except InvalidInput as error:
                    self._find(Remote(end=refused_by_runner(error.message, datetime.now(UTC), code=error.code)))
                except Exception:
                    # Lost in a task of its own, the run would not be followed any more.
                    log.exception("a run at an endpoint could not be followed; it is tried again", execution=self._id)
                    self._hindered("Internal", "The operator met a bug of its own; see its log. It tries again.")
                failures = 1 if self._heard_events > heard else failures + 1
                if self._live() is not None and not self._over:
                    await asyncio.sleep(max(self._pace.between_tries.seconds(failures), wait))
        finally:
            steering.cancel()
            await asyncio.gather(steering, return_exceptions=True)

    @property
    def _over(self) -> bool:
        return self.remote.forgotten or self.remote.end is not None

    def _live(self) -> LiveRun | None:
        """The run, as long as it is this attempt and has not ended."""
        run = self._runs.get(self._uid)
        return run if run is not None and run.attempt == self._attempt and run.end is None else None

    async def _once(self) -> None:
        """Hands the run over where that is to be done, and listens until the stream ends."""
        self._client = client = await self._connect()
        if self._run is not None and not await self._hand_over(client, self._run):
            return
        if "Subscribe" not in client.missing and client.streams < self._pace.streams:
            await self._listen(client)
        else:
            await self._ask_again_and_again()

    # Handing over

    async def _hand_over(self, client: EndpointClient, run: LaunchedRun) -> bool:
        """Whether the run is there now."""
        live = self._live()
        if live is not None and live.desired.state == "Cancel":
            return await self._is_there_to_cancel(client, live.desired)
        if not await self._can_be_followed(client):
            return False
        request = await asyncio.to_thread(build_request, run, self._workflow, await self._values(run))
        try:
            await client.start(request)
        except EndpointError as error:
            if error.status in _NEVER:
                self._find(Remote(end=refused_by_runner(error.message, datetime.now(UTC))))
                return False
            if error.status is not grpc.StatusCode.ALREADY_EXISTS:
                raise
            # Ids are the cluster's own: whoever is there was handed over before this operator, with variables that
            # have other values by now.
            log.info("the run is at its endpoint already, with other content; it is followed", execution=self._id)
        self._is_there()
        return True

    async def _is_there_to_cancel(self, client: EndpointClient, desired: Desired) -> bool:
        """Cancels a run that may have been handed over and may not; nothing is started any more."""
        try:
            await client.cancel(self._id, desired.reason, force=False)
        except EndpointError as error:
            if error.status is not grpc.StatusCode.NOT_FOUND:
                raise
            self._find(Remote(forgotten=True))
            return False
        self._is_there()
        return True

    def _is_there(self) -> None:
        self._run = None
        self._heard()
        self._wake.set()

    async def _can_be_followed(self, client: EndpointClient) -> bool:
        """Asked before anything is started: a run that tells nothing of itself would never end here."""
        if client.followable:
            return True
        if "GetStatus" not in client.missing:
            try:
                await client.state(self._id)
            except EndpointError as error:
                if error.status not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED):
                    raise
        if "GetStatus" in client.missing and "Subscribe" not in client.missing:
            try:
                async with contextlib.aclosing(client.subscribe(self._id, 0)) as events:  # type: ignore[type-var]
                    await anext(events, None)
            except EndpointError as error:
                if error.status not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED):
                    raise
        if {"GetStatus", "Subscribe"} <= client.missing:
            message = f"{client.target.address} has neither Subscribe nor GetStatus: nobody could tell how a run goes"
            self._find(Remote(end=refused_by_runner(message, datetime.now(UTC), code="endpoint.not-followable")))
            return False
        client.followable = True
        return True

    # Listening

    async def _listen(self, client: EndpointClient) -> None:
        if self.remote.reason:
            # A run that waits says nothing for long, and whoever looks at it shall know that all is well again.
            await self._still_goes_on(client)
        live = self._live()
        if live is None or self._over:
            return
        reading = asyncio.create_task(self._read(client, live.source_sequence), name=f"read {self._id}")
        try:
            while True:
                heard = self._heard_events
                done, _ = await asyncio.wait({reading}, timeout=self._pace.silent * random.uniform(0.8, 1.2))  # noqa: S311
                if done:
                    break
                if heard == self._heard_events and not await self._still_goes_on(client):
                    return
        finally:
            reading.cancel()
            result = (await asyncio.gather(reading, return_exceptions=True))[0]
        if isinstance(result, EndpointError) and result.status in _LOST:
            await self._make_sure(client)
        elif isinstance(result, EndpointError) and result.status is grpc.StatusCode.UNIMPLEMENTED:
            return
        elif isinstance(result, BaseException):
            raise result
        elif self._live() is not None:
            await self._still_goes_on(client)

    async def _read(self, client: EndpointClient, after: int) -> None:
        async with contextlib.aclosing(client.subscribe(self._id, after)) as events:  # type: ignore[type-var]
            async for event in events:
                if event.event_type == "workflow_completed" and not event.HasField("output"):
                    await self._add_output(client, event)
                self._take(event)

    async def _add_output(self, client: EndpointClient, event: io_pb2.WorkflowProgressEvent) -> None:
        """An output that the event leaves out may stand in the state."""
        with contextlib.suppress(EndpointError):
            state = await client.state(self._id)
            if state.HasField("output"):
                event.output.CopyFrom(state.output)

    async def _still_goes_on(self, client: EndpointClient) -> bool:
        """Asks how the run stands; fetches what the stream has not told. False when there is no reason to go on listening to
        this stream."""
        if "GetStatus" in client.missing:
            return True
        try:
            state = await client.state(self._id)
        except EndpointError as error:
            if error.status in _LOST:
                await self._make_sure(client)
                return False
            if error.status is grpc.StatusCode.UNIMPLEMENTED:
                return True
            raise
        self._heard()
        live = self._live()
        if live is None:
            return False
        if state.last_sequence_number > live.source_sequence:
            with contextlib.suppress(EndpointError):
                await self._catch_up(client)
        end = end_of_state(state, datetime.now(UTC))
        if end is None:
            return state.last_sequence_number <= live.source_sequence
        if self._live() is not None:
            self._find(Remote(end=end))
        return False

    async def _catch_up(self, client: EndpointClient) -> None:
        """Page after page of what happened meanwhile."""
        while "GetEvents" not in client.missing and (live := self._live()) is not None:
            page = await client.events(self._id, live.source_sequence)
            before = live.source_sequence
            for event in page.events:
                self._take(event)
            if not page.more or live.source_sequence == before:
                return

    async def _ask_again_and_again(self) -> None:
        """For a runner without Subscribe, or with too many listeners: its events by the page, else its states."""
        while self._live() is not None and not self._over:
            client = await self._connect()
            try:
                await self._ask(client)
            except EndpointError as error:
                if error.status in _LOST:
                    await self._make_sure(client)
                elif error.status is not grpc.StatusCode.UNIMPLEMENTED or {"GetStatus", "GetEvents"} <= client.missing:
                    raise
            await asyncio.sleep(self._pace.poll * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def _ask(self, client: EndpointClient) -> None:
        if "GetEvents" not in client.missing:
            await self._catch_up(client)
            self._heard()
            if self._live() is not None:
                await self._still_goes_on(client)
            return
        state = await client.state(self._id)
        self._heard()
        live = self._live()
        for event in () if live is None else events_of_state(live, state, datetime.now(UTC)):
            self._take(event)

    async def _make_sure(self, client: EndpointClient) -> None:
        """The runner said that it does not know the run, or cannot go on with it: after a moment it is asked again, since it
        may just have begun to serve."""
        await asyncio.sleep(self._pace.sure)
        if "GetStatus" not in client.missing:
            try:
                await client.state(self._id)
                return
            except EndpointError as error:
                if error.status not in _LOST:
                    raise
                if error.status is not grpc.StatusCode.NOT_FOUND:
                    end = refused_by_runner(error.message, datetime.now(UTC), title="The runner cannot go on with the run")
                    self._find(Remote(end=end))
                    return
        self._find(Remote(forgotten=True))

    def _take(self, event: io_pb2.WorkflowProgressEvent) -> None:
        self._heard()
        if event.workflow_execution_id not in ("", self._id):
            return
        self._runs.take_remote(self._uid, self._attempt, event)
        live = self._live()
        if event.event_type == "workflow_paused" and live is not None and live.desired.state == "Run":
            self._told = None  # a pause that came after its resume
            self._wake.set()

    # What stands in the way

    def _heard(self) -> None:
        self._heard_events += 1
        self._unreachable_since = None
        if self.remote.reason:
            self._find(Remote())

    def _hindered(self, reason: str, message: str) -> None:
        if self.remote.reason != reason:
            log.warning("a run at an endpoint is hindered; it is tried again", execution=self._id, reason=reason, error=message)
        self._find(Remote(reason=reason, message=message, silent=self._is_silent(reason)))

    def _is_silent(self, reason: str) -> bool:
        """Whether nobody has answered there for a while, neither for this run nor for another one."""
        now = time.monotonic()
        if reason != UNREACHABLE or self._client is None:
            self._unreachable_since = None
            return False
        if self._unreachable_since is None:
            self._unreachable_since = now
        return now - max(self._unreachable_since, self._client.heard_at) >= self._pace.gone

    def _find(self, remote: Remote) -> None:
        if remote != self.remote:
            self.remote = remote
            self._changed(self._uid)

    # Steering

    async def _steer(self) -> None:
        failures = 0
        while True:
            self._wake.clear()
            live = self._live()
            if live is None or self._run is not None or not self._is_news(live):
                await self._wake.wait()
                failures = 0
                continue
            desired = live.desired
            try:
                await self._tell(await self._connect(), desired)
                failures = 0
            except (EndpointError, NotYet, ClusterError) as error:
                failures += 1
                log.info("a run at an endpoint cannot be steered now; it is tried again", execution=self._id, error=str(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.between_tries.seconds(failures)):
                        await self._wake.wait()

    def _is_news(self, live: LiveRun) -> bool:
        """Whether the runner is to be told what the run shall do: not that it shall run, while it does."""
        if live.desired == self._told:
            return False
        return live.desired.state != "Run" or live.paused or self._pause_taken

    async def _tell(self, client: EndpointClient, desired: Desired) -> None:
        try:
            match desired.state:
                case "Pause":
                    await client.pause(self._id, desired.reason)
                case "Cancel":
                    await client.cancel(self._id, desired.reason, force=False)
                case "Run":
                    await client.resume(self._id, desired.reason)
        except EndpointError as error:
            if error.status is grpc.StatusCode.NOT_FOUND:
                # Whoever listens finds out the same, and makes sure of it; nothing is left to be cancelled.
                if desired.state == "Cancel":
                    self._find(Remote(forgotten=True))
                self._told = desired
                return
            if error.status not in _NO:
                raise
            self._told = desired
            said = _CANNOT[desired.state] if error.status is grpc.StatusCode.UNIMPLEMENTED else error.message
            self._runs.answer(self._uid, self._attempt, ControlAnswer(desired.generation, "Refused", said[:1024]))
            return
        self._told, self._pause_taken = desired, desired.state == "Pause"
        self._runs.answer(self._uid, self._attempt, ControlAnswer(desired.generation, "Accepted", ""))


_CANNOT = {
    "Pause": "the runner cannot pause (UNIMPLEMENTED); the run goes on",
    "Run": "the runner cannot resume (UNIMPLEMENTED)",
    "Cancel": "the runner cannot cancel (UNIMPLEMENTED); it is told to end by force after the grace period",
}
