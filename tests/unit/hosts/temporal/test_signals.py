"""What is wanted of a run is handed on once, the newest of it, and again after an error; the handle stands for Temporal's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from temporalio.service import RPCError, RPCStatusCode
from tests.until import until

from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.messages import Steering
from workflow_runner.hosts.temporal.rpc import unflagging
from workflow_runner.hosts.temporal.signals import Handle, Signals


class Run:
    """Keeps what it is told; the next signal is refused with `refuses`, and all wait for `open`."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.refuses: RPCStatusCode | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def signal(self, name: str, argument: dict[str, Any], **_: Any) -> None:
        await self.open.wait()
        if self.refuses is not None:
            status, self.refuses = self.refuses, None
            raise RPCError("told to", status, b"")
        self.told.append(f"{name} {argument['mode']}" if name == names.CANCEL else name)

    async def cancel(self, **_: Any) -> None:
        self.told.append("request")


@contextlib.asynccontextmanager
async def sending(signals: Signals, run: Run, *, attached: bool = False) -> AsyncIterator[None]:
    task = asyncio.create_task(unflagging(lambda: signals.send(cast("Handle", run), attached=attached)))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def handed_on(signals: Signals) -> None:
    await asyncio.wait_for(signals.handed_on(), 10)


@pytest.mark.parametrize("status", [RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAVAILABLE])
async def test_a_resume_that_is_refused_once_is_handed_on_all_the_same(status: RPCStatusCode) -> None:
    run, signals = Run(), Signals(shared=False)
    async with sending(signals, run):
        assert signals.hold(True, "lunch")
        await handed_on(signals)
        run.refuses = status
        assert signals.hold(False)
        await handed_on(signals)
    assert run.told == ["pause", "resume"]


async def test_what_is_wanted_twice_is_told_once_and_what_is_taken_back_in_time_not_at_all() -> None:
    run, signals = Run(), Signals(shared=False)
    assert signals.hold(True)
    assert not signals.hold(True)
    assert signals.hold(False)
    async with sending(signals, run):
        await handed_on(signals)
    assert run.told == []


@pytest.mark.parametrize(("attached", "shared"), [(True, False), (False, True)])
async def test_a_run_that_others_may_have_paused_is_told_to_go_on(attached: bool, shared: bool) -> None:
    run, signals = Run(), Signals(shared=shared)
    assert signals.hold(False)
    async with sending(signals, run, attached=attached):
        await handed_on(signals)
    assert run.told == ["resume"]


async def test_a_cancel_comes_before_a_pause_and_a_forced_one_after_it() -> None:
    run, signals = Run(), Signals(shared=False)
    run.open.clear()
    async with sending(signals, run):
        assert signals.hold(True)
        assert signals.cancel(Steering(mode="Graceful"))
        assert not signals.cancel(Steering(mode="Graceful"))
        run.open.set()
        await handed_on(signals)
        assert signals.cancel(Steering(mode="Force"))
        await until(lambda: run.told.count("request") == 2)
        await handed_on(signals)
    assert run.told == ["cancel Graceful", "request", "cancel Force", "request"]
