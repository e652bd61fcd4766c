"""A Stigmer in the test's own event loop, and what tests send to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import SecretStr
from tests import canaries
from tests.servers.stigmer import StigmerServer

from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.stigmer.client import Api, Backoff, CallbackClient, Destination
from workflow_runner.stigmer.relay import Relay

KEY = canaries.STIGMER_KEY
QUICK = Backoff(first=0.01, most=0.05)


@pytest.fixture
async def stigmer() -> AsyncIterator[StigmerServer]:
    """Speaks plaintext, knows KEY."""
    async with StigmerServer(api_key=KEY) as server:
        yield server


def plain(server: StigmerServer, key: str = KEY, api: Api = "progress") -> Destination:
    """The server without TLS."""
    return Destination(server.listen, SecretStr(key), use_tls=False, api=api)


def event(number: int, kind: str = "task_completed", execution: str = "run-1") -> WorkflowProgressEvent:
    """One event, numbered towards Stigmer."""
    return WorkflowProgressEvent(
        workflow_execution_id=execution, event_type=kind, status="completed", task_name="step", sequence_number=number
    )


DEADLINE = 5.0
"""Of one call; what happens within it did not wait for a hanging one."""


class Running:
    """A relay whose `run` is under way, with retries short enough for a test, and what it said and opened."""

    def __init__(self, *, retry: Backoff = Backoff(first=0.05, most=0.2), **options: int) -> None:  # noqa: B008 - immutable
        self.changed: list[str] = []
        self.clients: list[CallbackClient] = []
        self.closed: list[Destination] = []
        self._waker = asyncio.Event()
        self.relay = Relay(
            connect=self._connect,
            changed=self._on_changed,
            retry=retry,
            retry_refused_destination=Backoff(first=0.1, most=0.3),
            idle_seconds=0.1,
            **options,
        )
        self._task = asyncio.create_task(self.relay.run())

    async def until(self, holds: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something holds that changes when the relay calls `changed` or closes a client."""
        async with asyncio.timeout(seconds):
            while not holds():
                self._waker.clear()
                await self._waker.wait()

    async def close(self) -> None:
        await self.relay.close()
        await self._task

    def _on_changed(self, key: str) -> None:
        self.changed.append(key)
        self._waker.set()

    def _connect(self, destination: Destination) -> CallbackClient:
        relay = self

        class Client(CallbackClient):
            async def close(self) -> None:
                await super().close()
                relay.closed.append(self.destination)
                relay._waker.set()

        client = Client(destination, deadline_seconds=DEADLINE, backoff=QUICK)
        self.clients.append(client)
        return client


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """A relay at work."""
    running = Running()
    yield running
    await running.close()
