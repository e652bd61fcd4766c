"""Authentication from a document to a server that checks it, by the installed program; secrets are seen nowhere."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest
from aiohttp import web
from tests import canaries
from tests.integration.calls.server import Handler, answering, http_server
from tests.integration.cli.program import Ended, call
from tests.servers.oauth2 import Client, authorization_server
from tests.servers.tls import Authority

HEADER = "document: {dsl: 1.0.3, namespace: test, name: authentication, version: 1.0.0}\n"
PAIR = {"username": "ann", "password": canaries.URL_PASSWORD}


async def run(tmp_path: Path, document: str, *arguments: str | Path, **variables: str) -> Ended:
    """Run a document with everything written down that can be; there is no secret in it."""
    path, events = tmp_path / "document.yaml", tmp_path / "events"
    path.write_text(HEADER + document)
    ended = await asyncio.to_thread(call, "run", path, "--events", events, *arguments, LOG_LEVEL="trace", **variables)
    assert canaries.found_in(events.read_text()) == []
    return ended


def wanting(header: str) -> Handler:
    """A server that wants this `Authorization`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=200 if request.headers.get("Authorization") == header else 401, text="in")

    return answer


BASIC = "Basic " + base64.b64encode(f"ann:{canaries.URL_PASSWORD}".encode()).decode()


@pytest.mark.parametrize(
    ("policy", "secret", "header"),
    [
        ("{basic: {use: MINE}}", json.dumps(PAIR), BASIC),
        ("{basic: {username: ann, password: '${ $secrets.MINE }'}}", canaries.URL_PASSWORD, BASIC),
        ("{basic: {username: ann, password: '${ $secrets.MINE.password }'}}", json.dumps(PAIR), BASIC),
        ("{use: shared}", canaries.BEARER, f"Bearer {canaries.BEARER}"),
        ("{bearer: {use: MINE}}", canaries.BEARER, f"Bearer {canaries.BEARER}"),
        ("{bearer: {use: MINE}}", json.dumps({"token": canaries.BEARER}), f"Bearer {canaries.BEARER}"),
        (f"{{bearer: {{token: {canaries.BEARER}}}}}", "x", f"Bearer {canaries.BEARER}"),
        ("{bearer: {token: '${ [limit(1; $secrets.MINE)][0] }'}}", canaries.BEARER, f"Bearer {canaries.BEARER}"),
    ],
    ids=["secret", "expression", "part", "shared", "text", "object", "in-the-document", "worker"],
)
async def test_a_policy_opens_the_server(tmp_path: Path, policy: str, secret: str, header: str) -> None:
    async with http_server(wanting(header)) as server, http_server(answering(401)) as closed:
        document = f"""
use:
  secrets: [MINE]
  authentications: {{shared: {{bearer: {{token: '${{ $secrets.MINE }}'}}}}}}
do:
  - a:
      call: http
      with: {{method: get, endpoint: {{uri: %s, authentication: {policy}}}, output: response}}
"""
        good = await run(tmp_path, document % server.url, WORKFLOW_SECRET_MINE=secret)
        bad = await run(tmp_path, document % closed.url, WORKFLOW_SECRET_MINE=secret)
    assert (good.code, good.output["content"]) == (0, "in")
    assert (bad.code, bad.problem["status"], bad.problem["type"].rpartition("/")[2]) == (1, 401, "authentication")


async def test_a_token_is_asked_for_once_a_run_and_shared_by_the_branches_of_a_fork(tmp_path: Path) -> None:
    clients = {"me": Client("client_secret_post", canaries.WORKFLOW_SECRET)}
    async with authorization_server(clients=clients) as server:
        call_ = (
            f"{{call: http, with: {{method: get, endpoint: {{uri: '{server.url}/resource', authentication: {{use: it}}}}}}}}"
        )
        document = f"""
use:
  secrets: [MINE]
  authentications:
    it:
      oauth2: {{authority: '{server.url}', grant: client_credentials, client: {{id: me, secret: '${{ $secrets.MINE }}'}}}}
do:
  - both: {{fork: {{branches: [{{a: {call_}}}, {{b: {call_}}}, {{c: {call_}}}]}}}}
  - again: {call_}
"""
        ended = await run(tmp_path, document, WORKFLOW_SECRET_MINE=canaries.WORKFLOW_SECRET)
        wrong = await run(tmp_path, document, WORKFLOW_SECRET_MINE=canaries.BEARER)
    assert ended.output["client"] == "me"
    assert server.grants == ["client_credentials"]
    assert (wrong.code, wrong.problem["status"]) == (1, 401)
    assert wrong.problem["detail"].endswith("/oauth2/token was answered with 401 (invalid_client)")


async def test_authorization_is_known_to_expressions_and_not_told_in_events(tmp_path: Path) -> None:
    async with http_server(wanting(f"Bearer {canaries.BEARER}")) as server:
        document = f"""
use: {{secrets: [MINE]}}
do:
  - a:
      call: http
      with:
        method: get
        endpoint: {{uri: '{server.url}', authentication: {{bearer: {{use: MINE}}}}}}
        headers: {{X-Length: '${{ $authorization.parameter | length }}'}}
      output: {{as: $authorization.scheme}}
  - b:
      call: http
      with: {{method: get, endpoint: {{uri: '{server.url}', authentication: {{bearer: {{use: MINE}}}}}}}}
      output: {{as: '$authorization.parameter | tonumber'}}
"""
        ended = await run(tmp_path, document, WORKFLOW_SECRET_MINE=canaries.BEARER)
        assert server.seen[0].headers["x-length"] == str(len(canaries.BEARER))
    assert (ended.code, ended.problem["instance"]) == (1, "/do/1/b")


async def test_a_client_certificate_from_a_secret(tmp_path: Path) -> None:
    authority = Authority()
    pair = authority.client("ann", passphrase=canaries.URL_PASSWORD)
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({"certificate": pair.certificate, "key": pair.key, "passphrase": canaries.URL_PASSWORD}))
    (tmp_path / "ca.pem").write_text(authority.certificate)

    async def who(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        subject = request.transport.get_extra_info("peercert")["subject"]
        return web.Response(text=dict(part[0] for part in subject)["commonName"])

    async with http_server(who, authority.server_context(tmp_path, wants_clients=True)) as server:
        document = f"""
use: {{secrets: [MINE]}}
do:
  - a: {{call: http, with: {{method: get, endpoint: {{uri: '{server.url}', authentication: {{certificate: {{use: MINE}}}}}}}}}}
"""
        variables = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        ended = await run(tmp_path, document, "--secret", f"MINE=@{secret}", **variables)
    assert ended.output == "ann"
