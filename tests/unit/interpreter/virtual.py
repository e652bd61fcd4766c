"""The interpreter's third host: time passes when the run waits, calls are answered by the test.

`run` carries a document to its end; `pieces` stops it at every await, writes its state down as JSON,
and goes on from that with nothing else kept.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from textwrap import dedent
from typing import Any, TypeVar

from workflow_runner.dsl.model import Workflow
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.documents import read_document
from workflow_runner.expressions.evaluate import JqRequest
from workflow_runner.expressions.programs import compile_text, single_value
from workflow_runner.interpreter import frame_codec
from workflow_runner.interpreter.effects import Call, DeadlinePassed
from workflow_runner.interpreter.events import Event, EventType, TaskCounts
from workflow_runner.interpreter.frames import WorkflowFrame
from workflow_runner.interpreter.interpret import interpret
from workflow_runner.interpreter.outcome import Completed, Faulted

T = TypeVar("T")
START = datetime(2026, 1, 1, tzinfo=UTC)
_SHORT_SET = re.compile(r"\bset: (\d+|[a-z]+)(?=[,}\n])")
HEADER = "document: {dsl: '1.0.3', namespace: tests, name: test, version: '1.0.0'}\n"


class Stopped(BaseException):
    """The test stopped the run here, as a dying process would."""


class _TimeIsUp(BaseException):
    """A deadline passed inside the work that it bounds, as a cancellation would tell."""


class VirtualEffects:
    """Implements interpreter.effects.Effects; `stop_at` is the number of the await to stop at, from 0."""

    def __init__(self, answer: Callable[[Call], Json], *, at: datetime = START, stop_at: int | None = None) -> None:
        self.answer = answer
        self.time = at
        self.events: list[Event] = []
        self.calls: list[Call] = []
        self.sleeps: list[float] = []
        self.chance = 0.5
        self._deadlines: list[datetime] = []
        self._awaits = 0
        self._stop_at = stop_at

    def now(self) -> datetime:
        return self.time

    def random(self) -> float:
        return self.chance

    def report(self, event: Event) -> None:
        self.events.append(event)

    async def checkpoint(self, frame: WorkflowFrame) -> None:
        self._pause()

    async def sleep(self, until: datetime) -> None:
        self._pause()
        self.sleeps.append((until - self.time).total_seconds())
        if self._deadlines and min(self._deadlines) < until:
            self.time = min(self._deadlines)
            raise _TimeIsUp
        self.time = max(self.time, until)

    async def within(self, until: datetime, work: Awaitable[T]) -> T:
        self._deadlines.append(until)
        try:
            return await work
        except _TimeIsUp:
            if self.time < until:
                raise
            raise DeadlinePassed from None
        finally:
            self._deadlines.remove(until)

    async def call(self, request: Call) -> Json:
        self._pause()
        self.calls.append(request)
        return self.answer(request)

    async def evaluate(self, request: JqRequest) -> Json:
        self._pause()
        return single_value(compile_text(request.program), request.payload)

    def _pause(self) -> None:
        if self._awaits == self._stop_at:
            raise Stopped
        self._awaits += 1


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


def run(text: str | Workflow, input_: Json = None, **options: Any) -> Story:
    """Run a document to its end in virtual time."""
    workflow = read(text) if isinstance(text, str) else text
    chosen = Options(**options)
    effects = VirtualEffects(chosen.answer)
    effects.chance = chosen.chance
    frame = WorkflowFrame(raw_input=input_, started_at=START)
    outcome = asyncio.run(_interpret(workflow, frame, effects, chosen))
    elapsed = (effects.time - START).total_seconds()
    return Story(outcome, effects.events, effects.calls, effects.sleeps, frame.counts, elapsed)


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
    first = VirtualEffects(chosen.answer, stop_at=stop_at)
    first.chance = chosen.chance
    frame = WorkflowFrame(raw_input=input_, started_at=START)
    try:
        asyncio.run(_interpret(workflow, frame, first, chosen))
    except Stopped:
        pass
    else:
        return None
    state = frame_codec.decode(json.loads(json.dumps(frame_codec.encode(frame))))
    second = VirtualEffects(chosen.answer, at=first.time + timedelta(seconds=seconds_later))
    second.chance = chosen.chance
    outcome = asyncio.run(_interpret(continue_with or workflow, state, second, chosen))
    return Halves(first.events, second.events, outcome, state.counts, first.calls + second.calls, second.sleeps)


def told(events: list[Event]) -> list[tuple[EventType, str, str, str, int, Json, str]]:
    """All that events say, for comparing stories."""
    return [
        (
            event.type,
            event.reference,
            event.iteration,
            event.message,
            event.progress,
            event.output,
            str(event.error),
        )
        for event in events
    ]
