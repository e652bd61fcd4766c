"""What the watches' news put into the queue."""

from __future__ import annotations

from typing import Any

import pytest

from workflow_runner.controller.queue import KeyedQueue
from workflow_runner.controller.runners import key_of
from workflow_runner.controller.store import Store
from workflow_runner.controller.watches import Watches

Json = dict[str, Any]


def runner(version: int, **metadata: Any) -> Json:
    base = {"name": "default", "namespace": "ns", "uid": "r", "generation": 1, "resourceVersion": str(version)}
    return {"metadata": {**base, **metadata}, "spec": {}, "status": {"activeExecutions": version}}


@pytest.fixture
def watched() -> tuple[Watches, KeyedQueue]:
    store, queue = Store(), KeyedQueue()
    for number in range(3):
        metadata = {"uid": f"e{number}", "namespace": "ns", "name": f"e{number}", "generation": 1}
        store.see_execution({"metadata": metadata, "spec": {"workflow": {}}}, deleted=False)
    store.see_runner(runner(1), deleted=False)
    return Watches(store, queue), queue


async def test_a_runners_status_is_nothing_to_its_executions(watched: tuple[Watches, KeyedQueue]) -> None:
    watches, queue = watched
    watches._take("runner", runner(2), False)
    assert set(queue._due) == {key_of(("ns", "default"))}


@pytest.mark.parametrize(
    ("news", "deleted"),
    [
        (runner(2, generation=2), False),
        (runner(2, uid="another"), False),
        (runner(2, deletionTimestamp="2026-11-21T12:00:00Z"), False),
        (runner(2), True),
    ],
)
async def test_what_else_happens_to_a_runner_is(news: Json, deleted: bool, watched: tuple[Watches, KeyedQueue]) -> None:
    watches, queue = watched
    watches._take("runner", news, deleted)
    assert set(queue._due) >= {"e0", "e1", "e2"}
