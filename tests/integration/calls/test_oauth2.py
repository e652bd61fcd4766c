"""Tokens from a real authorization server that checks each grant and each way to authenticate a client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests import canaries
from tests.integration.calls.server import answering, http_server
from tests.servers.oauth2 import EXCHANGE, AuthorizationServer, Client, authorization_server
from tests.until import until

from workflow_runner import telemetry
from workflow_runner.calls.http import HttpCalls
from workflow_runner.dsl import problems
from workflow_runner.dsl.problems import Problem, WorkflowFault

SECRET = canaries.WORKFLOW_SECRET
NAME = "id of: a+client/ü"
"""A name that has to be encoded in each of the places where it goes."""


@contextlib.asynccontextmanager
async def calls(**options: Any) -> AsyncIterator[HttpCalls]:
    client = HttpCalls(**options)
    try:
        yield client
    finally:
        await client.close()


def policy(server: AuthorizationServer, **members: Any) -> dict[str, Any]:
    """A policy with client credentials; `client__id` stands for client.id, None takes a member out."""
    found = {"authority": server.url, "grant": "client_credentials", "client.id": NAME, "client.secret": SECRET}
    found |= {name.replace("__", "."): value for name, value in members.items()}
    return {"scheme": "oauth2", "members": {name: value for name, value in found.items() if value is not None}}


async def get(client: HttpCalls, server: AuthorizationServer, carried: dict[str, Any], **changes: Any) -> Any:
    arguments = {
        "method": "get",
        "uri": f"{server.url}/resource",
        "headers": {},
        "query": {},
        "output": "content",
        "redirect": False,
        **changes,
    }
    return await client.call(arguments, idempotency_key="k", authentication=carried)


async def fault_of(client: HttpCalls, server: AuthorizationServer, carried: dict[str, Any]) -> Problem:
    with pytest.raises(WorkflowFault) as caught:
        await get(client, server, carried)
    assert canaries.found_in(str(caught.value.problem.to_dict())) == []
    return caught.value.problem


def registered(method: str = "client_secret_post", **client: Any) -> dict[str, Client]:
    return {NAME: Client(method, **{"secret": SECRET, **client})}


class TestGrants:
    async def test_client_credentials_with_scopes_and_audiences(self) -> None:
        async with authorization_server(clients=registered()) as server, calls() as client:
            asked = policy(server, **{"scopes.0": "read", "scopes.1": "write", "audiences.0": "one", "audiences.1": "two"})
            got = await get(client, server, asked)
        assert got["client"] == NAME
        assert (got["grant"], got["scope"], got["audience"]) == ("client_credentials", "read write", ["one", "two"])

    async def test_password(self) -> None:
        async with (
            authorization_server(clients=registered(), users={"ann": canaries.URL_PASSWORD}) as server,
            calls() as client,
        ):
            got = await get(client, server, policy(server, grant="password", username="ann", password=canaries.URL_PASSWORD))
            wrong = await fault_of(client, server, policy(server, grant="password", username="ann", password="x"))
        assert got["subject"] == "ann"
        assert (wrong.type, wrong.status) == (problems.AUTHENTICATION, 401)
        assert wrong.detail is not None
        assert wrong.detail.endswith("/oauth2/token was answered with 400 (invalid_grant)")

    async def test_an_authorization_code_is_exchanged_once_and_then_refreshed(self) -> None:
        settings: dict[str, Any] = {"clients": registered(), "codes": {"code-1": "ann"}, "gives_refresh_tokens": True}
        async with authorization_server(lifetime=0, **settings) as server, calls() as client:
            asked = policy(server, grant="authorization_code", subject__token="code-1", subject__type="code")
            server.lifetime = 1.5
            await get(client, server, asked)
            await until(lambda: _again(client, server, asked, "refresh_token"))
        assert server.grants[:2] == ["authorization_code", "refresh_token"]

    async def test_a_refresh_token_is_rotated(self) -> None:
        async with authorization_server(clients=registered(), gives_refresh_tokens=True) as server, calls() as client:
            await get(client, server, policy(server))
            (first,) = server.refreshing
            asked = policy(server, grant="refresh_token", subject__token=first, subject__type="x")
            server.lifetime = 1.5
            await get(client, server, asked)
            assert first not in server.refreshing
            await until(lambda: _again(client, server, asked, "refresh_token", times=2))

    async def test_a_refresh_token_that_stays_is_used_again(self) -> None:
        settings: dict[str, Any] = {"clients": registered(), "gives_refresh_tokens": True, "rotates": False}
        async with authorization_server(lifetime=1.5, **settings) as server, calls() as client:
            await until(lambda: _again(client, server, policy(server), "refresh_token", times=2))
        assert server.grants == ["client_credentials", "refresh_token", "refresh_token"]

    async def test_token_exchange_for_a_subject_and_an_actor(self) -> None:
        subjects = {("token of ann", "urn:t:a"): "ann", ("token of bob", "urn:t:b"): "bob"}
        async with authorization_server(clients=registered(), subjects=subjects) as server, calls() as client:
            parties = {
                "subject__token": "token of ann",
                "subject__type": "urn:t:a",
                "actor__token": "token of bob",
                "actor__type": "urn:t:b",
            }
            got = await get(client, server, policy(server, grant=EXCHANGE, **parties))
        assert (got["subject"], got["actor"]) == ("ann", "bob")


async def _again(client: HttpCalls, server: AuthorizationServer, asked: Any, grant: str, times: int = 1) -> bool:
    await get(client, server, asked)
    return server.grants.count(grant) >= times


class TestClients:
    @pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "client_secret_jwt"])
    async def test_a_secret_proves_who_the_client_is(self, method: str) -> None:
        long = SECRET * 2  # what RFC 7518 wants of a key at least
        async with authorization_server(clients=registered(method, secret=long)) as server, calls() as client:
            asked = {"client__authentication": method, "client__secret": long}
            got = await get(client, server, policy(server, **asked))
            assert (await get(client, server, policy(server, **asked, **{"scopes.0": "x"})))["scope"] == "x", "another token"
            wrong = await fault_of(client, server, policy(server, client__authentication=method, client__secret="wrong" * 8))
        assert got["client"] == NAME
        assert (wrong.type, wrong.status) == (problems.AUTHENTICATION, 401)

    async def test_posting_the_secret_is_the_default(self) -> None:
        async with authorization_server(clients=registered("client_secret_post")) as server, calls() as client:
            assert (await get(client, server, policy(server)))["client"] == NAME

    async def test_a_secret_in_the_wrong_way_is_refused(self) -> None:
        async with authorization_server(clients=registered("client_secret_basic")) as server, calls() as client:
            assert (await fault_of(client, server, policy(server))).status == 401

    async def test_a_signed_assertion(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = serialization.Encoding.PEM
        public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
        async with authorization_server(clients=registered("private_key_jwt", public_key=public)) as server, calls() as client:
            now = int(time.time())
            claims = {"iss": NAME, "sub": NAME, "aud": f"{server.url}/oauth2/token", "jti": "1", "iat": now, "exp": now + 60}
            asked = {"client__authentication": "private_key_jwt", "client__secret": None}
            good, stranger = jwt.encode(claims, key, "RS256"), rsa.generate_private_key(public_exponent=65537, key_size=2048)
            got = await get(client, server, policy(server, client__assertion=good, **asked))
            bad = jwt.encode({**claims, "jti": "2"}, stranger, "RS256")
            assert (await fault_of(client, server, policy(server, client__assertion=bad, **asked))).status == 401
        assert got["client"] == NAME

    async def test_a_public_client_only_says_its_name(self) -> None:
        clients = {NAME: Client("none")}
        async with authorization_server(clients=clients) as server, calls() as client:
            got = await get(client, server, policy(server, client__authentication="none", client__secret=None))
        assert got["client"] == NAME

    async def test_parameters_as_json(self) -> None:
        async with authorization_server(clients=registered(), encoding="application/json") as server, calls() as client:
            asked = policy(server, request__encoding="application/json", **{"audiences.0": "a", "audiences.1": "b"})
            assert (await get(client, server, asked))["audience"] == ["a", "b"]


class TestEndpoints:
    async def test_the_token_endpoint_is_below_the_authority(self) -> None:
        async with authorization_server(clients=registered()) as server, calls() as client:
            asked = policy(server, authority=f"{server.url}/realms/one/", endpoints__token="/auth/token")
            assert (await get(client, server, asked))["client"] == NAME

    async def test_the_token_endpoint_may_be_elsewhere(self) -> None:
        async with authorization_server(clients=registered()) as server, calls() as client:
            asked = policy(server, authority="http://127.0.0.1:9", endpoints__token=f"{server.url}/oauth2/token")
            assert (await get(client, server, asked))["client"] == NAME

    @pytest.mark.parametrize(
        ("scheme", "suffix"),
        [("oidc", ""), ("oidc", "/.well-known/openid-configuration"), ("oauth2", "/.well-known/openid-configuration")],
    )
    async def test_endpoints_are_discovered(self, scheme: str, suffix: str) -> None:
        async with authorization_server(clients=registered()) as server, calls() as client:
            asked = policy(server, authority=server.url + suffix) | {"scheme": scheme}
            assert (await get(client, server, asked))["client"] == NAME

    async def test_a_discovery_that_fails_is_a_communication_error(self) -> None:
        async with authorization_server(clients=registered()) as server, calls() as client:
            asked = policy(server, authority=f"{server.url}/nowhere") | {"scheme": "oidc"}
            fault = await fault_of(client, server, asked)
        assert (fault.type, fault.status) == (problems.COMMUNICATION, 404)


class TestIssuers:
    async def test_a_token_of_a_listed_issuer_is_taken(self) -> None:
        async with authorization_server(clients=registered(), issuer="https://one.test") as server, calls() as client:
            asked = policy(server, **{"issuers.0": "https://two.test", "issuers.1": "https://one.test"})
            assert (await get(client, server, asked))["client"] == NAME

    @pytest.mark.parametrize("scheme", ["oauth2", "oidc"])
    async def test_a_token_of_another_issuer_is_not_sent(self, scheme: str) -> None:
        async with authorization_server(clients=registered(), issuer="https://one.test") as server, calls() as client:
            asked = policy(server, **{"issuers.0": "https://two.test"}) | {"scheme": scheme}
            fault = await fault_of(client, server, asked)
        assert (fault.type, fault.status) == (problems.AUTHENTICATION, 401)
        assert "issuer" in str(fault.detail)

    async def test_an_authority_that_says_another_issuer_is_asked_for_no_token(self) -> None:
        async with (
            authorization_server(clients=registered(), introspected_issuer="https://one.test") as server,
            calls() as client,
        ):
            asked = policy(server, **{"issuers.0": "https://one.test"})
            assert (await fault_of(client, server, {**asked, "scheme": "oidc"})).type == problems.AUTHENTICATION
            assert server.requests == []

    async def test_the_issuer_of_an_opaque_token_is_asked_for(self) -> None:
        async with (
            authorization_server(clients=registered(), introspected_issuer="https://one.test") as server,
            calls() as client,
        ):
            assert (await get(client, server, policy(server, **{"issuers.0": "https://one.test"})))["client"] == NAME
            fault = await fault_of(client, server, policy(server, **{"issuers.0": "https://two.test"}))
        assert fault.type == problems.AUTHENTICATION


class TestConcealing:
    async def test_tokens_and_what_proves_who_the_client_is_appear_in_no_log(self) -> None:
        long = SECRET * 2
        clients = registered("client_secret_jwt", secret=long)
        async with authorization_server(clients=clients, gives_refresh_tokens=True) as server, calls() as client:
            asked = {"client__authentication": "client_secret_jwt", "client__secret": long}
            await get(client, server, policy(server, **asked))
            (assertion,) = server.requests[0]["client_assertion"]
            for secret in (*server.issued, *server.refreshing, assertion, long):
                assert telemetry.redact(f"it is {secret}") == f"it is {telemetry.REDACTED}"


class TestKeeping:
    async def test_a_token_is_kept(self) -> None:
        async with authorization_server(clients=registered()) as server, calls() as client:
            for _ in range(3):
                await get(client, server, policy(server))
            assert len(server.grants) == 1
            await get(client, server, policy(server, **{"scopes.0": "other"}))
            assert len(server.grants) == 2

    async def test_calls_at_the_same_time_share_one_request(self) -> None:
        async with authorization_server(clients=registered()) as server, calls() as client:
            got = await asyncio.gather(*(get(client, server, policy(server)) for _ in range(50)))
        assert len(got) == 50
        assert len(server.grants) == 1

    async def test_a_failed_request_fails_all_that_wait_and_is_made_anew_afterwards(self) -> None:
        async with authorization_server(clients=registered(), broken=(503, "{}")) as server, calls() as client:
            waiting = [get(client, server, policy(server)) for _ in range(5)]
            failed = await asyncio.gather(*waiting, return_exceptions=True)
            assert [one.problem.status for one in failed if isinstance(one, WorkflowFault)] == [503] * 5
            server.broken = None
            assert (await get(client, server, policy(server)))["client"] == NAME

    async def test_a_caller_that_goes_away_takes_the_token_from_nobody(self) -> None:
        async with authorization_server(clients=registered()) as server, calls() as client:
            first = asyncio.create_task(get(client, server, policy(server)))
            await asyncio.sleep(0)
            second = asyncio.create_task(get(client, server, policy(server)))
            await asyncio.sleep(0)
            first.cancel()
            assert (await second)["client"] == NAME
            alone = asyncio.create_task(get(client, server, policy(server, **{"scopes.0": "x"})))
            await asyncio.sleep(0)
            alone.cancel()
            await asyncio.gather(first, alone, return_exceptions=True)
            assert (await get(client, server, policy(server, **{"scopes.0": "x"})))["scope"] == "x"

    async def test_a_token_is_renewed_before_it_ends(self) -> None:
        async with authorization_server(clients=registered(), lifetime=1.5) as server, calls() as client:
            await until(lambda: _again(client, server, policy(server), "client_credentials", times=2))

    async def test_a_token_that_does_not_say_how_long_it_is_good_is_kept(self) -> None:
        async with authorization_server(clients=registered(), lifetime=None) as server, calls() as client:
            for _ in range(2):
                await get(client, server, policy(server))
        assert len(server.grants) == 1

    async def test_when_refreshing_is_refused_the_grant_is_made_again(self) -> None:
        settings: dict[str, Any] = {"clients": registered(), "gives_refresh_tokens": True, "lifetime": 1.5}
        async with authorization_server(**settings) as server, calls() as client:
            await get(client, server, policy(server))
            server.refreshing.clear()
            server.gives_refresh_tokens = False
            await until(lambda: _again(client, server, policy(server), "client_credentials", times=2))
        assert "refresh_token" not in server.grants

    async def test_a_token_that_is_refused_is_replaced_once(self) -> None:
        async with authorization_server(clients=registered()) as server, calls() as client:
            await get(client, server, policy(server))
            server.revoke()
            assert (await get(client, server, policy(server), method="post", body={"a": 1}))["client"] == NAME
            assert len(server.grants) == 2

    async def test_a_server_that_takes_no_token_is_asked_once_for_a_new_one_and_twice_for_an_old_one(self) -> None:
        async with (
            authorization_server(clients=registered()) as server,
            http_server(answering(401)) as resource,
            calls() as client,
        ):
            for expected in (1, 3):
                with pytest.raises(WorkflowFault) as caught:
                    await get(client, server, policy(server), uri=resource.url)
                assert caught.value.problem.type == problems.AUTHENTICATION
                assert len(resource.seen) == expected


class TestTrouble:
    @pytest.mark.parametrize(
        ("broken", "type_", "status", "part"),
        [
            ((500, "{}"), problems.COMMUNICATION, 500, "answered with 500"),
            ((429, "{}"), problems.COMMUNICATION, 429, "answered with 429"),
            ((302, "{}"), problems.COMMUNICATION, 302, "answered with 302"),
            ((401, '{"error": "invalid_client"}'), problems.AUTHENTICATION, 401, "401 (invalid_client)"),
            ((400, json.dumps({"error": SECRET})), problems.AUTHENTICATION, 401, "answered with 400"),
            ((200, "no json"), problems.COMMUNICATION, 500, "no usable access_token"),
            ((200, "[]"), problems.COMMUNICATION, 500, "no usable access_token"),
            ((200, '{"access_token": "a b\\r\\n"}'), problems.COMMUNICATION, 500, "no usable access_token"),
        ],
        ids=["down", "busy", "redirect", "refused", "an error that quotes", "no json", "no object", "a token with lines"],
    )
    async def test_what_the_token_endpoint_answers(self, broken: tuple[int, str], type_: str, status: int, part: str) -> None:
        async with authorization_server(clients=registered(), broken=broken) as server, calls() as client:
            fault = await fault_of(client, server, policy(server))
        assert (fault.type, fault.status) == (type_, status)
        assert part in str(fault.detail)

    async def test_nobody_at_the_token_endpoint(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            async with authorization_server() as server, calls() as client:
                asked = policy(server, authority=f"http://127.0.0.1:{taken.getsockname()[1]}")
                fault = await fault_of(client, server, asked)
        assert (fault.type, fault.status) == (problems.COMMUNICATION, 500)
        assert "/oauth2/token: no connection (" in str(fault.detail)

    async def test_a_token_endpoint_that_says_too_much(self) -> None:
        said = json.dumps({"access_token": "x", "padding": "y" * 1024 * 1024})
        async with authorization_server(broken=(200, said)) as server, calls() as client:
            fault = await fault_of(client, server, policy(server))
        assert fault.type == problems.COMMUNICATION
        assert "more than" in str(fault.detail)

    async def test_the_url_of_the_token_endpoint_is_told_without_what_may_be_secret(self) -> None:
        async def never(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=500)

        async with authorization_server() as server, http_server(never) as other, calls() as client:
            path = other.url.replace("http://", f"http://user:{canaries.URL_PASSWORD}@") + f"/t?key={SECRET}"
            fault = await fault_of(client, server, policy(server, endpoints__token=path))
        assert fault.status == 500

    @pytest.mark.parametrize(
        "members",
        [
            {"grant": "nonsense"},
            {"grant": None},
            {"authority": None},
            {"authority": "file:///etc/passwd"},
            {"client__id": None},
            {"client__id": {"a": 1}},
            {"client__authentication": "tls"},
            {"client__authentication": "client_secret_jwt", "client__secret": None},
            {"client__authentication": "private_key_jwt"},
            {"grant": "password"},
            {"grant": EXCHANGE},
            {"request__encoding": "text/plain"},
            {"scopes": "api"},
            {"scopes.0": 5},
        ],
        ids=lambda members: " ".join(f"{name}={value}" for name, value in members.items()),
    )
    async def test_a_policy_that_cannot_be_used_is_a_configuration_error(self, members: dict[str, Any]) -> None:
        async with authorization_server() as server, calls() as client:
            fault = await fault_of(client, server, policy(server, **members))
        assert (fault.type, fault.status) == (problems.CONFIGURATION, 400)
        assert server.requests == []
