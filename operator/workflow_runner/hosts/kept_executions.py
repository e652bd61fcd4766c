"""The executions of a service that are known to its process: those that go on, and of those that have ended the newest ones.

Used by local_executions.py and temporal/executions.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from msgspec import Struct

from workflow_runner.hosts.execution_events import ExecutionEvents

MOST_ENDED_FACTOR = 2
"""So many times the bound may be kept while somebody has not heard of their end."""

_E = TypeVar("_E", bound=ExecutionEvents)


class Bounds(Struct, frozen=True):
    """How much there may be: executions that have not ended; those that have; and the bytes of the events and the outputs of
    these together, beyond which the oldest lose all but how they ended."""

    live: int = 2000
    ended: int = 10_000
    bytes: int = 128 * 1024 * 1024


class KeptExecutions(Generic[_E]):
    """See the module's text. `owes` says of an id whether somebody is still to hear of it: such a one is kept longer; `forget`
    gets every execution that is not kept any more."""

    def __init__(self, bounds: Bounds, *, owes: Callable[[str], bool], forget: Callable[[_E], None]) -> None:
        self.bounds = bounds
        self._owes = owes
        self._forget = forget
        self._executions: dict[str, _E] = {}
        self._ended: dict[str, int] = {}
        """In the order of their ends, with what each takes."""
        self._whole: deque[str] = deque()
        """Those of them that still have more than how they ended."""
        self._ended_bytes = 0

    def __iter__(self) -> Iterator[_E]:
        return iter(self._executions.values())

    def __len__(self) -> int:
        return len(self._executions)

    def __contains__(self, execution_id: object) -> bool:
        return execution_id in self._executions

    def __getitem__(self, execution_id: str) -> _E:
        return self._executions[execution_id]

    @property
    def live(self) -> int:
        """How many have not ended."""
        return len(self._executions) - len(self._ended)

    def by_status(self) -> dict[str, int]:
        """How many there are of each status."""
        counts: dict[str, int] = {}
        for execution in self._executions.values():
            counts[execution.status] = counts.get(execution.status, 0) + 1
        return counts

    def get(self, execution_id: str) -> _E | None:
        """None for one that is not known."""
        return self._executions.get(execution_id)

    def add(self, execution: _E) -> None:
        """One more."""
        self._executions[execution.id] = execution

    def drop(self, execution_id: str) -> None:
        """One that goes on, and is not this process's any more."""
        self._executions.pop(execution_id, None)

    def note_end(self, execution: _E) -> None:
        """It has ended: the oldest of those that did may have to go."""
        self._ended[execution.id] = weight = execution.weight
        self._ended_bytes += weight
        self._whole.append(execution.id)
        while self._ended_bytes > self.bounds.bytes and self._whole:
            self._shrink(self._whole.popleft())
        most = self.bounds.ended
        if len(self._ended) > most:
            # The oldest, but for those whose end somebody is still to hear.
            ready = (each for each in self._ended if len(self._ended) > most * MOST_ENDED_FACTOR or not self._owes(each))
            if (oldest := next(ready, None)) is not None:
                self._ended_bytes -= self._ended.pop(oldest)
                self._forget(self._executions.pop(oldest))

    def _shrink(self, execution_id: str) -> None:
        if execution_id not in self._ended:
            return  # forgotten since
        execution = self._executions[execution_id]
        execution.shrink()
        self._ended_bytes += execution.weight - self._ended[execution_id]
        self._ended[execution_id] = execution.weight
