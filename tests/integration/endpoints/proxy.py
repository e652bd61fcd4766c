"""A server before a real runner that passes every call on as it comes, but for those that a test has it answer itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2

STREAMS = {"Subscribe", "ServerReflectionInfo", "Execute", "Watch"}
"""Methods whose answer is a stream."""


class Proxy(grpc.GenericRpcHandler):
    """`answers` gives, by the end of a method's full name, the status that it is answered with; `hangs` those that get no
    answer. `calls` counts what was passed on, by method."""

    def __init__(self, address: str) -> None:
        self.answers: dict[str, grpc.StatusCode] = {}
        self.hangs: set[str] = set()
        self.without_output = False
        """Leaves outputs out of events."""
        self.calls: Counter[str] = Counter()
        self._channel = grpc.aio.insecure_channel(address)
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def service(self, details: Any) -> Any:
        method = str(details.method)
        if method.rpartition("/")[2] in STREAMS:
            return grpc.unary_stream_rpc_method_handler(self._stream(method))
        return grpc.unary_unary_rpc_method_handler(self._unary(method))

    def _unary(self, method: str) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            await self._own(method, context)
            try:
                forward: Any = self._channel.unary_unary(method)
                result: bytes = await forward(request, metadata=_passed(context), timeout=30)
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            return result

        return answer

    def _stream(self, method: str) -> Any:
        async def answer(request: bytes, context: Any) -> AsyncIterator[bytes]:
            await self._own(method, context)
            forward: Any = self._channel.unary_stream(method)
            call = forward(request, metadata=_passed(context))
            try:
                async for message in call:
                    yield _without_output(message) if self.without_output else message
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            finally:
                call.cancel()

        return answer

    async def _own(self, method: str, context: Any) -> None:
        self.calls[method.rpartition("/")[2]] += 1
        for name, status in self.answers.items():
            if method.endswith(name):
                await context.abort(status, f"told to answer {status.name}")
        if any(method.endswith(name) for name in self.hangs):
            await asyncio.Event().wait()

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)
        await self._channel.close()


def _without_output(message: bytes) -> bytes:
    event = io_pb2.WorkflowProgressEvent.FromString(message)
    event.ClearField("output")
    return event.SerializeToString()


def _passed(context: Any) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in context.invocation_metadata() or () if key == "authorization")


@contextlib.asynccontextmanager
async def proxy(address: str, **answers: grpc.StatusCode) -> AsyncIterator[Proxy]:
    """Before the runner at this address; methods by their names."""
    made = Proxy(address)
    made.answers.update({f"/{name}": status for name, status in answers.items()})
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
