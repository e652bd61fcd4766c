"""A gate in front of a Temporal server: lets calls through, but for methods that it refuses, as a server's authorizer does."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import grpc.aio


class Gate:
    """Where it is, and what it refuses: names of methods with the status."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.refuses: dict[str, grpc.StatusCode] = {}


@contextlib.asynccontextmanager
async def gate(address: str) -> AsyncIterator[Gate]:
    """One before the server at that address."""
    server = grpc.aio.server()
    opened = Gate(server.add_insecure_port("127.0.0.1:0"))

    async def check(name: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        if (refused := opened.refuses.get(name)) is not None:
            await context.abort(refused, "the gate is closed")

    async with grpc.aio.insecure_channel(address) as channel:

        class Everything(grpc.GenericRpcHandler):
            def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
                method = handler_call_details.method
                name, call = method.rpartition("/")[2], cast("Any", channel.unary_unary(method))

                async def answer(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
                    await check(name, context)
                    try:
                        found = await call(request, timeout=context.time_remaining())
                    except grpc.aio.AioRpcError as error:
                        await context.abort(error.code(), error.details() or "", error.trailing_metadata())
                    await check(name, context)  # some calls last until something happens
                    return found

                return grpc.unary_unary_rpc_method_handler(answer)

        server.add_generic_rpc_handlers((Everything(),))
        await server.start()
        try:
            yield opened
        finally:
            await server.stop(None)
