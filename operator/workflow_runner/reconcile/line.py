"""Whose turn it is under a runner's limit: first come, first served, between namespaces in turn. Called by controller.

The namespace that has the fewest runs goes first and, among equals, the one whose last turn is the longest ago: one that
applies a thousand executions does not keep another one's first waiting, however low the limit is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """An execution in line; `since` is its creationTimestamp, which sorts as text."""

    uid: str
    namespace: str
    name: str
    since: str


def in_order(
    waiting: Iterable[Waiting], running_namespaces: Iterable[str], last_turns: Mapping[str, int] | None = None
) -> list[Waiting]:
    """Everybody in line, next one first, given the namespace of each that runs. `last_turns` numbers the last turn of each
    namespace that had one, a later turn higher."""
    turns = last_turns or {}
    ahead = Counter(running_namespaces)
    lines: defaultdict[str, list[Waiting]] = defaultdict(list)
    for item in waiting:
        lines[item.namespace].append(item)
    ranked: list[tuple[int, int, str, str, Waiting]] = []
    for namespace, line in lines.items():
        line.sort(key=lambda item: (item.since, item.name))
        turn = turns.get(namespace, 0)
        ranked += [(ahead[namespace] + place, turn, item.since, item.name, item) for place, item in enumerate(line)]
    ranked.sort(key=lambda entry: entry[:4])
    return [entry[4] for entry in ranked]
