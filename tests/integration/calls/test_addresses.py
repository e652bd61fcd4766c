"""Outgoing calls go to no address that is refused: in URLs, behind names, for tokens, and on the command line."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.integration.calls.server import answering, http_server
from tests.integration.cli.program import call
from tests.servers.oauth2 import Client, authorization_server

from workflow_runner.calls.addresses import AddressRules
from workflow_runner.calls.http import HttpCalls
from workflow_runner.dsl import problems
from workflow_runner.dsl.problems import Problem, WorkflowFault

DOCUMENT = """\
document: {dsl: 1.0.3, namespace: test, name: addresses, version: 1.0.0}
do:
  - ask: {call: http, with: {method: get, endpoint: '${ .url }'}}
"""


@contextlib.asynccontextmanager
async def calls(allow: Sequence[str] = (), deny: Sequence[str] = ()) -> AsyncIterator[HttpCalls]:
    client = HttpCalls(addresses=AddressRules(allow, deny))
    try:
        yield client
    finally:
        await client.close()


async def get(client: HttpCalls, uri: str, **options: Any) -> Any:
    arguments: dict[str, Any] = {"method": "get", "uri": uri, "headers": {}, "query": {}, "output": "content", "redirect": True}
    return await client.call(arguments, idempotency_key="k", **options)


async def refusal_of(client: HttpCalls, uri: str, **options: Any) -> Problem:
    with pytest.raises(WorkflowFault) as caught:
        await get(client, uri, **options)
    problem = caught.value.problem
    assert (problem.type, problem.status) == (problems.AUTHORIZATION, 403), problem
    assert str(problem.detail).startswith("call.address-refused: ")
    return problem


@pytest.mark.parametrize("deny", ["127.0.0.0/8", "localhost", "*"])
async def test_a_name_is_judged_by_itself_and_by_what_it_leads_to(deny: str) -> None:
    async with http_server(answering()) as server, calls(deny=[deny, "::1"]) as client:
        problem = await refusal_of(client, server.url.replace("127.0.0.1", "localhost"))
        assert server.seen == []
    assert "GET http://localhost:" in str(problem.detail)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"])
async def test_an_address_in_the_url_is_judged(host: str) -> None:
    async with http_server(answering()) as server, calls(deny=["127.0.0.0/8", "::1"]) as client:
        await refusal_of(client, server.url.replace("127.0.0.1", host))
        assert server.seen == []


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1."])
async def test_other_spellings_of_an_address_lead_to_no_other_end(host: str) -> None:
    async with http_server(answering()) as server, calls(deny=["127.0.0.0/8"]) as client:
        with pytest.raises(WorkflowFault):
            await get(client, server.url.replace("127.0.0.1", host))
        assert server.seen == []


async def test_the_metadata_of_clouds_is_refused_by_default() -> None:
    async with calls() as client:
        for host in ("169.254.169.254", "[fd00:ec2::254]", "[::ffff:a9fe:a9fe]"):
            await refusal_of(client, f"http://{host}/latest/meta-data/")


async def test_of_several_addresses_only_those_are_called_that_are_allowed() -> None:
    async with http_server(answering()) as server, calls(deny=["::1"]) as client:
        await get(client, server.url.replace("127.0.0.1", "localhost"))
        assert len(server.seen) == 1


class OneOfTwo(AddressRules):
    """Refuses one address of whatever name, as rules would where a name has another one besides."""

    def allowed(self, host: str, addresses: Sequence[str]) -> list[str]:
        return [address for address in super().allowed(host, addresses) if address != "127.0.0.1"]


async def test_what_the_rules_leave_of_a_names_addresses_is_all_that_is_tried() -> None:
    async with http_server(answering()) as server:
        client = HttpCalls(addresses=OneOfTwo())
        with pytest.raises(WorkflowFault):
            await get(client, server.url.replace("127.0.0.1", "localhost"))
        await client.close()
        assert server.seen == []


async def test_only_what_is_allowed_is_called() -> None:
    async with http_server(answering()) as server, calls(allow=["localhost", "10.0.0.0/8"]) as client:
        await get(client, server.url.replace("127.0.0.1", "localhost"))
        await refusal_of(client, server.url)
        assert len(server.seen) == 1


async def test_where_a_redirect_leads_nobody_goes() -> None:
    async with (
        http_server(answering()) as inside,
        http_server(answering(302, headers={"Location": inside.url})) as server,
        calls() as client,
    ):
        await get(client, server.url)
        assert inside.seen == []


@pytest.mark.parametrize("scheme", ["oauth2", "oidc"])
async def test_token_endpoints_are_judged(scheme: str) -> None:
    async with (
        authorization_server(clients={"c": Client("client_secret_post", "s")}) as server,
        http_server(answering()) as resource,
        calls(deny=["127.0.0.1"]) as client,
    ):
        members = {"authority": server.url, "grant": "client_credentials", "client.id": "c", "client.secret": "s"}
        problem = await refusal_of(client, resource.url, authentication={"scheme": scheme, "members": members})
        assert server.requests == []
    assert server.url in str(problem.detail)


async def test_an_endpoint_that_was_discovered_is_judged() -> None:
    said = json.dumps({"token_endpoint": "http://169.254.169.254/token"})
    async with http_server(answering(body=said, content_type="application/json")) as server, calls() as client:
        members = {"authority": server.url, "grant": "client_credentials", "client.id": "c"}
        problem = await refusal_of(client, server.url, authentication={"scheme": "oidc", "members": members})
    assert "POST http://169.254.169.254/token" in str(problem.detail)


@pytest.mark.parametrize(
    ("options", "variables"),
    [
        (["--deny-address", "192.0.2.0/24", "--deny-address", "127.0.0.0/8"], {}),
        (["--allow-address", "192.0.2.1"], {}),
        ([], {"WORKFLOW_RUNNER_DENY_ADDRESSES": "127.0.0.1,192.0.2.1"}),
        ([], {"WORKFLOW_RUNNER_ALLOW_ADDRESSES": "192.0.2.1"}),
    ],
)
async def test_the_command_line_takes_rules(tmp_path: Path, options: list[str], variables: dict[str, str]) -> None:
    path = tmp_path / "document.yaml"
    path.write_text(DOCUMENT)
    ended = call("run", path, "--input", '{"url": "http://127.0.0.1:9/"}', *options, **variables)
    assert (ended.code, ended.problem["status"]) == (1, 403)
    assert ended.problem["detail"].startswith("call.address-refused: ")
    assert ended.problem["instance"] == "/do/0/ask"


def test_a_rule_that_is_none_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "document.yaml"
    path.write_text(DOCUMENT)
    ended = call("run", path, "--deny-address", "10.0.0.0/99")
    assert ended.code == 2
    assert "settings.invalid: '10.0.0.0/99' cannot be allowed or denied" in ended.err


def test_an_operator_does_not_start_with_a_rule_that_its_pods_would_refuse() -> None:
    ended = call("operator", WORKFLOW_RUNNER_IMAGE="i", WORKFLOW_RUNNER_DENY_ADDRESSES="10.0.0.0/8,nonsense/8")
    assert ended.code == 2
    assert "settings.invalid: 'nonsense/8' cannot be allowed or denied" in ended.err
