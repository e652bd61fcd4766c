"""`call: openapi` and `call: grpc`: what the interpreter asks its host for."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.interpreter.virtual import run

from workflow_runner.interpreter.effects import Call

OPENAPI = "document: {endpoint: 'http://x.test/api.json'}, operationId: op"
GRPC = "proto: {endpoint: 'file:///app/greet.proto'}, service: {name: Greeter, host: greet.test}, method: SayHello"


def asked(protocol: str, with_: str, input_: Any = None, more: str = "", **options: Any) -> Call:
    story = run(f"do: [{{c: {{call: {protocol}, with: {{{with_}}}}}}}]\n{more}", input_, answer=lambda _: None, **options)
    (call,) = story.calls
    assert (call.protocol, call.reference) == (protocol, "/do/0/c")
    assert len(call.idempotency_key) == 64
    return call


def test_an_openapi_call_says_which_operation_with_what() -> None:
    call = asked(
        "openapi",
        "document: {endpoint: 'http://x.test/{version}/api.json'}, operationId: '${ .op }', output: response, redirect: true,"
        " parameters: {id: '${ .id }', filter: {tags: '${ .tags }'}}",
        {"version": "v 1", "op": "getPet", "id": 7, "tags": ["a"]},
    )
    assert call.arguments == {
        "document": "http://x.test/v%201/api.json",
        "operationId": "getPet",
        "parameters": {"id": 7, "filter": {"tags": ["a"]}},
        "output": "response",
        "redirect": True,
    }
    assert (call.authentication, call.resource_authentication) == (None, None)


def test_a_grpc_call_says_which_method_with_what() -> None:
    call = asked(
        "grpc",
        "proto: {name: greet, endpoint: {uri: 'https://x.test/{file}.proto'}}, method: SayHello,"
        " metadata: {X-Trace: '${ .t }'}, arguments: {name: '${ .name }'},"
        " service: {name: greet.v1.Greeter, host: '${ .host }', port: '${ .port }', tls: true}",
        {"file": "greet", "host": "h.test", "port": 5011, "name": "Ann", "t": "1"},
    )
    assert call.arguments == {
        "proto": "https://x.test/greet.proto",
        "service": "greet.v1.Greeter",
        "host": "h.test",
        "port": 5011,
        "tls": True,
        "method": "SayHello",
        "arguments": {"name": "Ann"},
        "metadata": {"X-Trace": "1"},
    }


def test_what_is_not_given_is_left_to_the_host() -> None:
    assert asked("openapi", OPENAPI).arguments == {
        "document": "http://x.test/api.json",
        "operationId": "op",
        "parameters": {},
        "output": "content",
        "redirect": False,
    }
    assert asked("grpc", "service: {name: Greeter, host: greet.test}, method: SayHello").arguments == {
        "proto": None,
        "service": "Greeter",
        "host": "greet.test",
        "port": None,
        "tls": None,
        "method": "SayHello",
        "arguments": {},
        "metadata": {},
    }


def test_parameters_and_arguments_may_be_whole_expressions() -> None:
    assert asked("openapi", OPENAPI + ", parameters: '${ .p }'", {"p": {"a": 1}}).arguments["parameters"] == {"a": 1}
    assert asked("grpc", GRPC + ", arguments: '${ .p }'", {"p": {"a": 1}}).arguments["arguments"] == {"a": 1}


def test_a_tasks_time_limit_is_told_to_the_grpc_call() -> None:
    story = run(f"do: [{{c: {{timeout: {{after: PT90S}}, call: grpc, with: {{{GRPC}}}}}}}]", answer=lambda _: None)
    assert story.calls[0].arguments["seconds"] == 90


@pytest.mark.parametrize(
    ("protocol", "document", "policy"),
    [
        (
            "openapi",
            "document: {endpoint: {uri: 'http://x.test/a.json', authentication: {basic: {username: u, password: p}}}},"
            " operationId: op, authentication: {bearer: {token: '${ $secrets.T }'}}",
            "basic",
        ),
        (
            "grpc",
            "proto: {endpoint: {uri: 'http://x.test/a.proto', authentication: {basic: {username: u, password: p}}}},"
            " service: {name: G, host: h, authentication: {bearer: {token: '${ $secrets.T }'}}}, method: M",
            "basic",
        ),
    ],
)
def test_both_policies_go_along_without_secrets(protocol: str, document: str, policy: str) -> None:
    call = asked(protocol, document, more="use: {secrets: [T]}", secrets={"T": "very-secret-token"})
    assert call.authentication is not None
    assert call.resource_authentication is not None
    assert (call.authentication["scheme"], call.resource_authentication["scheme"]) == ("bearer", policy)
    assert "very-secret-token" not in str((call.authentication, call.arguments))
    assert call.resource_authentication["members"] == {"username": "u", "password": "p"}


@pytest.mark.parametrize(
    ("protocol", "with_"),
    [
        ("openapi", "document: {endpoint: '${ .list }'}, operationId: op"),
        ("openapi", "document: {endpoint: 'http://x.test/{list}'}, operationId: op"),
        ("openapi", "document: {endpoint: 'http://x.test/'}, operationId: '${ .list }'"),
        ("openapi", OPENAPI + ", parameters: '${ .list }'"),
        ("grpc", GRPC + ", arguments: '${ .list }'"),
        ("grpc", GRPC + ", metadata: '${ .list }'"),
        ("grpc", "service: {name: '${ .list }', host: h}, method: M"),
        ("grpc", "service: {name: G, host: '${ .list }'}, method: M"),
        ("grpc", "service: {name: G, host: h, port: '${ .list }'}, method: M"),
        ("grpc", "service: {name: G, host: h, port: '${ 70000 }'}, method: M"),
        ("grpc", "service: {name: G, host: h, port: '${ true }'}, method: M"),
        ("grpc", "service: {name: G, host: h}, method: '${ .list }'"),
    ],
)
def test_values_of_the_wrong_kind_are_expression_errors(protocol: str, with_: str) -> None:
    fault = run(f"do: [{{c: {{call: {protocol}, with: {{{with_}}}}}}}]", {"list": []}).fault
    assert str(fault["type"]).endswith("/expression")
    assert (fault["status"], fault["instance"]) == (400, "/do/0/c")
