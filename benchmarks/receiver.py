"""Whoever takes progress events in a benchmark: a process of its own that answers ReportProgress at once."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import grpc.aio

from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import command_pb2_grpc
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ProgressAckResponse, WorkflowProgressEvent

Arrival = tuple[float, float]
"""When an event came (seconds since 1970), and how old it was (milliseconds)."""


class Receiver:
    """The process, from here."""

    def __init__(self, told: Connection) -> None:
        self._told = told
        self.port: int = told.recv()

    def arrivals(self) -> list[Arrival]:
        """What has come since the last time that this was asked."""
        self._told.send(True)
        found: list[Arrival] = self._told.recv()
        return found


@contextlib.contextmanager
def receiver(host: str = "127.0.0.1", tls: tuple[bytes, bytes] | None = None) -> Iterator[Receiver]:
    """Starts and ends it; `tls` is (key, certificate chain), PEM."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, host, tls), daemon=True)
    process.start()
    try:
        yield Receiver(ours)
    finally:
        process.terminate()
        process.join()


class _Service(command_pb2_grpc.WorkflowRunnerCommandControllerServicer):
    def __init__(self) -> None:
        self.arrived: list[Arrival] = []

    async def ReportProgress(self, request: WorkflowProgressEvent, context: object) -> ProgressAckResponse:  # noqa: N802 - the proto's name
        now = time.time()
        self.arrived.append((now, now * 1000 - request.timestamp_ms))
        return ProgressAckResponse(success=True)


def _serve(told: Connection, host: str, tls: tuple[bytes, bytes] | None) -> None:
    async def forever() -> None:
        service = _Service()
        server = grpc.aio.server()
        command_pb2_grpc.add_WorkflowRunnerCommandControllerServicer_to_server(service, server)
        if tls is None:
            port = server.add_insecure_port(f"{host}:0")
        else:
            port = server.add_secure_port(f"{host}:0", grpc.ssl_server_credentials([tls]))
        await server.start()
        told.send(port)
        while await asyncio.to_thread(told.recv):
            told.send(service.arrived)
            service.arrived = []

    asyncio.run(forever())
