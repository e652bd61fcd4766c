"""Bounds of calls, one step beyond them: what documents and answers of others may make a runner do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from multidict import CIMultiDict
from tests.servers.greeter import compiled_proto

from workflow_runner import telemetry
from workflow_runner.calls.authentication import Policy
from workflow_runner.calls.grpc_services import MOST_VALUES as MOST_ANSWERED
from workflow_runner.calls.grpc_services import Services
from workflow_runner.calls.messages import MOST_COMPARED, Answer, Request, closest, fault
from workflow_runner.calls.oauth2 import LARGEST_ANSWER, LONGEST_TOKEN, MOST_KEPT, Tokens
from workflow_runner.calls.openapi_documents import (
    LARGEST_DOCUMENT,
    MOST_VALUES,
    InvalidOpenApi,
    UnknownOperation,
    read_openapi_document,
)
from workflow_runner.calls.resources import KEPT, KEPT_BYTES, _Kept, _Shelf
from workflow_runner.dsl import problems
from workflow_runner.dsl.problems import WorkflowFault

URI = "http://host.test/api.json"


def api(**more: Any) -> bytes:
    paths = {"/a": {"get": {"operationId": "a"}}}
    return json.dumps({"openapi": "3.1.0", "servers": [{"url": "/"}], "paths": paths, **more}).encode()


class TestOpenApi:
    def test_a_document_has_so_many_bytes(self) -> None:
        read_openapi_document(api(x="y" * (LARGEST_DOCUMENT - 200)), URI)
        with pytest.raises(InvalidOpenApi, match=f"more than {LARGEST_DOCUMENT}"):
            read_openapi_document(api(x="y" * LARGEST_DOCUMENT), URI)

    def test_a_document_has_so_many_values(self) -> None:
        read_openapi_document(api(x=[0] * (MOST_VALUES - 100)), URI)
        with pytest.raises(InvalidOpenApi, match=f"more than {MOST_VALUES} values"):
            read_openapi_document(api(x=[0] * MOST_VALUES), URI)

    def test_a_document_has_so_many_levels(self) -> None:
        with pytest.raises(InvalidOpenApi, match="deep"):
            read_openapi_document(b'{"openapi": "3.1.0", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", URI)

    @pytest.mark.parametrize("length", [40, 1], ids=["chain", "circle"])
    def test_references_are_followed_so_far(self, length: int) -> None:
        parameters: dict[str, Any] = {
            f"p{number}": {"$ref": f"#/components/parameters/p{(number + 1) % length}"} for number in range(length)
        }
        path = {"get": {"operationId": "a", "parameters": [{"$ref": "#/components/parameters/p0"}]}}
        text = api(paths={"/a": path}, components={"parameters": parameters})
        with pytest.raises(InvalidOpenApi, match="more than 32 references"):
            read_openapi_document(text, URI).operation("a")

    def test_what_was_meant_is_sought_among_few_and_short_names(self) -> None:
        """Comparing 5,000 names of 100 characters took 5 s, on the event loop."""
        many = {f"/{number}": {"get": {"operationId": f"{'ab' * 60}{number}"}} for number in range(5000)}
        with pytest.raises(UnknownOperation) as caught:
            read_openapi_document(api(paths=many), URI).operation("ab" * 60)
        assert "did you mean" not in str(caught.value)

    def test_the_first_names_are_compared(self) -> None:
        names = [f"n{number}" for number in range(MOST_COMPARED)]
        assert closest("petz", [*names[1:], "pets"]) == "pets"
        assert closest("petz", [*names, "pets"]) is None
        assert closest("p" * 81, ["p" * 80]) is None


class TestGrpc:
    def test_an_answer_has_so_many_values(self) -> None:
        services = Services.compiled(compiled_proto())
        method = services.method("Greeter", "SayHello")
        empty = b"\x42\x00"  # a member of HelloRequest.more: two bytes, two values

        def answered(count: int) -> bytes:
            request = empty * count
            length = len(request)
            varint = bytearray()
            while length > 127:
                varint.append(length & 127 | 128)
                length >>= 7
            return b"\x12" + bytes([*varint, length]) + request

        found: Any = services.answer(method, answered(1000))
        assert len(found["request"]["more"]) == 1000
        with pytest.raises(WorkflowFault, match=f"more than {MOST_ANSWERED:,} values") as caught:
            services.answer(method, answered(MOST_ANSWERED // 2))
        assert caught.value.problem.type == problems.COMMUNICATION

    def test_the_compiled_proto_of_the_tests_is_one(self) -> None:
        assert FileDescriptorSet.FromString(compiled_proto()).file


def policy(secret: str) -> Policy:
    members: Any = {"authority": "http://host.test", "grant": "client_credentials", "client.id": "c", "client.secret": secret}
    return Policy({"scheme": "oauth2", "members": members})


class TestTokens:
    @pytest.mark.parametrize("length", [LONGEST_TOKEN, LONGEST_TOKEN + 1])
    async def test_a_token_has_so_many_characters(self, length: int) -> None:
        async def answer(request: Request) -> Answer:
            assert request.largest == LARGEST_ANSWER
            said = json.dumps({"access_token": "t" * length, "refresh_token": "r" * length})
            return Answer(200, CIMultiDict(), "application/json", "utf-8", said.encode())

        tokens = Tokens(answer)
        if length > LONGEST_TOKEN:
            with pytest.raises(WorkflowFault, match="no usable access_token"):
                await tokens.token(policy("s-1"))
        else:
            assert (await tokens.token(policy("s-1"))).refresh == "r" * length

    async def test_so_many_tokens_are_kept(self) -> None:
        asked = 0

        async def answer(_request: Request) -> Answer:
            nonlocal asked
            asked += 1
            return Answer(200, CIMultiDict(), "application/json", "utf-8", b'{"access_token": "token"}')

        tokens = Tokens(answer)
        for number in range(MOST_KEPT + 1):
            await tokens.token(policy(f"s-{number}"))
        await tokens.token(policy(f"s-{MOST_KEPT}"))
        assert asked == MOST_KEPT + 1
        await tokens.token(policy("s-0"))
        assert asked == MOST_KEPT + 2, "the oldest was forgotten"


class TestShelf:
    def test_so_many_documents_are_kept(self) -> None:
        shelf = _Shelf()
        for number in range(KEPT + 1):
            shelf.put(str(number), _Kept(number, 1, 0.0, {}))
        assert shelf.get("0") is None
        assert shelf.get("1") is not None

    def test_so_many_bytes_of_documents_are_kept(self) -> None:
        shelf = _Shelf()
        for name in ("a", "b", "c"):
            shelf.put(name, _Kept(name, KEPT_BYTES // 2, 0.0, {}))
        assert [shelf.get(name) is not None for name in ("a", "b", "c")] == [False, True, True]


def test_what_documents_make_up_pushes_no_secret_out_of_what_is_concealed() -> None:
    secret = "the-secret-that-was-there-before"
    telemetry.conceal(secret)
    for number in range(telemetry.MOST_SECRETS + 10):
        Policy({"scheme": "basic", "members": {"username": "u", "password": f"made-up-{number}"}})
    assert telemetry.redact(f"it is {secret}") == f"it is {telemetry.REDACTED}"
    assert "made-up-1009" not in telemetry.redact("made-up-1009")


def test_what_is_told_of_a_fault_has_no_secret_wherever_the_words_come_from() -> None:
    telemetry.conceal("a-value-that-a-server-repeats")
    said = fault(problems.COMMUNICATION, "no operation 'a-value-that-a-server-repeats'").problem.detail
    assert said == "no operation '[redacted]'"
