"""What counts as an answer of a runner at an endpoint: what it says itself, errors too, and not what gRPC says for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from pydantic import SecretStr

from workflow_runner.controller.endpoint_client import UNREACHABLE, EndpointClient, EndpointError, Target
from workflow_runner.errors import Unavailable
from workflow_runner.server.authentication import anybody
from workflow_runner.server.calls import CallInterceptor


class _Queries(grpc.GenericRpcHandler):
    """GetStatus, which fails as the exception says, or is not answered at all."""

    def __init__(self, failure: Exception | None) -> None:
        self._failure = failure

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        async def answer(_request: bytes, _context: Any) -> bytes:
            if self._failure is not None:
                raise self._failure
            await asyncio.Event().wait()
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
async def asked() -> AsyncIterator[Any]:
    """Asks a server that does so, and gives the client and the error."""
    servers: list[grpc.aio.Server] = []
    clients: list[EndpointClient] = []

    async def ask(failure: Exception | None, *, there: bool = True) -> tuple[EndpointClient, EndpointError]:
        server = grpc.aio.server(interceptors=[CallInterceptor(anybody)])
        server.add_generic_rpc_handlers((_Queries(failure),))
        port = server.add_insecure_port("127.0.0.1:0")
        servers.append(server)
        if there:
            await server.start()
        client = EndpointClient(Target(f"127.0.0.1:{port}", use_tls=False, api_key=SecretStr("")))
        clients.append(client)
        client.heard_at = 0.0
        with pytest.raises(EndpointError) as failed:
            await client.state("nobody")
        return client, failed.value

    yield ask
    for client in clients:
        await client.close()
    for server in servers:
        await server.stop(None)


async def test_a_runner_that_explains_why_it_cannot_is_there(asked: Any) -> None:
    client, error = await asked(Unavailable("Temporal is away", code="temporal.unavailable"))
    assert (error.reason, error.status) == (UNREACHABLE, grpc.StatusCode.UNAVAILABLE)
    assert client.heard_at > 0


async def test_nobody_listens(asked: Any) -> None:
    client, error = await asked(None, there=False)
    assert error.reason == UNREACHABLE
    assert client.heard_at == 0


async def test_a_runner_that_says_nothing(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflow_runner.controller.endpoint_client.CALL_SECONDS", 0.5)
    client, error = await asked(None)
    assert (error.reason, error.status) == (UNREACHABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert client.heard_at == 0
