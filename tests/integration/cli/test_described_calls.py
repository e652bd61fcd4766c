"""`call: openapi` and `call: grpc` from documents, by the installed program; secrets are seen nowhere."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from aiohttp import web
from tests import canaries
from tests.integration.calls.server import http_server
from tests.integration.cli.program import Ended, call
from tests.servers.greeter import PROTO, greeter_server

HEADER = "document: {dsl: 1.0.3, namespace: test, name: described, version: 1.0.0}\nuse: {secrets: [TOKEN]}\n"
API: dict[str, Any] = {
    "openapi": "3.1.0",
    "servers": [{"url": "."}],
    "paths": {"/pets/{id}": {"get": {"operationId": "getPet", "parameters": [{"name": "id", "in": "path"}]}}},
}


async def run(tmp_path: Path, document: str, input_: Any = None) -> Ended:
    path, events = tmp_path / "document.yaml", tmp_path / "events"
    path.write_text(HEADER + document)
    arguments: list[str | Path] = ["run", path, "--events", events, "--input", json.dumps(input_)]
    ended = await asyncio.to_thread(call, *arguments, LOG_LEVEL="trace", WORKFLOW_SECRET_TOKEN=canaries.BEARER)
    assert canaries.found_in(events.read_text()) == []
    return ended


async def pets(request: web.Request) -> web.StreamResponse:
    wanted = {"/api/openapi.json": "Bearer documents", "/api/pets/7": f"Bearer {canaries.BEARER}"}
    if request.headers.get("Authorization") != wanted.get(request.path):
        return web.Response(status=401)
    return web.json_response(API if request.path.endswith("json") else {"id": 7})


OPENAPI = """
do:
  - find:
      try:
        - get:
            call: openapi
            with:
              document: {endpoint: {uri: 'URL/api/{file}.json', authentication: {bearer: {token: documents}}}}
              operationId: getPet
              parameters: {id: "${ .id }"}
              authentication: {bearer: {token: "${ $secrets.TOKEN }"}}
      catch:
        errors: {with: {type: 'https://serverlessworkflow.io/spec/1.0.0/errors/validation'}}
        do: [{h: {set: "${ $error }"}}]
"""


async def test_openapi(tmp_path: Path) -> None:
    async with http_server(pets) as server:
        document = OPENAPI.replace("URL", server.url)
        found = await run(tmp_path, document, {"file": "openapi", "id": 7})
        caught = await run(tmp_path, document, {"file": "openapi", "id": None})
    assert found.output == {"id": 7}
    assert (caught.output["status"], caught.output["instance"]) == (400, "/do/0/find/try/0/get")
    assert caught.output["detail"].startswith("/with/parameters/id: ")


GRPC = """
do:
  - greet:
      call: grpc
      timeout: {after: PT30S}
      with:
        PROTO
        service:
          {name: demo.v1.Greeter, host: localhost, port: "${ .port }", authentication: {bearer: {token: "${ $secrets.TOKEN }"}}}
        method: SayHello
        arguments: {name: "${ .name }", left: "${ $secrets.TOKEN }"}
"""


async def test_grpc(tmp_path: Path) -> None:
    (tmp_path / "greet.proto").write_text(PROTO)
    by_proto = GRPC.replace("PROTO", f"proto: {{endpoint: 'file://{tmp_path}/{{name}}.proto'}}")
    by_reflection = GRPC.replace("PROTO", "")
    async with greeter_server() as greeter:
        for document in (by_proto, by_reflection):
            ended = await run(tmp_path, document + "      output: {as: .message}\n", {"name": "greet", "port": greeter.port})
            assert ended.output == "Hello greet"
        assert [seen["authorization"] for seen in greeter.metadata] == [f"Bearer {canaries.BEARER}"] * 2
        failed = await run(tmp_path, by_reflection, {"name": "fail NOT_FOUND", "port": greeter.port})
    assert (failed.code, failed.problem["status"]) == (1, 404)
    assert "NOT_FOUND: no, " in failed.problem["detail"], "what the server said, but for the secret that it quotes"


async def test_a_time_limit_of_the_task_breaks_the_call_off(tmp_path: Path) -> None:
    async with greeter_server() as greeter:
        document = GRPC.replace("PROTO", "").replace("SayHello", "Wait").replace("PT30S", "PT1.5S")
        document = document.replace('arguments: {name: "${ .name }", left: "${ $secrets.TOKEN }"}', "")
        ended = await run(tmp_path, document, {"port": greeter.port})
        await asyncio.wait_for(greeter.broken_off.wait(), 10)
    assert (ended.code, ended.problem["status"], ended.problem["instance"]) == (1, 408, "/do/0/greet")


async def test_nothing_of_it_is_loaded_where_no_document_needs_it(tmp_path: Path) -> None:
    """Start-up is measured (benchmarks); this says what makes it long."""
    code = "import sys; import workflow_runner.cli.run; print([name for name in sys.modules if name in sys.argv])"
    heavy = ["grpc", "grpc_tools", "grpc_reflection", "aiohttp", "workflow_runner.calls.grpc", "workflow_runner.calls.openapi"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *heavy, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    said, _ = await process.communicate()
    assert said.decode().strip() == "[]"
