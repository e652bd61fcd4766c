"""`then`, `exit` and `end` in generated lists lead where a few lines of Python say, and endless jumps are found before."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from tests.unit.interpreter.virtual import run
from tests.unit.properties.documents import Doc, examples, note, workflow

from workflow_runner.dsl.diagnostics import Diagnostic, DocumentErrors
from workflow_runner.dsl.model import Workflow

MOST = 60
"""Steps after which a walk counts as one that does not end."""


class Ended(Exception):
    """`end` was reached."""


class Endless(Exception):
    """The walk took too many steps."""


@st.composite
def lists(draw: st.DrawFn, depth: int = 2) -> list[Doc]:
    """Lists of tasks that note their names, with jumps that hold always, or for some lengths of the data."""
    numbers = itertools.count()

    def build(level: int) -> list[Doc]:
        names = [f"t{next(numbers)}" for _ in range(draw(st.integers(1, 4)))]
        targets = st.sampled_from(["continue", "exit", "end", *names])
        tasks = []
        for name in names:
            kind = draw(st.sampled_from(["note", "switch", *(["do"] if level else [])]))
            task: Doc
            if kind == "switch":
                cases = [
                    {f"c{number}": {"when": f"length % {draw(st.integers(2, 4))} == {number}", "then": draw(targets)}}
                    for number in range(draw(st.integers(1, 2)))
                ]
                if draw(st.booleans()):
                    cases.insert(draw(st.integers(0, len(cases))), {"otherwise": {"then": draw(targets)}})
                task = {"switch": cases}
            else:
                task = {"do": build(level - 1)} if kind == "do" else note(name)
            if draw(st.integers(0, 2)) == 0:
                task["then"] = draw(targets)
            if draw(st.integers(0, 3)) == 0:
                task["if"] = f"length < {draw(st.integers(0, 5))}"
            tasks.append({name: task})
        return tasks

    return build(depth)


def walk(tasks: list[Doc], data: list[str], fuel: Any) -> list[str]:
    """What the tasks make of the data. Raises Ended with what they had made by then, or Endless."""
    names = [next(iter(task)) for task in tasks]
    at = 0
    while at < len(tasks):
        if next(fuel) > MOST:
            raise Endless
        task = tasks[at][names[at]]
        if "if" in task and not len(data) < int(task["if"].split()[-1]):
            at += 1
            continue
        then = task.get("then", "continue")
        if "do" in task:
            data = walk(task["do"], data, fuel)
        elif "set" in task:
            data = [*data, names[at]]
        else:
            then = chosen(task, len(data))
        if then == "end":
            raise Ended(data)
        if then == "exit":
            return data
        at = at + 1 if then == "continue" else names.index(then)
    return data


def chosen(task: Doc, length: int) -> str:
    """The directive of a switch."""
    default = str(task.get("then", "continue"))
    for item in task["switch"]:
        (case,) = item.values()
        if "when" not in case:
            default = str(case["then"])
            continue
        _, _, divisor, _, rest = case["when"].split()
        if length % int(divisor) == int(rest):
            return str(case["then"])
    return default


def walked(tasks: list[Doc]) -> list[str] | None:
    """What the whole document gives, or None when it does not end."""
    try:
        return walk(tasks, [], itertools.count())
    except Ended as ended:
        return list(ended.args[0])
    except Endless:
        return None


def accepted(tasks: list[Doc]) -> Workflow | list[Diagnostic]:
    """The document, or why it is refused."""
    try:
        return workflow(tasks)
    except DocumentErrors as error:
        return error.diagnostics


@given(lists())
@settings(max_examples=examples(200))
def test_a_run_goes_where_the_walk_goes(tasks: list[Doc]) -> None:
    expected, read = walked(tasks), accepted(tasks)
    if isinstance(read, list):
        # A loop that no jump leaves may stand where these data do not lead.
        assert {found.code for found in read if found.severity == "error"} == {"task.endless-loop"}
        event("refused as endless")
        return
    assume(expected is not None)
    assert run(read, []).output == expected


def without_conditions(tasks: list[Doc]) -> list[Doc]:
    """The same tasks where every jump holds always: the first case of each switch, and no `if`."""
    found = []
    for item in tasks:
        ((name, task),) = item.items()
        task = {key: value for key, value in task.items() if key != "if"}
        if "do" in task:
            task["do"] = without_conditions(task["do"])
        if "switch" in task:
            (case,) = task["switch"][0].values()
            task["switch"] = [{"always": {"then": case["then"]}}]
        found.append({name: task})
    return found


@given(lists())
@settings(max_examples=examples(200))
def test_without_conditions_exactly_the_endless_documents_are_refused(tasks: list[Doc]) -> None:
    plain = without_conditions(tasks)
    expected, read = walked(plain), accepted(plain)
    if isinstance(read, list):
        assert {found.code for found in read if found.severity == "error"} == {"task.endless-loop"}
        # A loop in a block that is never reached is an error too, though the walk ends.
        never = [f"{found.pointer}/" for found in read if found.code == "task.unreachable"]
        loops = [found.pointer for found in read if found.code == "task.endless-loop"]
        assert expected is None or all(any(loop.startswith(block) for block in never) for loop in loops)
        return
    assert expected is not None
    assert run(read, []).output == expected
