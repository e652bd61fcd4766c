"""Strategies for documents: whole ones that can be run, and the pieces they are made of."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, Literal

from hypothesis import settings
from hypothesis import strategies as st

from workflow_runner.dsl.model import Workflow
from workflow_runner.expressions.documents import read_document

Doc = dict[str, Any]

HEAD = {"dsl": "1.0.3", "namespace": "tests", "name": "generated", "version": "1.0.0"}

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text('ab $.é"\\', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=6,
)
"""Data, without numbers that jq would round."""


def examples(count: int) -> int:
    """How many examples a test tries: `count`, or as many as the profile `search` wants."""
    chosen = settings()
    return count if chosen.derandomize else chosen.max_examples


def document(tasks: list[Doc], **members: Any) -> Doc:
    """A document with these tasks."""
    return {"document": HEAD, "do": tasks, **members}


def workflow(tasks: list[Doc], **members: Any) -> Workflow:
    """The same, read; raises DocumentErrors."""
    return read_document(document(tasks, **members))[0]


def note(name: str) -> Doc:
    """A task that adds its name to the list that the data are."""
    return {"set": "${ . + [" + json.dumps(name) + "] }"}


@st.composite
def stories(draw: st.DrawFn, *, depth: int = 2) -> list[Doc]:
    """Tasks over a list of words, which wait, loop, fork, fail, are caught and tried again; all of them end.

    No branch of a fork ends or breaks off another at a moment at which both act: who is first would be chance.
    """
    numbers = itertools.count()
    return _Story(draw, lambda: f"t{next(numbers)}").tasks(depth, "alone")


Where = Literal["alone", "forked", "guarded"]
"""Outside of all forks; in a branch; in a branch, where what fails is caught inside of it."""


class _Story:
    def __init__(self, draw: st.DrawFn, name: Callable[[], str]) -> None:
        self._draw = draw
        self._name = name

    def tasks(self, depth: int, where: Where) -> list[Doc]:
        kinds = ["set", "wait", "call", "context", "slow jq"] + (["do", "for", "fork", "race", "try"] if depth else [])
        if where != "forked":
            kinds.append("raise")
        tasks = []
        for kind in self._draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
            own = self._name()
            task = self._task(kind, own, depth, where)
            if self._now_and_then(5):
                task["if"] = self._one("length < 2", "length > 1", "false")
            if self._now_and_then(5) and kind != "raise":
                task["then"] = self._one("exit", "continue", *(["end"] if where == "alone" else []))
            if self._now_and_then(7) and kind not in ("call", "fork", "race", "raise"):
                task["output"] = {"as": ". + [$task.name]"}
            if self._now_and_then(7) and where != "forked":
                task["timeout"] = {"after": self._one("PT1S", "PT7S")}
            tasks.append({own: task})
        return tasks

    def _one(self, *choices: str) -> str:
        return self._draw(st.sampled_from(choices))

    def _now_and_then(self, times: int) -> bool:
        return self._draw(st.integers(0, times)) == 0

    def _task(self, kind: str, own: str, depth: int, where: Where) -> Doc:
        match kind:
            case "wait":
                return {"wait": self._one("PT0S", "PT2S", "PT5S")}
            case "call":
                host = self._one("fine", "broken") if where == "alone" else "fine"
                with_ = {"method": "get", "endpoint": f"http://{host}.test/"}
                return {"call": "http", "with": with_, "output": {"as": f'$input + ["{own}"]'}}
            case "raise":
                return {"if": self._one("length < 3", "length > 2"), "raise": {"error": _ERROR}}
            case "context":
                return note(own) | {"export": {"as": "($context // {}) + {" + own + ": length}"}}
            case "slow jq":
                return {"set": "${ [limit(9; .[]), ($context | tojson)] }"}
            case "do":
                return {"do": self.tasks(depth - 1, where)}
            case "for":
                in_ = self._one("[]", "[1, 2]", "[limit(2; .[] | length)]")
                return {"for": {"each": "x", "in": in_}, "do": self.tasks(depth - 1, where)}
            case "fork" | "race":
                return self._fork(depth, compete=kind == "race")
            case "try":
                return self._try(depth, where)
            case _:
                return note(own)

    def _fork(self, depth: int, *, compete: bool) -> Doc:
        branches = []
        for number in range(self._draw(st.integers(1, 3))):
            tasks = self.tasks(depth - 1, "forked")
            if compete:
                tasks.insert(0, {self._name(): {"wait": {"hours": number}}})
            branches.append({self._name(): {"do": tasks}})
        flat = 'if all(.[]; type == "array") then add else . end'
        return {"fork": {"branches": branches, "compete": compete}, "output": {"as": flat}}

    def _try(self, depth: int, where: Where) -> Doc:
        catch: Doc = {}
        if self._draw(st.booleans()):
            catch["do"] = self.tasks(depth - 1, where)
        if self._draw(st.booleans()) and (where != "forked" or "do" in catch):
            count = self._draw(st.integers(1, 3))
            catch["retry"] = {"delay": "PT1S", "backoff": {"exponential": {}}, "limit": {"attempt": {"count": count}}}
        return {"try": self.tasks(depth - 1, "alone" if where == "alone" else "guarded"), "catch": catch}


_ERROR = {"type": "https://e.test/drawn", "status": 507, "detail": '${ "after \\(length)" }'}
