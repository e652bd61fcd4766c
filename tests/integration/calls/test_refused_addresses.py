"""Whatever a document makes a runner ask for goes to no address that is refused: every protocol, every document that a call
needs, every token. Each is refused before anything is connected to."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from tests.integration.calls.server import Server, answering, http_server
from tests.integration.cli.program import call as program
from tests.integration.hosts.recorder import Recorder
from tests.servers.greeter import SERVICE, greeter_server

from workflow_runner.calls import Calls
from workflow_runner.calls.addresses import AddressRules
from workflow_runner.dsl import problems
from workflow_runner.dsl.problems import WorkflowFault
from workflow_runner.hosts.event_sink import EventSink
from workflow_runner.hosts.local import LocalRun, Source
from workflow_runner.interpreter.outcome import Faulted

METADATA = "http://169.254.169.254"
HEADER = "document: {dsl: 1.0.3, namespace: test, name: refused, version: 1.0.0}\n"
GRPC = f"service: {{name: {SERVICE}, host: HOST, port: PORT}}, method: SayHello, arguments: {{name: x}}"
DOCUMENTS = {
    "http": "do: [{ask: {call: http, with: {method: get, endpoint: 'BAD/x'}}}]",
    "oauth2": """
do: [{ask: {call: http, with: {method: get, endpoint: {uri: 'GOOD/x', authentication: {oauth2:
  {authority: 'BAD', grant: client_credentials, client: {id: c, secret: secret}}}}}}}]""",
    "oauth2-endpoint": """
do: [{ask: {call: http, with: {method: get, endpoint: {uri: 'GOOD/x', authentication: {oauth2:
  {authority: 'GOOD', endpoints: {token: 'BAD/token'}, grant: client_credentials, client: {id: c, secret: secret}}}}}}}]""",
    "oidc": """
do: [{ask: {call: http, with: {method: get, endpoint: {uri: 'GOOD/x', authentication: {oidc:
  {authority: 'BAD', grant: client_credentials, client: {id: c, secret: secret}}}}}}}]""",
    "oidc-discovered": """
do: [{ask: {call: http, with: {method: get, endpoint: {uri: 'GOOD/x', authentication: {oidc:
  {authority: 'GOOD', grant: client_credentials, client: {id: c, secret: secret}}}}}}}]""",
    "oidc-introspection": """
do: [{ask: {call: http, with: {method: get, endpoint: {uri: 'GOOD/x', authentication: {oidc:
  {authority: 'GOOD/half', grant: client_credentials, issuers: [me], client: {id: c, secret: secret}}}}}}}]""",
    "openapi-document": "do: [{ask: {call: openapi, with: {operationId: a, document: {endpoint: 'BAD/api.json'}}}}]",
    "openapi-server": "do: [{ask: {call: openapi, with: {operationId: a, document: {endpoint: 'GOOD/api.json'}}}}]",
    "grpc": f"do: [{{ask: {{call: grpc, with: {{proto: {{endpoint: 'GOOD/greeter.proto'}}, {GRPC}}}}}}}]",
    "grpc-reflection": f"do: [{{ask: {{call: grpc, with: {{{GRPC}}}}}}}]",
    "grpc-proto": f"do: [{{ask: {{call: grpc, with: {{proto: {{endpoint: 'BAD/greeter.proto'}}, {GRPC}}}}}}}]",
    "schema": "do: [{ask: {set: {a: 1}, input: {schema: {resource: {endpoint: 'BAD/schema.json'}}}}}]",
    "catalog": "use: {catalogs: {mine: {endpoint: 'BAD/c'}}}\ndo: [{ask: {call: 'double:1.0.0@mine'}}]",
    "function": "do: [{ask: {call: 'BAD/function.yaml'}}]",
    "script": "do: [{ask: {run: {script: {language: python, source: {endpoint: 'BAD/script.py'}}}}}]",
}


@pytest.fixture
async def bad() -> AsyncIterator[Server]:
    async with http_server(answering()) as server:
        yield server


def good(bad: str) -> Any:
    """A server whose documents lead to the other one."""
    told = {
        "/.well-known/openid-configuration": {"token_endpoint": f"{bad}/token"},
        "/half/.well-known/openid-configuration": {
            "issuer": "me",
            "token_endpoint": "/half/token",
            "introspection_endpoint": f"{bad}/look",
        },
        "/half/token": {"access_token": "opaque", "token_type": "Bearer"},
        "/api.json": {
            "openapi": "3.1.0",
            "servers": [{"url": bad}],
            "paths": {"/x": {"get": {"operationId": "a"}}},
        },
    }

    async def answer(request: web.Request) -> web.StreamResponse:
        found = json.loads(json.dumps(told.get(request.path, {})))
        if request.path.startswith("/half/.well"):
            found["token_endpoint"] = str(request.url.origin()) + found["token_endpoint"]
        return web.json_response(found)

    return answer


async def end_of(document: str, rules: AddressRules | None = None) -> Faulted:
    source = Source(HEADER + document, "test.yaml")
    given: Any = {"execution_id": "e", "run_id": "", "secrets": {}, "report": Recorder()}
    outcome = await asyncio.wait_for(LocalRun(source, None, addresses=rules, **given).run(), 60)
    assert isinstance(outcome, Faulted), outcome
    return outcome


async def refused(document: str, rules: AddressRules) -> None:
    problem = (await end_of(document, rules)).problem
    assert (problem.type, problem.status) == (problems.AUTHORIZATION, 403), problem
    assert str(problem.detail).startswith("call.address-refused: "), problem


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
async def test_a_denied_address_is_not_asked(bad: Server, document: str) -> None:
    """The good server is reached by its address, the bad one by a name that leads to the same."""
    port = bad.url.rpartition(":")[2]
    away = f"http://localhost:{port}"
    async with http_server(good(away)) as server:
        text = document.replace("GOOD", server.url).replace("BAD", away).replace("HOST", "localhost").replace("PORT", port)
        await refused(text, AddressRules(deny=["localhost"]))
    assert bad.seen == []


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
async def test_metadata_of_clouds_is_asked_by_nothing_without_any_rule(document: str) -> None:
    async with http_server(good(METADATA)) as server:
        text = document.replace("GOOD", server.url).replace("BAD", METADATA)
        await refused(text.replace("HOST", "169.254.169.254").replace("PORT", "80"), AddressRules())


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
async def test_nobody_follows_a_redirect(bad: Server, document: str) -> None:
    if "GRPC" in document or "grpc" in document:
        document = document.replace("HOST", "127.0.0.1").replace("PORT", "9")
    async with http_server(answering(307, headers={"Location": bad.url})) as server:
        text = document.replace("GOOD", server.url).replace("BAD", server.url)
        await end_of(text)
        assert server.seen or "grpc" in document
    assert bad.seen == []


@pytest.mark.parametrize(
    "place",
    [
        "http://good.test@127.0.0.1:PORT/",
        "http://good.test:80@127.0.0.1:PORT/",
        "http://127.0.0.1:PORT/@good.test",
        "http://127.0.0.1:PORT#@good.test/",
        "http://127.0.0.1:PORT\\@good.test/",
        "http://good.test\\@127.0.0.1:PORT/",
        "http://LOCALHOST:PORT/",
        "http://localhost.:PORT/",
        "http://ｌｏｃａｌｈｏｓｔ:PORT/",
        "http://１２７.０.０.１:PORT/",
        "http://127。0。0。1:PORT/",
        "http://[::ffff:127.0.0.1]:PORT/",
        "http://[::ffff:7f00:1]:PORT/",
        "http://[::127.0.0.1]:PORT/",
        "http://017700000001:PORT/",
        "http://0x7f.1:PORT/",
        "http://0x7f000001:PORT/",
        "http://127.000.000.001:PORT/",
        "http://0:PORT/",
        "http:///127.0.0.1:PORT/",
    ],
)
async def test_no_spelling_leads_to_a_denied_address(bad: Server, place: str) -> None:
    calls = Calls(AddressRules(deny=["127.0.0.0/8", "::1", "localhost"]))
    arguments: Any = {"method": "get", "headers": {}, "query": {}, "output": "content", "redirect": True}
    try:
        with pytest.raises(WorkflowFault):
            await calls.call(
                "http", {**arguments, "uri": place.replace("PORT", bad.url.rpartition(":")[2])}, idempotency_key="k"
            )
    finally:
        await calls.close()
    assert bad.seen == []


@pytest.mark.parametrize(
    "host", ["ｌｏｃａｌｈｏｓｔ", "LOCALHOST", "localhost.", "[localhost]", "0x7f.1", "0", "127.1", "::ffff:127.0.0.1"]
)
async def test_no_spelling_of_a_grpc_host_leads_to_a_denied_address(host: str) -> None:
    """By its name or by its address, whichever it is denied by."""
    rule = ["127.0.0.0/8"] if any(sign.isdigit() and sign.isascii() for sign in host) else ["localhost"]
    calls = Calls(AddressRules(deny=rule))
    async with greeter_server() as greeter:
        arguments: Any = {"proto": None, "service": SERVICE, "host": host, "port": greeter.port, "tls": False}
        arguments |= {"method": "SayHello", "arguments": {}, "metadata": {}}
        try:
            with pytest.raises(WorkflowFault) as caught:
                await calls.call("grpc", arguments, idempotency_key="k")
        finally:
            await calls.close()
        # Not every machine knows a name with a dot at its end.
        assert caught.value.problem.status in ((403, 503) if host.endswith(".") else (403,)), caught.value
        assert greeter.metadata == []


async def test_a_proxy_of_the_environment_gets_no_call(bad: Server) -> None:
    """It would resolve the names, and so decide where calls go."""
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "grpc_proxy"), bad.url)
    document = HEADER + DOCUMENTS["http"].replace("BAD", "http://127.0.0.1:9")
    ended = await asyncio.to_thread(program, "run", "-", given=document, **proxies, NO_PROXY="", no_proxy="")
    assert ended.problem["status"] == 500
    assert bad.seen == []
    assert os.environ.get("http_proxy") != bad.url


@pytest.mark.parametrize("place", ["http://169.254.169.254/x", "http://[::ffff:169.254.169.254]/x", "http://2852039166/x"])
async def test_no_event_goes_to_the_metadata_of_clouds(place: str) -> None:
    sink = EventSink(place, token="token-1", deadline_seconds=20)
    try:
        with pytest.raises(WorkflowFault, match="its address is link-local or a cloud's metadata service"):
            await sink.send({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"})
    finally:
        await sink.close()


async def test_an_event_is_not_sent_on_to_where_a_sink_points(bad: Server) -> None:
    async with http_server(answering(307, headers={"Location": bad.url})) as server:
        sink = EventSink(server.url)
        with pytest.raises(WorkflowFault, match="it answered 307"):
            await sink.send({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"})
        await sink.close()
    assert bad.seen == []
