"""Runners for the tests of this folder: served in the test's own event loop, and checked without a process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import yaml
from examples.runners.dag.dag_runner import Runs
from msgspec.structs import replace

from workflow_runner.runner_checks import profile, suite
from workflow_runner.runner_checks.caller import connected
from workflow_runner.runner_checks.profile import Profile
from workflow_runner.runner_checks.receiver import Receiver
from workflow_runner.runner_checks.suite import Limits, Result

Context = grpc.aio.ServicerContext[Any, Any]
KEY = "the-key-of-the-tests"
DAG = Path(__file__).parents[3] / "examples" / "runners" / "dag"
PATIENT = Limits(answer=20.0, settle=30.0, total=280.0)
QUICK = Limits(answer=2.0, settle=2.5, total=120.0)
"""For runners that never do what is waited for."""


def dag_profile() -> Profile:
    """The example's own documents."""
    content = yaml.safe_load((DAG / "conformance.yaml").read_text())
    return profile.read(content, lambda name: (DAG / name).read_text(), "conformance.yaml")


@contextlib.asynccontextmanager
async def served(build: Callable[[Runs], grpc.aio.Server]) -> AsyncIterator[str]:
    """HOST:PORT of a server as long as the block runs."""
    runs = Runs()
    server = build(runs)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
        await runs.close()


async def check(
    address: str,
    documents: Profile | None = None,
    *,
    only: Sequence[str] = (),
    token: str = "",
    limits: Limits = PATIENT,
    receiver: Receiver | None = None,
    **changes: profile.Document | None,
) -> dict[str, Result]:
    """The results by the ids of their requirements."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    given = replace(documents or dag_profile(), **{name: value for name, value in changes.items() if value is not None})
    async with connected(address, None, metadata, limits.answer) as caller:
        results = await suite.run(caller, given, limits, only=only, tell=lambda result: None, receiver=receiver)
    return {result.requirement.id: result for result in results}


def told(results: dict[str, Result], mark: str) -> list[str]:
    """The ids of results of one kind."""
    return [name for name, result in results.items() if result.mark == mark]
