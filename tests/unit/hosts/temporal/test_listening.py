"""What a run on Temporal listens for, as its followers know it: above all between a beginning and the run's answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.until import until

from workflow_runner.hosts.event_bus import CloudEvent, EventBus
from workflow_runner.hosts.temporal.listening import Listening, Status
from workflow_runner.interpreter.subscriptions import EVERYTHING, MOST_WANTED, Subscription, Wanted, all_wanted

A, B = {"type": "a"}, {"type": "b"}


def event(type_: str) -> CloudEvent:
    return {"specversion": "1.0", "id": "1", "source": "urn:test", "type": type_}


def status(*wanted: dict[str, str]) -> Status:
    return {"listening": bool(wanted), "wanted": list(wanted)}


class Place:
    """A bus, what is handed on, and the questions to the run, that wait for an answer."""

    def __init__(self) -> None:
        self.bus = EventBus()
        self.listening = Listening(self.bus)
        self.sent: list[Any] = []
        self.questions: list[asyncio.Future[Status | None]] = []
        self.hold: asyncio.Event | None = None
        """Sending lasts until it is set."""

    @property
    def wanted(self) -> Sequence[Wanted] | None:
        """What the bus is told; None where nobody listens."""
        return next((each.wanted for each in self.bus.subscriptions), None)

    async def asked(self, count: int) -> None:
        """Until the run has been asked so often."""
        await until(lambda: len(self.questions) == count)

    async def becomes(self, *wanted: Wanted) -> None:
        """Until the bus knows that."""
        await until(lambda: self.wanted == (wanted or None))

    async def _ask(self) -> Status | None:
        question: asyncio.Future[Status | None] = asyncio.get_running_loop().create_future()
        self.questions.append(question)
        return await question

    async def _send(self, one: CloudEvent) -> None:
        self.sent.append(one["type"])
        if self.hold is not None:
            await self.hold.wait()

    @asynccontextmanager
    async def works(self) -> AsyncIterator[Place]:
        """Both tasks go on meanwhile."""
        tasks = [asyncio.create_task(self.listening.ask(self._ask)), asyncio.create_task(self.listening.hand_on(self._send))]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with Place().works() as made:
        yield made


async def test_until_the_run_answers_it_gets_everything(place: Place) -> None:
    place.listening.begins()
    await place.becomes(*EVERYTHING)
    place.bus.offer(event("b"))
    await until(lambda: place.sent == ["b"])
    place.questions[0].set_result(status(A))
    await place.becomes(A)
    assert place.bus.offer(event("b")).taken == 0
    place.bus.offer(event("a"))
    await until(lambda: place.sent == ["b", "a"])


async def test_an_answer_that_does_not_know_of_a_new_listener_does_not_count(place: Place) -> None:
    place.listening.begins()
    await place.asked(1)
    place.listening.begins()
    place.questions[0].set_result(status(A))
    await place.asked(2)
    assert place.wanted == EVERYTHING
    place.questions[1].set_result(status(A, B))
    await place.becomes(A, B)


async def test_where_no_worker_answers_the_run_is_asked_again(place: Place) -> None:
    place.listening.begins()
    await place.asked(1)
    place.questions[0].set_result(None)
    await place.asked(2)
    assert place.wanted == EVERYTHING
    place.questions[1].set_result(status(A))
    await place.becomes(A)


async def test_what_waited_and_turns_out_not_to_be_wanted_is_left_out(place: Place) -> None:
    place.listening.begins()
    await place.becomes(*EVERYTHING)
    for type_ in "babba":
        place.bus.offer(event(type_))
    place.listening.stands(status(A), as_of=place.listening.changes)
    await until(lambda: len(place.sent) >= 2 and not any(each.waiting for each in place.bus.subscriptions))
    assert place.sent in (["a", "a"], ["b", "a", "a"])  # the first may have been on its way


async def test_what_is_wanted_reaches_the_bus_while_an_event_is_on_its_way(place: Place) -> None:
    """Temporal may take its time with one, and the run listens for something else meanwhile."""
    place.listening.begins()
    await place.asked(1)
    place.questions[0].set_result(status(A))
    await place.becomes(A)
    place.hold = asyncio.Event()
    place.bus.offer(event("a"))
    await until(lambda: place.sent == ["a"])
    place.listening.begins()
    assert place.bus.offer(event("b")).taken == 1
    place.hold.set()
    await until(lambda: place.sent == ["a", "b"])


async def test_the_last_listener_ends(place: Place) -> None:
    place.listening.begins()
    await place.asked(1)
    place.questions[0].set_result(status(A))
    await place.becomes(A)
    place.listening.ends()
    await place.asked(2)
    assert place.wanted == (A,)
    place.questions[1].set_result(status())
    await place.becomes()


async def test_an_earlier_version_of_the_workflow_does_not_say_what_it_wants(place: Place) -> None:
    place.listening.begins()
    await place.asked(1)
    place.questions[0].set_result({"listening": True})
    await asyncio.sleep(0)
    await place.becomes(*EVERYTHING)
    place.listening.stands({"listening": False}, as_of=place.listening.changes)
    await place.becomes()


def test_many_wishes_become_everything() -> None:
    def subscription(*wanted: Wanted) -> Subscription:
        return Subscription(wanted, [])

    assert all_wanted([]) == ()
    assert all_wanted([subscription(B), subscription(A, B)]) == (A, B)
    assert all_wanted([subscription(A), subscription({})]) == EVERYTHING
    assert all_wanted([subscription(*({"type": str(number)} for number in range(MOST_WANTED + 1)))]) == EVERYTHING
