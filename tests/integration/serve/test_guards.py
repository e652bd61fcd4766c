"""Who is let in: keys, certificates, and where the service listens without either."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests import canaries
from tests.integration.cli.program import call
from tests.integration.serve.conftest import Serve
from tests.integration.serve.served import ON_LOOPBACK, SECONDS, Served, Services, refused, request
from tests.servers.tls import Authority, Pair

from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as older

HELLO = "do: [{step: {set: {message: Hello}}}]"
ANY = older.GetExecutionStatusRequest(execution_id="nobody")
CODE = grpc.StatusCode


def shown(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with two keys."""
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "stigmer").write_text(f"{canaries.STIGMER_KEY}\n")
    (folder / "ci").write_text(canaries.BEARER)
    return folder


async def test_with_keys_only_who_has_one_is_let_in(serve: Serve, keys: Path) -> None:
    served = await serve(WORKFLOW_RUNNER_API_KEYS=str(keys))
    query = served.services.query
    said = await refused(query.GetStatus(ANY))
    assert (said.code, said.reason) == (CODE.UNAUTHENTICATED, "auth.no-token")
    for wrong in ("", "wrong", canaries.BEARER[:-1], f"{canaries.BEARER}x"):
        said = await refused(query.GetStatus(ANY, metadata=shown(wrong)))
        assert (said.code, said.reason in ("auth.bad-token", "auth.no-token")) == (CODE.UNAUTHENTICATED, True)
        assert canaries.found_in(said.text) == []
    for right in (canaries.STIGMER_KEY, canaries.BEARER):
        assert (await refused(query.GetStatus(ANY, metadata=shown(right)))).code is CODE.NOT_FOUND
    started = served.services.execution.Execute(request(HELLO))
    assert (await refused(started)).code is CODE.UNAUTHENTICATED, "streams ask, too"
    events = [event async for event in served.services.execution.Execute(request(HELLO), metadata=shown(canaries.BEARER))]
    assert events[-1].status == "completed"
    health = health_pb2_grpc.HealthStub(served.services.channel)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == 1, "probes have no key"


async def test_keys_are_read_again_when_they_change(serve: Serve, keys: Path) -> None:
    served = await serve(WORKFLOW_RUNNER_API_KEYS=str(keys))

    async def code(key: str) -> grpc.StatusCode:
        return (await refused(served.services.query.GetStatus(ANY, metadata=shown(key)))).code

    assert await code(canaries.BEARER) is CODE.NOT_FOUND
    new = keys / ".new"
    new.write_text(canaries.ENV_SECRET)
    os.replace(new, keys / "ci")
    assert await code(canaries.BEARER) is CODE.UNAUTHENTICATED
    assert await code(canaries.ENV_SECRET) is CODE.NOT_FOUND
    (keys / "ci").unlink()
    assert await code(canaries.ENV_SECRET) is CODE.UNAUTHENTICATED
    assert await code(canaries.STIGMER_KEY) is CODE.NOT_FOUND


async def test_one_file_may_hold_the_only_key(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(canaries.BEARER)
    served = await serve(WORKFLOW_RUNNER_API_KEYS=str(tmp_path / "key"))
    assert (await refused(served.services.query.GetStatus(ANY))).code is CODE.UNAUTHENTICATED
    assert (await refused(served.services.query.GetStatus(ANY, metadata=shown(canaries.BEARER)))).code is CODE.NOT_FOUND


class Pems:
    """A server's files, which can be replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority()
        self.variables = {
            "WORKFLOW_RUNNER_TLS_CERTIFICATE": str(folder / "tls.crt"),
            "WORKFLOW_RUNNER_TLS_KEY": str(folder / "tls.key"),
        }
        self.replace(self.authority)

    def replace(self, authority: Authority) -> None:
        """A new certificate and its key, by renaming, one after the other."""
        pair = authority.server()
        for name, text in (("tls.crt", pair.certificate), ("tls.key", pair.key)):
            (self.folder / f"{name}.new").write_text(text)
            os.replace(self.folder / f"{name}.new", self.folder / name)

    def want_clients_of(self, authority: Authority) -> dict[str, str]:
        (self.folder / "ca.crt").write_text(authority.certificate)
        return {**self.variables, "WORKFLOW_RUNNER_TLS_CLIENT_CA": str(self.folder / "ca.crt")}


@pytest.fixture
def pems(tmp_path: Path) -> Pems:
    return Pems(tmp_path)


def secure(served: Served, authority: Authority, client: Pair | None = None) -> Services:
    """Over TLS, trusting an authority, with a certificate of one's own."""
    key, chain = (None, None) if client is None else (client.key.encode(), client.certificate.encode())
    credentials = grpc.ssl_channel_credentials(authority.certificate.encode(), key, chain)
    options = [("grpc.use_local_subchannel_pool", 1)]
    return served.open(grpc.aio.secure_channel(served.address, credentials, options=options))


async def code_of(services: Services) -> grpc.StatusCode:
    return (await refused(services.query.GetStatus(ANY))).code


async def test_over_tls(serve: Serve, pems: Pems) -> None:
    served = await serve(**pems.variables)
    assert await code_of(secure(served, pems.authority)) is CODE.NOT_FOUND
    assert await code_of(secure(served, Authority())) is CODE.UNAVAILABLE, "another authority's clients do not trust it"
    assert await code_of(served.services) is CODE.UNAVAILABLE, "there is no plaintext beside it"


async def test_with_an_authority_for_clients_only_its_own_are_let_in(serve: Serve, pems: Pems) -> None:
    clients = Authority()
    served = await serve(**pems.want_clients_of(clients))
    assert await code_of(secure(served, pems.authority, clients.client("stigmer"))) is CODE.NOT_FOUND
    assert await code_of(secure(served, pems.authority)) is CODE.UNAVAILABLE
    assert await code_of(secure(served, pems.authority, Authority().client("stigmer"))) is CODE.UNAVAILABLE


async def test_a_certificate_that_is_renewed_is_served(serve: Serve, pems: Pems) -> None:
    served = await serve(**pems.variables)
    under_way = secure(served, pems.authority)
    assert await code_of(under_way) is CODE.NOT_FOUND
    other = Authority()
    pems.replace(other)
    assert await code_of(secure(served, other)) is CODE.NOT_FOUND
    assert await code_of(secure(served, pems.authority)) is CODE.UNAVAILABLE
    assert await code_of(under_way) is CODE.NOT_FOUND, "connections that are there stay"
    (pems.folder / "tls.key").write_text("half of a k")
    assert await code_of(secure(served, other)) is CODE.NOT_FOUND, "the one before stays"
    assert served.lines("the server's certificate cannot be read again; the one before stays")


def ended(*arguments: str, **variables: str) -> tuple[int, str]:
    """A process that does not come to serve: its exit code and its last line."""
    found = call("serve", *arguments, **ON_LOOPBACK, **variables)
    return found.code, found.err.splitlines()[-1]


def test_without_guards_it_does_not_listen_for_everybody(tmp_path: Path) -> None:
    code, said = ended("--listen", "0.0.0.0:0")
    assert (code, "settings.unguarded" in said, "WORKFLOW_RUNNER_API_KEYS" in said) == (2, True, True)
    assert ended("--listen", "[::]:0")[0] == 2
    assert ended("--listen", "example.com:0")[0] == 2


async def test_without_guards_it_listens_on_loopback(serve: Serve, keys: Path) -> None:
    alone = await serve()
    assert alone.ports["address"] == "127.0.0.1:0"
    for variables in (
        {"WORKFLOW_RUNNER_API_KEYS": str(keys)},
        {"WORKFLOW_RUNNER_AUTHENTICATION": "none"},
    ):
        assert (await serve(**variables)).ports["address"] == "[::]:0"
    assert (await serve("--listen", "127.0.0.1:0")).ports["address"] == "127.0.0.1:0"


def test_settings_that_cannot_be_used_are_named(tmp_path: Path, pems: Pems) -> None:
    missing = {"WORKFLOW_RUNNER_TLS_CERTIFICATE": str(tmp_path / "tls.crt")}
    assert "settings.missing" in ended(**missing)[1]
    (tmp_path / "tls.key").write_text(Authority().server().key)
    code, said = ended(**pems.variables)
    assert (code, "is not the key of" in said) == (2, True)
    (tmp_path / "empty").mkdir()
    assert "there is no key in" in ended(WORKFLOW_RUNNER_API_KEYS=str(tmp_path / "empty"))[1]
    assert "WORKFLOW_RUNNER_AUTHENTICATION" in ended(WORKFLOW_RUNNER_AUTHENTICATION="maybe")[1]
    assert "WORKFLOW_RUNNER_MOST_EXECUTIONS" in ended(WORKFLOW_RUNNER_MOST_EXECUTIONS="0")[1]


async def test_a_port_that_is_taken_is_named(serve: Serve) -> None:
    served = await serve()
    code, said = await asyncio.to_thread(ended, "--listen", served.address)
    assert (code, "settings.port-unusable" in said) == (2, True)


@pytest.mark.stress
async def test_clients_may_ask_whether_it_is_there(serve: Serve) -> None:
    """Pings at the most that the server allows keep an idle stream, and do not have it closed."""
    served = await serve()
    await served.start_run("do: [{nap: {wait: PT10M}}]")
    options = [
        ("grpc.keepalive_time_ms", 5_000),
        ("grpc.keepalive_timeout_ms", 2_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    watched = served.open(grpc.aio.insecure_channel(served.address, options=options))
    story = aiter(watched.query.Subscribe(older.SubscribeRequest(execution_id="run-1")))
    assert (await anext(story)).event_type == "workflow_started"
    assert (await anext(story)).event_type == "task_started"
    nothing = asyncio.ensure_future(anext(story))
    done, _ = await asyncio.wait([nothing], timeout=17)
    assert not done, "the server did not mind"
    await served.cancel()
    async with asyncio.timeout(SECONDS):
        assert (await nothing).event_type == "workflow_cancelled"
