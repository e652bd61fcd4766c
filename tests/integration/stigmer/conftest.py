"""A Stigmer in the test's own event loop, and what tests send to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from tests import canaries
from tests.servers.stigmer import StigmerServer

from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.stigmer.client import Backoff, Destination

KEY = canaries.STIGMER_KEY
QUICK = Backoff(first=0.01, most=0.05)


@pytest.fixture
async def stigmer() -> AsyncIterator[StigmerServer]:
    """Speaks plaintext, knows KEY."""
    async with StigmerServer(api_key=KEY) as server:
        yield server


def plain(server: StigmerServer, key: str = KEY) -> Destination:
    """The server without TLS."""
    return Destination(server.listen, SecretStr(key), use_tls=False)


def event(number: int, kind: str = "task_completed", execution: str = "run-1") -> WorkflowProgressEvent:
    """One event, numbered towards Stigmer."""
    return WorkflowProgressEvent(
        workflow_execution_id=execution, event_type=kind, status="completed", task_name="step", sequence_number=number
    )
