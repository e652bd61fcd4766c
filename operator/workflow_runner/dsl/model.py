"""The typed model of a workflow document, as the loader makes it and the interpreter reads it.

Everything is frozen. `definition` (of the workflow and of each task) is the parsed document itself, for
`$workflow.definition` and `$task.definition`: read it, never change it. Names follow the DSL reference,
with an underscore after Python's keywords (`if_`, `as_`).

A task's `reference` is the JSON pointer of the task in the document, name included: `/do/0/greet`,
`/do/1/loop/do/0/step` (the body of a `for`), `/do/2/guard/try/0/call`, `/do/2/guard/catch/do/0/undo`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import ClassVar, Literal, TypeAlias, overload

from msgspec import Struct, field

from workflow_runner.dsl.nodes import Node
from workflow_runner.dsl.templates import Expression, Position, Template
from workflow_runner.dsl.templates import Json as Json

Duration: TypeAlias = timedelta | Expression
"""A fixed duration, or an expression that gives one (see `durations.duration_from_json`)."""

MOST_BRANCHES = 200
"""At most so many branches of one fork."""

CONTINUE = "continue"
EXIT = "exit"
END = "end"
DIRECTIVES = frozenset({CONTINUE, EXIT, END})
"""Flow directives; any other value of `then` is the name of a task in the same list."""


class Schema(Struct, frozen=True, kw_only=True, eq=False):
    """A JSON schema that data have to match: inline, or at an address.

    `text` is the inline document as JSON; where it is None, `endpoint` says where the document is to be fetched (like
    HttpCallTask.endpoint). `name` is what messages call it ("input.schema"), `pointer` where it stands: for
    an inline one the pointer of its document.
    """

    name: str
    pointer: str
    position: Position
    text: str | None = None
    endpoint: Template | None = None


class Task(Struct, frozen=True, kw_only=True):
    """What every task has (DSL reference, "Task")."""

    kind: ClassVar[str] = "task"

    name: str
    reference: str
    position: Position
    definition: dict[str, Json]
    if_: Expression | None = None
    input_schema: Schema | None = None
    input_from: Template | None = None
    output_as: Template | None = None
    output_schema: Schema | None = None
    export_as: Template | None = None
    export_schema: Schema | None = None
    timeout: Duration | None = None
    then: str = CONTINUE
    metadata: Mapping[str, Json] = field(default_factory=dict)


class TaskList(Sequence[Task]):
    """Tasks in the order in which they are declared; names are unique within one list."""

    __slots__ = ("_index", "_tasks")

    def __init__(self, tasks: Sequence[Task] = ()) -> None:
        self._tasks = tuple(tasks)
        self._index = {task.name: number for number, task in enumerate(self._tasks)}

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Task, ...]: ...
    def __getitem__(self, index: int | slice) -> Task | tuple[Task, ...]:
        return self._tasks[index]

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks)

    def index_of(self, name: str) -> int | None:
        """The place of the task called `name`, or None."""
        return self._index.get(name)


class DoTask(Task, frozen=True, kw_only=True):
    """Runs tasks in sequence."""

    kind: ClassVar[str] = "do"
    do: TaskList


class SetTask(Task, frozen=True, kw_only=True):
    """Gives a value: an object template, or one expression."""

    kind: ClassVar[str] = "set"
    value: Template


class SwitchCase(Struct, frozen=True, kw_only=True):
    """One case; `when` is None for the default case, of which there is at most one."""

    name: str
    when: Expression | None
    then: str


class SwitchTask(Task, frozen=True, kw_only=True):
    """Goes where the first case that holds says; the default case is taken last, wherever it stands."""

    kind: ClassVar[str] = "switch"
    cases: tuple[SwitchCase, ...]


class ForTask(Task, frozen=True, kw_only=True):
    """Runs `do` for each item of `in_`, which must give an array."""

    kind: ClassVar[str] = "for"
    each: str = "item"
    at: str = "index"
    in_: Expression
    while_: Expression | None = None
    do: TaskList


class ForkTask(Task, frozen=True, kw_only=True):
    """Runs its branches at the same time; each is a list of one task. With `compete` the first to complete wins."""

    kind: ClassVar[str] = "fork"
    branches: tuple[TaskList, ...]
    compete: bool = False


class WaitTask(Task, frozen=True, kw_only=True):
    """Waits."""

    kind: ClassVar[str] = "wait"
    duration: Duration


class ErrorDefinition(Struct, frozen=True, kw_only=True):
    """An error to raise; strings may be expressions. `name` is its name under `use.errors`, if it has one."""

    type: Template
    status: int
    instance: Template | None = None
    title: Template | None = None
    detail: Template | None = None
    name: str | None = None


class RaiseTask(Task, frozen=True, kw_only=True):
    """Raises an error; a reference to `use.errors` is resolved when the document is loaded."""

    kind: ClassVar[str] = "raise"
    error: ErrorDefinition


class ErrorFilter(Struct, frozen=True, kw_only=True):
    """Which errors to catch: every field that is not None must be equal."""

    type: str | None = None
    status: int | None = None
    instance: str | None = None
    title: str | None = None
    detail: str | None = None


Backoff: TypeAlias = Literal["constant", "linear", "exponential"]


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """When and how often a `try` block is repeated (rulings: attempts include the first).

    `attempt_duration` bounds one attempt, `duration` all of them. `jitter` is (from, to).
    """

    when: Expression | None = None
    except_when: Expression | None = None
    delay: Duration | None = None
    backoff: Backoff = "constant"
    attempt_count: int | None = None
    attempt_duration: Duration | None = None
    duration: Duration | None = None
    jitter: tuple[Duration, Duration] | None = None
    name: str | None = None


class Catch(Struct, frozen=True, kw_only=True):
    """What is caught and what is done about it. `do` None means that the error is swallowed."""

    errors: ErrorFilter | None = None
    as_: str = "error"
    when: Expression | None = None
    except_when: Expression | None = None
    retry: RetryPolicy | None = None
    do: TaskList | None = None


class TryTask(Task, frozen=True, kw_only=True):
    """Runs tasks and handles their errors."""

    kind: ClassVar[str] = "try"
    try_: TaskList
    catch: Catch


class HttpCallTask(Task, frozen=True, kw_only=True):
    """`call: http`.

    `endpoint` is an expression, or a literal URI template whose `{name}` parts are top-level properties of
    the task's input. `headers` and `query` give objects. `output` is raw, content or response.
    """

    kind: ClassVar[str] = "call"
    function: ClassVar[str] = "http"
    method: Template
    endpoint: Template
    headers: Template | None = None
    query: Template | None = None
    body: Template | None = None
    output: Literal["raw", "content", "response"] = "content"
    redirect: bool = False


class UnsupportedTask(Task, frozen=True, kw_only=True):
    """A task of the DSL that this version knows but cannot run; validation refuses it, so none is ever run.

    `what` is the task as an author calls it: "emit", "call: grpc", "run: shell".
    `lists` are the tasks inside it, so that they are validated too.
    """

    kind: ClassVar[str] = "unsupported"
    what: str
    lists: tuple[TaskList, ...] = ()


class DocumentInfo(Struct, frozen=True, kw_only=True):
    """The `document` part."""

    dsl: str
    namespace: str
    name: str
    version: str
    title: str | None = None
    summary: str | None = None
    tags: Mapping[str, Json] = field(default_factory=dict)
    metadata: Mapping[str, Json] = field(default_factory=dict)


class Use(Struct, frozen=True, kw_only=True):
    """Reusable parts. Errors, retries and timeouts are resolved into the tasks that use them already."""

    errors: Mapping[str, ErrorDefinition] = field(default_factory=dict)
    retries: Mapping[str, RetryPolicy] = field(default_factory=dict)
    timeouts: Mapping[str, Duration] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()


class Workflow(Struct, frozen=True, kw_only=True, eq=False):
    """A whole document.

    `file` is what messages call it; `expressions` are all its jq programs and `schemas` all its schemas; `source` is
    the tree it was read from, for the positions of messages.
    """

    document: DocumentInfo
    do: TaskList
    definition: dict[str, Json]
    input_schema: Schema | None = None
    input_from: Template | None = None
    output_as: Template | None = None
    output_schema: Schema | None = None
    timeout: Duration | None = None
    use: Use = field(default_factory=Use)
    file: str = "<document>"
    expressions: tuple[Expression, ...] = ()
    schemas: tuple[Schema, ...] = ()
    source: Node | None = None

    def tasks(self) -> Iterator[Task]:
        """Every task, outer before inner, in document order."""
        yield from walk(self.do)

    def task_at(self, reference: str) -> Task | None:
        """The task with this JSON pointer, or None."""
        return next((task for task in self.tasks() if task.reference == reference), None)


def task_lists(task: Task) -> tuple[TaskList, ...]:
    """The lists directly inside a task, in document order."""
    match task:
        case DoTask() | ForTask():
            return (task.do,)
        case TryTask():
            return (task.try_,) if task.catch.do is None else (task.try_, task.catch.do)
        case ForkTask():
            return task.branches
        case UnsupportedTask():
            return task.lists
        case _:
            return ()


def walk(tasks: TaskList) -> Iterator[Task]:
    """Every task of a list and of the lists inside it, outer before inner."""
    for task in tasks:
        yield task
        for inner in task_lists(task):
            yield from walk(inner)
