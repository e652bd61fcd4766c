"""What the checks work with: starts runs, follows them, waits for what shall come of them, and remembers what was asked.

One Session serves all checks of a run of the suite. Checks raise Unmet where a runner does not do what they expect, and
NotOffered where it does not have what they are about.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message

from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1.io_pb2 import (
    CancelExecutionRequest,
    PauseExecutionRequest,
    ResumeExecutionRequest,
    WorkflowExecuteInput,
    WorkflowMetadata,
)
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import (
    ExecutionStatus,
    GetExecutionEventsRequest,
    GetExecutionStatusRequest,
    SubscribeRequest,
)
from workflow_runner.runner_checks.caller import LARGEST_STREAM, Answer, Caller, Streamed, in_words
from workflow_runner.runner_checks.interface import (
    CANCEL,
    EXECUTE,
    EXECUTE_ASYNC,
    EXECUTION,
    FACES,
    GET_EVENTS,
    GET_STATUS,
    PAUSE,
    RESUME,
    SUBSCRIBE,
    TERMINAL,
    Method,
)
from workflow_runner.runner_checks.profile import Document, Profile
from workflow_runner.runner_checks.receiver import Receiver

OK = grpc.StatusCode.OK
MOST_ASKED = 40
"""Calls of one check that its report tells."""
MOST_PAGES = 200
_POLL_SECONDS = 0.05
_CLOSING_SECONDS = 1.0
"""After its last event a stream ends; what is told of it waits so long for that."""
_BUSY_SECONDS = (0.25, 0.5, 1.0, 2.0)
"""Between the times that a runner without room is asked."""


class Unmet(Exception):
    """The runner does something else than what a requirement says."""

    def __init__(self, expected: str, came: object) -> None:
        super().__init__(expected)
        self.expected, self.came = expected, str(came)


class NotOffered(Exception):
    """There is nothing to check: the runner, or the profile, does not have it."""


@dataclass
class Followed:
    """A run with the stream that tells its events; `heard` grows while it goes on."""

    id: str
    heard: Streamed = field(default_factory=Streamed)

    @property
    def events(self) -> list[Any]:
        """What has come so far."""
        return self.heard.events

    def types(self) -> list[str]:
        """The types of what has come so far."""
        return [event.event_type for event in self.events]


class Session:
    """Call it from one event loop. `settle` is how many seconds a run may take to get where it was told to."""

    def __init__(
        self, caller: Caller, profile: Profile, methods: Collection[Method], *, settle: float, receiver: Receiver | None = None
    ) -> None:
        self.caller = caller
        self.profile = profile
        self.settle = settle
        self.receiver = receiver
        """What the runner reports to, where it does."""
        self._methods = frozenset(methods)
        self.face = next((face for face in FACES if EXECUTE_ASYNC.under(face) in self._methods), EXECUTION)
        """The name of the runner's service under which it is called; the checks speak of it as WorkflowExecutionService."""
        self._prefix = f"conformance-{uuid.uuid4().hex[:8]}"
        self._count = 0
        self._open: dict[str, None] = {}
        self._asked: list[tuple[str, str]] = []
        self._stories: dict[str, tuple[Streamed, list[tuple[str, str]]]] = {}
        caller.tell = self.note

    def note(self, asked: str, came: str) -> None:
        """Remember a call, and what came of it, for the report of this check."""
        if len(self._asked) < MOST_ASKED:
            self._asked.append((asked, came))

    def take_asked(self) -> list[tuple[str, str]]:
        """The calls since the last time, each with its answer."""
        asked, self._asked = self._asked, []
        return asked

    def named(self, method: Method) -> Method:
        """A method of WorkflowExecutionService under the name by which the runner has it; another method as it is."""
        return method.under(self.face) if method.service == EXECUTION else method

    def has(self, *methods: Method) -> bool:
        """Whether the runner offers all of them."""
        return self._methods.issuperset(map(self.named, methods))

    def need(self, *methods: Method) -> None:
        """Raises NotOffered unless the runner offers all of them."""
        missing = [method.name for method in methods if not self.has(method)]
        if missing:
            raise NotOffered(f"UNIMPLEMENTED: {', '.join(missing)}")

    async def ask(self, method: Method, request: Message | bytes, *, telling: bool = True) -> Answer:
        """One question."""
        return await self.caller.ask(self.named(method), request, telling=telling)

    # requests

    def new_id(self) -> str:
        """An id that nobody has used."""
        self._count += 1
        return f"{self._prefix}-{self._count}"

    def request(self, document: Document, execution_id: str | None = None, **more: Any) -> WorkflowExecuteInput:
        """What starts a run of a document."""
        name = self.new_id() if execution_id is None else execution_id
        metadata = WorkflowMetadata(name="conformance", version="1.0.0", namespace="conformance")
        request = WorkflowExecuteInput(workflow_execution_id=name, workflow_yaml=document.text, metadata=metadata, **more)
        if document.input:
            request.workflow_input.update(dict(document.input))
        return request

    async def start(self, request: WorkflowExecuteInput, method: Method = EXECUTE_ASYNC) -> Answer:
        """Starts a run; a runner that is busy is asked again a few times."""
        answer = await self.ask(method, request)
        for pause in _BUSY_SECONDS:
            if answer.code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                break
            await asyncio.sleep(pause)
            answer = await self.ask(method, request)
        if answer.ok:
            self._open[answer.value.workflow_execution_id] = None
        return answer

    async def started(self, document: Document) -> str:
        """The id of a run of a document. Raises Unmet where it cannot be started."""
        self.need(EXECUTE_ASYNC)
        request = self.request(document)
        self.expect(await self.start(request), OK)
        return request.workflow_execution_id

    async def cancel(self, run: str, *, force: bool = False, method: Method = CANCEL) -> Answer:
        """CancelExecution."""
        return await self.ask(method, CancelExecutionRequest(execution_id=run, reason="conformance", force=force))

    async def pause(self, run: str, method: Method = PAUSE) -> Answer:
        """PauseExecution."""
        return await self.ask(method, PauseExecutionRequest(execution_id=run, reason="conformance"))

    async def resume(self, run: str, method: Method = RESUME) -> Answer:
        """ResumeExecution."""
        return await self.ask(method, ResumeExecutionRequest(execution_id=run, reason="conformance"))

    async def get_status(self, run: str, *, telling: bool = True) -> Answer:
        """GetStatus."""
        return await self.ask(GET_STATUS, GetExecutionStatusRequest(execution_id=run), telling=telling)

    async def get_events(self, run: str, after: int = 0, size: int = 0) -> Answer:
        """One page of GetEvents."""
        request = GetExecutionEventsRequest(execution_id=run, after_sequence_number=after, page_size=size)
        return await self.ask(GET_EVENTS, request)

    async def subscribe(self, run: str, after: int = 0, enough: Callable[[Any], bool] = lambda event: False) -> Streamed:
        """Subscribe, to the end or until there is enough."""
        request = SubscribeRequest(execution_id=run, after_sequence_number=after)
        return await self.caller.listen(SUBSCRIBE, request, seconds=self.settle, enough=enough)

    async def execute(
        self,
        request: WorkflowExecuteInput,
        *,
        seconds: float | None = None,
        enough: Callable[[Any], bool] = lambda event: False,
    ) -> Streamed:
        """Execute, to the end, until there is enough, or until the deadline passes; a runner that is busy is asked again."""
        self.need(EXECUTE)
        method, seconds = self.named(EXECUTE), seconds or self.settle
        for pause in _BUSY_SECONDS:
            heard = await self.caller.listen(method, request, seconds=seconds, enough=enough)
            if heard.events or heard.answer.code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                return heard
            await asyncio.sleep(pause)
        return await self.caller.listen(method, request, seconds=seconds, enough=enough)

    # judging

    def expect(self, answer: Answer, *codes: grpc.StatusCode, after: str = "") -> None:
        """Raises Unmet unless the answer has one of these codes, and can be read."""
        if answer.code not in codes or answer.unreadable:
            raise Unmet(f"{' or '.join(code.name for code in codes)}{f' {after}' if after else ''}", answer)

    async def until(self, holds: Callable[[], bool | Awaitable[bool]], expected: str, came: Callable[[], object]) -> None:
        """Looks again and again until it holds; raises Unmet when the run has had its time."""
        deadline = time.monotonic() + self.settle
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            if time.monotonic() > deadline:
                raise Unmet(f"{expected} within {self.settle:g} seconds", came())
            await asyncio.sleep(_POLL_SECONDS)

    async def until_status(self, run: str, statuses: Collection[str]) -> ExecutionStatus:
        """Asks GetStatus until the run has one of these; raises Unmet when it had its time, or NotOffered."""
        self.need(GET_STATUS)
        last = Answer(grpc.StatusCode.UNKNOWN)

        async def reached() -> bool:
            nonlocal last
            last = await self.get_status(run, telling=False)
            return last.ok and last.value.status in statuses

        try:
            await self.until(reached, f"status {' or '.join(sorted(statuses))}", lambda: last)
        finally:
            self.note(f"GetStatus({run}), again and again", str(last))
        found: ExecutionStatus = last.value
        return found

    async def until_ended(self, run: Followed) -> str:
        """The type of the run's terminal event; raises Unmet when there is none in time."""
        await self.until(lambda: bool(run.types()) and run.types()[-1] in TERMINAL, "the terminal event", lambda: run.heard)
        return run.types()[-1]

    # stories

    async def story(self, name: str) -> Streamed:
        """What Execute told of a run of the profile's document of this name. It is run once; several checks judge it."""
        self.need(EXECUTE)
        if name not in self._stories:
            before = len(self._asked)
            heard = await self.execute(self.request(getattr(self.profile, name)))
            self._stories[name] = (heard, self._asked[before:])
        else:
            self._asked.extend(self._stories[name][1])
        return self._stories[name][0]

    async def all_events(self, run: str) -> Sequence[Any]:
        """All events of a run that has ended, by GetEvents or else by Subscribe. Raises Unmet or NotOffered."""
        if not self.has(GET_EVENTS):
            self.need(SUBSCRIBE)
            heard = await self.subscribe(run)
            self.expect(heard.answer, OK)
            return heard.events
        events: list[Any] = []
        size = 0
        for _ in range(MOST_PAGES):
            answer = await self.get_events(run, events[-1].sequence_number if events else 0)
            self.expect(answer, OK)
            events.extend(answer.value.events)
            size += answer.value.ByteSize()
            if not answer.value.more or not answer.value.events:
                return events
            if size > LARGEST_STREAM:
                break
        raise Unmet(f"an end within {MOST_PAGES} pages and {LARGEST_STREAM} bytes", f"{len(events)} events, and more")

    @contextlib.asynccontextmanager
    async def following(
        self, document: Document, *, before: Callable[[str], None] = lambda run: None
    ) -> AsyncIterator[Followed]:
        """A run that has begun, followed by Subscribe, or, where that is not offered, by the stream of its Execute.

        `before` hears its id before it is started. It is cancelled at the end. Raises Unmet when it does not begin.
        """
        request = self.request(document)
        run = Followed(request.workflow_execution_id)
        before(run.id)
        method: Method = EXECUTE
        asking: Message = request
        if self.has(SUBSCRIBE, EXECUTE_ASYNC):
            self.expect(await self.start(request), OK)
            method, asking = SUBSCRIBE, SubscribeRequest(execution_id=run.id)
        else:
            self.need(EXECUTE)
        seconds = 4 * self.settle + 8 * self.caller.seconds  # longer than any check takes
        reading = asyncio.create_task(self.caller.listen(self.named(method), asking, seconds=seconds, into=run.heard))
        try:
            await self.until(lambda: bool(run.events) or reading.done(), "the first event", lambda: run.heard)
            if not run.events:
                raise Unmet("the events of a run", run.heard)
            yield run
        finally:
            if run.events and run.types()[-1] in TERMINAL:
                await asyncio.wait([reading], timeout=_CLOSING_SECONDS)
            if not reading.done():
                self.note(in_words(self.named(method), asking), f"{run.heard}, until here")
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await self.clear(run.id)

    async def clear(self, run: str) -> None:
        """Cancels a run that is no longer needed, whatever the answer is."""
        self._open.pop(run, None)
        await self.ask(CANCEL, CancelExecutionRequest(execution_id=run, reason="conformance", force=True), telling=False)

    async def clear_all(self) -> None:
        """Cancels what checks have left."""
        left = list(self._open)
        await asyncio.gather(*(self.clear(run) for run in left[:100]))
