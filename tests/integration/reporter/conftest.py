"""A sink to talk to, and a pod's reporter that talks to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.servers.sink import Sink

from workflow_runner.hosts.reporter import DesiredState, Reporter
from workflow_runner.interpreter.events import Event, EventType, TaskCounts
from workflow_runner.server.tls import Authority, new_authority, serving_certificate


@pytest.fixture(scope="session")
def authority() -> Authority:
    return new_authority()


@pytest.fixture
async def sink(authority: Authority) -> AsyncIterator[Sink]:
    sink = Sink(serving_certificate(authority, ["localhost"]))
    await sink.up()
    yield sink
    await sink.down()


class Pod:
    """A reporter, and what a run would give it."""

    def __init__(
        self, sink: Sink, ca: bytes, token_file: Path, *, max_buffered: int = 1000, batch_seconds: float = 0.1
    ) -> None:
        self.desired: list[DesiredState] = []
        self._heard = asyncio.Event()
        self.counts = TaskCounts()
        self.made = 0
        self.reporter = Reporter(
            f"localhost:{sink.port}",
            ca_pem=ca,
            token_file=token_file,
            execution_uid="uid-1",
            execution_id="run-1",
            attempt=2,
            workflow_name="hello",
            on_desired_state=self._hear,
            counts=lambda: self.counts,
            max_buffered=max_buffered,
            batch_seconds=batch_seconds,
        )

    def _hear(self, desired: DesiredState) -> None:
        self.desired.append(desired)
        self._heard.set()

    async def hears(self, count: int) -> list[DesiredState]:
        """Everything heard, once it is so many."""
        async with asyncio.timeout(20):
            while len(self.desired) < count:
                self._heard.clear()
                await self._heard.wait()
        return self.desired

    def report(self, *types: EventType, **fields: Any) -> None:
        """Make events."""
        for type_ in types:
            self.made += 1
            self.counts.started += type_ is EventType.TASK_STARTED
            self.reporter.report(Event(type_, datetime.now(UTC), 0, task_name="step", reference="/do/0/step", **fields))


class Token:
    """The projected token's file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, token: str) -> None:
        self.path.write_text(token)

    def remove(self) -> None:
        self.path.unlink()


@pytest.fixture
def token(tmp_path: Path) -> Token:
    token = Token(tmp_path / "token")
    token.write("token-number-one\n")
    return token


@pytest.fixture
async def pod(sink: Sink, authority: Authority, token: Token) -> AsyncIterator[Pod]:
    """Not started."""
    pod = Pod(sink, authority.certificate, token.path)
    yield pod
    await pod.reporter.close()
