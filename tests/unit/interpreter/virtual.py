"""The interpreter's third host: time passes when the run waits, calls are answered by the test.

`run` carries a document to its end; `pieces` stops it at every await, writes its state down as JSON,
and goes on from that with nothing else kept.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from textwrap import dedent
from typing import Any, TypeVar

from workflow_runner.dsl.model import Workflow
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions import schemas
from workflow_runner.expressions.documents import read_document
from workflow_runner.expressions.evaluate import JqRequest
from workflow_runner.expressions.programs import compile_text, single_value
from workflow_runner.expressions.schemas import SchemaRequest
from workflow_runner.interpreter import frame_codec
from workflow_runner.interpreter.effects import Call, DeadlinePassed
from workflow_runner.interpreter.events import Event, EventType, TaskCounts
from workflow_runner.interpreter.frames import WorkflowFrame
from workflow_runner.interpreter.interpret import interpret
from workflow_runner.interpreter.outcome import Completed, Faulted
from workflow_runner.interpreter.subscriptions import Subscription

T = TypeVar("T")
START = datetime(2026, 1, 1, tzinfo=UTC)
_SHORT_SET = re.compile(r"\bset: (\d+|[a-z]+)(?=[,}\n])")
HEADER = "document: {dsl: '1.0.3', namespace: tests, name: test, version: '1.0.0'}\n"


class Stopped(BaseException):
    """The test stopped the run here, as a dying process would."""


class VirtualEffects:
    """Implements interpreter.effects.Effects; `stop_at` is the number of the await to stop at, from 0.

    Branches take turns at each await. When all of them sleep, time goes on to the first that wakes or to the first
    deadline; at the same moment those who wake are before deadlines, and outer deadlines before inner ones.
    `arrivals` are events with the seconds from START at which each comes; what the run emits comes at once.
    """

    def __init__(
        self,
        answer: Callable[[Call], Json],
        *,
        at: datetime = START,
        stop_at: int | None = None,
        arrivals: Sequence[tuple[float, dict[str, Json]]] = (),
        names: int = 0,
    ) -> None:
        self.answer = answer
        self.time = at
        self.events: list[Event] = []
        self.calls: list[Call] = []
        self.sleeps: list[float] = []
        self.chance = 0.5
        self.paused = timedelta(0)
        self.most_at_once = 1
        self._awake = 1
        self._alarms: dict[int, tuple[datetime, bool, Callable[[], object]]] = {}
        self._number = 0
        self._awaits = 0
        self._stop_at = stop_at
        self.names = names
        self.to_come = list(arrivals)
        self._subscriptions: dict[Subscription, asyncio.Future[None] | None] = {}
        for arrival in arrivals:
            self._alarm(START + timedelta(seconds=arrival[0]), functools.partial(self._arrive, arrival), deadline=False)

    here = None

    def now(self) -> datetime:
        return self.time

    def clock(self) -> datetime:
        return self.time - self.paused

    def random(self) -> float:
        return self.chance

    def uuid(self) -> str:
        self.names += 1
        return f"name-{self.names}"

    def subscribe(self, subscription: Subscription) -> None:
        assert subscription not in self._subscriptions
        self._subscriptions[subscription] = None

    def unsubscribe(self, subscription: Subscription) -> None:
        del self._subscriptions[subscription]

    async def arrival(self, subscription: Subscription) -> None:
        assert not subscription.waiting
        await self._pause()
        if subscription.waiting:
            return
        arrived = self._subscriptions[subscription] = asyncio.get_running_loop().create_future()
        self._awake -= 1
        self._look()
        try:
            await arrived
        except asyncio.CancelledError:
            if not arrived.done() or arrived.cancelled():
                self._awake += 1
            raise
        finally:
            self._subscriptions[subscription] = None

    def offer(self, event: dict[str, Json]) -> bool:
        """Give an event to those who want it; true when that wakes somebody."""
        woken = False
        for subscription, arrived in self._subscriptions.items():
            if subscription.wants(event):
                subscription.waiting.append(event)
                if arrived is not None and not arrived.done():
                    self._awake += 1
                    arrived.set_result(None)
                    woken = True
        return woken

    def report(self, event: Event) -> None:
        self.events.append(event)

    async def checkpoint(self, frame: WorkflowFrame) -> None:
        await self._pause()

    async def sleep(self, until: datetime) -> None:
        await self._pause()
        self.sleeps.append((until - self.clock()).total_seconds())
        if until <= self.clock():
            return
        awake = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not awake.done():
                self._awake += 1
                awake.set_result(None)

        alarm = self._alarm(until, wake, deadline=False)
        self._awake -= 1
        self._look()
        try:
            await awake
        except asyncio.CancelledError:
            if not awake.done() or awake.cancelled():
                self._awake += 1
            raise
        finally:
            self._alarms.pop(alarm, None)

    async def within(self, until: datetime, work: Coroutine[Any, Any, T]) -> T:
        if until <= self.clock():
            work.close()
            raise DeadlinePassed
        waiting, passed = asyncio.current_task(), False
        assert waiting is not None
        already = waiting.cancelling()

        def end() -> None:
            nonlocal passed
            passed = True
            waiting.cancel()

        alarm = self._alarm(until, end, deadline=True)
        try:
            return await work  # in this task: nobody has a turn between the end of the work and what follows it
        except asyncio.CancelledError:
            if passed and waiting.uncancel() <= already:
                raise DeadlinePassed from None
            raise
        finally:
            self._alarms.pop(alarm, None)

    async def gather(self, branches: Sequence[Coroutine[Any, Any, None]]) -> None:
        if not branches:
            return
        failures: list[BaseException] = []
        remaining = len(branches)

        async def run(branch: Coroutine[Any, Any, None]) -> None:
            nonlocal remaining
            cancelled = False
            try:
                await branch
            except asyncio.CancelledError:
                cancelled = True
                raise
            except BaseException as error:  # noqa: BLE001 - Stopped, too
                failures.append(error)
                for task in tasks:
                    if task is not asyncio.current_task():
                        task.cancel()
            finally:
                remaining -= 1
                if remaining:
                    self._awake -= 1
                    if not failures and not cancelled:  # else others are still to wake, and end
                        self._look()

        self._awake += len(branches) - 1
        self.most_at_once = max(self.most_at_once, self._awake)
        tasks = [asyncio.create_task(run(branch)) for branch in branches]
        try:
            await asyncio.sleep(0)  # so that all have begun
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            raise
        finally:
            for branch in branches:
                branch.close()  # of those that were cancelled before they began
        if failures:
            raise failures[0]

    async def call(self, request: Call) -> Json:
        await self._pause()
        self.calls.append(request)
        if request.protocol == "emit":
            event = request.arguments["event"]
            assert isinstance(event, dict)
            self.offer(event)
            return None
        return self.answer(request)

    async def evaluate(self, request: JqRequest | SchemaRequest) -> Json:
        await self._pause()
        if isinstance(request, SchemaRequest):
            return schemas.answer(request)
        return single_value(compile_text(request.program), request.payload)

    async def _pause(self) -> None:
        if self._awaits == self._stop_at:
            raise Stopped
        self._awaits += 1
        await asyncio.sleep(0)

    def _arrive(self, arrival: tuple[float, dict[str, Json]]) -> bool:
        self.to_come.remove(arrival)
        return self.offer(arrival[1])

    def _alarm(self, until: datetime, ring: Callable[[], object], *, deadline: bool) -> int:
        self._number += 1
        self._alarms[self._number] = (until, deadline, ring)
        return self._number

    def _look(self) -> None:
        """Nobody is awake: time goes on."""
        while self._awake == 0 and self._alarms:
            number = min(self._alarms, key=lambda number: (*self._alarms[number][:2], number))
            until, _, ring = self._alarms.pop(number)
            self.time = max(self.time, until + self.paused)
            if ring() is not False:  # an event that nobody waits for changes nothing
                return
        if self._awake == 0:
            for arrived in self._subscriptions.values():
                if arrived is not None and not arrived.done():
                    self._awake += 1
                    arrived.set_exception(AssertionError("the run listens, and nothing will ever come"))


def no_calls(request: Call) -> Json:
    raise AssertionError(f"no call was expected, and {request} came")


def whole(text: str) -> str:
    """A test's short text as a document: the `document` part is added where there is none, and `set: 1` and
    `set: word` stand for expressions that give that number or string, which would be long in flow style."""
    text = _SHORT_SET.sub(
        lambda match: f"set: '${{ {match[1] if match[1].isdigit() else json.dumps(match[1])} }}'", dedent(text)
    )
    return text if re.search("^document:", text, re.MULTILINE) else HEADER + text


def read(text: str) -> Workflow:
    """A document from its text (see `whole`)."""
    workflow, _ = read_document(whole(text), "test.yaml")
    return workflow


@dataclass
class Story:
    """What a run did."""

    outcome: Completed | Faulted
    events: list[Event]
    calls: list[Call]
    sleeps: list[float]
    counts: TaskCounts
    elapsed: float
    context: Json
    most_at_once: int

    @property
    def output(self) -> Json:
        assert isinstance(self.outcome, Completed), self.outcome
        return self.outcome.output

    @property
    def fault(self) -> dict[str, Json]:
        assert isinstance(self.outcome, Faulted), self.outcome
        return self.outcome.problem.to_dict()

    @property
    def lines(self) -> list[str]:
        """The events in short: "started a", "completed loop[0].b"; the workflow's own by their type."""
        return [line(event) for event in self.events]


def line(event: Event) -> str:
    if not event.reference:
        return event.type.value
    place = f"[{event.iteration}]" if event.iteration else ""
    return f"{event.type.value.removeprefix('task_')} {event.task_name}{place}"


@dataclass
class Options:
    """What a run is given besides its document and input."""

    answer: Callable[[Call], Json] = no_calls
    secrets: Mapping[str, Json] = field(default_factory=dict)
    chance: float = 0.5
    execution_id: str = "exec-1"
    run_id: str = "run-1"
    arrivals: Sequence[tuple[float, dict[str, Json]]] = ()


def run(text: str | Workflow, input_: Json = None, **options: Any) -> Story:
    """Run a document to its end in virtual time."""
    workflow = read(text) if isinstance(text, str) else text
    chosen = Options(**options)
    effects = VirtualEffects(chosen.answer, arrivals=chosen.arrivals)
    effects.chance = chosen.chance
    frame = WorkflowFrame(raw_input=input_, started_at=START)
    outcome = asyncio.run(_interpret(workflow, frame, effects, chosen))
    elapsed = (effects.time - START).total_seconds()
    return Story(
        outcome, effects.events, effects.calls, effects.sleeps, frame.counts, elapsed, frame.context, effects.most_at_once
    )


async def _interpret(
    workflow: Workflow, frame: WorkflowFrame, effects: VirtualEffects, options: Options
) -> Completed | Faulted:
    return await interpret(
        workflow,
        frame,
        effects,
        execution_id=options.execution_id,
        run_id=options.run_id,
        secrets=options.secrets,
        version="9.9",
    )


@dataclass
class Halves:
    """A run that was stopped once and continued: what was told before and after, and the whole's end."""

    before: list[Event]
    after: list[Event]
    outcome: Completed | Faulted
    counts: TaskCounts
    calls: list[Call]
    sleeps_after: list[float]


def halves(
    text: str | Workflow,
    input_: Json = None,
    *,
    stop_at: int,
    continue_with: Workflow | None = None,
    seconds_later: float = 0,
    **options: Any,
) -> Halves | None:
    """Stop a run at that await and continue it from its state as JSON; None when it ends before."""
    workflow = read(text) if isinstance(text, str) else text
    chosen = Options(**options)
    first = VirtualEffects(chosen.answer, stop_at=stop_at, arrivals=chosen.arrivals)
    first.chance = chosen.chance
    frame = WorkflowFrame(raw_input=input_, started_at=START)
    try:
        asyncio.run(_interpret(workflow, frame, first, chosen))
    except Stopped:
        pass
    else:
        return None
    state = frame_codec.decode(json.loads(json.dumps(frame_codec.encode(frame))))
    second = VirtualEffects(
        chosen.answer, at=first.time + timedelta(seconds=seconds_later), arrivals=first.to_come, names=first.names
    )
    second.chance = chosen.chance
    outcome = asyncio.run(_interpret(continue_with or workflow, state, second, chosen))
    return Halves(first.events, second.events, outcome, state.counts, first.calls + second.calls, second.sleeps)


def told(events: list[Event]) -> dict[str, list[tuple[EventType, str, str, str, int, Json, str]]]:
    """All that events say, for comparing stories: for each branch apart, since branches go on at their own pace."""
    stories: dict[str, list[tuple[EventType, str, str, str, int, Json, str]]] = {}
    for event in events:
        branch = re.match(r"(.*/fork/branches/\d+)?", event.reference)
        assert branch is not None
        stories.setdefault(branch[0], []).append(
            (
                event.type,
                event.reference,
                event.iteration,
                event.message,
                event.progress,
                event.output,
                str(event.error),
            )
        )
    return stories
