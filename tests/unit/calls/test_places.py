"""Places for calls: in turn, within a deadline, and none is lost."""

from __future__ import annotations

import asyncio

import pytest

from workflow_runner.calls.places import Places


async def begun(work: asyncio.Task[None]) -> asyncio.Task[None]:
    await asyncio.sleep(0)
    return work


async def waiting(places: Places, seconds: float = 60.0) -> asyncio.Task[None]:
    return await begun(asyncio.create_task(places.wait(seconds)))


async def test_places_are_had_in_turn() -> None:
    places = Places(1)
    assert places.take()
    first, second = await waiting(places), await waiting(places)
    places.leave()
    assert not places.take(), "a newcomer took the place of somebody who waits"
    await first
    assert not second.done()
    places.leave()
    await second
    places.leave()
    assert places.free == 1


async def test_who_waits_too_long_is_told_and_takes_no_place() -> None:
    places = Places(1)
    assert places.take()
    late, patient = await waiting(places, 0.01), await waiting(places)
    with pytest.raises(TimeoutError):
        await late
    places.leave()
    await patient
    places.leave()
    assert places.free == 1


async def test_who_gives_up_leaves_its_turn_to_the_next() -> None:
    places = Places(1)
    assert places.take()
    gone, at_the_same_moment, last = await waiting(places), await waiting(places), await waiting(places)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    places.leave()
    at_the_same_moment.cancel()
    assert isinstance((await asyncio.gather(at_the_same_moment, return_exceptions=True))[0], asyncio.CancelledError)
    await last
    places.leave()
    assert places.free == 1


async def test_places_are_given_back_however_many_wait() -> None:
    places, most, here = Places(3), 0, 0

    async def one() -> None:
        nonlocal most, here
        if not places.take():
            await places.wait(60)
        here += 1
        most = max(most, here)
        await asyncio.sleep(0)
        here -= 1
        places.leave()

    await asyncio.gather(*(one() for _ in range(100)))
    assert (most, places.free) == (3, 3)
