"""Connecting to Temporal, and what is said where that cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from msgspec.structs import replace
from tests import canaries
from tests.servers.temporal import temporal_server
from tests.servers.tls import Authority
from tests.servers.tls_proxy import tls_proxy

from workflow_runner.errors import InvalidInput, PermissionDenied, Unauthenticated, Unavailable, WorkflowRunnerError
from workflow_runner.hosts.temporal.client import connect
from workflow_runner.settings.temporal import PayloadSettings, TemporalSettings


class Tls:
    """A server behind TLS. `folder` has `ca.pem`, and `client.pem` with `client-key.pem`."""

    def __init__(self, address: str, folder: Path) -> None:
        self.folder = folder
        self.settings = TemporalSettings(address, tls=True, ca=folder / "ca.pem")

    @property
    def with_certificate(self) -> TemporalSettings:
        """With the client's certificate."""
        return replace(self.settings, certificate=self.folder / "client.pem", key=self.folder / "client-key.pem")


@asynccontextmanager
async def behind_tls(temporal: str, folder: Path, *, wants_clients: bool = False) -> AsyncIterator[Tls]:
    """The server `temporal` by TLS."""
    authority = Authority()
    client = authority.client("worker")
    (folder / "ca.pem").write_text(authority.certificate)
    (folder / "client.pem").write_text(client.certificate)
    (folder / "client-key.pem").write_text(client.key)
    async with tls_proxy(temporal, authority.server_context(folder, wants_clients=wants_clients)) as address:
        yield Tls(address, folder)


async def refusal(settings: TemporalSettings) -> WorkflowRunnerError:
    """What connecting ends in."""
    with pytest.raises(WorkflowRunnerError) as caught:
        await connect(settings)
    assert canaries.found_in(str(caught.value)) == []
    return caught.value


async def test_a_client_has_found_its_namespace(temporal: str) -> None:
    client = await connect(TemporalSettings(temporal))
    assert client.namespace == "default"


async def test_a_namespace_that_is_missing(temporal: str) -> None:
    error = await refusal(TemporalSettings(temporal, namespace="team-a"))
    assert (type(error), error.code) == (InvalidInput, "temporal.namespace-missing")
    assert "temporal operator namespace create -n team-a" in str(error)


async def test_nobody_there_and_then_somebody(tmp_path: Path) -> None:
    async with temporal_server(database=tmp_path / "temporal.db") as address:
        pass
    port = int(address.rpartition(":")[2])
    error = await refusal(TemporalSettings(address))
    assert (type(error), error.code) == (Unavailable, "temporal.unavailable")
    assert address in str(error)
    assert "nobody listens there" in str(error)
    async with temporal_server(port=port, database=tmp_path / "temporal.db"):
        await connect(TemporalSettings(address))


async def test_a_name_that_nobody_knows() -> None:
    error = await refusal(TemporalSettings("temporal.invalid:7233"))
    assert (type(error), error.code) == (Unavailable, "temporal.unavailable")
    assert "the name is not known" in str(error)


async def test_tls_with_the_right_authority(temporal: str, tmp_path: Path) -> None:
    async with behind_tls(temporal, tmp_path) as tls:
        await connect(tls.settings)
        await connect(replace(tls.settings, server_name="localhost"))


async def test_mutual_tls(temporal: str, tmp_path: Path) -> None:
    async with behind_tls(temporal, tmp_path, wants_clients=True) as tls:
        await connect(tls.with_certificate)
        error = await refusal(tls.settings)
        assert error.code in ("temporal.connection-closed", "temporal.tls-failed")
        assert "TEMPORAL_TLS_CERTIFICATE" in str(error)
        stranger = Authority().client("stranger")
        (tmp_path / "client.pem").write_text(stranger.certificate)
        (tmp_path / "client-key.pem").write_text(stranger.key)
        error = await refusal(tls.with_certificate)
        assert error.code in ("temporal.connection-closed", "temporal.tls-failed")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tls: replace(tls.settings, ca=None), "nobody who is known vouches for it"),
        (lambda tls: replace(tls.settings, ca=tls.folder / "other-ca.pem"), "the authority did not sign it"),
        (lambda tls: replace(tls.settings, server_name="temporal.example.com"), "made out to another name"),
    ],
    ids=["systems-authorities", "other-authority", "other-name"],
)
async def test_a_certificate_that_is_not_trusted(
    temporal: str, tmp_path: Path, change: Callable[[Tls], TemporalSettings], said: str
) -> None:
    (tmp_path / "other-ca.pem").write_text(Authority().certificate)
    async with behind_tls(temporal, tmp_path) as tls:
        error = await refusal(change(tls))
    assert (type(error), error.code) == (InvalidInput, "temporal.tls-failed")
    assert said in str(error)
    assert "TEMPORAL_TLS_CA" in str(error)


async def test_plain_text_where_tls_is_spoken(temporal: str, tmp_path: Path) -> None:
    async with behind_tls(temporal, tmp_path) as tls:
        error = await refusal(TemporalSettings(tls.settings.address))
    assert (type(error), error.code) == (Unavailable, "temporal.connection-closed")
    assert "TEMPORAL_TLS=true" in str(error)


async def test_tls_where_plain_text_is_spoken(temporal: str) -> None:
    error = await refusal(TemporalSettings(temporal, tls=True))
    assert (type(error), error.code) == (InvalidInput, "temporal.tls-failed")
    assert "TEMPORAL_TLS=false" in str(error)


async def test_files_that_cannot_be_used(temporal: str, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    async with behind_tls(temporal, tmp_path, wants_clients=True) as tls:
        for changed, code in (
            (replace(tls.settings, ca=tmp_path / "no.pem"), "input.bad-certificate"),
            (replace(tls.settings, ca=tmp_path / "none.pem"), "input.unreadable"),
            (replace(tls.with_certificate, certificate=tmp_path / "no.pem"), "input.bad-certificate"),
            (replace(tls.with_certificate, key=tmp_path / "no.pem"), "input.bad-certificate"),
        ):
            error = await refusal(changed)
            assert error.code == code
            assert str(tmp_path) in str(error)


async def test_keys_of_payloads_that_cannot_be_used(temporal: str, tmp_path: Path) -> None:
    error = await refusal(TemporalSettings(temporal, payloads=PayloadSettings(keys=tmp_path)))
    assert error.code == "payload.keys-unusable"


@asynccontextmanager
async def guarded(folder: Path, status: grpc.StatusCode) -> AsyncIterator[Tls]:
    """A gRPC server by TLS that answers every call with this status, unless it has the key that the tests have."""
    authority = Authority()
    pair = authority.server()
    (folder / "ca.pem").write_text(authority.certificate)

    async def answer(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        metadata = dict(context.invocation_metadata() or ())
        if metadata.get("authorization") != f"Bearer {canaries.BEARER}":
            await context.abort(status, "request unauthorized")
        return b""  # an empty answer is a valid one of every kind

    class Everything(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Everything(),))
    credentials = grpc.ssl_server_credentials([(pair.key.encode(), pair.certificate.encode())])
    port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    try:
        yield Tls(f"localhost:{port}", folder)
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated, "temporal.unauthenticated"),
        (grpc.StatusCode.PERMISSION_DENIED, PermissionDenied, "temporal.permission-denied"),
    ],
    ids=["unknown", "known"],
)
async def test_who_may_not_come_in(tmp_path: Path, status: grpc.StatusCode, kind: type[Exception], code: str) -> None:
    async with guarded(tmp_path, status) as tls:
        for key in ("", canaries.STIGMER_KEY):
            error = await refusal(replace(tls.settings, api_key=key))
            assert (type(error), error.code) == (kind, code)
        await connect(replace(tls.settings, api_key=canaries.BEARER))


async def test_another_kind_of_server(tmp_path: Path) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("localhost:0")
    await server.start()
    try:
        error = await refusal(TemporalSettings(f"localhost:{port}"))
    finally:
        await server.stop(None)
    assert (type(error), error.code) == (InvalidInput, "temporal.other-server")


async def test_a_server_that_never_answers_is_given_up() -> None:
    held: list[asyncio.StreamWriter] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        error = await refusal(TemporalSettings(f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    finally:
        server.close()
        for writer in held:
            writer.transport.abort()
    assert (type(error), error.code) == (Unavailable, "temporal.unavailable")
    assert "within 15 s" in str(error)
