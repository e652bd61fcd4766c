"""Credentials of calls are told by nobody, though every server here repeats whatever it is sent in all that it answers.

Each document is run by the installed program at the level "trace": events, problem and log hold no secret. Most of
them are written into the document as they stand, so that nothing knows them for secrets before the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from tests import canaries
from tests.integration.calls.server import Server, http_server
from tests.integration.cli.program import Ended, call
from tests.servers.greeter import PROTO, greeter_server
from tests.servers.oauth2 import Client, authorization_server

HEADER = "document: {dsl: 1.0.3, namespace: test, name: canaries, version: 1.0.0}\n"
PASSWORD, KEY, TOKEN = canaries.URL_PASSWORD, canaries.ENV_SECRET, canaries.BEARER
API = {
    "openapi": "3.1.0",
    "servers": [{"url": "/echo"}],
    "paths": {"/pets": {"get": {"operationId": "pets", "security": [{"key": []}]}}},
    "components": {"securitySchemes": {"key": {"type": "apiKey", "in": "query", "name": "key"}}},
}


async def echo(request: web.Request) -> web.StreamResponse:
    """Repeats the request in the status line, in a header and in the body."""
    if request.path == "/api.json":
        return web.json_response(API)
    said = f"{request.raw_path} {dict(request.headers)} {await request.text()}".replace("\r", " ").replace("\n", " ")
    status = 200 if request.path == "/fine" else 401
    headers = {"X-Said": said}
    if request.path == "/digest":
        headers["WWW-Authenticate"] = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
    return web.Response(status=status, reason=said[:500], headers=headers, text=said)


@contextlib.asynccontextmanager
async def running(tmp_path: Path, document: str, *options: str, **variables: str) -> AsyncIterator[tuple[Ended, Server]]:
    """A run of a document in which URL, GRPC, OAUTH and FILE are servers and a file."""
    registered = {"c": Client("client_secret_post", PASSWORD)}
    async with http_server(echo) as server, greeter_server() as greeter, authorization_server(clients=registered) as oauth:
        proto = tmp_path / "greeter.proto"
        proto.write_text(PROTO)
        places = {"URL": server.url, "HOST": server.url.removeprefix("http://"), "GRPC": str(greeter.port)}
        places |= {"OAUTH": oauth.url, "FILE": proto.as_uri()}

        def filled(text: str) -> str:
            for name, place in places.items():
                text = text.replace(name, place)
            return text

        path, events = tmp_path / "document.yaml", tmp_path / "events"
        path.write_text(HEADER + filled(document))
        arguments: list[str | Path] = ["run", path, "--events", events, *(filled(option) for option in options)]
        variables = {"LOG_LEVEL": "trace", "PYTHONASYNCIODEBUG": "1", **{name: filled(one) for name, one in variables.items()}}
        ended = await asyncio.to_thread(call, *arguments, **variables)
        assert canaries.found_in(ended.out + ended.err + events.read_text()) == []
        assert " debug " in ended.err, "logs are written"
        yield ended, server


def http(endpoint: str, more: str = "") -> str:
    return f"do: [{{ask: {{call: http, with: {{method: post, endpoint: {endpoint}, body: x{more}}}}}}}]"


def policy(text: str, path: str = "/x") -> str:
    return http(f"{{uri: 'URL{path}', authentication: {text}}}")


CLIENT = f"grant: client_credentials, client: {{id: c, secret: {PASSWORD}}}"
CALLS = {
    "basic": policy(f"{{basic: {{username: ann, password: {PASSWORD}}}}}"),
    "bearer": policy(f"{{bearer: {{token: {TOKEN}}}}}"),
    "digest": policy(f"{{digest: {{username: ann, password: {PASSWORD}}}}}", "/digest"),
    "oauth2-refused": policy(f"{{oauth2: {{authority: 'URL', {CLIENT}}}}}"),
    "oauth2-basic": policy(f"{{oauth2: {{authority: 'URL', {CLIENT[:-1]}, authentication: client_secret_basic}}}}}}"),
    "oauth2-jwt": policy(f"{{oauth2: {{authority: 'URL', {CLIENT[:-1]}, authentication: client_secret_jwt}}}}}}"),
    "oauth2-token": policy(f"{{oauth2: {{authority: 'OAUTH', {CLIENT}}}}}"),
    "oidc": policy(f"{{oidc: {{authority: 'http://ann:{PASSWORD}@HOST', {CLIENT}}}}}"),
    "header": http("'URL/x'", f", headers: {{X-Api-Key: {KEY}, Authorization: Bearer {TOKEN}}}"),
    "header-of-a-secret": "use: {secrets: [MINE]}\n" + http("'URL/x'", ", headers: {X-Other: '${ $secrets.MINE }'}"),
    "address": http(f"'http://ann:{PASSWORD}@HOST/x?key={KEY}'"),
    "header-and-address": http(f"'http://ann:{PASSWORD}@HOST/x'", f", headers: {{Authorization: Bearer {TOKEN}}}"),
    "query": http("'URL/x'", f", query: {{key: {KEY}}}"),
    "openapi-document": f"""
do: [{{ask: {{call: openapi, with: {{operationId: pets, document: {{endpoint:
  {{uri: 'URL/x?key={KEY}', authentication: {{bearer: {{token: {TOKEN}}}}}}}}}}}}}}}]""",
    "openapi-key": f"""
do: [{{ask: {{call: openapi, with: {{operationId: pets, document: {{endpoint: 'URL/api.json'}}, parameters: {{key: {KEY}}},
  authentication: {{basic: {{username: ann, password: {PASSWORD}}}}}}}}}}}]""",
    "grpc-proto": f"""
do: [{{ask: {{call: grpc, with: {{proto: {{endpoint: {{uri: 'URL/x', authentication: {{bearer: {{token: {TOKEN}}}}}}}}},
  service: {{name: Greeter, host: 127.0.0.1, port: GRPC}}, method: SayHello, arguments: {{name: x}}}}}}}}]""",
    "schema": f"""
do: [{{ask: {{set: {{a: 1}}, input: {{schema: {{resource: {{endpoint:
  {{uri: 'URL/x', authentication: {{bearer: {{token: {TOKEN}}}}}}}}}}}}}}}}}]""",
    "catalog": f"""
use: {{catalogs: {{mine: {{endpoint: {{uri: 'URL/c', authentication: {{bearer: {{token: {TOKEN}}}}}}}}}}}}}
do: [{{ask: {{call: 'double:1.0.0@mine'}}}}]""",
    "function": f"do: [{{ask: {{call: 'http://ann:{PASSWORD}@HOST/f.yaml?key={KEY}'}}}}]",
    "function-that-is-none": f"do: [{{ask: {{call: 'http://ann:{PASSWORD}@HOST/fine?key={KEY}'}}}}]",
    "script": f"""
do: [{{ask: {{run: {{script: {{language: python, source: {{endpoint:
  {{uri: 'URL/x', authentication: {{bearer: {{token: {TOKEN}}}}}}}}}}}}}}}}}]""",
}


@pytest.mark.parametrize("document", CALLS.values(), ids=CALLS)
async def test_what_a_call_proves_itself_with_is_told_by_nobody(tmp_path: Path, document: str) -> None:
    async with running(tmp_path, document, WORKFLOW_SECRET_MINE=canaries.WORKFLOW_SECRET) as (ended, server):
        assert ended.code == 1, ended.err
        sent = json.dumps([[one.method, one.path, one.query, one.headers, one.body.decode()] for one in server.seen])
        proof = canaries.found_in(sent) or "Digest username" in sent or "client_assertion" in sent or "Bearer " in sent
        assert proof, "the server was sent what it repeats"


@pytest.mark.parametrize(
    "what",
    [
        f"authentication: {{bearer: {{token: {TOKEN}}}}}",
        f"authentication: {{basic: {{username: ann, password: {PASSWORD}}}}}",
    ],
    ids=["bearer", "basic"],
)
async def test_what_a_grpc_call_proves_itself_with_is_told_by_nobody(tmp_path: Path, what: str) -> None:
    secret = TOKEN if TOKEN in what else PASSWORD
    document = f"""
do: [{{ask: {{call: grpc, with: {{proto: {{endpoint: 'FILE'}}, service: {{name: Greeter, host: 127.0.0.1, port: GRPC, {what}}},
  method: SayHello, metadata: {{x-api-key: {KEY}}},
  arguments: {{name: fail PERMISSION_DENIED, left: 'you said {secret} and {KEY}'}}}}}}}}]"""
    async with running(tmp_path, document) as (ended, _):
        assert (ended.code, ended.problem["status"]) == (1, 403)
        assert "no, you said [redacted] and [redacted]" in ended.problem["detail"]


async def test_keys_that_cannot_be_used_are_not_told(tmp_path: Path) -> None:
    certificate = f"{{certificate: {{certificate: 'x', key: 'PRIVATE {PASSWORD}', passphrase: {KEY}}}}}"
    async with running(tmp_path, http(f"{{uri: 'https://127.0.0.1:9/', authentication: {certificate}}}")) as (ended, _):
        assert (ended.code, ended.problem["status"]) == (1, 400)
    with_tls = f"""
do: [{{ask: {{call: grpc, with: {{proto: {{endpoint: 'FILE'}}, service: {{name: Greeter, host: 127.0.0.1, port: GRPC,
  authentication: {certificate}}}, method: SayHello}}}}}}]"""
    async with running(tmp_path, with_tls) as (ended, _):
        assert (ended.code, ended.problem["status"]) == (1, 400)


async def test_what_an_answer_tells_of_its_request_has_no_credentials(tmp_path: Path) -> None:
    document = f"""
use: {{secrets: [MINE]}}
do:
  - ask:
      call: http
      with:
        method: post
        endpoint: 'http://ann:{PASSWORD}@HOST/fine'
        body: x
        output: response
        query: {{key: '${{ $secrets.MINE }}', a: b}}
        headers: {{X-Api-Key: {KEY}, X-Mine: '${{ $secrets.MINE }}'}}
      output: {{as: .request}}"""
    async with running(tmp_path, document, WORKFLOW_SECRET_MINE=canaries.WORKFLOW_SECRET) as (ended, server):
        assert ended.code == 0, ended.err
    assert KEY in json.dumps(server.seen[0].headers)
    assert ended.output["uri"].endswith("/fine?key=[redacted]&a=b")
    assert sorted(ended.output["headers"]) == ["Content-Type", "Idempotency-Key"]


@pytest.mark.parametrize("option", ["--event-sink", "--lifecycle-sink"])
@pytest.mark.parametrize(
    "place", ["http://ann:{}@HOST/x?key={}", "http://ann:{}@127.0.0.1:9/x?key={}"], ids=["refuses", "away"]
)
async def test_what_opens_a_sink_is_told_by_nobody(tmp_path: Path, option: str, place: str) -> None:
    document = "do: [{tell: {emit: {event: {with: {source: /s, type: t}}}, timeout: {after: {seconds: SECONDS}}}}]"
    document = document.replace("SECONDS", "2" if "127.0.0.1:9" in place else "60")
    tokens = {"WORKFLOW_RUNNER_EVENT_SINK_TOKEN": TOKEN, "WORKFLOW_RUNNER_LIFECYCLE_SINK_TOKEN": TOKEN}
    sink = place.format(PASSWORD, KEY)
    async with running(tmp_path, document, option, sink, **tokens) as (ended, server):
        assert ended.code == (1 if option == "--event-sink" else 0), ended.err
        assert "127.0.0.1:9" in place or TOKEN in json.dumps([one.headers for one in server.seen])
