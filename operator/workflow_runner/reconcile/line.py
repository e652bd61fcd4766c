"""Whose turn it is under a runner's limit: first come, first served, between namespaces in turn. Called by controller.

The namespace that has the fewest runs goes first and, among equals, the one whose last turn is the longest ago: one that
applies a thousand executions does not keep another one's first waiting, however low the limit is.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping

from msgspec import Struct

_Key = tuple[str, str, str]
"""(since, name, uid) of an execution."""


class Waiting(Struct, frozen=True):
    """An execution in line; `since` is its creationTimestamp, which sorts as text."""

    uid: str
    namespace: str
    name: str
    since: str


class Line:
    """Who waits. Kept in order: in a line of thousands everybody asks for a position again and again.

    `running` says how many of a namespace run, `turns` numbers the last turn of each namespace that had one, a later
    turn higher.
    """

    def __init__(self) -> None:
        self._lines: dict[str, list[_Key]] = {}

    def add(self, item: Waiting) -> None:
        """Lets an execution in; it is not in yet."""
        insort(self._lines.setdefault(item.namespace, []), _key(item))

    def remove(self, item: Waiting) -> None:
        """Takes an execution out; it is in."""
        line = self._lines[item.namespace]
        del line[bisect_left(line, _key(item))]
        if not line:
            del self._lines[item.namespace]

    def position(self, item: Waiting, running: Mapping[str, int], turns: Mapping[str, int]) -> int:
        """The place of an execution that is in, from 1."""
        own = bisect_left(self._lines[item.namespace], _key(item))
        rank = running.get(item.namespace, 0) + own
        order = (turns.get(item.namespace, 0), *_key(item))
        before = own
        for namespace, line in self._lines.items():
            same = rank - running.get(namespace, 0)
            if namespace == item.namespace or same < 0:
                continue
            before += min(same, len(line))
            before += same < len(line) and (turns.get(namespace, 0), *line[same]) < order
        return before + 1

    def in_order(self, running: Mapping[str, int], turns: Mapping[str, int]) -> Iterator[str]:
        """The uids of all, next one first."""
        heads = [
            (running.get(namespace, 0), turns.get(namespace, 0), line[0], namespace, 0)
            for namespace, line in self._lines.items()
        ]
        heapq.heapify(heads)
        while heads:
            rank, turn, key, namespace, place = heads[0]
            yield key[2]
            line = self._lines[namespace]
            if place + 1 < len(line):
                heapq.heapreplace(heads, (rank + 1, turn, line[place + 1], namespace, place + 1))
            else:
                heapq.heappop(heads)


def _key(item: Waiting) -> _Key:
    return item.since, item.name, item.uid
