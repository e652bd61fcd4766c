"""The documents of the DAG runner in examples/runners: what is taken, what is refused, and that nothing else happens."""

from __future__ import annotations

import contextlib

import pytest
import yaml
from examples.runners.dag.dag_runner import MOST_TASKS, MOST_TEXT, InvalidDag, read_dag
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.conformance_command.runners import DAG

DOCUMENTS = DAG / "documents"

WRONG = {
    "": "tasks: there are none",
    "]": "1:1: did not find expected node content",
    "tasks: [1, 2": "2:1: did not find expected",
    "tasks: 5": "tasks: there are none",
    "tasks: {}": "tasks: there are none",
    "tasks: {a: 5}": "tasks.a: a task has `call`",
    "tasks: {a: {call: give, when: now}}": "tasks.a: a task has `call`",
    "tasks: {a: {call: rm}}": "tasks.a.call: 'rm' cannot be called; there are add, fail, give, join, sleep",
    "tasks: {a: {call: [give]}}": "tasks.a.call: ['give'] cannot be called",
    "tasks: {a: {call: give, needs: b}}": "tasks.a: `with` is an object and `needs` a list of names",
    "tasks: {a: {call: give, needs: [[b]]}}": "tasks.a: `with` is an object and `needs` a list of names",
    "tasks: {a: {call: give, with: [1]}}": "tasks.a: `with` is an object",
    "tasks: {a: {call: give, needs: [b]}}": "tasks.a.needs: 'b' is no task",
    "tasks: {a: {call: give, with: {value: $b}}, b: {call: give}}": "tasks.a.with: $b is the output of a task that is not",
    "tasks: {a: {call: give, needs: [a]}}": "tasks: these need each other: a",
    "tasks: {a: {call: give, needs: [b]}, b: {call: give, needs: [a]}}": "tasks: these need each other: a, b",
    "output: b\ntasks: {a: {call: give}}": "output: 'b' is no task",
    "output: [a]\ntasks: {a: {call: give}}": "output: ['a'] is no task",
    "tasks: {1: {call: give}}": "the key 1 is no text",
    "tasks: {a: {call: give, with: {value: 2026-11-21}}}": "datetime.date(2026, 11, 21) is no value of JSON",
    "tasks: {a: {call: give, with: {value: .nan}}}": "there is a number that not everybody can read",
    "tasks: {a: {call: give, with: {value: .inf}}}": "there is a number that not everybody can read",
    f"tasks: {{a: {{call: give, with: {{value: {'9' * 400}}}}}}}": "there is a number that not everybody can read",
    "tasks: {a: {call: give, with: {value: !!python/object:os.system x}}}": "1:39: could not determine a constructor",
    "x: &x [1]\ntasks: {a: {call: give, with: {value: *x}}}": "2:39: aliases, and more than 20 levels, are not taken",
    f"tasks: {'[' * 1000}": "1:27: aliases, and more than 20 levels, are not taken",
    "a: b\n---\nc: d": "2:1: but found another document",
    f"# {'x' * MOST_TEXT}": f"the document has more than {MOST_TEXT} characters",
    "tasks: {" + ", ".join(f"t{number}: {{call: give}}" for number in range(MOST_TASKS + 1)) + "}": "tasks: there are 201",
    "document: {metadata: 5}": "tasks: there are none",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:60])
def test_what_is_wrong_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InvalidDag) as refused:
        read_dag(text)
    assert str(refused.value).startswith(WRONG[text])


@given(st.text())
def test_any_text_is_a_dag_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidDag):
        read_dag(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=10,
    )
)
def test_any_task_is_one_or_refused(node: object) -> None:
    with contextlib.suppress(InvalidDag):
        read_dag(yaml.safe_dump({"tasks": {"a": node, "b": {"call": "give", "with": {"value": node}}}}))


def test_a_dag_travels_inside_of_a_workflow() -> None:
    inside = read_dag((DOCUMENTS / "in-a-workflow.yaml").read_text())
    assert inside == read_dag((DOCUMENTS / "succeeds.yaml").read_text())
