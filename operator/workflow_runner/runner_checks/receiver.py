"""Plays the service that a runner reports to, and does not take reports where a check wants that. Opened by cli.conformance."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from workflow_runner.errors import InvalidInput
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import command_pb2_grpc
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ProgressAckResponse, WorkflowProgressEvent
from workflow_runner.runner_checks.caller import MOST_EVENTS
from workflow_runner.runner_checks.interface import TERMINAL


class Receiver(command_pb2_grpc.WorkflowRunnerCommandControllerServicer):
    """ReportProgress for the runs that a check expects; reports of others are taken and forgotten."""

    def __init__(self) -> None:
        self.port = 0
        """Where it listens."""
        self._told: dict[str, dict[int, str]] = {}
        self._refuses: Counter[str] = Counter()
        self.refused: dict[str, set[int]] = {}
        """The numbers of the reports that were not taken, by run."""

    def expect(self, run: str, *, refuse: int = 0) -> None:
        """Remember what is reported of a run, once so many reports of it were answered with UNAVAILABLE."""
        self._told[run], self.refused[run], self._refuses[run] = {}, set(), refuse

    def told(self, run: str) -> dict[int, str]:
        """The types of the events that were taken, by number."""
        return self._told[run]

    def ended(self, run: str) -> bool:
        """Whether the terminal event was taken."""
        return bool(TERMINAL.keys() & set(self._told[run].values()))

    async def ReportProgress(  # noqa: N802 - the proto's name
        self, request: WorkflowProgressEvent, context: grpc.aio.ServicerContext[Any, Any]
    ) -> ProgressAckResponse:
        """One event."""
        run, number = request.workflow_execution_id, request.sequence_number
        if self._refuses[run] > 0:
            self._refuses[run] -= 1
            self.refused[run].add(number)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this report is not taken, to see what becomes of it")
        told = self._told.get(run)
        if told is not None and len(told) < MOST_EVENTS:
            told[number] = request.event_type[:100]
        return ProgressAckResponse(success=True)


@contextlib.asynccontextmanager
async def receiving(address: str | None) -> AsyncIterator[Receiver | None]:
    """A Receiver that listens on HOST:PORT as long as the block runs, without TLS. Raises InvalidInput."""
    if address is None:
        yield None
        return
    receiver = Receiver()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)], maximum_concurrent_rpcs=1000)
    command_pb2_grpc.add_WorkflowRunnerCommandControllerServicer_to_server(receiver, server)
    try:
        receiver.port = server.add_insecure_port(address)
    except RuntimeError as error:
        message = f"--callbacks: {address!r:.200} cannot be listened on"
        raise InvalidInput(message, code="input.bad-address", hint="write HOST:PORT, with a port that is free") from error
    await server.start()
    try:
        yield receiver
    finally:
        await server.stop(None)
