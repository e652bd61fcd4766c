"""`call: grpc` against real servers: proto and reflection, unary and streams, TLS, metadata, and each failure."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests import canaries
from tests.integration.calls.server import answering, http_server
from tests.processes import children
from tests.servers.greeter import PROTO, SERVICE, Greeter, greeter_server
from tests.servers.oauth2 import Client, authorization_server
from tests.servers.tls import Authority, Pair
from tests.until import until

from workflow_runner.calls import Calls
from workflow_runner.calls.addresses import AddressRules
from workflow_runner.calls.grpc import STATUS, GrpcCalls
from workflow_runner.calls.http import HttpCalls
from workflow_runner.calls.protos import Compiler
from workflow_runner.calls.resources import Resources
from workflow_runner.dsl import problems
from workflow_runner.dsl.problems import Problem, WorkflowFault

KEY = "key-1"


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    made = Calls()
    yield made
    await made.close()


@pytest.fixture
async def greeter() -> AsyncIterator[Greeter]:
    async with greeter_server() as running:
        yield running


@pytest.fixture
def proto(tmp_path: Path) -> str:
    path = tmp_path / "greeter.proto"
    path.write_text(PROTO)
    return path.as_uri()


def arguments(greeter: Greeter, **changes: Any) -> dict[str, Any]:
    """A call of SayHello by reflection, unless told otherwise."""
    return {
        "proto": None,
        "service": SERVICE,
        "host": "127.0.0.1",
        "port": greeter.port,
        "tls": None,
        "method": "SayHello",
        "arguments": {},
        "metadata": {},
        **changes,
    }


async def call(calls: Calls, greeter: Greeter, **changes: Any) -> Any:
    policy = changes.pop("authentication", None)
    return await calls.call("grpc", arguments(greeter, **changes), idempotency_key=KEY, authentication=policy)


async def fault_of(calls: Calls, greeter: Greeter, **changes: Any) -> Problem:
    with pytest.raises(WorkflowFault) as caught:
        await call(calls, greeter, **changes)
    assert canaries.found_in(str(caught.value.problem.to_dict())) == []
    return caught.value.problem


class TestCalls:
    async def test_by_a_proto_and_by_reflection_the_answer_is_the_same(
        self, calls: Calls, greeter: Greeter, proto: str
    ) -> None:
        given = {"name": "Ann"}
        by_proto = await call(calls, greeter, proto=proto, arguments=given)
        by_reflection = await call(calls, greeter, arguments=given)
        assert by_proto == by_reflection
        assert by_proto["message"] == "Hello Ann"

    async def test_messages_are_mapped_as_protocol_buffers_say(self, calls: Calls, greeter: Greeter, proto: str) -> None:
        given = {
            "name": "Ann",
            "large": 9007199254740993,
            "at": "2026-01-02T03:04:05Z",
            "extra": {"a": [1, None, "x"]},
            "mood": "MOOD_GOOD",
            "content": base64.b64encode(b"\x00\xff").decode(),
            "address": {"streetName": "Main", "numbers": [1, 2]},
            "more": [{"street_name": "Side"}],
            "counts": {"a": 1},
            "right": "r",
        }
        got = await call(calls, greeter, proto=proto, arguments=given)
        assert got == {
            "message": "Hello Ann",
            "ok": False,
            "request": {
                **given,
                "large": "9007199254740993",
                "extra": {"a": [1.0, None, "x"]},
                "more": [{"streetName": "Side", "numbers": []}],
            },
        }

    async def test_a_stream_is_the_array_of_its_messages(self, calls: Calls, greeter: Greeter) -> None:
        got = await call(calls, greeter, method="Count", arguments={"number": 3})
        assert got == [{"number": 0, "filling": ""}, {"number": 1, "filling": ""}, {"number": 2, "filling": ""}]
        assert await call(calls, greeter, method="Count") == []

    async def test_a_service_may_go_by_the_last_part_of_its_name(self, calls: Calls, greeter: Greeter, proto: str) -> None:
        for source in (None, proto):
            assert (await call(calls, greeter, service="Greeter", proto=source))["message"] == "Hello "

    async def test_a_proto_may_come_from_a_server(self, calls: Calls, greeter: Greeter) -> None:
        async with http_server(answering(body=PROTO, content_type="text/plain")) as server:
            for _ in range(2):
                await call(calls, greeter, proto=f"{server.url}/greeter.proto")
        assert len(server.seen) == 1, "what was compiled is kept"

    async def test_metadata_and_the_idempotency_key_go_along(self, calls: Calls, greeter: Greeter) -> None:
        sent = {"X-Trace": "a b", "count": 7, "raw-bin": base64.b64encode(b"\x00\xff").decode()}
        await call(calls, greeter, metadata=sent)
        await call(calls, greeter, metadata={"idempotency-key": "mine"})
        first, second = greeter.metadata
        assert (first["x-trace"], first["count"], first["raw-bin"], first["idempotency-key"]) == ("a b", "7", b"\x00\xff", KEY)
        assert second["idempotency-key"] == "mine"
        assert first["user-agent"].startswith("workflow-runner ")

    @pytest.mark.parametrize(
        ("policy", "header"),
        [
            ({"scheme": "bearer", "members": {"token": canaries.BEARER}}, f"Bearer {canaries.BEARER}"),
            (
                {"scheme": "basic", "members": {"username": "ann", "password": canaries.URL_PASSWORD}},
                "Basic " + base64.b64encode(f"ann:{canaries.URL_PASSWORD}".encode()).decode(),
            ),
        ],
        ids=["bearer", "basic"],
    )
    async def test_credentials_are_metadata(self, calls: Calls, greeter: Greeter, policy: Any, header: str) -> None:
        await call(calls, greeter, authentication=policy)
        assert greeter.metadata[0]["authorization"] == header

    async def test_a_token_that_is_refused_is_replaced_once(self, calls: Calls, greeter: Greeter) -> None:
        async with authorization_server(clients={"ann": Client("client_secret_post", canaries.BEARER)}) as server:
            members = {"authority": server.url, "grant": "client_credentials", "client.id": "ann"}
            policy = {"scheme": "oauth2", "members": {**members, "client.secret": canaries.BEARER}}
            greeter.takes = lambda header: (
                (token := server.issued.get(header.removeprefix("Bearer "))) is not None and token.active
            )
            await call(calls, greeter, authentication=policy)
            server.revoke()
            await call(calls, greeter, authentication=policy)
            assert (len(server.issued), len(greeter.metadata)) == (2, 3)
            greeter.takes = lambda _header: False
            assert (await fault_of(calls, greeter, authentication=policy)).status == 401
            assert (len(server.issued), len(greeter.metadata)) == (3, 5), "it is not tried for ever"

    async def test_the_server_hears_of_the_deadline(self, calls: Calls, greeter: Greeter) -> None:
        await call(calls, greeter, seconds=1000.0)
        await call(calls, greeter)
        first, second = greeter.deadlines
        assert first is not None
        assert second is not None
        # The protocol rounds them up.
        assert 500 < first < 1100
        assert second < 70

    async def test_large_messages_go_both_ways(self, calls: Calls, greeter: Greeter, proto: str) -> None:
        got = await call(calls, greeter, proto=proto, arguments={"name": "x" * 1_000_000})
        assert len(got["message"]) == 1_000_006

    async def test_what_a_server_tells_about_itself_is_kept(self, calls: Calls, greeter: Greeter) -> None:
        await call(calls, greeter)
        before = len(greeter.metadata)
        await asyncio.gather(*(call(calls, greeter) for _ in range(20)))
        assert len(greeter.metadata) == before + 20


class TestServers:
    async def test_two_services_of_one_host_are_two(self, calls: Calls, greeter: Greeter) -> None:
        async with greeter_server() as other:
            await call(calls, greeter, arguments={"name": "a"})
            await call(calls, other, arguments={"name": "b"})
        assert ([one.name for one in greeter.requests], [one.name for one in other.requests]) == (["a"], ["b"])

    async def test_a_server_without_reflection_needs_a_proto(self, calls: Calls, proto: str) -> None:
        async with greeter_server(reflected=False) as greeter:
            problem = await fault_of(calls, greeter)
            assert (problem.type, "name a proto" in str(problem.detail)) == (problems.CONFIGURATION, True)
            assert (await call(calls, greeter, proto=proto))["message"] == "Hello "

    async def test_a_server_that_comes_back_elsewhere_is_found_again(self, calls: Calls, proto: str) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            gone = Greeter(port=reserved.getsockname()[1])
            problem = await fault_of(calls, gone, proto=proto)
        assert (problem.type, problem.status) == (problems.COMMUNICATION, 503)
        assert "UNAVAILABLE" in str(problem.detail)

    async def test_an_unknown_host(self, calls: Calls, greeter: Greeter) -> None:
        problem = await fault_of(calls, greeter, host="no-such-host.invalid")
        assert (problem.type, "name is not known" in str(problem.detail)) == (problems.COMMUNICATION, True)

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    async def test_addresses_that_are_refused_are_not_called(self, greeter: Greeter, host: str) -> None:
        calls = Calls(AddressRules(deny=["127.0.0.0/8", "::1"]))
        try:
            problem = await fault_of(calls, greeter, host=host)
        finally:
            await calls.close()
        assert problem.type == problems.AUTHORIZATION
        assert "call.address-refused" in str(problem.detail)
        assert greeter.metadata == []

    async def test_a_server_that_is_none(self, calls: Calls, proto: str) -> None:
        async with http_server(answering()) as server:
            other = Greeter(port=int(server.url.rsplit(":", 1)[1]))
            problem = await fault_of(calls, other, proto=proto)
        assert (problem.type, problem.status) == (problems.COMMUNICATION, 503)


class TestTls:
    @pytest.fixture
    def authority(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
        made = Authority()
        path = tmp_path / "authority.pem"
        path.write_text(made.certificate)
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        return made

    @staticmethod
    def credentials(authority: Authority, *, clients: bool = False) -> grpc.ServerCredentials:
        pair = authority.server()
        chain = [(pair.key.encode(), pair.certificate.encode())]
        return grpc.ssl_server_credentials(chain, authority.certificate.encode() if clients else None, clients)

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
    async def test_with_tls(self, calls: Calls, authority: Authority, host: str) -> None:
        async with greeter_server(credentials=self.credentials(authority)) as greeter:
            assert (await call(calls, greeter, host=host, tls=True, arguments={"name": "Ann"}))["message"] == "Hello Ann"

    async def test_an_authority_that_is_not_trusted(self, calls: Calls, authority: Authority) -> None:
        async with greeter_server(credentials=self.credentials(Authority())) as greeter:
            problem = await fault_of(calls, greeter, tls=True)
        assert (problem.type, problem.status) == (problems.COMMUNICATION, 503)
        assert greeter.metadata == []

    async def test_a_certificate_of_another_name(self, calls: Calls, authority: Authority) -> None:
        async with greeter_server(credentials=self.credentials(authority)) as greeter:
            problem = await fault_of(calls, greeter, tls=True, host="127.0.0.2")
        assert (problem.type, problem.status) == (problems.COMMUNICATION, 503)

    @pytest.mark.parametrize("passphrase", [None, "open sesame"])
    async def test_a_client_certificate_is_shown_and_means_tls(
        self, calls: Calls, authority: Authority, passphrase: str | None
    ) -> None:
        pair = authority.client("ann", passphrase)
        members = {"certificate": pair.certificate, "key": pair.key, "passphrase": passphrase}
        async with greeter_server(credentials=self.credentials(authority, clients=True)) as greeter:
            got = await call(calls, greeter, authentication={"scheme": "certificate", "members": members})
            assert got["message"] == "Hello "
            assert (await fault_of(calls, greeter, tls=True)).status == 503, "without one nobody gets in"

    @pytest.mark.parametrize("key", ["nonsense", "encrypted"])
    async def test_a_key_that_cannot_be_used(self, calls: Calls, authority: Authority, greeter: Greeter, key: str) -> None:
        pair = Pair("-", "-") if key == "nonsense" else authority.client("ann", "secret-passphrase")
        policy = {"scheme": "certificate", "members": {"certificate": pair.certificate, "key": pair.key}}
        problem = await fault_of(calls, greeter, authentication=policy)
        assert (problem.type, "cannot be used" in str(problem.detail)) == (problems.CONFIGURATION, True)

    async def test_a_client_certificate_needs_tls(self, calls: Calls, authority: Authority, greeter: Greeter) -> None:
        pair = authority.client("ann")
        policy = {"scheme": "certificate", "members": {"certificate": pair.certificate, "key": pair.key}}
        problem = await fault_of(calls, greeter, tls=False, authentication=policy)
        assert (problem.type, "/with/service/tls" in str(problem.detail)) == (problems.CONFIGURATION, True)

    @pytest.mark.parametrize(
        ("port", "tls", "shown"),
        [
            (None, None, "grpcs://127.0.0.9:443"),
            (443, None, "grpcs://127.0.0.9:443"),
            (None, False, "grpc://127.0.0.9:80"),
            (443, False, "grpc://127.0.0.9:443"),
        ],
    )
    async def test_tls_is_left_to_the_port(self, greeter: Greeter, port: int | None, tls: bool | None, shown: str) -> None:
        calls = Calls(AddressRules(deny=["127.0.0.9"]))
        try:
            problem = await fault_of(calls, greeter, host="127.0.0.9", port=port, tls=tls)
        finally:
            await calls.close()
        assert shown in str(problem.detail)


class TestFaults:
    @pytest.mark.parametrize(
        "code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK], ids=lambda code: code.name
    )
    async def test_every_status_has_its_error(self, calls: Calls, greeter: Greeter, proto: str, code: grpc.StatusCode) -> None:
        problem = await fault_of(calls, greeter, proto=proto, arguments={"name": f"fail {code.name}", "left": "because"})
        assert (problem.type, problem.status) == STATUS[code]
        assert f"{SERVICE}/SayHello answered {code.name}: no, because" in str(problem.detail)

    async def test_a_stream_that_fails(self, calls: Calls, greeter: Greeter) -> None:
        problem = await fault_of(calls, greeter, method="Count", arguments={"number": -1})
        assert (problem.type, problem.status) == (problems.COMMUNICATION, 404)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"nam": 1}, "/with/arguments/nam: there is no such field: did you mean 'name'?"),
            ({"name": 1}, "/with/arguments/name: this must be a string"),
            ({"large": "x"}, "/with/arguments/large: this must be a whole number of 64 bits"),
            ({"large": 2**63}, "/with/arguments/large: this must be a whole number of 64 bits"),
            ({"at": "yesterday"}, "/with/arguments/at: this is no google.protobuf.Timestamp"),
            ({"mood": "BAD"}, "/with/arguments/mood: this must be one of MOOD_UNSPECIFIED, MOOD_GOOD"),
            ({"content": "?"}, "/with/arguments/content: this must be bytes in base64"),
            ({"address": []}, "/with/arguments/address: this is no demo.v1.Address"),
            ({"address": {"numbers": 5}}, "/with/arguments/address/numbers: this must be an array"),
            ({"address": {"numbers": [1, "x"]}}, "/with/arguments/address/numbers/1: this must be a whole number"),
            ({"more": [{}, {"streetName": 1}]}, "/with/arguments/more/1/streetName: this must be a string"),
            ({"counts": []}, "/with/arguments/counts: this must be an object"),
            ({"counts": {"a/b": "x"}}, "/with/arguments/counts/a~1b: this must be a whole number"),
            ({"left": "a", "right": "b"}, "/with/arguments: fields exclude each other"),
        ],
    )
    async def test_arguments_that_do_not_fit_say_where(self, calls: Calls, greeter: Greeter, given: Any, said: str) -> None:
        problem = await fault_of(calls, greeter, arguments=given)
        assert (problem.type, said in str(problem.detail)) == (problems.VALIDATION, True), problem.detail
        assert greeter.requests == []

    async def test_a_value_that_does_not_fit_is_not_told(self, calls: Calls, greeter: Greeter) -> None:
        for given in (
            {"mood": canaries.BEARER},
            {"at": canaries.BEARER},
            {"counts": canaries.BEARER},
            {"large": canaries.BEARER},
        ):
            await fault_of(calls, greeter, arguments=given)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            (
                {"method": "Sayhello"},
                "/with/method: the service demo.v1.Greeter has no method 'Sayhello'; did you mean 'SayHello'?",
            ),
            ({"method": "Upload"}, "takes a stream"),
            (
                {"service": "demo.v1.Greeting"},
                "/with/service/name: there is no service 'demo.v1.Greeting'; there are: demo.v1.Greeter",
            ),
        ],
    )
    @pytest.mark.parametrize("source", ["proto", "reflection"])
    async def test_what_is_not_there(
        self, calls: Calls, greeter: Greeter, proto: str, source: str, changes: Any, said: str
    ) -> None:
        problem = await fault_of(calls, greeter, proto=proto if source == "proto" else None, **changes)
        assert (problem.type, said in str(problem.detail)) == (problems.CONFIGURATION, True), problem.detail

    @pytest.mark.parametrize(
        "metadata", [{"grpc-x": "a"}, {"a b": "a"}, {"a": "ü"}, {"a": None}, {"a": "x\ny"}, {"a-bin": "?"}, {"a": "x" * 70_000}]
    )
    async def test_metadata_that_cannot_be_sent(self, calls: Calls, greeter: Greeter, metadata: Any) -> None:
        problem = await fault_of(calls, greeter, metadata=metadata)
        assert (problem.type, "/with/metadata" in str(problem.detail)) == (problems.VALIDATION, True)

    async def test_digest_is_for_http(self, calls: Calls, greeter: Greeter) -> None:
        policy = {"scheme": "digest", "members": {"username": "u", "password": "p"}}
        problem = await fault_of(calls, greeter, authentication=policy)
        assert (problem.type, "for http only" in str(problem.detail)) == (problems.CONFIGURATION, True)


class TestBounds:
    @staticmethod
    async def limited(greeter: Greeter, changes: dict[str, Any], **limits: Any) -> Problem:
        http = HttpCalls()
        client = GrpcCalls(http.authenticator, Resources(http), **limits)
        try:
            with pytest.raises(WorkflowFault) as caught:
                await client.call(arguments(greeter, **changes), idempotency_key=KEY)
        finally:
            await client.close()
            await http.close()
        return caught.value.problem

    async def test_a_call_has_an_end(self, greeter: Greeter) -> None:
        problem = await self.limited(greeter, {"method": "Wait"}, total_seconds=0.3)
        assert (problem.type, problem.status) == (problems.TIMEOUT, 408)

    async def test_a_task_without_time_left_fails_at_once(self, greeter: Greeter) -> None:
        problem = await self.limited(greeter, {"seconds": -1.0})
        assert problem.type == problems.TIMEOUT
        assert greeter.requests == []

    async def test_a_cancelled_call_is_broken_off_at_the_server(self, calls: Calls, greeter: Greeter) -> None:
        running = asyncio.create_task(call(calls, greeter, method="Wait"))
        await asyncio.wait_for(greeter.waiting.wait(), 10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.wait_for(greeter.broken_off.wait(), 10)

    async def test_a_stream_has_so_many_messages(self, greeter: Greeter) -> None:
        problem = await self.limited(greeter, {"method": "Count", "arguments": {"number": 10_000_000}}, most_messages=100)
        assert (problem.type, "more than 100 messages" in str(problem.detail)) == (problems.COMMUNICATION, True)
        sent = greeter.sent
        assert sent < 1_000_000

    async def test_a_stream_has_so_many_bytes(self, greeter: Greeter) -> None:
        filling = base64.b64encode(bytes(1000)).decode()
        given = {"method": "Count", "arguments": {"number": 100_000, "filling": filling}}
        problem = await self.limited(greeter, given, largest_message=50_000)
        assert "or 50000 bytes" in str(problem.detail)

    async def test_an_answer_has_so_many_bytes(self, greeter: Greeter) -> None:
        problem = await self.limited(greeter, {"method": "Large", "arguments": {"number": 60_000}}, largest_message=50_000)
        assert (problem.type, problem.status) == (problems.COMMUNICATION, 429)

    async def test_a_request_has_so_many_bytes(self, greeter: Greeter) -> None:
        problem = await self.limited(greeter, {"arguments": {"name": "x" * 60_000}}, largest_message=50_000)
        assert (problem.type, "at most 50000 are sent" in str(problem.detail)) == (problems.VALIDATION, True)
        assert greeter.requests == []


class TestProtos:
    async def refused(self, calls: Calls, tmp_path: Path, text: str | bytes) -> str:
        path = tmp_path / "bad.proto"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        problem = await fault_of(calls, Greeter(port=1), proto=path.as_uri())
        assert problem.type == problems.CONFIGURATION
        return str(problem.detail)

    async def test_mistakes_are_told_with_their_place(self, calls: Calls, tmp_path: Path) -> None:
        said = await self.refused(calls, tmp_path, PROTO.replace("string name", "strin name"))
        assert "/with/proto: the proto cannot be used: service.proto:10:3: " in said
        assert '"strin" is not defined' in said

    @pytest.mark.parametrize("path", ["other.proto", "../../etc/passwd", "/etc/passwd", "grpc_tools/protoc.py"])
    async def test_only_googles_own_types_can_be_imported(self, calls: Calls, tmp_path: Path, path: str) -> None:
        said = await self.refused(calls, tmp_path, f'syntax = "proto3";\nimport "{path}";\nservice Greeter {{}}\n')
        assert "of imports only google/protobuf/" in said
        assert "root:" not in said

    @pytest.mark.parametrize(
        "text", ["", "not a proto", b"\x00\xff\xfe", "message A {" * 100_000], ids=["empty", "text", "bytes", "deep"]
    )
    async def test_what_is_no_proto(self, calls: Calls, tmp_path: Path, text: str | bytes) -> None:
        await self.refused(calls, tmp_path, text)

    async def test_a_proto_that_is_too_large(self, calls: Calls, tmp_path: Path) -> None:
        assert "more than 1048576 bytes" in await self.refused(calls, tmp_path, " " * (1024 * 1024 + 1))

    async def test_a_proto_that_compiles_to_something_too_large(self, calls: Calls, tmp_path: Path) -> None:
        """Options are repeated for each of the fields: little text, many bytes."""
        name = "p" * 60_000
        fields = "".join(f"{name} f{number} = {number + 1};\n" for number in range(10))
        more = "".join(f"message M{number} {{ {name}.{name} a = 1; }}\n" for number in range(3))
        said = await self.refused(calls, tmp_path, f'syntax = "proto3";\npackage {name};\nmessage A {{ {fields} }}\n{more}')
        assert "cannot be used" in said

    async def test_compiling_has_an_end(self) -> None:
        with pytest.raises(WorkflowFault, match="longer than 0 s"):
            await Compiler(seconds=0).compile(PROTO.encode())

    async def test_the_compiler_is_ended_with_the_call(self) -> None:
        before = children()  # servers of tests that ran in this process earlier
        running = asyncio.create_task(Compiler().compile(PROTO.encode() * 200))
        await until(lambda: children() > before)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert children() == before
