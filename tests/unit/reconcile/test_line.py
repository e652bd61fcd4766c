"""Whose turn it is: first come, first served, and no namespace starves another."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from workflow_runner.reconcile.line import Line, Waiting


def waiting(namespace: str, second: int) -> Waiting:
    return Waiting(f"{namespace}-{second}", namespace, f"run-{second}", f"2026-11-21T12:00:{second:02}Z")


def in_order(waiting: list[Waiting], running: list[str], turns: dict[str, int] | None = None) -> list[Waiting]:
    line = Line()
    for item in waiting:
        line.add(item)
    by_uid = {item.uid: item for item in waiting}
    return [by_uid[uid] for uid in line.in_order(Counter(running), turns or {})]


def test_one_namespace_is_served_in_the_order_of_creation() -> None:
    line = [waiting("a", 3), waiting("a", 1), waiting("a", 2)]
    assert [item.since[-3:-1] for item in in_order(line, [])] == ["01", "02", "03"]


def test_namespaces_take_turns() -> None:
    line = [*(waiting("a", second) for second in range(1, 5)), waiting("b", 9)]
    assert [item.uid for item in in_order(line, [])] == ["a-1", "b-9", "a-2", "a-3", "a-4"]


def test_a_namespace_with_runs_waits_for_one_without() -> None:
    assert [item.uid for item in in_order([waiting("a", 1), waiting("b", 9)], ["a"])] == ["b-9", "a-1"]


def test_among_namespaces_with_as_many_runs_the_one_goes_first_whose_turn_is_longest_ago() -> None:
    line = [waiting("a", 1), waiting("b", 2), waiting("c", 3), waiting("d", 4)]
    order = in_order(line, [], {"a": 3, "b": 2, "c": 1})
    assert [item.namespace for item in order] == ["d", "c", "b", "a"]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 59)), max_size=30, unique=True),
    st.lists(st.sampled_from("abc"), max_size=10),
)
def test_everybody_is_in_it_once_and_nobody_is_overtaken_within_a_namespace(
    entries: list[tuple[str, int]], running: list[str]
) -> None:
    line = [waiting(*entry) for entry in entries]
    order = in_order(line, running)
    assert sorted(item.uid for item in order) == sorted(item.uid for item in line)
    for namespace in "abc":
        own = [item.since for item in order if item.namespace == namespace]
        assert own == sorted(own)


def plainly(waiting: list[Waiting], running: list[str], turns: dict[str, int]) -> list[Waiting]:
    """The rule, word by word."""
    ahead = Counter(running)
    ranked = []
    for item in sorted(waiting, key=lambda item: (item.since, item.name)):
        ranked.append((ahead[item.namespace], turns.get(item.namespace, 0), item.since, item.name, item.uid, item))
        ahead[item.namespace] += 1
    return [entry[-1] for entry in sorted(ranked, key=lambda entry: entry[:-1])]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 59)), max_size=30, unique=True),
    st.lists(st.sampled_from("abcd"), max_size=10),
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9)),
    st.data(),
)
def test_the_order_and_every_position_are_those_of_the_rule_whoever_has_left(
    entries: list[tuple[str, int]], running: list[str], turns: dict[str, int], data: st.DataObject
) -> None:
    line, items = Line(), [waiting(*entry) for entry in entries]
    for item in items:
        line.add(item)
    for item in data.draw(st.lists(st.sampled_from(items), unique=True)) if items else []:
        line.remove(item)
        items.remove(item)
    expected = [item.uid for item in plainly(items, running, turns)]
    assert list(line.in_order(Counter(running), turns)) == expected
    positions = {item.uid: line.position(item, Counter(running), turns) for item in items}
    assert [uid for uid, _ in sorted(positions.items(), key=lambda entry: entry[1])] == expected
    assert sorted(positions.values()) == list(range(1, len(items) + 1))
