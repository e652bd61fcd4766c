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
from msgspec.structs import force_setattr

from workflow_runner.dsl.nodes import Node
from workflow_runner.dsl.templates import Expression, Position, Template
from workflow_runner.dsl.templates import Json as Json

Duration: TypeAlias = timedelta | Expression
"""A fixed duration, or an expression that gives one (see `durations.duration_from_json`)."""

MOST_BRANCHES = 1_000
"""At most so many branches of one fork."""

CONTINUE = "continue"
EXIT = "exit"
END = "end"
DIRECTIVES = frozenset({CONTINUE, EXIT, END})
"""Flow directives; any other value of `then` is the name of a task in the same list."""


class Authentication(Struct, frozen=True, kw_only=True, eq=False):
    """How a call proves who makes it (DSL reference, "Authentication").

    `members` are those of the scheme by dotted names ("password", "client.id", "scopes.0"), each a literal or an
    expression. Where the policy is kept in a secret, `secret` is its name and `members` is empty. `pointer` is where the
    policy stands.
    """

    scheme: Literal["basic", "bearer", "certificate", "digest", "oauth2", "oidc"]
    members: Mapping[str, Template] = field(default_factory=dict)
    secret: str | None = None
    pointer: str
    position: Position

    def __repr__(self) -> str:
        """Without the members: a document may have credentials in them as plain text."""
        return f"Authentication({self.scheme!r}, pointer={self.pointer!r})"


class Schema(Struct, frozen=True, kw_only=True, eq=False):
    """A JSON schema that data have to match: inline, or at an address.

    `text` is the inline document as JSON; where it is None, `endpoint` says where the document is to be fetched (like
    HttpCallTask.endpoint) and `authentication` how. `name` is what messages call it ("input.schema"), `pointer` where it
    stands: for an inline one the pointer of its document.
    """

    name: str
    pointer: str
    position: Position
    text: str | None = None
    endpoint: Template | None = None
    authentication: Authentication | None = None


class Resource(Struct, frozen=True, kw_only=True, eq=False):
    """A document of another language that a call needs, at an address (like HttpCallTask.endpoint; `file:` URIs too)."""

    endpoint: Template
    authentication: Authentication | None = None
    pointer: str


class Task(Struct, frozen=True, kw_only=True):
    """What every task has (DSL reference, "Task").

    `authorization` is the policy that `$authorization` tells about, of a task in which an expression asks for it. `plain`
    says that it has none of the optional members about data, limits and authorization: what it does is all there is.
    """

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
    authorization: Authentication | None = None
    plain: bool = True

    def __post_init__(self) -> None:
        optional = (
            self.input_schema,
            self.input_from,
            self.output_as,
            self.output_schema,
            self.export_as,
            self.export_schema,
            self.timeout,
            self.authorization,
        )
        force_setattr(self, "plain", all(member is None for member in optional))


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
    authentication: Authentication | None = None
    headers: Template | None = None
    query: Template | None = None
    body: Template | None = None
    output: Literal["raw", "content", "response"] = "content"
    redirect: bool = False


class Correlation(Struct, frozen=True, kw_only=True):
    """A value of an event that has to be what is expected; without `expect`, what the first event had."""

    from_: Expression
    expect: Template | None = None


class EventFilter(Struct, frozen=True, kw_only=True):
    """Which events are meant: every attribute in `attributes` (and `data`) has to fit, and every correlation."""

    attributes: Mapping[str, Template]
    correlate: Mapping[str, Correlation] = field(default_factory=dict)


class EventStrategy(Struct, frozen=True, kw_only=True):
    """Which events are consumed, and when that ends (DSL reference, "Event Consumption Strategy").

    `any` without filters takes every event. `until` is a condition, or the strategy whose events end it; only `any` has it.
    """

    mode: Literal["one", "any", "all"]
    filters: tuple[EventFilter, ...]
    until: Expression | EventStrategy | None = None


class EventIterator(Struct, frozen=True, kw_only=True):
    """What is done with each consumed event, in their order."""

    item: str = "item"
    at: str = "index"
    do: TaskList | None = None
    output_as: Template | None = None
    output_schema: Schema | None = None
    export_as: Template | None = None
    export_schema: Schema | None = None


class EmitTask(Task, frozen=True, kw_only=True):
    """Publishes an event; `attributes` are those of CloudEvents, and `data`."""

    kind: ClassVar[str] = "emit"
    attributes: Mapping[str, Template]


class ListenTask(Task, frozen=True, kw_only=True):
    """Waits for events."""

    kind: ClassVar[str] = "listen"
    to: EventStrategy
    read: Literal["data", "envelope", "raw"] = "data"
    foreach: EventIterator | None = None


class OpenApiCallTask(Task, frozen=True, kw_only=True):
    """`call: openapi`. `parameters` gives an object; `output` and `redirect` are as those of HttpCallTask."""

    kind: ClassVar[str] = "call"
    function: ClassVar[str] = "openapi"
    document: Resource
    operation_id: Template
    parameters: Template | None = None
    authentication: Authentication | None = None
    output: Literal["raw", "content", "response"] = "content"
    redirect: bool = False


class GrpcCallTask(Task, frozen=True, kw_only=True):
    """`call: grpc`.

    Without `proto` the server is asked what it has. `port` gives a whole number; `tls` None leaves it to the port and
    the authentication. `arguments` and `metadata_sent` give objects.
    """

    kind: ClassVar[str] = "call"
    function: ClassVar[str] = "grpc"
    proto: Resource | None = None
    service: Template
    host: Template
    port: Template | None = None
    tls: bool | None = None
    method: Template
    arguments: Template | None = None
    metadata_sent: Template | None = None
    authentication: Authentication | None = None


class AgentCallTask(Task, frozen=True, kw_only=True):
    """`call: agent`: asks an agent of Stigmer's and waits for what it says.

    `agent` gives its name, which `scope` and `org` make unique. `env` gives an object. `time_limit` is the call's own, within
    the task's. `output` content is what the agent said last, response all that is known of it.
    """

    kind: ClassVar[str] = "call"
    function: ClassVar[str] = "agent"
    agent: Template
    scope: Literal["organization", "platform"] = "organization"
    org: Template | None = None
    message: Template
    env: Template | None = None
    model: Template | None = None
    temperature: Template | None = None
    time_limit: Duration | None = None
    output: Literal["content", "response"] = "content"


class ActivityCallTask(Task, frozen=True, kw_only=True):
    """`call: activity`: an activity of Temporal. Without `input_` it gets the task's input."""

    kind: ClassVar[str] = "call"
    function: ClassVar[str] = "activity"
    activity: Template
    input_: Template | None = None


class FunctionSource(Struct, frozen=True, kw_only=True, eq=False):
    """Where a function is fetched from: a folder of functions at `catalog`, in which it has `name` and `version`, or (with
    empty ones) the address of the function itself. Without `catalog` the runner's default catalog."""

    catalog: Template | None = None
    name: str = ""
    version: str = ""
    authentication: Authentication | None = None


class FunctionCallTask(Task, frozen=True, kw_only=True):
    """`call` of a function of the author's: one of `Use.functions`, or one that is fetched from `source`.

    `function` is the name as it is written, `arguments` gives an object.
    """

    kind: ClassVar[str] = "call"
    function: str
    arguments: Template | None = None
    source: FunctionSource | None = None


ProcessReturn: TypeAlias = Literal["stdout", "stderr", "code", "all", "none"]


class ProcessTask(Task, frozen=True, kw_only=True):
    """`run: shell` (with `command`) and `run: script` (with `language`, and `code` or `source`).

    `arguments` gives a list or an object, `environment` an object. Without `await_` nobody waits for the process.
    """

    kind: ClassVar[str] = "run"
    process: Literal["shell", "script"]
    command: Template | None = None
    language: Literal["python", "javascript"] | None = None
    code: Template | None = None
    source: Resource | None = None
    arguments: Template | None = None
    environment: Template | None = None
    stdin: Template | None = None
    await_: bool = True
    return_: ProcessReturn = "stdout"


class WorkflowRunTask(Task, frozen=True, kw_only=True):
    """`run: workflow`: runs another document that the host knows. Without `output` the task gives null."""

    kind: ClassVar[str] = "run"
    process: ClassVar[str] = "workflow"
    namespace: Template
    workflow_name: Template
    version: Template
    input_: Template | None = None
    await_: bool = True
    output: bool = True


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


class Extension(Struct, frozen=True, kw_only=True):
    """Tasks around tasks: those of the kinds in `extend` for which `when` holds (DSL reference, "Extension").

    `reference` is the pointer of the extension, which its tasks' references begin with.
    """

    name: str
    reference: str
    extend: frozenset[str]
    when: Expression | None = None
    before: TaskList | None = None
    after: TaskList | None = None


class Use(Struct, frozen=True, kw_only=True):
    """Reusable parts. Authentications, errors, retries and timeouts are resolved into the tasks that use them already."""

    authentications: Mapping[str, Authentication] = field(default_factory=dict)
    errors: Mapping[str, ErrorDefinition] = field(default_factory=dict)
    retries: Mapping[str, RetryPolicy] = field(default_factory=dict)
    timeouts: Mapping[str, Duration] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    functions: Mapping[str, TaskList] = field(default_factory=dict)
    """By name: a list of one task, which has that name."""
    extensions: tuple[Extension, ...] = ()


class Schedule(Struct, frozen=True, kw_only=True):
    """When the workflow is run by itself: exactly one of these is set. Honoured by `run --scheduled` only."""

    every: timedelta | None = None
    cron: str | None = None
    after: timedelta | None = None
    on: EventStrategy | None = None


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
    schedule: Schedule | None = None
    use: Use = field(default_factory=Use)
    file: str = "<document>"
    expressions: tuple[Expression, ...] = ()
    sealed: frozenset[Expression] = frozenset()
    """Those of them whose values only whoever carries a call out sees: of authentication, and of what an agent is given."""
    schemas: tuple[Schema, ...] = ()
    source: Node | None = None

    def tasks(self) -> Iterator[Task]:
        """Every task of `do`, outer before inner, in document order."""
        yield from walk(self.do)

    def lists(self) -> Iterator[TaskList]:
        """The lists that are in no task: of functions, of extensions, and `do`."""
        yield from self.use.functions.values()
        for extension in self.use.extensions:
            yield from (tasks for tasks in (extension.before, extension.after) if tasks is not None)
        yield self.do

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
        case ListenTask():
            return () if task.foreach is None or task.foreach.do is None else (task.foreach.do,)
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
