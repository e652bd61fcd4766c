"""Http calls against a real server: what is sent, what comes back, and what each failure is called."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests import canaries
from tests.integration.calls.server import answering, http_server
from tests.servers.tls import Authority

from workflow_runner.calls import Calls
from workflow_runner.calls.http import MOST_CONNECTIONS, HttpCalls
from workflow_runner.dsl import problems
from workflow_runner.dsl.problems import Problem, WorkflowFault

KEY = "key-1"


@contextlib.asynccontextmanager
async def calls(**limits: Any) -> AsyncIterator[HttpCalls]:
    client = HttpCalls(**limits)
    try:
        yield client
    finally:
        await client.close()


def arguments(uri: str, **changes: Any) -> dict[str, Any]:
    return {"method": "get", "uri": uri, "headers": {}, "query": {}, "output": "content", "redirect": False, **changes}


async def fetch(uri: str, client: HttpCalls | None = None, **changes: Any) -> Any:
    if client is not None:
        return await client.call(arguments(uri, **changes), idempotency_key=KEY)
    async with calls() as own:
        return await own.call(arguments(uri, **changes), idempotency_key=KEY)


async def fault_of(uri: str, client: HttpCalls | None = None, **changes: Any) -> Problem:
    with pytest.raises(WorkflowFault) as caught:
        await fetch(uri, client, **changes)
    return caught.value.problem


class TestRequest:
    async def test_method_headers_and_query_arrive_and_the_endpoints_own_query_stays(self) -> None:
        async with http_server(answering()) as server:
            await fetch(
                f"{server.url}/things?page=2",
                method="patch",
                headers={"X-Text": "plain", "X-Number": 5},
                query={"text": "a b&c", "number": 3, "list": [1, "x"], "flag": True},
            )
        seen = server.seen[0]
        assert (seen.method, seen.path) == ("PATCH", "/things")
        assert seen.query == [("page", "2"), ("text", "a b&c"), ("number", "3"), ("list", '[1, "x"]'), ("flag", "true")]
        assert (seen.headers["x-text"], seen.headers["x-number"]) == ("plain", "5")

    @pytest.mark.parametrize(
        ("body", "headers", "sent", "content_type"),
        [
            ({"a": "ü", "n": 12345678901234567890}, {}, '{"a": "ü", "n": 12345678901234567890}', "application/json"),
            ([1], {}, "[1]", "application/json"),
            (None, {}, "null", "application/json"),
            ("words", {}, "words", "text/plain; charset=utf-8"),
            ("words", {"content-type": "application/json"}, '"words"', "application/json"),
            ("<a/>", {"Content-Type": "application/xml"}, "<a/>", "application/xml"),
            (
                {"a": "x y", "b": 2},
                {"Content-Type": "application/x-www-form-urlencoded"},
                "a=x+y&b=2",
                "application/x-www-form-urlencoded",
            ),
        ],
        ids=["object", "array", "null", "string", "string-as-json", "string-as-xml", "form"],
    )
    async def test_body_is_written_by_its_content_type(
        self, body: Any, headers: dict[str, str], sent: str, content_type: str
    ) -> None:
        async with http_server(answering()) as server:
            await fetch(server.url, method="post", body=body, headers=headers)
        assert server.seen[0].body.decode() == sent
        assert server.seen[0].headers["content-type"] == content_type

    async def test_no_body_is_sent_where_the_task_has_none(self) -> None:
        async with http_server(answering()) as server:
            await fetch(server.url, method="post")
        assert server.seen[0].body == b""

    @pytest.mark.parametrize("method", ["post", "PATCH"])
    async def test_methods_that_are_not_idempotent_carry_the_key(self, method: str) -> None:
        async with http_server(answering()) as server:
            await fetch(server.url, method=method)
            await fetch(server.url, method=method, headers={"idempotency-key": "mine"})
        assert [seen.headers["idempotency-key"] for seen in server.seen] == [KEY, "mine"]

    @pytest.mark.parametrize("method", ["get", "put", "delete", "head", "options"])
    async def test_idempotent_methods_carry_no_key(self, method: str) -> None:
        async with http_server(answering()) as server:
            await fetch(server.url, method=method)
        assert "idempotency-key" not in server.seen[0].headers

    async def test_cookies_of_one_call_are_not_sent_with_the_next(self) -> None:
        async with http_server(answering(headers={"Set-Cookie": "a=b"})) as server, calls() as client:
            url = server.url.replace("127.0.0.1", "localhost")
            await fetch(url, client)
            await fetch(url, client)
        assert "cookie" not in server.seen[1].headers


class TestOutput:
    @pytest.mark.parametrize(
        ("body", "content_type", "content"),
        [
            ('{"a": [1, 2.5, 12345678901234567890]}', "application/json", {"a": [1, 2.5, 12345678901234567890]}),
            ('{"a": 1}', "application/problem+json; charset=utf-8", {"a": 1}),
            ("grüße", "text/plain; charset=utf-8", "grüße"),
            ("grüße".encode("latin-1"), "text/plain; charset=latin-1", "grüße"),
            ("words", "text/plain; charset=nonsense", "words"),
            ("<a/>", "application/xml", "<a/>"),
            ("<a/>", "image/svg+xml", "<a/>"),
            ("a=1", "application/x-www-form-urlencoded", "a=1"),
            (b"\x00\xff", "application/octet-stream", base64.b64encode(b"\x00\xff").decode()),
            (b"", "application/json", None),
        ],
        ids=["json", "+json", "text", "latin-1", "unknown-charset", "xml", "+xml", "form", "bytes", "empty"],
    )
    async def test_content_follows_the_content_type(self, body: bytes | str, content_type: str, content: Any) -> None:
        async with http_server(answering(body=body, content_type=content_type)) as server:
            assert await fetch(server.url) == content

    async def test_raw_is_the_body_in_base64(self) -> None:
        async with http_server(answering(body="{}", content_type="application/json")) as server:
            assert await fetch(server.url, output="raw") == base64.b64encode(b"{}").decode()

    async def test_response_describes_the_exchange_without_credentials(self) -> None:
        async with http_server(answering(201, "[1]", "application/json", {"X-Served": "yes"})) as server:
            uri = server.url.replace("http://", f"http://user:{canaries.URL_PASSWORD}@")
            headers = {"Accept": "a/b", "Cookie": canaries.BEARER}
            got = await fetch(f"{uri}/x", output="response", query={"q": "1"}, headers=headers)
        assert got["request"] == {"method": "get", "uri": f"{server.url}/x?q=1", "headers": {"Accept": "a/b"}}
        assert (got["statusCode"], got["content"], got["headers"]["X-Served"]) == (201, [1], "yes")

    async def test_headers_of_one_name_are_joined(self) -> None:
        async def twice(_request: web.Request) -> web.StreamResponse:
            response = web.Response()
            for value in ("a", "b"):
                response.headers.add("X-Many", value)
            return response

        async with http_server(twice) as server:
            got = await fetch(server.url, output="response")
        assert got["headers"]["X-Many"] == "a, b"

    async def test_compressed_answers_are_unpacked(self) -> None:
        packed = gzip.compress(b'{"a": 1}')
        async with http_server(answering(200, packed, "application/json", {"Content-Encoding": "gzip"})) as server:
            assert await fetch(server.url) == {"a": 1}


class TestStatus:
    @pytest.mark.parametrize(
        ("status", "redirect", "type_"),
        [
            (401, False, problems.AUTHENTICATION),
            (403, False, problems.AUTHORIZATION),
            (404, False, problems.COMMUNICATION),
            (503, True, problems.COMMUNICATION),
            (302, False, problems.COMMUNICATION),
        ],
    )
    async def test_a_status_outside_success_is_a_fault_with_that_status(self, status: int, redirect: bool, type_: str) -> None:
        async with http_server(answering(status, headers={"Location": "/other"})) as server:
            problem = await fault_of(f"{server.url}/x?token=hidden", redirect=redirect)
        assert (problem.type, problem.status) == (type_, status)
        assert problem.detail is not None
        assert problem.detail.startswith(f"GET {server.url}/x was answered with {status}")

    async def test_a_status_is_told_in_the_words_of_the_standard(self) -> None:
        """The server's own may repeat what it was sent."""

        async def answer(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=404, reason="you sent word-1")

        async with http_server(answer) as server:
            problem = await fault_of(server.url)
        assert (problem.title, "word-1" in str(problem.to_dict())) == ("Not Found", False)

    async def test_redirect_true_accepts_a_redirect_and_follows_none(self) -> None:
        async with http_server(answering(302, headers={"Location": "/other"})) as server:
            got = await fetch(server.url, redirect=True, output="response")
        assert got["statusCode"] == 302
        assert len(server.seen) == 1


class TestFailure:
    async def test_nobody_listening_is_a_communication_error(self) -> None:
        secret = canaries.URL_PASSWORD
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            problem = await fault_of(f"http://u:{secret}@127.0.0.1:{reserved.getsockname()[1]}/x?key={secret}")
        assert (problem.type, problem.status) == (problems.COMMUNICATION, 500)
        assert secret not in str(problem)
        assert "Connection refused" in str(problem)

    async def test_an_unknown_host_is_a_communication_error(self) -> None:
        problem = await fault_of("http://no-such-host.invalid/")
        assert problem.type == problems.COMMUNICATION
        assert "name is not known" in str(problem)

    async def test_a_server_that_hangs_up_is_a_communication_error(self) -> None:
        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        async with server:
            problem = await fault_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert problem.type == problems.COMMUNICATION

    async def test_something_that_is_not_http_is_a_communication_error(self) -> None:
        async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello there\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        async with server:
            problem = await fault_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert problem.type == problems.COMMUNICATION
        assert "not HTTP" in str(problem)

    async def test_a_server_without_tls_is_a_communication_error(self) -> None:
        async with http_server(answering()) as server:
            problem = await fault_of(server.url.replace("http://", "https://"))
        assert problem.type == problems.COMMUNICATION
        assert "TLS" in str(problem)

    async def test_a_server_nobody_vouches_for_is_a_communication_error(self, tmp_path: Path) -> None:
        context = Authority().server_context(tmp_path, wants_clients=False)
        async with http_server(answering(), context) as server:
            problem = await fault_of(server.url)
            assert server.seen == []
        assert (problem.type, problem.status) == (problems.COMMUNICATION, 500)
        assert "certificate does not verify" in str(problem)

    async def test_so_many_calls_do_not_wait_for_each_other(self) -> None:
        all_here = asyncio.Barrier(MOST_CONNECTIONS)

        async def together(_request: web.Request) -> web.StreamResponse:
            await all_here.wait()
            return web.Response()

        async with http_server(together) as server, calls() as client:
            await asyncio.gather(*(fetch(server.url, client) for _ in range(MOST_CONNECTIONS)))

    async def test_calls_beyond_the_most_wait_for_the_others(self) -> None:
        here, most, gate = 0, 0, asyncio.Event()

        async def held(_request: web.Request) -> web.StreamResponse:
            nonlocal here, most
            here += 1
            most = max(most, here)
            if here == MOST_CONNECTIONS:
                gate.set()
            await gate.wait()
            here -= 1
            return web.Response()

        async with http_server(held) as server, calls() as client:
            await asyncio.gather(*(fetch(server.url, client) for _ in range(MOST_CONNECTIONS + 100)))
        assert most == MOST_CONNECTIONS

    async def test_and_wait_within_their_own_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("workflow_runner.calls.http.MOST_CONNECTIONS", 1)
        here, never = asyncio.Event(), asyncio.Event()

        async def wait(_request: web.Request) -> web.StreamResponse:
            here.set()
            await never.wait()
            return web.Response()

        async with http_server(wait) as server, calls() as slow, calls(total_seconds=0.05) as quick:
            holding = asyncio.create_task(fetch(server.url, slow))
            await here.wait()
            problem = await fault_of(server.url, quick)
            holding.cancel()
        assert (problem.type, problem.status) == (problems.TIMEOUT, 408)
        assert len(server.seen) == 1

    async def test_an_answer_that_takes_too_long_is_a_timeout(self) -> None:
        never = asyncio.Event()

        async def wait(_request: web.Request) -> web.StreamResponse:
            await never.wait()
            return web.Response()

        async with http_server(wait) as server, calls(total_seconds=0.05) as client:
            problem = await fault_of(server.url, client)
        assert (problem.type, problem.status) == (problems.TIMEOUT, 408)

    async def test_a_too_large_answer_is_refused_before_it_is_whole(self) -> None:
        sent = 0

        async def endless(request: web.Request) -> web.StreamResponse:
            nonlocal sent
            response = web.StreamResponse()
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):
                while True:
                    await response.write(b"x" * 65536)
                    sent += 65536
            return response

        async with http_server(endless) as server, calls(largest_body=200_000) as client:
            problem = await fault_of(server.url, client)
        assert problem.type == problems.COMMUNICATION
        assert "more than 200000 bytes" in str(problem)
        assert sent < 50_000_000

    async def test_a_small_answer_that_unpacks_to_a_large_one_is_refused(self) -> None:
        packed = gzip.compress(bytes(10_000_000))
        async with (
            http_server(answering(body=packed, headers={"Content-Encoding": "gzip"})) as server,
            calls(largest_body=200_000) as client,
        ):
            problem = await fault_of(server.url, client)
        assert "more than 200000 bytes" in str(problem)

    async def test_a_too_large_body_is_not_sent(self) -> None:
        async with http_server(answering()) as server, calls(largest_body=10) as client:
            problem = await fault_of(server.url, client, method="post", body="x" * 11)
        assert problem.type == problems.VALIDATION
        assert server.seen == []

    @pytest.mark.parametrize("body", ["{", "NaN", "[" * 100_000])
    async def test_json_that_is_not_json_is_a_communication_error(self, body: str) -> None:
        async with http_server(answering(body=body, content_type="application/json")) as server:
            problem = await fault_of(server.url)
        assert problem.type == problems.COMMUNICATION
        assert "is not JSON" in str(problem)

    @pytest.mark.parametrize("uri", ["ftp://host/x", "https://", "/relative", "http://[::1", "http://host:port/"])
    async def test_an_endpoint_that_is_no_address_is_a_configuration_error(self, uri: str) -> None:
        assert (await fault_of(uri)).type == problems.CONFIGURATION

    @pytest.mark.parametrize(
        "changes", [{"method": "ge t"}, {"headers": {"X": "a\r\nY: b"}}, {"headers": {"X Y": "a"}}], ids=str
    )
    async def test_what_http_cannot_carry_is_a_configuration_error(self, changes: dict[str, Any]) -> None:
        async with http_server(answering()) as server:
            problem = await fault_of(server.url, **changes)
            assert problem.type == problems.CONFIGURATION
        assert server.seen == []


class TestDispatch:
    async def test_a_protocol_nobody_speaks_is_a_configuration_error(self) -> None:
        with pytest.raises(WorkflowFault) as caught:
            await Calls().call("smoke-signals", {}, idempotency_key=KEY)
        assert caught.value.problem.type == problems.CONFIGURATION

    async def test_calls_reach_their_protocol(self) -> None:
        async with http_server(answering(body="7", content_type="application/json")) as server:
            dispatcher = Calls()
            try:
                assert await dispatcher.call("http", arguments(server.url), idempotency_key=KEY) == 7
            finally:
                await dispatcher.close()

    async def test_a_cancelled_call_ends_at_once_and_frees_its_connection(self) -> None:
        arrived = asyncio.Event()

        async def wait(_request: web.Request) -> web.StreamResponse:
            arrived.set()
            await asyncio.Event().wait()
            return web.Response()

        async with http_server(wait) as server, calls() as client:
            call = asyncio.create_task(fetch(server.url, client))
            await arrived.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.wait_for(client.close(), 5)
