"""A launched pod that authenticates its calls: what it writes down has no secret in it; and where its calls may go."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web
from tests import canaries
from tests.integration.calls.server import answering, http_server
from tests.integration.snapshots.conftest import Pod

DOCUMENT = """
use:
  secrets: [MINE]
  authentications: {it: {bearer: {token: '${ $secrets.MINE + .suffix }'}}}
do:
  - a:
      call: http
      with:
        method: get
        endpoint: {uri: '%s', authentication: {use: it}}
        headers: {X-Scheme: '${ $authorization.scheme }'}
"""


def secret_folder(tmp_path: Path) -> str:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "MINE").write_text(canaries.WORKFLOW_SECRET)
    return str(folder)


@pytest.mark.parametrize("status", [200, 403])
async def test_no_secret_is_in_what_a_pod_leaves_behind(tmp_path: Path, pod: Pod, status: int) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == f"Bearer {canaries.WORKFLOW_SECRET}-marker"
        asked.set()
        await go_on.wait()
        return web.Response(status=status)

    async with http_server(answer) as server:
        pod.variables |= {"WORKFLOW_RUNNER_SECRETS_FOLDER": secret_folder(tmp_path), "LOG_LEVEL": "trace"}
        pod.runs(DOCUMENT % server.url, {"suffix": "-marker"})
        await pod.start()
        await asyncio.wait_for(asked.wait(), 60)
        written = "".join(file.read_text() for file in pod.snapshots.iterdir())
        go_on.set()
        assert await pod.ends() == (0 if status == 200 else 1)
    assert "-marker" in written, "the state as it was when the call was made"
    told = [written, pod.said, json.dumps(pod.message), *(str(event) for event in pod.sink.events)]
    assert canaries.found_in("\n".join(told)) == []


async def test_a_pods_calls_go_where_the_operator_lets_them(pod: Pod) -> None:
    async with http_server(answering()) as server:
        pod.variables |= {"WORKFLOW_RUNNER_DENY_ADDRESSES": "127.0.0.0/8"}
        pod.runs(f"do: [{{a: {{call: http, with: {{method: get, endpoint: '{server.url}'}}}}}}]")
        await pod.start()
        assert await pod.ends() == 1
        assert server.seen == []
    assert pod.message["error"]["status"] == 403
    assert pod.message["error"]["detail"].startswith("call.address-refused: ")


async def test_a_pod_with_a_rule_that_is_none_says_so(pod: Pod) -> None:
    pod.variables |= {"WORKFLOW_RUNNER_ALLOW_ADDRESSES": "10.0.0.0/99"}
    pod.runs("do: []")
    await pod.start()
    assert await pod.ends() == 2
    assert pod.message["error"]["code"] == "settings.invalid"
