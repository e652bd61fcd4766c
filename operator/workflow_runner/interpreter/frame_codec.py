"""Frames as JSON and back, for hosts that write a run down.

Version 3 is `{"version": 3, "frame": …, "values": […]}` (1 had no forks and no time limits, 2 no events). Data is in `values`,
each shared value once, and frames point into it by index: a value that ten nested tasks hold is written once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from msgspec.structs import asdict

from workflow_runner.dsl.templates import Json
from workflow_runner.errors import InvalidInput
from workflow_runner.interpreter.events import TaskCounts
from workflow_runner.interpreter.frames import (
    Attempts,
    Branch,
    Child,
    Emit,
    Extending,
    Fork,
    Function,
    Listen,
    ListFrame,
    Loop,
    Pass,
    TaskFrame,
    TaskState,
    Wait,
    WorkflowFrame,
)

VERSION = 3
_T = TypeVar("_T")


def encode(frame: WorkflowFrame) -> dict[str, Json]:
    """Write a tree down as JSON. Costs time in proportion to its data: for use on demand only."""
    writer = _Writer()
    tree = writer.workflow(frame)
    return {"version": VERSION, "frame": tree, "values": writer.values}


def decode(document: Json) -> WorkflowFrame:
    """Read a tree back. Raises InvalidInput (`frame.version`, `frame.invalid`)."""
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise InvalidInput(
            f"the frame is not of version {VERSION}",
            code="frame.version",
            hint="continue it with the release that wrote it",
        )
    try:
        values = document["values"]
        if not isinstance(values, list):
            raise TypeError("its values are not a list")
        return _Reader(values).workflow(document["frame"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InvalidInput(f"the frame is damaged: {error!r}", code="frame.invalid") from error


class _Writer:
    def __init__(self) -> None:
        self.values: list[Json] = []
        self._index: dict[int, int] = {}

    def value(self, value: Json) -> int:
        index = self._index.get(id(value))
        if index is None:
            index = self._index[id(value)] = len(self.values)
            self.values.append(value)
        return index

    def workflow(self, frame: WorkflowFrame) -> dict[str, Json]:
        return {
            "rawInput": self.value(frame.raw_input),
            "startedAt": frame.started_at.isoformat(),
            "input": self.value(frame.input),
            "context": self.value(frame.context),
            "tasks": self.task_list(frame.tasks),
            "done": frame.done,
            "output": self.value(frame.output),
            "progress": frame.progress,
            "counts": asdict(frame.counts),
            "deadline": _moment(frame.deadline),
            "functions": {address: self.value(definition) for address, definition in frame.functions.items()},
            "timeLimit": None if frame.time_limit is None else frame.time_limit.total_seconds(),
            "paused": frame.paused.total_seconds(),
            "pausedSince": _moment(frame.paused_since),
        }

    def task_list(self, tasks: ListFrame | None) -> Json:
        if tasks is None:
            return None
        return {
            "kind": "tasks",
            "data": self.value(tasks.data),
            "position": tasks.position,
            "visits": {str(position): count for position, count in tasks.visits.items()},
            "task": None if tasks.task is None else self.task(tasks.task),
        }

    def task(self, frame: TaskFrame) -> dict[str, Json]:
        return {
            "reference": frame.reference,
            "iteration": frame.iteration,
            "visits": list(frame.visits),
            "rawInput": self.value(frame.raw_input),
            "startedAt": frame.started_at.isoformat(),
            "prepared": frame.prepared,
            "input": self.value(frame.input),
            "state": self.state(frame.state),
            "done": frame.done,
            "output": self.value(frame.output),
            "then": frame.then,
            "deadline": _moment(frame.deadline),
            "extending": None if frame.extending is None else self.extending(frame.extending),
        }

    def state(self, state: TaskState | None) -> Json:
        match state:
            case None:
                return None
            case ListFrame():
                return self.task_list(state)
            case Wait():
                return {"kind": "wait", "until": state.until.isoformat()}
            case Loop():
                return {
                    "kind": "loop",
                    "collection": self.value(state.collection),
                    "data": self.value(state.data),
                    "index": state.index,
                    "body": self.task_list(state.body),
                }
            case Attempts():
                return {
                    "kind": "attempts",
                    "firstAt": state.first_at.isoformat(),
                    "attempt": state.attempt,
                    "deadline": _moment(state.deadline),
                    "body": self.task_list(state.body),
                    "retryAt": _moment(state.retry_at),
                    "error": None if state.error is None else self.value(state.error),
                    "handler": self.task_list(state.handler),
                }
            case Fork():
                return {
                    "kind": "fork",
                    "branches": [self.branch(branch) for branch in state.branches],
                    "context": self.value(state.context),
                    "decided": state.decided,
                }
            case Emit():
                return {"kind": "emit", "event": self.value(state.event)}
            case Listen():
                return self.listen(state)
            case Function():
                return {
                    "kind": "function",
                    "tasks": self.task_list(state.tasks),
                    "address": state.address,
                    "context": self.value(state.context),
                }
            case Child():
                return {
                    "kind": "child",
                    "definition": self.value(state.definition),
                    "frame": self.workflow(state.frame),
                    "began": state.began.isoformat(),
                }

    def extending(self, state: Extending) -> dict[str, Json]:
        return {"number": state.number, "applied": list(state.applied), "tasks": self.task_list(state.tasks)}

    def listen(self, state: Listen) -> dict[str, Json]:
        return {
            "kind": "listen",
            # These lists grow in place, so they are copied.
            "waiting": [self.value(event) for event in state.waiting],
            "consumed": [self.value(item) for item in state.consumed],
            "matched": list(state.matched),
            "ended": list(state.ended),
            "keys": self.value(state.keys),
            "size": state.size,
            "count": state.count,
            "turn": None if state.turn is None else self.turn(state.turn),
            "asked": state.asked,
            "over": state.over,
        }

    def turn(self, turn: Pass) -> dict[str, Json]:
        return {
            "item": self.value(turn.item),
            "body": self.task_list(turn.body),
            "output": self.value(turn.output),
            "left": turn.left,
        }

    def branch(self, branch: Branch) -> dict[str, Json]:
        return {
            "tasks": self.task_list(branch.tasks),
            "context": self.value(branch.context),
            "replaced": branch.replaced,
            "end": branch.end,
            "output": self.value(branch.output),
            "error": None if branch.error is None else self.value(branch.error),
        }


class _Reader:
    def __init__(self, values: list[Json]) -> None:
        self.values = values

    def workflow(self, tree: Any) -> WorkflowFrame:
        return WorkflowFrame(
            raw_input=self.values[tree["rawInput"]],
            started_at=datetime.fromisoformat(tree["startedAt"]),
            input=self.values[tree["input"]],
            context=self.values[tree["context"]],
            tasks=_optional(self.task_list, tree["tasks"]),
            done=tree["done"],
            output=self.values[tree["output"]],
            progress=tree["progress"],
            counts=TaskCounts(**tree["counts"]),
            deadline=_optional(datetime.fromisoformat, tree["deadline"]),
            functions={address: self.values[index] for address, index in tree["functions"].items()},
            time_limit=_optional(_seconds, tree["timeLimit"]),
            paused=_seconds(tree["paused"]),
            paused_since=_optional(datetime.fromisoformat, tree["pausedSince"]),
        )

    def task_list(self, tree: Any) -> ListFrame:
        return ListFrame(
            data=self.values[tree["data"]],
            position=tree["position"],
            visits={int(position): count for position, count in tree["visits"].items()},
            task=_optional(self.task, tree["task"]),
        )

    def task(self, tree: Any) -> TaskFrame:
        return TaskFrame(
            reference=tree["reference"],
            iteration=tree["iteration"],
            visits=tuple(tree["visits"]),
            raw_input=self.values[tree["rawInput"]],
            started_at=datetime.fromisoformat(tree["startedAt"]),
            prepared=tree["prepared"],
            input=self.values[tree["input"]],
            state=_optional(self.state, tree["state"]),
            done=tree["done"],
            output=self.values[tree["output"]],
            then=tree["then"],
            deadline=_optional(datetime.fromisoformat, tree["deadline"]),
            extending=_optional(self.extending, tree["extending"]),
        )

    def state(self, tree: Any) -> TaskState:
        match tree["kind"]:
            case "tasks":
                return self.task_list(tree)
            case "wait":
                return Wait(until=datetime.fromisoformat(tree["until"]))
            case "loop":
                collection = self.values[tree["collection"]]
                if not isinstance(collection, list):
                    raise TypeError("a loop's collection is not a list")
                return Loop(
                    collection=collection,
                    data=self.values[tree["data"]],
                    index=tree["index"],
                    body=_optional(self.task_list, tree["body"]),
                )
            case "attempts":
                return self.attempts(tree)
            case "fork":
                return Fork(
                    branches=[self.branch(branch) for branch in tree["branches"]],
                    context=self.values[tree["context"]],
                    decided=tree["decided"],
                )
            case "emit":
                return Emit(event=self.object(tree["event"], "an event"))
            case "listen":
                return self.listen(tree)
            case "function":
                return Function(
                    tasks=self.task_list(tree["tasks"]),
                    address=tree["address"],
                    context=self.values[tree["context"]],
                )
            case "child":
                return Child(
                    definition=self.object(tree["definition"], "a document"),
                    frame=self.workflow(tree["frame"]),
                    began=datetime.fromisoformat(tree["began"]),
                )
            case kind:
                raise ValueError(f"unknown kind of state {kind!r}")

    def extending(self, tree: Any) -> Extending:
        return Extending(number=tree["number"], applied=list(tree["applied"]), tasks=_optional(self.task_list, tree["tasks"]))

    def listen(self, tree: Any) -> Listen:
        return Listen(
            waiting=[self.values[index] for index in tree["waiting"]],
            consumed=[self.values[index] for index in tree["consumed"]],
            matched=list(tree["matched"]),
            ended=list(tree["ended"]),
            keys=self.object(tree["keys"], "the keys of a correlation"),
            size=tree["size"],
            count=tree["count"],
            turn=_optional(self.turn, tree["turn"]),
            asked=tree["asked"],
            over=tree["over"],
        )

    def turn(self, tree: Any) -> Pass:
        return Pass(
            item=self.values[tree["item"]],
            body=_optional(self.task_list, tree["body"]),
            output=self.values[tree["output"]],
            left=tree["left"],
        )

    def object(self, index: Any, what: str) -> dict[str, Json]:
        value = self.values[index]
        if not isinstance(value, dict):
            raise TypeError(f"{what} is not an object")
        return value

    def branch(self, tree: Any) -> Branch:
        return Branch(
            tasks=self.task_list(tree["tasks"]),
            context=self.values[tree["context"]],
            replaced=tree["replaced"],
            end=tree["end"],
            output=self.values[tree["output"]],
            error=self.error(tree["error"]),
        )

    def error(self, index: Any) -> dict[str, Json] | None:
        return None if index is None else self.object(index, "an error")

    def attempts(self, tree: Any) -> Attempts:
        return Attempts(
            first_at=datetime.fromisoformat(tree["firstAt"]),
            attempt=tree["attempt"],
            deadline=_optional(datetime.fromisoformat, tree["deadline"]),
            body=_optional(self.task_list, tree["body"]),
            retry_at=_optional(datetime.fromisoformat, tree["retryAt"]),
            error=self.error(tree["error"]),
            handler=_optional(self.task_list, tree["handler"]),
        )


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _seconds(seconds: Any) -> timedelta:
    return timedelta(seconds=seconds)


def _optional(read: Callable[[Any], _T], tree: Any) -> _T | None:
    return None if tree is None else read(tree)
