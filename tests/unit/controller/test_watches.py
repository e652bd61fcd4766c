"""What the watches' news put into the queue, and how the watches go on when kopf does not."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from typing import Any

import kopf
import pytest
from kopf._cogs.structs.references import Resource
from tests.until import until

import workflow_runner.controller.watches as watches_module
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


class Lives:
    """Stands for kopf: each life has a task that ends when told to, and one that no cancellation ends."""

    def __init__(self) -> None:
        self.fail = threading.Event()

    async def spawn_tasks(self, **given: Any) -> list[asyncio.Task[None]]:
        insights = given["insights"]
        insights.watched_resources.update({Resource(group, "v1", plural) for group, plural in watches_module.WATCHED})
        insights.ready_resources.set()
        return [asyncio.create_task(self._watch(given["stop_flag"])), asyncio.create_task(self._cling())]

    async def _watch(self, stop: threading.Event) -> None:
        await until(lambda: self.fail.is_set() or stop.is_set(), math.inf)
        if not stop.is_set():
            self.fail.clear()
            raise RuntimeError("a watch is gone")

    async def _cling(self) -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()


@pytest.fixture
def lives(monkeypatch: pytest.MonkeyPatch) -> Lives:
    monkeypatch.setattr(watches_module, "STOP_SECONDS", 0.3)
    monkeypatch.setattr(watches_module, "CANCEL_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(watches_module, "FIRST_PAUSE", 0.01)
    lives = Lives()
    monkeypatch.setattr(kopf, "spawn_tasks", lives.spawn_tasks)
    return lives


@pytest.mark.timeout(20)
async def test_watches_begin_again_though_kopf_does_not_end(lives: Lives) -> None:
    watches = Watches(Store(), KeyedQueue())
    running = asyncio.create_task(watches.run())
    for _ in range(3):
        await until(lambda: watches.ready)
        lives.fail.set()
        await until(lambda: not watches.ready)
    await until(lambda: watches.ready)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not watches.ready
    await until(lambda: all(thread.name != "watches" for thread in threading.enumerate()))


async def test_a_thread_that_gets_no_loop_is_tried_again(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    make, failures = asyncio.new_event_loop, iter([OSError("Too many open files")])

    def maybe() -> asyncio.AbstractEventLoop:
        for failure in failures:
            raise failure
        return make()

    monkeypatch.setattr(asyncio, "new_event_loop", maybe)
    watches = Watches(Store(), KeyedQueue())
    running = asyncio.create_task(watches.run())
    await until(lambda: watches.ready)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
