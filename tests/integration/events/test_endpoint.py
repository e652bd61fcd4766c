"""The endpoint for CloudEvents, over sockets."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.integration.hosts.recorder import Recorder, local_run
from tests.until import until

from workflow_runner.hosts.cloud_events import LARGEST_BATCH, CloudEvent
from workflow_runner.hosts.event_bus import EventBus, Offer
from workflow_runner.hosts.event_endpoint import LARGEST_AT_ONCE, EventEndpoint, admitting, listen_at, serve_events
from workflow_runner.interpreter.outcome import Completed

EVENT: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"a": 1}}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
BINARY = {"ce-specversion": "1.0", "ce-id": "2", "ce-source": "/s", "ce-type": "t", "Content-Type": "application/json"}


class Taker:
    """Takes events, while it has room."""

    def __init__(self) -> None:
        self.events: list[CloudEvent] = []
        self.offer = Offer(1, 0)

    def __call__(self, event: CloudEvent) -> Offer:
        self.events.append(event)
        return self.offer


@contextlib.asynccontextmanager
async def serving(take: Any, *, token: str | None = None, **options: Any) -> AsyncIterator[EventEndpoint]:
    endpoint = await serve_events(await listen_at("127.0.0.1", 0), admitting(take, token), **options)
    try:
        yield endpoint
    finally:
        await endpoint.close()


async def post(endpoint: EventEndpoint, body: bytes, headers: dict[str, str], path: str = "/") -> tuple[int, Any, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{endpoint.port}{path}", data=io.BytesIO(body), headers=headers) as response,
    ):
        return response.status, await response.json(), response.headers


async def test_every_mode_reaches_a_listening_run() -> None:
    bus, told = EventBus(), Recorder()
    document = "do: [{l: {listen: {to: {any: [], until: length == 4}}}}]"
    hearing = asyncio.create_task(local_run(document, report=told, bus=bus).run())
    await told.until("workflow_correlation_started l")
    async with serving(bus.offer) as endpoint:
        answers = [
            await post(endpoint, json.dumps(EVENT).encode(), STRUCTURED),
            await post(endpoint, b'{"b": 2}', BINARY, "/some/path?query"),
            await post(endpoint, json.dumps([EVENT | {"data": 3}, EVENT | {"data": 4}]).encode(), BATCH),
        ]
        assert [(status, body) for status, body, _ in answers] == [
            (202, {"events": 1, "taken": 1}),
            (202, {"events": 1, "taken": 1}),
            (202, {"events": 2, "taken": 2}),
        ]
        assert await hearing == Completed([{"a": 1}, {"b": 2}, 3, 4])
        status, body, _ = await post(endpoint, json.dumps(EVENT).encode(), STRUCTURED)
        assert (status, body) == (202, {"events": 1, "taken": 0})


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", STRUCTURED, 400),
        (b"{}", {"Content-Type": "application/json"}, 415),
        (b" " * (LARGEST_BATCH + 1), BATCH, 413),
        (b" " * (LARGEST_BATCH // 2), STRUCTURED, 413),
    ],
)
async def test_what_is_no_event_is_refused_and_nothing_is_taken(body: bytes, headers: dict[str, str], status: int) -> None:
    taker = Taker()
    async with serving(taker) as endpoint:
        answered, said, _ = await post(endpoint, body, headers)
        assert answered == status
        assert said["error"]
    assert taker.events == []


async def test_without_room_the_sender_is_to_try_again() -> None:
    taker = Taker()
    taker.offer = Offer(0, 1)
    async with serving(taker) as endpoint:
        status, _, headers = await post(endpoint, json.dumps(EVENT).encode(), STRUCTURED)
    assert (status, headers["Retry-After"]) == (503, "1")


async def test_other_methods_are_not_allowed() -> None:
    async with (
        serving(Taker()) as endpoint,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{endpoint.port}/") as response,
    ):
        assert (response.status, response.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("header", "status"), [(None, 401), ("Bearer wrong", 401), ("Basic right-token", 401), ("Bearer right-token", 202)]
)
async def test_with_a_token_requests_have_to_bear_it(header: str | None, status: int) -> None:
    taker = Taker()
    async with serving(taker, token="right-token") as endpoint:
        headers = STRUCTURED if header is None else {**STRUCTURED, "Authorization": header}
        answered, _, _ = await post(endpoint, json.dumps(EVENT).encode(), headers)
    assert answered == status
    assert len(taker.events) == (status == 202)


async def test_a_request_that_does_not_end_is_given_up() -> None:
    async with serving(Taker(), read_seconds=0.1) as endpoint:
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/cloudevents+json\r\nContent-Length: 99\r\n\r\n{")
        async with asyncio.timeout(10):
            assert (await reader.readline()).split()[1] == b"408"
        writer.close()
        status, _, _ = await post(endpoint, json.dumps(EVENT).encode(), STRUCTURED)
        assert status == 202


async def test_requests_at_once_are_bounded_by_their_bytes() -> None:
    async with serving(Taker()) as endpoint:
        writers = []
        for _ in range(LARGEST_AT_ONCE // LARGEST_BATCH):
            _, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
            size = f"Content-Length: {LARGEST_BATCH}\r\n"
            writer.write(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {STRUCTURED['Content-Type']}\r\n{size}\r\n".encode())
            writers.append(writer)

        async def answers(status: int) -> bool:
            return (await post(endpoint, json.dumps(EVENT).encode(), STRUCTURED))[0] == status

        await until(lambda: answers(503))
        for writer in writers:
            writer.close()
        await until(lambda: answers(202))
