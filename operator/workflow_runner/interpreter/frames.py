"""The state of a run as a tree of frames: what a run is continued from.

The engine and `tasks/` keep these up to date as they go, so that at every await the tree says where
the run is; a host keeps the root and may write it down at any such moment. Nothing else of a run is
state: loop variables, `$task` and `$error` are derived from the frames.

    WorkflowFrame
    └── ListFrame                  the document's `do`: position, data, how often each task was begun
        └── TaskFrame             the task at that position, once it has begun
            ├── extending         what extensions do before and after it, with the ListFrame that is running in it
            └── state             what its kind has: ListFrame (do), Wait, Loop (for), Attempts (try), Fork, Emit,
                                  Listen, Function (call), Child (run: workflow); a Loop, Attempts, a Listen (in its
                                  Pass) and a Function hold the ListFrame that is running in them, a Fork a Branch
                                  with a ListFrame for each of its branches, a Child a WorkflowFrame

Data in frames is shared, never copied and never changed in place (but for the lists of a Listen itself).
`frame_codec` writes a tree as JSON.

Moments are of two clocks. When something began is told by the clock on the wall (`started_at`, `paused_since`).
What is still to come, and what is measured from, is told by the run's own clock (Effects.clock), which stands still
while the run is paused: `until`, `first_at`, `deadline`, `retry_at`. So no pause has to change them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct, field

from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.events import TaskCounts


class ListFrame(Struct, gc=False):
    """A running list of tasks. `data` is the raw input of the task at `position`.

    `visits` says how often the task at a position was begun: above one only where `then` jumps back.
    """

    data: Json
    position: int = 0
    visits: dict[int, int] = field(default_factory=dict)
    task: TaskFrame | None = None


class Wait(Struct):
    """A running `wait`."""

    until: datetime


class Loop(Struct):
    """A running `for`. `data` is the input of the pass at `index`; `body` is set while a pass runs."""

    collection: list[Json]
    data: Json
    index: int = 0
    body: ListFrame | None = None


class Attempts(Struct):
    """A running `try`.

    `attempt` counts from 1; `deadline` bounds it. It is in the block (`body`), or it has an `error` (RFC 7807)
    and is deciding what to do about it, in the delay before the next attempt (`retry_at`) or in the `handler`.
    """

    first_at: datetime
    attempt: int = 1
    deadline: datetime | None = None
    body: ListFrame | None = None
    retry_at: datetime | None = None
    error: dict[str, Json] | None = None
    handler: ListFrame | None = None


class Branch(Struct, gc=False):
    """A branch of a running `fork`.

    `context` is `$context` in it; `replaced` says that one of its exports did so whatever `$context` was before.
    `end` is how it ended: it completed or said `end` (`output` holds), it failed (`error`, RFC 7807), or it was
    cancelled when the fork was decided.
    """

    tasks: ListFrame
    context: Json
    replaced: bool = False
    end: Literal["completed", "ended", "failed", "cancelled"] | None = None
    output: Json = None
    error: dict[str, Json] | None = None


class Fork(Struct):
    """A running `fork`. `context` is `$context` as it was when it began.

    `decided` is the number of the branch that ended it before all were done: the winner, one that failed, or one
    that said `end`.
    """

    branches: list[Branch]
    context: Json
    decided: int | None = None


class Emit(Struct):
    """A running `emit`: the event, which is the same whenever it is published again."""

    event: dict[str, Json]


class Pass(Struct):
    """What `foreach` does with one event that was consumed.

    `item` is the event as it was read. While its tasks run they are in `body`; then `output` is what they gave (without
    tasks: the item), and `left` says that one of them said `exit`.
    """

    item: Json
    body: ListFrame | None = None
    output: Json = None
    left: bool = False


class Listen(Struct):
    """A running `listen`.

    `waiting` are the events that have arrived and not been looked at, oldest first; the host adds to it. `matched` are
    the numbers of the filters that have had their event, `ended` those of the strategy under `until`; `keys` the values
    of the correlations by name. `consumed` is the output so far, of `size` characters as JSON, and `count` the number of
    events consumed. One that was consumed is in its `turn` (with `foreach`), and then it is `asked` whether it
    was the last (with a condition under `until`). `over` when nothing more is consumed.
    """

    waiting: list[Json] = field(default_factory=list)
    matched: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    keys: dict[str, Json] = field(default_factory=dict)
    consumed: list[Json] = field(default_factory=list)
    size: int = 0
    count: int = 0
    turn: Pass | None = None
    asked: bool = False
    over: bool = False


class Function(Struct):
    """A running call of a function: its task as a list of one, whose data are its arguments, and its own `$context`.

    `address` is where its definition was fetched from (a key of WorkflowFrame.functions); None for one of the document.
    """

    tasks: ListFrame
    address: str | None = None
    context: Json = field(default_factory=dict)


class Child(Struct):
    """A running `run: workflow`: the document as it was when it was looked up, and the state of its run.

    `began` is when, by the run's own clock.
    """

    definition: dict[str, Json]
    frame: WorkflowFrame
    began: datetime


TaskState = ListFrame | Wait | Loop | Attempts | Fork | Emit | Listen | Function | Child


class Extending(Struct):
    """What extensions do around a task.

    Before it: `number` is the extension at hand (as many as there are once all are through), and `applied` are the numbers
    of those that apply. After it those are taken off one by one, the last first. `tasks` is the list that is running.
    """

    number: int = 0
    applied: list[int] = field(default_factory=list)
    tasks: ListFrame | None = None


class TaskFrame(Struct, gc=False):
    """A task that has begun and not ended.

    `iteration` is the path of loop indices around it ("4.0"), `visits` the visit numbers of the tasks
    around it and its own, outermost first. `input` holds once `prepared` (input.from was evaluated),
    `output`, before output.as, once `done`. `then` is the directive that a `switch` chose. `deadline` is when its
    `timeout` passes.
    """

    reference: str
    iteration: str
    visits: tuple[int, ...]
    raw_input: Json
    started_at: datetime
    prepared: bool = False
    input: Json = None
    state: TaskState | None = None
    done: bool = False
    output: Json = None
    then: str | None = None
    deadline: datetime | None = None
    extending: Extending | None = None


class WorkflowFrame(Struct):
    """The root: one run of one document. `context` is `$context`; `tasks` is set once `input` holds.

    `functions` are the definitions of functions that were fetched, by address: they are the same to the end of the run.
    `deadline` is when the document's `timeout` passes; `time_limit` is what the host gives the run, from its start.
    `paused` is the time that the run has spent paused, up to its last resume, and `paused_since` is set while it is
    paused; both are the host's to keep.
    """

    raw_input: Json
    started_at: datetime
    input: Json = None
    context: Json = field(default_factory=dict)
    tasks: ListFrame | None = None
    done: bool = False
    output: Json = None
    progress: int = 0
    counts: TaskCounts = field(default_factory=TaskCounts)
    deadline: datetime | None = None
    time_limit: timedelta | None = None
    functions: dict[str, Json] = field(default_factory=dict)
    paused: timedelta = timedelta(0)
    paused_since: datetime | None = None
