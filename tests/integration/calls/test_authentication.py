"""Credentials that real servers check: basic, bearer, digest, client certificates over TLS."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests import canaries
from tests.integration.calls.server import Server, answering, http_server
from tests.servers.tls import Authority, Pair

from workflow_runner.calls import Calls
from workflow_runner.calls.http import HttpCalls
from workflow_runner.dsl import problems
from workflow_runner.dsl.problems import Problem, WorkflowFault

PASSWORD = canaries.URL_PASSWORD
USER = {"username": "ann", "password": PASSWORD}


@pytest.fixture
async def client() -> AsyncIterator[HttpCalls]:
    calls = HttpCalls()
    yield calls
    await calls.close()


async def get(client: HttpCalls, uri: str, scheme: str, members: dict[str, Any], **changes: Any) -> Any:
    arguments = {"method": "get", "uri": uri, "headers": {}, "query": {}, "output": "content", "redirect": False, **changes}
    return await client.call(arguments, idempotency_key="k", authentication={"scheme": scheme, "members": members})


async def fault_of(client: HttpCalls, uri: str, scheme: str, members: dict[str, Any], **changes: Any) -> Problem:
    with pytest.raises(WorkflowFault) as caught:
        await get(client, uri, scheme, members, **changes)
    assert canaries.found_in(str(caught.value.problem.to_dict())) == []
    return caught.value.problem


class TestHeaders:
    async def test_basic(self, client: HttpCalls) -> None:
        async with http_server(answering()) as server:
            await get(client, server.url, "basic", {"username": "änn", "password": PASSWORD})
        scheme, _, encoded = server.seen[0].headers["authorization"].partition(" ")
        assert scheme == "Basic"
        assert base64.b64decode(encoded).decode() == f"änn:{PASSWORD}"

    async def test_bearer(self, client: HttpCalls) -> None:
        async with http_server(answering()) as server:
            await get(client, server.url, "bearer", {"token": canaries.BEARER})
        assert server.seen[0].headers["authorization"] == f"Bearer {canaries.BEARER}"

    async def test_a_header_of_the_document_itself_stays(self, client: HttpCalls) -> None:
        async with http_server(answering()) as server:
            for scheme, members in (("bearer", {"token": "t"}), ("digest", USER)):
                await get(client, server.url, scheme, members, headers={"authorization": "Own x"})
        assert [seen.headers["authorization"] for seen in server.seen] == ["Own x", "Own x"]

    async def test_a_user_in_the_address_gives_way(self, client: HttpCalls) -> None:
        async with http_server(answering()) as server:
            await get(client, server.url.replace("//", "//bob:x@"), "bearer", {"token": "t"})
        assert server.seen[0].headers["authorization"] == "Bearer t"

    @pytest.mark.parametrize("output", ["response"])
    async def test_the_request_that_is_told_has_no_credentials(self, client: HttpCalls, output: str) -> None:
        async with http_server(answering()) as server:
            got = await get(client, server.url, "bearer", {"token": canaries.BEARER}, output=output)
        assert canaries.found_in(str(got)) == []
        assert got["request"]["method"] == "get"

    @pytest.mark.parametrize(("status", "type_"), [(401, problems.AUTHENTICATION), (403, problems.AUTHORIZATION)])
    async def test_what_servers_refuse(self, client: HttpCalls, status: int, type_: str) -> None:
        async with http_server(answering(status)) as server:
            fault = await fault_of(client, server.url, "bearer", {"token": canaries.BEARER})
            assert len(server.seen) == 1
        assert (fault.type, fault.status) == (type_, status)

    @pytest.mark.parametrize(
        ("scheme", "members"),
        [
            ("basic", {"username": "a"}),
            ("basic", {"username": "a", "password": None}),
            ("basic", {"username": "a", "password": ["x"]}),
            ("basic", {"username": "a:b", "password": "x"}),
            ("digest", {"username": "a:b", "password": "x"}),
            ("bearer", {}),
            ("bearer", {"token": "a\r\nX-Other: 1"}),
            ("certificate", {"certificate": "x", "key": "y"}),
        ],
    )
    async def test_members_that_cannot_be_used(self, client: HttpCalls, scheme: str, members: dict[str, Any]) -> None:
        async with http_server(answering()) as server:
            fault = await fault_of(client, server.url, scheme, members)
        assert (fault.type, fault.status) == (problems.CONFIGURATION, 400)
        assert server.seen == []


class Digest:
    """A server that demands digest authentication (RFC 7616) and checks it; every nonce is good for some answers."""

    def __init__(self, algorithm: str, qop: str | None, *, uses: int = 100) -> None:
        self.challenges = 0
        self._algorithm, self._qop, self._uses = algorithm, qop, uses
        self._nonces: dict[str, int] = {}

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        given = self._given(request)
        if given is not None and await self._holds(request, given):
            return web.Response(text="in")
        self.challenges += 1
        nonce = secrets.token_hex(8)
        self._nonces[nonce] = 0
        qop = f', qop="{self._qop}"' if self._qop is not None else ""
        said = f'Digest realm="te\\"sts", nonce="{nonce}", algorithm={self._algorithm}, opaque="o"{qop}'
        refusal = web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="tests", Bearer'})
        refusal.headers.add("WWW-Authenticate", f'Digest realm="tests", nonce="n", algorithm=ROT13, {said}')
        return refusal

    def _given(self, request: web.Request) -> dict[str, str] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Digest":
            return None
        pairs = (pair.strip().partition("=") for pair in text.split(","))
        return {name: value.strip('"') for name, _, value in pairs}

    async def _holds(self, request: web.Request, given: dict[str, str]) -> bool:
        def digest(*parts: str) -> str:
            made = hashlib.sha256 if "256" in self._algorithm else hashlib.md5
            return made(":".join(parts).encode()).hexdigest()

        nonce = given["nonce"]
        if nonce not in self._nonces or given["uri"] != request.raw_path or given["opaque"] != "o":
            return False
        if self._qop is not None:
            self._nonces[nonce] += 1
            if int(given["nc"], 16) != self._nonces[nonce] or self._nonces[nonce] > self._uses:
                return False
        first = digest(given["username"], 'te"sts', {"ann": PASSWORD}.get(given["username"], ""))
        if self._algorithm.endswith("-sess"):
            first = digest(first, nonce, given["cnonce"])
        second = [request.method, given["uri"]]
        if given.get("qop") == "auth-int":
            second.append(digest((await request.read()).decode()))
        middle = [nonce] if self._qop is None else [nonce, given["nc"], given["cnonce"], given["qop"]]
        return given["response"] == digest(first, *middle, digest(*second))


class TestDigest:
    @pytest.mark.parametrize(
        ("algorithm", "qop"),
        [("MD5", None), ("MD5", "auth"), ("SHA-256", "auth"), ("SHA-256", "auth-int"), ("MD5-sess", "auth")],
    )
    async def test_a_challenge_is_answered(self, client: HttpCalls, algorithm: str, qop: str | None) -> None:
        digest = Digest(algorithm, qop)
        async with http_server(digest) as server:
            got = await get(client, f"{server.url}/a b/?q=ü", "digest", USER, method="post", body={"a": "ü"})
            assert got == "in"
            assert [seen.body for seen in server.seen] == ['{"a": "ü"}'.encode()] * 2

    async def test_the_answer_to_a_challenge_is_used_again_until_the_server_wants_another(self, client: HttpCalls) -> None:
        digest = Digest("SHA-256", "auth", uses=3)
        async with http_server(digest) as server:
            for _ in range(5):
                assert await get(client, server.url, "digest", USER) == "in"
        assert digest.challenges == 2

    async def test_a_wrong_password_is_an_authentication_error(self, client: HttpCalls) -> None:
        async with http_server(Digest("MD5", "auth")) as server:
            fault = await fault_of(client, server.url, "digest", {**USER, "password": "wrong"})
        assert (fault.type, fault.status) == (problems.AUTHENTICATION, 401)

    async def test_a_server_that_demands_nothing_gets_no_password(self, client: HttpCalls) -> None:
        async with http_server(answering()) as server:
            await get(client, server.url, "digest", USER)
        assert "authorization" not in server.seen[0].headers

    @pytest.mark.parametrize(
        "said",
        [
            "Digest realm=x",
            'Digest realm="x", nonce="n", algorithm=ROT13',
            'Digest realm="x", nonce="n", qop="none"',
            'Basic realm="x", nonce="n"',
            "Digest",
            '"',
        ],
    )
    async def test_a_challenge_that_cannot_be_answered(self, client: HttpCalls, said: str) -> None:
        async with http_server(answering(401, headers={"WWW-Authenticate": said})) as server:
            fault = await fault_of(client, server.url, "digest", USER)
        assert (fault.type, fault.status) == (problems.AUTHENTICATION, 401)


async def who(request: web.Request) -> web.StreamResponse:
    """Tells who the client is by its certificate."""
    assert request.transport is not None
    shown = request.transport.get_extra_info("peercert")
    return web.Response(text=dict(pair[0] for pair in shown["subject"])["commonName"] if shown else "nobody")


class TestCertificates:
    @pytest.fixture
    def authority(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
        """The authority of the server and its clients; clients learn of it as they do everywhere."""
        authority = Authority()
        (tmp_path / "ca.pem").write_text(authority.certificate)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        return authority

    @pytest.fixture
    async def server(self, authority: Authority, tmp_path: Path) -> AsyncIterator[Server]:
        async with http_server(who, authority.server_context(tmp_path, wants_clients=True)) as server:
            yield server

    async def test_the_certificate_is_shown(self, client: HttpCalls, authority: Authority, server: Server) -> None:
        ann, bob = authority.client("ann"), authority.client("bob")
        for _ in range(2):
            assert await get(client, server.url, "certificate", members(ann)) == "ann"
            assert await get(client, server.url, "certificate", members(bob)) == "bob"

    async def test_an_encrypted_key(self, client: HttpCalls, authority: Authority, server: Server) -> None:
        pair = authority.client("ann", passphrase=PASSWORD)
        assert await get(client, server.url, "certificate", members(pair, passphrase=PASSWORD)) == "ann"
        for wrong in ({"passphrase": "wrong"}, {}):
            fault = await fault_of(client, server.url, "certificate", members(pair, **wrong))
            assert (fault.type, fault.status) == (problems.CONFIGURATION, 400)

    async def test_a_certificate_that_the_server_does_not_take(self, client: HttpCalls, server: Server) -> None:
        stranger = Authority().client("ann")
        fault = await fault_of(client, server.url, "certificate", members(stranger))
        assert fault.type == problems.COMMUNICATION

    async def test_a_key_that_is_not_the_certificates(self, client: HttpCalls, authority: Authority, server: Server) -> None:
        mixed = Pair(authority.client("ann").certificate, authority.client("bob").key)
        fault = await fault_of(client, server.url, "certificate", members(mixed))
        assert (fault.type, fault.status) == (problems.CONFIGURATION, 400)
        assert "belong together" in str(fault.detail)

    async def test_a_server_whose_authority_is_not_known(self, client: HttpCalls, authority: Authority, tmp_path: Path) -> None:
        async with http_server(who, Authority().server_context(tmp_path, wants_clients=False)) as server:
            fault = await fault_of(client, server.url, "certificate", members(authority.client("ann")))
        assert fault.type == problems.COMMUNICATION
        assert "certificate does not verify" in str(fault.detail)


def members(pair: Pair, **more: str) -> dict[str, str]:
    return {"certificate": pair.certificate, "key": pair.key, **more}


class TestDescribed:
    @pytest.mark.parametrize(
        ("scheme", "members", "expected"),
        [
            ("basic", {"username": "a", "password": "b"}, {"scheme": "Basic", "parameter": "YTpi"}),
            ("bearer", {"token": "t"}, {"scheme": "Bearer", "parameter": "t"}),
            ("digest", {"username": "a", "password": "b"}, {"scheme": "Digest", "parameter": None}),
            ("certificate", {"certificate": "a", "key": "b"}, None),
        ],
    )
    async def test_what_the_policies_come_to(self, scheme: str, members: dict[str, str], expected: Any) -> None:
        calls = Calls()
        carried: dict[str, Any] = {"scheme": scheme, "members": members}
        try:
            assert await calls.call("authorization", {}, idempotency_key="k", authentication=carried) == expected
        finally:
            await calls.close()
