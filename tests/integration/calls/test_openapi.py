"""`call: openapi` against a real server that also serves the document: what is asked, what comes back, what is kept."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests import canaries
from tests.integration.calls.server import Server, http_server
from tests.until import until

from workflow_runner.calls import Calls
from workflow_runner.calls.http import HttpCalls
from workflow_runner.calls.resources import Resources
from workflow_runner.dsl import problems
from workflow_runner.dsl.problems import Problem, WorkflowFault

KEY = "key-1"


def operation(identifier: str, **members: Any) -> dict[str, Any]:
    return {"operationId": identifier, **members}


PET_ID = {"name": "petId", "in": "path", "required": True, "schema": {"type": "integer"}}
PATHS: dict[str, Any] = {
    "/pets/{petId}": {"parameters": [PET_ID], "get": operation("getPet"), "put": operation("putPet")},
    "/pets": {
        "get": operation("findPets", parameters=[{"name": "status", "in": "query", "schema": {}}]),
        "post": operation(
            "addPet",
            requestBody={"content": {"application/json": {"schema": {"properties": {"name": {}}}}}},
            security=[{"key": []}],
        ),
    },
    "/gone": {"get": operation("gone")},
    "/moved": {"get": operation("moved")},
}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Pets", "version": "1"},
    "servers": [{"url": "/v1"}],
    "paths": PATHS,
    "components": {"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}}},
}


class Api:
    """A server of pets. `headers` and `document` are those of its document's answers; `fetched` counts these."""

    def __init__(self) -> None:
        self.document: bytes = json.dumps(DOCUMENT).encode()
        self.headers: dict[str, str] = {}
        self.fetched = 0
        self.unchanged = 0
        self.gate: asyncio.Event | None = None

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/openapi.json":
            self.fetched += 1
            if self.gate is not None:
                await self.gate.wait()
            etag = self.headers.get("ETag")
            if etag is not None and request.headers.get("If-None-Match") == etag:
                self.unchanged += 1
                return web.Response(status=304)
            return web.Response(body=self.document, headers=self.headers)
        if request.path == "/v1/gone":
            return web.Response(status=410)
        if request.path == "/v1/moved":
            return web.Response(status=302, headers={"Location": "/v1/pets"})
        return web.json_response({"path": request.raw_path, "body": (await request.read()).decode()})


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def server(api: Api) -> AsyncIterator[Server]:
    async with http_server(api) as running:
        yield running


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    made = Calls()
    yield made
    await made.close()


async def call(calls: Calls, uri: str, identifier: str, parameters: Any = None, **changes: Any) -> Any:
    policies = {name: changes.pop(name) for name in ("authentication", "resource_authentication") if name in changes}
    arguments = {"document": uri, "operationId": identifier, "parameters": parameters or {}, "output": "content"}
    return await calls.call("openapi", {**arguments, "redirect": False, **changes}, idempotency_key=KEY, **policies)


async def fault_of(calls: Calls, uri: str, identifier: str, parameters: Any = None, **changes: Any) -> Problem:
    with pytest.raises(WorkflowFault) as caught:
        await call(calls, uri, identifier, parameters, **changes)
    assert canaries.found_in(str(caught.value.problem.to_dict())) == []
    return caught.value.problem


class TestCalls:
    async def test_the_operation_is_called_at_its_server(self, calls: Calls, server: Server) -> None:
        got = await call(calls, f"{server.url}/openapi.json", "getPet", {"petId": 7})
        assert got["path"] == "/v1/pets/7"
        assert [seen.method for seen in server.seen] == ["GET", "GET"]

    async def test_what_was_encoded_arrives_so(self, calls: Calls, server: Server) -> None:
        got = await call(calls, f"{server.url}/openapi.json", "getPet", {"petId": "a/b?c=%2F&d;e ü"})
        assert got["path"] == "/v1/pets/a%2Fb%3Fc%3D%252F%26d%3Be%20%C3%BC"
        await call(calls, f"{server.url}/openapi.json", "findPets", {"status": ["a&b", "c+d", "e,f"]})
        assert server.seen[-1].query == [("status", "a&b"), ("status", "c+d"), ("status", "e,f")]

    async def test_a_body_is_sent_with_its_type_and_the_key(self, calls: Calls, server: Server) -> None:
        got = await call(calls, f"{server.url}/openapi.json", "addPet", {"name": "Rex"})
        assert got["body"] == '{"name": "Rex"}'
        headers = server.seen[-1].headers
        assert (headers["content-type"], headers["idempotency-key"]) == ("application/json", KEY)

    async def test_methods_that_are_idempotent_carry_no_key(self, calls: Calls, server: Server) -> None:
        await call(calls, f"{server.url}/openapi.json", "putPet", {"petId": 1})
        assert "idempotency-key" not in server.seen[-1].headers

    async def test_output_and_redirect_are_those_of_http(self, calls: Calls, server: Server) -> None:
        uri = f"{server.url}/openapi.json"
        raw = await call(calls, uri, "findPets", output="raw")
        assert json.loads(base64.b64decode(raw))["path"] == "/v1/pets"
        response = await call(calls, uri, "moved", output="response", redirect=True)
        assert (response["statusCode"], response["request"]["uri"]) == (302, f"{server.url}/v1/moved")
        assert (await fault_of(calls, uri, "moved")).status == 302

    async def test_swagger_in_yaml(self, calls: Calls, server: Server, api: Api) -> None:
        api.document = b"""
            swagger: '2.0'
            basePath: /v2
            paths:
              /pets: {get: {operationId: find, parameters: [{name: tags, in: query, type: array, collectionFormat: pipes}]}}
            """
        got = await call(calls, f"{server.url}/openapi.json", "find", {"tags": ["a", "b"]})
        assert got["path"] == "/v2/pets?tags=a%7Cb"

    async def test_authentication_is_the_operations_and_the_document_has_its_own(self, calls: Calls, server: Server) -> None:
        policy = {"scheme": "bearer", "members": {"token": canaries.BEARER}}
        other = {"scheme": "basic", "members": {"username": "u", "password": "p" * 12}}
        await call(calls, f"{server.url}/openapi.json", "findPets", authentication=policy, resource_authentication=other)
        assert [seen.headers["authorization"][:6] for seen in server.seen] == ["Basic ", "Bearer"]

    async def test_api_keys_are_sent_and_not_shown(self, calls: Calls, server: Server) -> None:
        key = canaries.BEARER
        uri = f"{server.url}/openapi.json"
        got = await call(calls, uri, "addPet", {"name": "Rex", "X-Key": key}, output="response")
        assert server.seen[-1].headers["x-key"] == key
        assert key not in json.dumps(got)


class TestFaults:
    @pytest.mark.parametrize(
        ("identifier", "parameters", "type_", "said"),
        [
            ("getPet", {}, problems.VALIDATION, "/with/parameters/petId: "),
            ("getPet", {"petId": 1, "x": 2}, problems.VALIDATION, "/with/parameters/x: "),
            (
                "getPets",
                {},
                problems.CONFIGURATION,
                "/with/operationId: the document has no operation 'getPets'; did you mean 'getPet'?",
            ),
        ],
    )
    async def test_what_does_not_fit_says_where(
        self, calls: Calls, server: Server, identifier: str, parameters: Any, type_: str, said: str
    ) -> None:
        problem = await fault_of(calls, f"{server.url}/openapi.json", identifier, parameters)
        assert (problem.type, said in str(problem.detail)) == (type_, True)
        assert len(server.seen) == 1, "nothing but the document was asked for"

    async def test_a_status_outside_success_is_as_for_http(self, calls: Calls, server: Server) -> None:
        problem = await fault_of(calls, f"{server.url}/openapi.json", "gone")
        assert (problem.type, problem.status) == (problems.COMMUNICATION, 410)

    async def test_a_document_that_is_not_there(self, calls: Calls, server: Server) -> None:
        problem = await fault_of(calls, f"{server.url}/v1/gone", "getPet")
        assert (problem.type, problem.status) == (problems.COMMUNICATION, 410)

    @pytest.mark.parametrize("text", [b"<html>", b"{}", b"openapi: 3.0.0\npaths: {a: &a [*a]}"], ids=["html", "json", "cycle"])
    async def test_a_document_that_is_none(self, calls: Calls, server: Server, api: Api, text: bytes) -> None:
        api.document = text
        problem = await fault_of(calls, f"{server.url}/openapi.json", "getPet")
        assert (problem.type, problem.status) == (problems.CONFIGURATION, 400)
        assert "/with/document: the OpenAPI document cannot be used" in str(problem.detail)

    async def test_a_document_that_is_too_large(self, calls: Calls, server: Server, api: Api) -> None:
        api.document = b" " * (4 * 1024 * 1024 + 1)
        problem = await fault_of(calls, f"{server.url}/openapi.json", "getPet")
        assert (problem.type, "more than 4194304" in str(problem.detail)) == (problems.CONFIGURATION, True)

    async def test_secrets_in_the_documents_address_are_not_told(self, calls: Calls, server: Server) -> None:
        uri = server.url.replace("http://", f"http://u:{canaries.URL_PASSWORD}@")
        await fault_of(calls, f"{uri}/v1/gone?k={canaries.URL_PASSWORD}", "getPet")

    async def test_reading_a_large_document_does_not_stop_others(self, calls: Calls, server: Server, api: Api) -> None:
        api.document = ("swagger: '2.0'\npaths: {/x: {get: {operationId: op}}}\nmore:\n" + "- []\n" * 90_000).encode()
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        task = asyncio.create_task(others())
        await call(calls, f"{server.url}/openapi.json", "op")
        task.cancel()
        assert turns > 20, "the event loop went round while the document was read"


class TestKeeping:
    @pytest.fixture
    async def http(self) -> AsyncIterator[HttpCalls]:
        made = HttpCalls()
        yield made
        await made.close()

    @staticmethod
    async def size(text: bytes) -> int:
        return len(text)

    async def test_a_document_is_got_once_for_all_hosts(self, calls: Calls, server: Server, api: Api) -> None:
        uri = f"{server.url}/openapi.json"
        other = Calls()
        try:
            for one in (calls, calls, other):
                await call(one, uri, "findPets")
        finally:
            await other.close()
        assert api.fetched == 1

    async def test_those_who_come_together_get_it_once(self, calls: Calls, server: Server, api: Api) -> None:
        api.gate = asyncio.Event()
        uri = f"{server.url}/openapi.json"
        running = [asyncio.create_task(call(calls, uri, "findPets")) for _ in range(10)]
        await until(lambda: api.fetched > 0)
        api.gate.set()
        await asyncio.gather(*running)
        assert api.fetched == 1

    async def test_an_old_one_is_asked_for_again(self, http: HttpCalls, server: Server, api: Api) -> None:
        resources = Resources(http, fresh_seconds=0)
        uri = f"{server.url}/openapi.json"
        for expected in (len(api.document), 3):
            assert await resources.get("test", uri, self.size, largest=10_000) == expected
            api.document = b"new"
        assert (api.fetched, api.unchanged) == (2, 0)

    async def test_the_server_may_say_that_it_has_not_changed(self, http: HttpCalls, server: Server, api: Api) -> None:
        api.headers = {"ETag": '"1"'}
        resources = Resources(http, fresh_seconds=0)
        uri = f"{server.url}/openapi.json"
        read = [await resources.get("test", uri, self.size, largest=10_000) for _ in range(3)]
        assert read == [len(api.document)] * 3
        assert (api.fetched, api.unchanged) == (3, 2)
        api.headers = {"ETag": '"2"'}
        api.document = b"new"
        assert await resources.get("test", uri, self.size, largest=10_000) == 3

    async def test_no_store_is_not_kept(self, http: HttpCalls, server: Server, api: Api) -> None:
        api.headers = {"Cache-Control": "private, no-store"}
        resources = Resources(http)
        for _ in range(2):
            await resources.get("test", f"{server.url}/openapi.json", self.size, largest=10_000)
        assert api.fetched == 2

    async def test_other_credentials_get_it_themselves(self, http: HttpCalls, server: Server, api: Api) -> None:
        resources = Resources(http)
        for token in ("a" * 12, "b" * 12, "a" * 12):
            policy: Any = {"scheme": "bearer", "members": {"token": token}}
            await resources.get("test", f"{server.url}/openapi.json", self.size, largest=10_000, authentication=policy)
        assert api.fetched == 2

    async def test_what_could_not_be_read_is_not_kept(self, http: HttpCalls, server: Server, api: Api) -> None:
        async def fails(_text: bytes) -> int:
            raise ValueError

        resources = Resources(http)
        for _ in range(2):
            with pytest.raises(ValueError):
                await resources.get("test", f"{server.url}/openapi.json", fails, largest=10_000)
        assert api.fetched == 2

    async def test_only_so_many_are_kept(self, http: HttpCalls, server: Server, api: Api) -> None:
        resources = Resources(http)
        for number in [*range(70), 0, 69]:
            await resources.get("many", f"{server.url}/openapi.json?{number}", self.size, largest=10_000)
        assert api.fetched == 71, "the first one was gone, the last one still there"


class TestFiles:
    async def test_a_document_may_be_a_file(self, calls: Calls, server: Server, tmp_path: Path) -> None:
        path = tmp_path / "pets api.json"
        path.write_text(json.dumps({**DOCUMENT, "servers": [{"url": f"{server.url}/v9"}]}))
        assert (await call(calls, path.as_uri(), "findPets"))["path"] == "/v9/pets"
        path.write_text(json.dumps({**DOCUMENT, "servers": [{"url": f"{server.url}/v10"}]}))
        assert (await call(calls, path.as_uri(), "findPets"))["path"] == "/v10/pets"

    @pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "large"])
    async def test_what_is_no_file_is_a_configuration_error(self, calls: Calls, tmp_path: Path, kind: str) -> None:
        path = tmp_path / kind
        match kind:
            case "folder":
                path.mkdir()
            case "pipe":
                os.mkfifo(path)
            case "large":
                path.write_bytes(bytes(4 * 1024 * 1024 + 1))
        problem = await asyncio.wait_for(fault_of(calls, path.as_uri(), "op"), 10)
        assert problem.type == problems.CONFIGURATION
        assert kind in str(problem.detail)
