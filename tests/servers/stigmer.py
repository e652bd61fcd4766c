"""Stigmer for tests: a real gRPC server that takes progress reports, and misbehaves when told to.

In a test's own process: `async with StigmerServer(...) as stigmer`. As a process of its own:

    python -m tests.servers.stigmer --listen HOST:PORT --api-key KEY --events FILE
        [--tls-cert FILE --tls-key FILE] [--control FILE] [--mode MODE] [--seconds N]

It prints "listening HOST:PORT" when it is ready. Events are appended to FILE in order of arrival, one proto3
JSON object a line. The control file holds a Behaviour as JSON ({"mode": "hang"}), is looked at every 50 ms, and
may come and change at any time; {"mode": "down"} closes the port until another mode comes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf import json_format

from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import command_pb2_grpc
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ProgressAckResponse, WorkflowProgressEvent

MODES = ("take", "refuse", "status", "hang", "drop", "down")


@dataclass(frozen=True)
class Behaviour:
    """What happens to a report.

    take: taken. refuse: answered `success: false`. status: fails with the gRPC status `code`. hang: never
    answered. drop: recorded, but the connections break before the answer. down: nobody listens.
    `seconds` delays whatever happens; `only` restricts a misbehaviour to one execution, `sequence` to one event.
    """

    mode: str = "take"
    seconds: float = 0.0
    code: str = "UNAVAILABLE"
    message: str = "told to"
    only: str | None = None
    sequence: int | None = None

    def concerns(self, event: WorkflowProgressEvent) -> bool:
        """Whether this event is treated so; others are taken."""
        return self.only in (None, event.workflow_execution_id) and self.sequence in (None, event.sequence_number)


@dataclass
class StigmerServer(command_pb2_grpc.WorkflowRunnerCommandControllerServicer):
    """The server. `behaviour` may be set at any time; calls under way keep the one they came under."""

    api_key: str = field(repr=False)
    listen: str = "127.0.0.1:0"
    tls: tuple[bytes, bytes] | None = None
    """Private key and certificate chain, PEM; plaintext without."""
    events_file: Path | None = None
    behaviour: Behaviour = field(default_factory=Behaviour)
    arrived: list[WorkflowProgressEvent] = field(default_factory=list)
    """Every event that was recorded, repeats too, in order of arrival."""
    calls: list[tuple[str, int]] = field(default_factory=list)
    """(execution id, sequence number) of every call that came, whatever became of it."""
    unauthenticated: int = 0
    _server: grpc.aio.Server | None = None
    _cut: asyncio.Task[None] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def port(self) -> int:
        """The port, once it has listened."""
        return int(self.listen.rsplit(":", 1)[1])

    async def up(self) -> None:
        """Listen; on the same port as before."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        command_pb2_grpc.add_WorkflowRunnerCommandControllerServicer_to_server(self, server)
        if self.tls is None:
            port = server.add_insecure_port(self.listen)
        else:
            port = server.add_secure_port(self.listen, grpc.ssl_server_credentials([self.tls]))
        self.listen = f"{self.listen.rsplit(':', 1)[0]}:{port}"
        await server.start()
        self._server = server

    async def down(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(grace=None)

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._cut is not None:
            await self._cut
        await self.down()

    async def ReportProgress(
        self, request: WorkflowProgressEvent, context: grpc.aio.ServicerContext[Any, Any]
    ) -> ProgressAckResponse:
        """See Behaviour."""
        behaviour = self.behaviour if self.behaviour.concerns(request) else Behaviour()
        self.calls.append((request.workflow_execution_id, request.sequence_number))
        self._notify()
        metadata = dict(context.invocation_metadata() or ())
        authorization = str(metadata.get("authorization"))
        if authorization != f"Bearer {self.api_key}":
            self.unauthenticated += 1
            self._notify()
            # It quotes what it was given, as careless servers do.
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"bad credentials: {authorization}")
        if behaviour.seconds:
            await asyncio.sleep(behaviour.seconds)
        if behaviour.mode == "hang":
            await asyncio.Event().wait()
        if behaviour.mode == "status":
            await context.abort(grpc.StatusCode[behaviour.code], f"{behaviour.message}, {authorization}")
        if behaviour.mode == "refuse":
            return ProgressAckResponse(success=False, message=f"{behaviour.message}, {authorization}")
        self._record(request)
        if behaviour.mode == "drop":
            if self._cut is None or self._cut.done():
                self._cut = asyncio.create_task(self._cut_connections())
            await asyncio.Event().wait()
        return ProgressAckResponse(success=True)

    def events(self, execution_id: str | None = None) -> list[WorkflowProgressEvent]:
        """What was recorded, of one execution or of all, in order of arrival."""
        return [event for event in self.arrived if execution_id in (None, event.workflow_execution_id)]

    def numbers(self, execution_id: str) -> list[int]:
        """The sequence numbers of one execution, in order of arrival."""
        return [event.sequence_number for event in self.events(execution_id)]

    async def until(self, holds: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something holds that changes with calls and events; TimeoutError otherwise."""
        async with asyncio.timeout(seconds):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    def _record(self, event: WorkflowProgressEvent) -> None:
        self.arrived.append(event)
        if self.events_file is not None:
            with self.events_file.open("a") as file:
                file.write(json.dumps(json_format.MessageToDict(event)) + "\n")
        self._notify()

    def _notify(self) -> None:
        self._changed.set()

    async def _cut_connections(self) -> None:
        await self.down()
        await self.up()


async def obey(server: StigmerServer, control: Path) -> None:
    """Follow the control file for ever."""
    seen = ""
    while True:
        text = _text(control)
        if text != seen:
            try:
                behaviour = Behaviour(**json.loads(text)) if text else Behaviour()
            except (ValueError, TypeError):
                # Half written; the next look sees the whole.
                await asyncio.sleep(0.05)
                continue
            seen = text
            if behaviour.mode == "down":
                await server.down()
            elif server.behaviour.mode == "down":
                await server.up()
            server.behaviour = behaviour
        await asyncio.sleep(0.05)


def _text(control: Path) -> str:
    return control.read_text() if control.exists() else ""


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    tls = (options.tls_key.read_bytes(), options.tls_cert.read_bytes()) if options.tls_cert else None
    server = StigmerServer(
        api_key=options.api_key,
        listen=options.listen,
        tls=tls,
        events_file=options.events,
        behaviour=Behaviour(options.mode, options.seconds),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server:
        print(f"listening {server.listen}", flush=True)
        obeying = asyncio.create_task(obey(server, options.control)) if options.control else None
        await stop.wait()
        if obeying is not None:
            obeying.cancel()


def main(arguments: list[str]) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.stigmer")
    parser.add_argument("--listen", required=True)
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--control", type=Path)
    parser.add_argument("--mode", choices=MODES, default="take")
    parser.add_argument("--seconds", type=float, default=0.0)
    asyncio.run(serve(parser.parse_args(arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
