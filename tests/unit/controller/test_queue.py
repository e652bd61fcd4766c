"""The keyed queue."""

from __future__ import annotations

import asyncio

from tests.until import until

from workflow_runner.controller.queue import KeyedQueue


async def test_a_key_is_never_reconciled_twice_at_a_time_and_nothing_is_missed() -> None:
    queue, running, seen = KeyedQueue(), set[str](), list[str]()
    wanted = asyncio.Event()

    async def reconcile(key: str) -> None:
        assert key not in running
        running.add(key)
        await asyncio.sleep(0)
        running.discard(key)
        seen.append(key)
        if seen.count("a") < 5:
            queue.add("a")
            queue.add("a")
        if seen.count("a") == 5 and "b" in seen:
            wanted.set()

    queue.add("a")
    queue.add("b")
    task = asyncio.create_task(queue.run(reconcile, workers=3))
    await asyncio.wait_for(wanted.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (seen.count("a"), seen.count("b")) == (5, 1)


async def test_a_failure_is_tried_again_and_does_not_stop_the_others() -> None:
    queue, done = KeyedQueue(), asyncio.Event()
    tries: list[str] = []

    async def reconcile(key: str) -> None:
        tries.append(key)
        if key == "bad" and tries.count("bad") < 3:
            raise RuntimeError("not yet")
        if tries.count("bad") == 3 and "good" in tries:
            done.set()

    queue.add("bad")
    queue.add("good")
    task = asyncio.create_task(queue.run(reconcile, workers=1))
    await asyncio.wait_for(done.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert tries.count("bad") == 3


async def test_sooner_wins_over_later() -> None:
    queue, seen = KeyedQueue(), asyncio.Event()

    async def reconcile(key: str) -> None:
        seen.set()

    queue.add("a", after=3600)
    queue.add("a", after=0.01)
    task = asyncio.create_task(queue.run(reconcile, workers=1))
    await asyncio.wait_for(seen.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(queue) == 0


async def test_a_key_added_during_its_reconcile_is_reconciled_again() -> None:
    queue, again = KeyedQueue(), asyncio.Event()
    rounds = 0

    async def reconcile(key: str) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            queue.add(key)
            await asyncio.sleep(0)
        else:
            again.set()

    queue.add("a")
    task = asyncio.create_task(queue.run(reconcile, workers=4))
    await asyncio.wait_for(again.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_reconcile_asks_for_happens() -> None:
    queue, twice = KeyedQueue(), asyncio.Event()
    rounds = 0

    async def reconcile(key: str) -> float | None:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            twice.set()
            return None
        return 0.01

    queue.add("a")
    task = asyncio.create_task(queue.run(reconcile, workers=1))
    await asyncio.wait_for(twice.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_long_reconcile_holds_up_neither_other_keys_nor_its_own_repeat() -> None:
    queue, let_go, other, repeated = KeyedQueue(), asyncio.Event(), asyncio.Event(), asyncio.Event()
    rounds = 0

    async def reconcile(key: str) -> None:
        nonlocal rounds
        if key == "other":
            other.set()
            return
        rounds += 1
        if rounds == 2:
            repeated.set()
            return
        queue.add("long")
        queue.add("other", after=0.02)
        await let_go.wait()

    queue.add("long")
    task = asyncio.create_task(queue.run(reconcile, workers=2))
    await asyncio.wait_for(other.wait(), 5)
    assert rounds == 1
    let_go.set()
    await asyncio.wait_for(repeated.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_news_of_a_key_does_not_get_around_its_backoff() -> None:
    queue, tries = KeyedQueue(), 0

    async def reconcile(key: str) -> None:
        nonlocal tries
        tries += 1
        raise RuntimeError("refused")

    task = asyncio.create_task(queue.run(reconcile, workers=2))
    for _ in range(200):
        queue.add("a")
        await asyncio.sleep(0)
    assert tries == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_queue_that_moves_or_rests_is_not_stuck_and_one_that_hangs_is() -> None:
    queue, begun, let_go = KeyedQueue(), asyncio.Event(), asyncio.Event()

    async def reconcile(key: str) -> None:
        begun.set()
        await let_go.wait()

    queue.add("later", after=3600)
    assert (queue.stuck(), queue.depth(), queue.oldest()) == (0.0, 0, 0.0)
    task = asyncio.create_task(queue.run(reconcile, workers=1))
    queue.add("hangs")
    queue.add("waits")
    await asyncio.wait_for(begun.wait(), 5)
    await until(lambda: queue.stuck() > 0.05 and queue.oldest() > 0.05)
    assert (queue.depth(), queue.busy) == (1, 1)
    let_go.set()
    await until(lambda: not queue.busy and not queue.depth())
    assert (queue.stuck(), queue.oldest()) == (0.0, 0.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_keys_that_nobody_takes_count_as_stuck() -> None:
    queue = KeyedQueue()
    queue.add("a")
    await until(lambda: queue.stuck() > 0.05)
