"""A workflow runner in another style: its documents are DAGs, and all of it is this file. README.md reads it with you.

    python examples/runners/dag/dag_runner.py --listen 127.0.0.1:9090

It offers WorkflowExecutionService and WorkflowRunnerQueryController, reflection and health, from the generated stubs of the
package `workflow-runner`. Runs are kept in memory, so many and no more; a process that ends loses them.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import grpc.aio
import yaml
from google.protobuf import any_pb2, empty_pb2, json_format
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import io_pb2, service_pb2, service_pb2_grpc
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as query_io
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import query_pb2, query_pb2_grpc

EXECUTION = service_pb2.DESCRIPTOR.services_by_name["WorkflowExecutionService"].full_name
QUERY = query_pb2.DESCRIPTOR.services_by_name["WorkflowRunnerQueryController"].full_name

MOST_TEXT, MOST_TASKS, MOST_DEPTH = 64 * 1024, 200, 20
LARGEST_REQUEST, LARGEST_DATA, LONGEST_ID = 256 * 1024, 64 * 1024, 253
MOST_RUNNING, MOST_KEPT, MOST_EVENTS, MOST_CALLS = 100, 500, 1_000, 1_000
LONGEST_EXECUTE = 600.0
"""Seconds of an `Execute`; what takes longer belongs into `ExecuteAsync`."""
MOST_PAGE = 500
MOST_EXACT = 2**53
LARGEST_OUTPUT = 4096
MOST_SAID = 500
ENDS = {"workflow_completed": "completed", "workflow_failed": "failed", "workflow_cancelled": "cancelled"}

Json = Any
Context = grpc.aio.ServicerContext[Any, Any]
Event = io_pb2.WorkflowProgressEvent


# ------------------------------------------------------------------ documents


@dataclass(frozen=True)
class Task:
    """One node: what it calls with which arguments, and the tasks that it waits for."""

    name: str
    call: str
    arguments: Mapping[str, Json]
    needs: Sequence[str]


@dataclass(frozen=True)
class Dag:
    """A document; `output` names the task whose output is the run's, or is None."""

    name: str
    tasks: Mapping[str, Task]
    output: str | None


class InvalidDag(Exception):
    """A document that cannot be run: `place` is where, as PATH or LINE:COLUMN."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.place, self.message = place, message


def read_dag(text: str) -> Dag:
    """The document as a Dag. Raises InvalidDag; a hostile text costs no more than an honest one.

    It is the DAG itself, or a workflow document that has it under `document.metadata.dag`.
    """
    content = _read_yaml(text)
    if isinstance(content, dict) and isinstance(content.get("document"), dict):
        metadata = content["document"].get("metadata")
        content = metadata.get("dag") if isinstance(metadata, dict) else None
    tasks = content.get("tasks") if isinstance(content, dict) else None
    if not isinstance(tasks, dict) or not tasks:
        raise InvalidDag("tasks", "there are none: write `tasks: {NAME: {call: …, with: {…}, needs: [NAME]}}`")
    if len(tasks) > MOST_TASKS:
        raise InvalidDag("tasks", f"there are {len(tasks)}, more than {MOST_TASKS}")
    dag = Dag(str(content.get("name", "dag")), {name: _read_task(name, tasks) for name in tasks}, content.get("output"))
    if dag.output is not None and not (isinstance(dag.output, str) and dag.output in tasks):
        raise InvalidDag("output", f"{dag.output!r} is no task")
    _refuse_circles(dag)
    return dag


def _read_yaml(text: str) -> Json:
    if len(text) > MOST_TEXT:
        raise InvalidDag("", f"the document has more than {MOST_TEXT} characters")
    depth = 0
    try:
        for part in yaml.parse(text, Loader=yaml.CSafeLoader):
            depth += isinstance(part, yaml.CollectionStartEvent) - isinstance(part, yaml.CollectionEndEvent)
            if isinstance(part, yaml.AliasEvent) or depth > MOST_DEPTH:  # a few aliases can stand for a huge value
                raise InvalidDag(_place(part.start_mark), f"aliases, and more than {MOST_DEPTH} levels, are not taken")
        content = yaml.load(text, Loader=yaml.CSafeLoader)
        _refuse_other_than_json(content)
        return content
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        raise InvalidDag(_place(mark), str(getattr(error, "problem", None) or error)) from None


def _place(mark: Any) -> str:
    return f"{mark.line + 1}:{mark.column + 1}" if mark is not None else ""


def _read_task(name: str, tasks: Mapping[str, Json]) -> Task:
    node = tasks[name]
    place = f"tasks.{name}"
    if not isinstance(node, dict) or not set(node) <= {"call", "with", "needs"}:
        raise InvalidDag(place, "a task has `call`, and may have `with` and `needs`")
    arguments, needs = node.get("with") or {}, node.get("needs") or []
    if not isinstance(node.get("call"), str) or node["call"] not in CALLS:
        raise InvalidDag(f"{place}.call", f"{node.get('call')!r} cannot be called; there are {', '.join(sorted(CALLS))}")
    if not isinstance(arguments, dict) or not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        raise InvalidDag(place, "`with` is an object and `needs` a list of names")
    for reference in _references(arguments):
        if reference != "input" and reference not in needs:
            raise InvalidDag(f"{place}.with", f"${reference} is the output of a task that is not among its `needs`")
    for need in needs:
        if need not in tasks:
            raise InvalidDag(f"{place}.needs", f"{need!r} is no task")
    return Task(name, node["call"], arguments, needs)


def _refuse_circles(dag: Dag) -> None:
    open_tasks = dict(dag.tasks)
    while ready := [name for name, task in open_tasks.items() if not any(need in open_tasks for need in task.needs)]:
        for name in ready:
            del open_tasks[name]
    if open_tasks:
        raise InvalidDag("tasks", f"these need each other: {', '.join(sorted(open_tasks))}")


def _references(value: Json) -> list[str]:
    """The names behind `$`: a string "$fetch.total" is the member `total` of what `fetch` gave."""
    match value:
        case str() if value.startswith("$"):
            return [value[1:].split(".")[0]]
        case dict():
            return [name for inner in value.values() for name in _references(inner)]
        case list():
            return [name for inner in value for name in _references(inner)]
    return []


def _resolved(value: Json, outputs: Mapping[str, Json]) -> Json:
    match value:
        case str() if value.startswith("$"):
            name, *members = value[1:].split(".")
            found = outputs[name]
            for member in members:
                if not isinstance(found, dict) or member not in found:
                    raise ValueError(f"{value} is not there")
                found = found[member]
            return found
        case dict():
            return {key: _resolved(inner, outputs) for key, inner in value.items()}
        case list():
            return [_resolved(inner, outputs) for inner in value]
    return value


# ------------------------------------------------------------------ what a task can call


async def _give(value: Json) -> Json:
    return value


async def _add(values: Sequence[float]) -> Json:
    return math.fsum(values)


async def _join(parts: Sequence[str]) -> Json:
    return "".join(str(part) for part in parts)


async def _sleep(seconds: float) -> Json:
    if not isinstance(seconds, int | float):
        raise TypeError(f"{seconds!r} is no number of seconds")
    await asyncio.sleep(min(seconds, 3600.0))
    return None


async def _fail(message: str) -> Json:
    raise ValueError(message)


CALLS: Mapping[str, Callable[..., Awaitable[Json]]] = {
    "give": _give,
    "add": _add,
    "join": _join,
    "sleep": _sleep,
    "fail": _fail,
}
"""A task's work is a coroutine that ends when it is cancelled: that is all that breaking off a run takes."""


def _refuse_other_than_json(value: Json) -> None:
    """Raises ValueError for what YAML knows and JSON does not: dates, keys that are no text, infinity, half a character."""
    match value:
        case dict():
            for key, inner in value.items():
                if not isinstance(key, str):
                    raise ValueError(f"the key {key!r} is no text")
                _refuse_other_than_json(key)
                _refuse_other_than_json(inner)
        case list():
            for inner in value:
                _refuse_other_than_json(inner)
        case str():
            value.encode()
        case int() | float():
            if not abs(value) <= MOST_EXACT:  # which no comparison with NaN is
                raise ValueError("there is a number that not everybody can read: 2^53 is the most")
        case None:
            pass
        case _:
            raise ValueError(f"{value!r} is no value of JSON: write it in quotes")


def _refuse_large(value: Json) -> None:
    """Raises ValueError: outputs that are made of outputs would otherwise grow without end."""
    size, waiting = 0, [(value, 0)]
    while waiting:
        part, depth = waiting.pop()
        size += len(part) if isinstance(part, str) else 8
        if size > LARGEST_DATA or depth > MOST_DEPTH:
            raise ValueError(f"there is more than {LARGEST_DATA} characters of data, or more than {MOST_DEPTH} levels")
        inner = [*part, *part.values()] if isinstance(part, dict) else part if isinstance(part, list) else ()
        waiting.extend((each, depth + 1) for each in inner)


# ------------------------------------------------------------------ runs


class Refused(Exception):
    """A call that is answered with a status; `violation` is what stands in google.rpc.BadRequest."""

    def __init__(self, code: grpc.StatusCode, message: str, violation: tuple[str, str] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.violation = code, message, violation


@dataclass
class Run:
    """One execution: its events are its whole state, and everybody who follows it reads them at their own pace."""

    id: str
    dag: Dag
    input: Json
    fingerprint: str
    """Of the request that started it: the same request under the same id is the same run."""
    events: list[Event] = field(default_factory=list)
    outputs: dict[str, Json] = field(default_factory=dict)
    busy: int = 0
    """Tasks under way."""
    paused: bool = False
    """What was asked for; `status` says what is so."""
    status: str = "pending"
    reason: str = ""
    work: asyncio.Task[None] | None = None
    _go_on: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ended(self) -> bool:
        return bool(self.events) and self.events[-1].event_type in ENDS

    def start(self) -> None:
        """Begin; whoever started it need not wait."""
        self._go_on.set()
        self.tell("workflow_started", "running")
        self.work = asyncio.create_task(self._work())
        self.work.add_done_callback(self._finish)

    async def _work(self) -> None:
        """All tasks at the same time, each behind those that it needs. One that fails breaks off the others."""
        done = {name: asyncio.Event() for name in self.dag.tasks}
        async with asyncio.TaskGroup() as group:
            for task in self.dag.tasks.values():
                group.create_task(self._do(task, done))

    def _finish(self, work: asyncio.Task[None]) -> None:
        """The terminal event, whatever came: even a run that was cancelled before its first step has one."""
        if work.cancelled():
            self.tell("workflow_cancelled", "cancelled", message=self.reason)
        elif (failure := work.exception()) is not None:
            while isinstance(failure, BaseExceptionGroup):
                failure = failure.exceptions[0]
            self.tell("workflow_failed", "failed", message=str(failure)[:MOST_SAID], error=_error(failure))
        else:
            self.tell("workflow_completed", "completed", output=self.outputs.get(self.dag.output or ""))
        self.outputs.clear()
        self.input = None

    async def _do(self, task: Task, done: Mapping[str, asyncio.Event]) -> None:
        for need in task.needs:
            await done[need].wait()
        while self.paused:
            await self._go_on.wait()
        self.busy += 1
        self.tell("task_started", "running", task)
        try:
            known = {name: self.outputs[name] for name in task.needs} | {"input": self.input}
            arguments = _resolved(task.arguments, known)
            _refuse_large(arguments)
            self.outputs[task.name] = await CALLS[task.call](**arguments)
        except Exception as failure:
            self.tell("task_failed", "failed", task, error=_error(failure))
            raise
        finally:
            self.busy -= 1
        done[task.name].set()
        self.tell("task_completed", "completed", task)
        self._hold()

    def pause(self, reason: str) -> None:
        """Start no further task; what is under way may end. The run *is* paused when nothing goes on any more."""
        if self.ended or self._cancelling:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f"the run has ended, or is about to: {self.status}")
        if len(self.events) > MOST_EVENTS:
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "the run was paused too often")
        if not self.paused:
            self.paused, self.reason = True, reason
            self._go_on.clear()
            self._hold()

    def _hold(self) -> None:
        if self.paused and not self.busy and self.status == "running" and len(self.outputs) < len(self.dag.tasks):
            self.tell("workflow_paused", "paused", message=self.reason)

    def resume(self) -> None:
        """Go on; nothing happens to a run that is not paused."""
        if self.ended:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f"the run has ended: {self.status}")
        if self.paused:
            self.paused = False
            if self.status == "paused":
                self.tell("workflow_resumed", "running")
            self._go_on.set()

    def cancel(self, reason: str) -> None:
        """Break off what is under way, paused or not; nothing happens to a run that is cancelled already."""
        if self.ended and self.status != "cancelled":
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f"the run has ended: {self.status}")
        if self.work is not None and not self.ended and not self._cancelling:
            self.reason = reason
            self.work.cancel()

    @property
    def _cancelling(self) -> bool:
        return self.work is not None and self.work.cancelling() > 0

    def tell(self, event_type: str, status: str, task: Task | None = None, **more: Any) -> None:
        """Add an event under the next number. There is none after the terminal one."""
        if self.ended:
            return
        output, message = more.pop("output", None), more.pop("message", "") or event_type.replace("_", " ")
        event = Event(
            workflow_execution_id=self.id,
            event_type=event_type,
            workflow_name=self.dag.name,
            task_name=task.name if task else "",
            task_reference=f"/tasks/{task.name}" if task else "",
            status=status,
            message=message,
            timestamp_ms=time.time_ns() // 1_000_000,
            sequence_number=len(self.events) + 1,
            task_progress=100 * len(self.outputs) // len(self.dag.tasks),
            **more,
        )
        if output is not None and len(json.dumps(output)) <= LARGEST_OUTPUT:
            json_format.ParseDict(output, event.output)
        if task is None:
            self.status = status
        self.events.append(event)
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self, after: int) -> AsyncIterator[Event]:
        """The events above a number, as they come, to the end."""
        while True:
            news = self._news
            for event in self.events[after:]:
                after = event.sequence_number
                yield event
            if self.ended and after >= len(self.events):
                return
            await news.wait()


def _error(failure: BaseException) -> io_pb2.ErrorDetails:
    return io_pb2.ErrorDetails(message=str(failure)[:MOST_SAID], type="about:blank", status=500)


class Runs:
    """All runs that this process knows: at most so many under way, and at most so many altogether."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def start(self, request: io_pb2.WorkflowExecuteInput) -> tuple[Run, bool]:
        """The run of a request, and whether it is new. Raises Refused."""
        if request.ByteSize() > LARGEST_REQUEST or len(request.workflow_execution_id) > LONGEST_ID:
            message = f"the request has more than {LARGEST_REQUEST} bytes, or its id more than {LONGEST_ID} characters"
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, message)
        execution_id = request.workflow_execution_id or uuid.uuid4().hex
        request.ClearField("workflow_execution_id")
        fingerprint = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
        known = self._runs.get(execution_id)
        if known is not None:
            if known.fingerprint != fingerprint:
                message = f"the execution {known.id!r} was started with another request; choose another id"
                raise Refused(grpc.StatusCode.ALREADY_EXISTS, message)
            return known, False
        try:
            dag = read_dag(request.workflow_yaml)
            given = json_format.MessageToDict(request.workflow_input)
        except InvalidDag as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error), ("workflow_yaml", str(error))) from None
        except (json_format.Error, ValueError) as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error), ("workflow_input", str(error))) from None
        self._make_room()
        run = Run(execution_id, dag, given, fingerprint)
        self._runs[run.id] = run
        run.start()
        return run, True

    def find(self, execution_id: str) -> Run:
        """Raises Refused."""
        run = self._runs.get(execution_id)
        if run is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"there is no execution {execution_id[:100]!r}")
        return run

    def _make_room(self) -> None:
        if sum(not run.ended for run in self._runs.values()) >= MOST_RUNNING:
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MOST_RUNNING} runs are under way; try again")
        if len(self._runs) >= MOST_KEPT:
            del self._runs[next(run.id for run in self._runs.values() if run.ended)]

    async def close(self) -> None:
        """Cancel what is under way and wait for it."""
        for run in self._runs.values():
            if not run.ended:
                run.cancel("the runner stops")
        await asyncio.gather(*(run.work for run in self._runs.values() if run.work is not None), return_exceptions=True)


# ------------------------------------------------------------------ services


async def _answer(context: Context, refused: Refused) -> NoReturn:
    """Ends a call with its status, and with google.rpc.BadRequest where a field of the request is to blame."""
    if refused.violation is not None:
        field_name, description = refused.violation
        violation = error_details_pb2.BadRequest.FieldViolation(field=field_name, description=description)
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
        status = status_pb2.Status(code=refused.code.value[0], message=refused.message, details=[detail])
        context.set_trailing_metadata(rpc_status.to_status(status).trailing_metadata)
    await context.abort(refused.code, refused.message)
    raise AssertionError("abort raises")


class ExecutionService(service_pb2_grpc.WorkflowExecutionServiceServicer):
    """What every runner has."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs

    async def Execute(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> AsyncIterator[Event]:
        """The run's events to the end. A caller that goes away, or takes too long, cancels the run."""
        try:
            run, new = self.runs.start(request)
        except Refused as refused:
            await _answer(context, refused)
        try:
            async with asyncio.timeout(LONGEST_EXECUTE):
                async for event in run.follow(0):
                    yield event
        except TimeoutError:
            message = (
                f"the run took longer than {LONGEST_EXECUTE:.0f} seconds and is cancelled: start such runs with ExecuteAsync"
            )
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, message)
        finally:
            if new and not run.ended:
                run.cancel("the caller went away")

    async def ExecuteAsync(self, request: io_pb2.WorkflowExecuteInput, context: Context) -> io_pb2.WorkflowExecuteResponse:
        """Starts the run; the same request again gets the same answer and starts nothing."""
        try:
            run, _ = self.runs.start(request)
        except Refused as refused:
            await _answer(context, refused)
        return io_pb2.WorkflowExecuteResponse(
            workflow_execution_id=run.id, status="running", message="Workflow execution started in background"
        )

    async def CancelExecution(self, request: io_pb2.CancelExecutionRequest, context: Context) -> empty_pb2.Empty:
        """There is nothing here that would need a grace period, so that `force` makes no difference."""
        return await self._steer(context, request.execution_id, lambda run: run.cancel(request.reason))

    async def PauseExecution(self, request: io_pb2.PauseExecutionRequest, context: Context) -> empty_pb2.Empty:
        return await self._steer(context, request.execution_id, lambda run: run.pause(request.reason))

    async def ResumeExecution(self, request: io_pb2.ResumeExecutionRequest, context: Context) -> empty_pb2.Empty:
        return await self._steer(context, request.execution_id, lambda run: run.resume())

    async def _steer(self, context: Context, execution_id: str, steer: Callable[[Run], None]) -> empty_pb2.Empty:
        try:
            steer(self.runs.find(execution_id))
        except Refused as refused:
            await _answer(context, refused)
        return empty_pb2.Empty()


class QueryController(query_pb2_grpc.WorkflowRunnerQueryControllerServicer):
    """How a run that was started asynchronously is followed. The events are the same messages under an older name."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs

    async def GetStatus(self, request: query_io.GetExecutionStatusRequest, context: Context) -> query_io.ExecutionStatus:
        run = await self._find(request.execution_id, context)
        last = _older(run.events[-1])
        return query_io.ExecutionStatus(
            workflow_execution_id=run.id,
            status=run.status,
            progress=last.task_progress,
            last_sequence_number=last.sequence_number,
            error=last.error if last.HasField("error") and run.ended else None,
            output=last.output if last.HasField("output") else None,
            started_at_ms=run.events[0].timestamp_ms,
            completed_at_ms=last.timestamp_ms if run.ended else 0,
        )

    async def GetEvents(self, request: query_io.GetExecutionEventsRequest, context: Context) -> query_io.ExecutionEvents:
        run = await self._find(request.execution_id, context)
        first = max(0, request.after_sequence_number)
        size = min(request.page_size, MOST_PAGE) if request.page_size > 0 else MOST_PAGE
        page = run.events[first : first + size]
        return query_io.ExecutionEvents(events=map(_older, page), more=first + size < len(run.events))

    async def Subscribe(
        self, request: query_io.SubscribeRequest, context: Context
    ) -> AsyncIterator[query_io.WorkflowProgressEvent]:
        run = await self._find(request.execution_id, context)
        async for event in run.follow(max(0, request.after_sequence_number)):
            yield _older(event)

    async def _find(self, execution_id: str, context: Context) -> Run:
        try:
            return self.runs.find(execution_id)
        except Refused as refused:
            await _answer(context, refused)


def _older(event: Event) -> query_io.WorkflowProgressEvent:
    return query_io.WorkflowProgressEvent.FromString(event.SerializeToString())


# ------------------------------------------------------------------ the process


def build(runs: Runs) -> grpc.aio.Server:
    """A server for everything, not yet listening."""
    return server_for(ExecutionService(runs), QueryController(runs))


def server_for(
    execution: service_pb2_grpc.WorkflowExecutionServiceServicer,
    query: query_pb2_grpc.WorkflowRunnerQueryControllerServicer | None,
) -> grpc.aio.Server:
    """A server for these two services with reflection and health, not yet listening."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)], maximum_concurrent_rpcs=MOST_CALLS)
    service_pb2_grpc.add_WorkflowExecutionServiceServicer_to_server(execution, server)
    names = [EXECUTION, reflection.SERVICE_NAME, health.SERVICE_NAME]
    if query is not None:
        query_pb2_grpc.add_WorkflowRunnerQueryControllerServicer_to_server(query, server)
        names.append(QUERY)
    serving = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(serving, server)
    reflection.enable_server_reflection(names, server)
    return server


async def serve(address: str) -> None:
    """Listens until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runs = Runs()
    server = build(runs)
    port = server.add_insecure_port(address)
    await server.start()
    print(f"listening on {address.rpartition(':')[0]}:{port}", flush=True)
    await stop.wait()
    await runs.close()
    await server.stop(grace=5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A workflow runner whose documents are DAGs.")
    parser.add_argument("--listen", default="127.0.0.1:9090", metavar="HOST:PORT")
    asyncio.run(serve(parser.parse_args().listen))
