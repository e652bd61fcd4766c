"""A WorkflowSpec becomes a document: every kind of task, every text, and what is said where it cannot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from tests.unit.stigmer.specs import DOCUMENT, environment, spec, task

from workflow_runner.dsl.text_reader import read_text
from workflow_runner.expressions.documents import read_document
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.spec_pb2 import WorkflowSpec
from workflow_runner.proto.ai.stigmer.commons.apiresource import enum_pb2 as kinds
from workflow_runner.stigmer.converter import ConversionFailed, Converted, convert
from workflow_runner.stigmer.converter.configs import Problems
from workflow_runner.stigmer.converter.expressions import Names, Where, expression, text

SET = task("note", "SET", {"variables": {"a": "1"}})
HTTP = {"method": "GET", "endpoint": {"uri": "https://x.test/"}}


def made(kind: str, config: Any, **members: Any) -> Any:
    """What the only task of a spec becomes."""
    converted = convert(spec(task("t", kind, config), **members))
    ((name, value),) = converted.document["do"][0].items()  # type: ignore[union-attr,index]
    assert name == "t"
    return value


def failures(*tasks: dict[str, Any], **members: Any) -> list[str]:
    """What is said about a spec that cannot be converted, as `pointer: code: message`."""
    with pytest.raises(ConversionFailed) as caught:
        convert(spec(*tasks, **members))
    return [f"{each.pointer}: {each.code}: {each.text}" for each in caught.value.diagnostics]


def the_failure(kind: str, config: Any) -> str:
    (only,) = failures(task("t", kind, config))
    return only


INNER = [task("a", "SET", {"variables": {"x": "1"}})]
INNER_MADE = [{"a": {"set": {"x": "1"}}}]

KINDS: dict[str, tuple[str, Any, Any]] = {
    "set": ("SET", {"variables": {"n": "${ .n }", "s": "text"}}, {"set": {"n": "${ .n }", "s": "text"}}),
    "http": (
        "HTTP_CALL",
        {**HTTP, "headers": {"X": "${.h}"}, "body": {"a": [{"b": "${.c}"}, 1, None]}, "timeout_seconds": 5},
        {
            "call": "http",
            "with": {
                "method": "GET",
                "endpoint": {"uri": "https://x.test/"},
                "headers": {"X": "${ .h }"},
                "body": {"a": [{"b": "${ .c }"}, 1, None]},
            },
            "timeout": {"after": {"seconds": 5}},
        },
    ),
    "http, as little as possible": ("HTTP_CALL", HTTP, {"call": "http", "with": HTTP}),
    "http, an empty body is a body": ("HTTP_CALL", {**HTTP, "body": {}}, {"call": "http", "with": {**HTTP, "body": {}}}),
    "grpc": (
        "GRPC_CALL",
        {"service": "x.test:50051/demo.v1.Greeter", "method": "SayHello", "request": {"name": "${.name}"}},
        {
            "call": "grpc",
            "with": {
                "service": {"name": "demo.v1.Greeter", "host": "x.test", "port": 50051},
                "method": "SayHello",
                "arguments": {"name": "${ .name }"},
            },
        },
    ),
    "grpc over tls, at an address that is computed": (
        "GRPC_CALL",
        {"service": "grpcs://${.host}:${.port}/demo.v1.Greeter", "method": "SayHello"},
        {
            "call": "grpc",
            "with": {
                "service": {"name": "demo.v1.Greeter", "host": "${ .host }", "port": "${ .port }", "tls": True},
                "method": "SayHello",
            },
        },
    ),
    "activity": (
        "CALL_ACTIVITY",
        {"activity": "Charge", "input": {"amount": "${.n}"}},
        {"call": "activity", "with": {"activity": "Charge", "input": {"amount": "${ .n }"}}},
    ),
    "switch": (
        "SWITCH",
        {"cases": [{"name": "big", "when": ".n > 5", "then": "end"}, {"name": "other", "then": "exit"}]},
        {"switch": [{"big": {"when": "${ .n > 5 }", "then": "end"}}, {"other": {"then": "exit"}}]},
    ),
    "for": (
        "FOR",
        {"each": "order", "in": ".orders", "do": INNER},
        {"for": {"each": "order", "in": "${ .orders }"}, "do": INNER_MADE},
    ),
    "for, without a name": (
        "FOR",
        {"in": "${[1]}", "do": INNER},
        {"for": {"each": "item", "in": "${ [1] }"}, "do": INNER_MADE},
    ),
    "fork": (
        "FORK",
        {"branches": [{"name": "b", "do": INNER}, {"name": "c", "do": []}], "compete": True},
        {"fork": {"branches": [{"b": {"do": INNER_MADE}}, {"c": {"do": []}}], "compete": True}},
    ),
    "fork, without a race": (
        "FORK",
        {"branches": [{"name": "b", "do": INNER}]},
        {"fork": {"branches": [{"b": {"do": INNER_MADE}}]}},
    ),
    "try": (
        "TRY",
        {"try": INNER, "catch": {"as": "oops", "do": INNER}},
        {"try": INNER_MADE, "catch": {"as": "oops", "do": INNER_MADE}},
    ),
    "try, the error is swallowed": ("TRY", {"try": INNER, "catch": {}}, {"try": INNER_MADE, "catch": {"as": "error"}}),
    "try, nothing is caught": ("TRY", {"try": INNER}, {"do": INNER_MADE}),
    "listen to one": (
        "LISTEN",
        {"to": {"mode": "one", "signals": [{"id": "approval", "type": "signal"}]}},
        {"listen": {"to": {"one": {"with": {"id": "approval", "type": "signal"}}}}},
    ),
    "listen to one of several": (
        "LISTEN",
        {"to": {"mode": "one", "signals": [{"id": "yes", "type": "signal"}, {"id": "no"}]}},
        {"listen": {"to": {"any": [{"with": {"id": "yes", "type": "signal"}}, {"with": {"id": "no", "type": "signal"}}]}}},
    ),
    "listen to all": (
        "LISTEN",
        {"to": {"mode": "all", "signals": [{"id": "a-${.n}"}, {"id": "a.*"}]}},
        {
            "listen": {
                "to": {
                    "all": [
                        {"with": {"id": '${ $input | ("a-\\(.n)") | tostring }', "type": "signal"}},
                        {"with": {"id": '${ . == "a.*" }', "type": "signal"}},
                    ]
                }
            }
        },
    ),
    "wait": ("WAIT", {"seconds": 90}, {"wait": {"seconds": 90}}),
    "raise, one of the standard errors": (
        "RAISE",
        {"error": "ValidationError", "message": "no ${.x}"},
        {
            "raise": {
                "error": {
                    "type": "https://serverlessworkflow.io/spec/1.0.0/errors/validation",
                    "status": 400,
                    "title": "ValidationError",
                    "detail": '${ "no \\(.x)" }',
                }
            }
        },
    ),
    "raise, an error of the author's": (
        "RAISE",
        {"error": "Out of stock", "message": "sorry"},
        {
            "raise": {
                "error": {
                    "type": "urn:stigmer:error:Out-of-stock",
                    "status": 500,
                    "title": "Out of stock",
                    "detail": "sorry",
                }
            }
        },
    ),
    "raise, a URI": (
        "RAISE",
        {"error": "https://x.test/e"},
        {"raise": {"error": {"type": "https://x.test/e", "status": 500, "title": "https://x.test/e"}}},
    ),
    "raise, what an expression says": (
        "RAISE",
        {"error": "${.code}"},
        {"raise": {"error": {"type": '${ "urn:stigmer:error:\\(.code)" }', "status": 500, "title": "${ .code }"}}},
    ),
    "run": (
        "RUN",
        {"workflow": "ship", "input": {"id": "${.id}"}},
        {"run": {"workflow": {"namespace": "acme", "name": "ship", "version": "latest", "input": {"id": "${ .id }"}}}},
    ),
    "run, of another namespace": (
        "RUN",
        {"workflow": "shop/ship@2.0.0"},
        {"run": {"workflow": {"namespace": "shop", "name": "ship", "version": "2.0.0"}}},
    ),
    "run, what an expression says": (
        "RUN",
        {"workflow": "${.which}"},
        {"run": {"workflow": {"namespace": "acme", "name": "${ .which }", "version": "latest"}}},
    ),
    "agent": (
        "AGENT_CALL",
        {
            "agent": "reviewer",
            "scope": "platform",
            "message": "Review ${ .code }",
            "env": {"A": "${ .a }"},
            "config": {"model": "large", "timeout": 60, "temperature": 0.5},
        },
        {
            "call": "agent",
            "with": {
                "agent": "reviewer",
                "scope": "platform",
                "message": '${ "Review \\(.code)" }',
                "env": {"A": "${ .a }"},
                "model": "large",
                "temperature": 0.5,
                "timeout": {"seconds": 60},
            },
        },
    ),
    "agent, as little as possible": (
        "AGENT_CALL",
        {"agent": "reviewer", "message": "Hi"},
        {"call": "agent", "with": {"agent": "reviewer", "message": "Hi"}},
    ),
}


class TestKinds:
    @pytest.mark.parametrize(("kind", "config", "expected"), KINDS.values(), ids=list(KINDS))
    def test_each_kind_becomes_a_task(self, kind: str, config: Any, expected: Any) -> None:
        assert made(kind, config) == expected

    def test_every_kind_is_in_the_table(self) -> None:
        named = {name.removeprefix("WORKFLOW_TASK_KIND_") for name in kinds.WorkflowTaskKind.keys()}  # noqa: SIM118
        assert named - {kind for kind, _, _ in KINDS.values()} == {"UNSPECIFIED"}

    def test_members_may_be_named_as_in_json_and_kinds_by_number(self) -> None:
        inner = {"name": "a", "kind": kinds.WORKFLOW_TASK_KIND_HTTP_CALL, "taskConfig": {**HTTP, "timeoutSeconds": 3}}
        (step,) = made("FOR", {"in": ".", "do": [inner]})["do"]
        assert step["a"]["timeout"] == {"after": {"seconds": 3}}

    def test_null_is_a_member_that_is_not_there(self) -> None:
        assert made("HTTP_CALL", {**HTTP, "headers": None, "timeout_seconds": None}) == {"call": "http", "with": HTTP}


class TestTheWhole:
    def test_the_head(self) -> None:
        converted = convert(spec(SET, description="What it is for"))
        assert converted.document["document"] == {**DOCUMENT, "summary": "What it is for"}
        assert "use" not in converted.document

    def test_two_descriptions(self) -> None:
        both = convert(spec(SET, description="Long", document={**DOCUMENT, "description": "Short"}))
        assert both.document["document"] == {**DOCUMENT, "summary": "Short", "metadata": {"description": "Long"}}
        same = convert(spec(SET, description="Same", document={**DOCUMENT, "description": "Same"}))
        assert same.document["document"] == {**DOCUMENT, "summary": "Same"}

    def test_export_and_flow(self) -> None:
        first = task("a", "SET", {"variables": {"x": "1"}}, export={"as": "${.}"}, flow={"then": "b"})
        last = task("b", "SET", {"variables": {"x": "1"}}, export={"as": "$context + {b: .}"}, flow={"then": "end"})
        assert convert(spec(first, last)).document["do"] == [
            {"a": {"set": {"x": "1"}, "export": {"as": "${ . }"}, "then": "b"}},
            {"b": {"set": {"x": "1"}, "export": {"as": "${ $context + {b: .} }"}, "then": "end"}},
        ]

    def test_inner_tasks_have_them_too(self) -> None:
        inner = task("a", "SET", {"variables": {"x": "1"}}, export={"as": ".x"}, flow={"then": "exit"})
        (step,) = made("FOR", {"in": ".", "do": [inner]})["do"]
        assert step == {"a": {"set": {"x": "1"}, "export": {"as": "${ .x }"}, "then": "exit"}}

    def test_the_environment_is_declared_and_its_values_are_not_in_the_document(self) -> None:
        given = environment(TOKEN={"value": "sesame", "is_secret": True}, REGION={"value": "eu"})
        converted = convert(spec(SET, env_spec=given))
        assert converted.document["use"] == {"secrets": ["REGION", "TOKEN"]}
        assert "sesame" not in converted.yaml

    def test_what_is_used_is_declared_too(self) -> None:
        converted = convert(spec(task("t", "SET", {"variables": {"a": "${ .secrets.KEY }", "b": "${.env_vars.ZONE}"}})))
        assert converted.document["use"] == {"secrets": ["KEY", "ZONE"]}
        assert converted.document["do"] == [{"t": {"set": {"a": "${ $secrets.KEY }", "b": "${ $secrets.ZONE }"}}}]

    def test_the_text_is_the_document(self) -> None:
        tasks = [task(f"t{number}", kind, config) for number, (kind, config, _) in enumerate(KINDS.values())]
        odd = [
            "yes",
            "null",
            "0o17",
            "1e3",
            "12:30",
            "~",
            " x ",
            "a: b",
            "- a",
            "#",
            "a\nb",
            "\x07",
            "\x85",
            "a\u2028b",
            "a \n b\n\n",
            "\n",
            "\t\n",
            "é",
            "2026-01-01",
            "${ }",
        ]
        texts = {text: text for text in odd if "${" not in text}
        converted = convert(spec(*tasks, task("odd", "SET", {"variables": texts})), check=False)
        root, complaints = read_text(converted.yaml)
        assert complaints == []
        assert root.json == converted.document
        assert convert(spec(*tasks), check=False).yaml == convert(spec(*tasks), check=False).yaml

    def test_the_text_is_fit_for_other_readers(self) -> None:
        # Older readers take y, no and 1:30 for something else.
        variables = {"y": "no", "b": "1:30", "c": "plain words", "d": "a\nb\n"}
        text_ = convert(spec(task("t", "SET", {"variables": variables}))).yaml
        assert text_.endswith("      b: '1:30'\n      c: 'plain words'\n      d: |\n        a\n        b\n      'y': 'no'\n")

    def test_the_order_in_which_a_map_was_written_does_not_matter(self) -> None:
        names = [f"n{number}" for number in range(20)]
        one, other = (task("t", "SET", {"variables": dict.fromkeys(order, "1")}) for order in (names, names[::-1]))
        assert convert(spec(one)).yaml == convert(spec(other)).yaml

    def test_the_document_is_valid(self) -> None:
        tasks = [task(f"t{number}", kind, config) for number, (kind, config, _) in enumerate(KINDS.values())]
        _, warnings = read_document(convert(spec(*tasks)).yaml)
        assert [each.code for each in warnings if each.code != "task.unreachable"] == []

    def test_places_of_the_document_are_known(self) -> None:
        inner = task("a", "HTTP_CALL", {**HTTP, "headers": {"x~y": "1"}})
        converted = convert(spec(SET, task("loop", "FOR", {"in": ".", "do": [inner]})))
        place = "/tasks/1/task_config/do/0/task_config/headers/x~0y"
        assert converted.source("/do/1/loop/do/0/a/with/headers/x~0y") == place
        assert converted.source("/do/0/note") == "/tasks/0"
        assert converted.source("/document/name") == "/document/name"


TEXTS: dict[str, tuple[str, str]] = {
    "text": ("no expression, $5 {a}", "no expression, $5 {a}"),
    "an expression": ("${ .a }", "${ .a }"),
    "without spaces": ("${.a}", "${ .a }"),
    "spaces around": ("  ${.a} ", "${ .a }"),
    "in a text": ("a ${.b} c", '${ "a \\(.b) c" }'),
    "several": ("${.a}/${.b}", '${ "\\(.a)/\\(.b)" }'),
    "quotes and backslashes around": ('"\\( ${.a}', '${ "\\"\\\\( \\(.a)" }'),
    "brackets in the expression": ("x ${ {a: {b: 1}} | .a.b } y", '${ "x \\({a: {b: 1}} | .a.b) y" }'),
    "brackets in its strings": ('x ${ "}" + .a } y', '${ "x \\("}" + .a) y" }'),
    "a string in a string": ('x ${ "<\\(.a + "}")>" } y', '${ "x \\("<\\(.a + "}")>") y" }'),
    "a comment": ("x ${ .a # all\n } y", '${ "x \\(.a # all\n) y" }'),
    "the environment": ("Bearer ${ .secrets.TOKEN }", '${ "Bearer \\($secrets.TOKEN)" }'),
    "the environment by name": ("${TOKEN}", "${ $secrets.TOKEN }"),
    "the environment in a comparison": ("${.env_vars.ZONE == .zone}", "${ $secrets.ZONE == .zone }"),
    "a member that only has the name": ("${ .a.secrets.b }", "${ .a.secrets.b }"),
    "a member of such a name": ('${ .["secrets"].b }', '${ .["secrets"].b }'),
    "a function of jq": ("${ length }", "${ length }"),
    "a variable": ("${ $context.a }", "${ $context.a }"),
}

LOOP_TEXTS: dict[str, tuple[str, str]] = {
    "the variable": ("${ $item }", "${ $item }"),
    "as a name": ("${item}", "${ $item }"),
    "as a member": ("${.item.id}", "${ $item.id }"),
    "as a name with a member": ("${ item.id + index(1) }", "${ $item.id + index(1) }"),
    "of $data": ("${ $data.item.id + $data.index }", "${ $item.id + $index }"),
    "after a bracket": ("${ (.item.a) + [.item.b] }", "${ ($item.a) + [$item.b] }"),
    "as an index": ("${ .list[.index] }", "${ .list[$index] }"),
    "in a string": ('${ "<\\(.item.id)>" }', '${ "<\\($item.id)>" }'),
    "in an object": ("${ {item, a: .item, item: 1} }", "${ {item: $item, a: $item, item: 1} }"),
    "before a pipe": ('${ .item.tags | join("-") }', '${ $item.tags | join("-") }'),
    "a member of a member": ("${ .a.item }", "${ .a.item }"),
    "in a condition": ("${ if .item then .item else 0 end }", "${ if $item then $item else 0 end }"),
    "a local $data": ("${ . as $data | $data.item }", "${ . as $data | $data.item }"),
}


class TestTexts:
    @pytest.mark.parametrize(("given", "expected"), TEXTS.values(), ids=list(TEXTS))
    def test_a_text(self, given: str, expected: str) -> None:
        converted = made("SET", {"variables": {"x": given}}, env_spec=environment(TOKEN={}, ZONE={}))
        assert converted == {"set": {"x": expected}}

    @pytest.mark.parametrize(("given", "expected"), LOOP_TEXTS.values(), ids=list(LOOP_TEXTS))
    def test_a_text_in_a_loop(self, given: str, expected: str) -> None:
        inner = task("a", "SET", {"variables": {"x": given}})
        assert made("FOR", {"in": ".", "do": [inner]})["do"] == [{"a": {"set": {"x": expected}}}]

    @pytest.mark.parametrize(
        "given", ["${ .list | map(.item) }", "${ map(.item) }", "${ [.item[] | .item] }", "${ reduce .l[] as $x (0; .item) }"]
    )
    def test_a_name_that_may_mean_something_else_gets_a_warning(self, given: str) -> None:
        inner = task("a", "SET", {"variables": {"x": given}})
        (warning,) = convert(spec(task("t", "FOR", {"in": ".", "do": [inner]}))).warnings
        assert warning.pointer == "/tasks/0/task_config/do/0/task_config/variables/x"
        assert "task 'a': `.item` is taken for a member" in warning.message
        assert warning.hint == "write $item for the variable"

    def test_names_of_a_loop_end_with_it(self) -> None:
        inside = task("a", "SET", {"variables": {"x": "${.order}"}})
        outside = task("b", "SET", {"variables": {"x": "${.order}"}})
        steps = convert(spec(task("t", "FOR", {"each": "order", "in": ".order", "do": [inside]}), outside)).document["do"]
        assert steps == [
            {"t": {"for": {"each": "order", "in": "${ .order }"}, "do": [{"a": {"set": {"x": "${ $order }"}}}]}},
            {"b": {"set": {"x": "${ .order }"}}},
        ]

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("${.error}", "${ $error }"),
            ("${ .error.message }", "${ $error.detail }"),
            ("${ $error.message + $data.error.type }", "${ $error.detail + $error.type }"),
            ("${error.message}", "${ $error.detail }"),
            ("${ error }", "${ $error }"),
            ('${ error("x") }', '${ error("x") }'),
        ],
    )
    def test_a_caught_error(self, given: str, expected: str) -> None:
        inner = task("a", "SET", {"variables": {"x": given}})
        caught = made("TRY", {"try": INNER, "catch": {"do": [inner]}})
        assert caught["catch"]["do"] == [{"a": {"set": {"x": expected}}}]

    @pytest.mark.parametrize("field", ["when", "in", "export"])
    def test_an_expression_may_be_bare(self, field: str) -> None:
        def bare(text: str) -> Any:
            if field == "when":
                return made("SWITCH", {"cases": [{"name": "a", "when": text, "then": "end"}]})["switch"][0]["a"]["when"]
            if field == "in":
                return made("FOR", {"in": text, "do": INNER})["for"]["in"]
            document: Any = convert(spec({**SET, "export": {"as": text}})).document
            return document["do"][0]["note"]["export"]["as"]

        assert [bare(text) for text in (".a", "${.a}", "${ .a }")] == ["${ .a }"] * 3


AT = "/tasks/0/task_config"
FAILURES: dict[str, tuple[str, Any, str]] = {
    "unknown member": (
        "HTTP_CALL",
        {**HTTP, "header": {}},
        f"{AT}/header: stigmer.unknown-field: task 't': HttpCallTaskConfig has no 'header': did you mean 'headers'?",
    ),
    "unknown member inside": (
        "HTTP_CALL",
        {"method": "GET", "endpoint": {"uri": "https://x.test/", "a/b": 1}},
        f"{AT}/endpoint/a~1b: stigmer.unknown-field: task 't': HttpEndpoint has no 'a/b': it can have uri",
    ),
    "twice": (
        "HTTP_CALL",
        {**HTTP, "timeoutSeconds": 1, "timeout_seconds": 1},
        f"{AT}/timeout_seconds: stigmer.unknown-field: task 't': 'timeout_seconds' is there twice, as 'timeout_seconds' too",
    ),
    "no string": (
        "SET",
        {"variables": {"n": 5}},
        f"{AT}/variables/n: stigmer.wrong-type: task 't': each of variables must be a string, not a number",
    ),
    "no map": (
        "SET",
        {"variables": []},
        f"{AT}/variables: stigmer.wrong-type: task 't': variables must be an object, not an array",
    ),
    "no list": ("FOR", {"in": ".", "do": {}}, f"{AT}/do: stigmer.wrong-type: task 't': do must be a list, not an object"),
    "null in a list": (
        "FOR",
        {"in": ".", "do": [None]},
        f"{AT}/do/0: stigmer.wrong-type: task 't': each of do must be an object, not null",
    ),
    "no whole number": (
        "WAIT",
        {"seconds": 1.5},
        f"{AT}/seconds: stigmer.wrong-type: task 't': seconds must be a whole number of 32 bits, not a number",
    ),
    "a boolean is no number": (
        "WAIT",
        {"seconds": True},
        f"{AT}/seconds: stigmer.wrong-type: task 't': seconds must be a whole number of 32 bits, not a boolean",
    ),
    "no boolean": (
        "FORK",
        {"branches": [{"name": "a"}], "compete": "yes"},
        f"{AT}/compete: stigmer.wrong-type: task 't': compete must be true or false, not a string",
    ),
    "no object": (
        "HTTP_CALL",
        {**HTTP, "body": "text"},
        f"{AT}/body: stigmer.wrong-type: task 't': body must be an object, not a string",
    ),
    "no such scope": (
        "AGENT_CALL",
        {"agent": "a", "message": "m", "scope": "galaxy"},
        f"{AT}/scope: stigmer.wrong-value: task 't': ApiResourceOwnerScope has no 'galaxy':"
        " it is one of platform, organization, identity_account",
    ),
    "a scope that agents do not have": (
        "AGENT_CALL",
        {"agent": "a", "message": "m", "scope": "identity_account"},
        f"{AT}/scope: stigmer.not-expressible: task 't': no agent is of scope identity_account: it is organization or platform",
    ),
    "nothing set": ("SET", {}, f"{AT}: stigmer.missing: task 't': it needs 'variables'"),
    "no uri": ("HTTP_CALL", {"method": "GET", "endpoint": {}}, f"{AT}/endpoint: stigmer.missing: task 't': it needs 'uri'"),
    "two kinds of places in a URI": (
        "HTTP_CALL",
        {"method": "GET", "endpoint": {"uri": "https://x.test/{a}/${.b}"}},
        f"{AT}/endpoint/uri: stigmer.not-expressible: task 't': a URI has either ${{ … }} or {{name}} in it, not both:"
        " write ${ .name } for it, too",
    ),
    "no address": (
        "GRPC_CALL",
        {"service": "demo.v1.Greeter", "method": "SayHello"},
        f"{AT}/service: stigmer.not-expressible: task 't': where the service is, is not said: write its address before its"
        " name: HOST:PORT/package.Service, or grpcs://HOST:PORT/package.Service for TLS",
    ),
    "no case": ("SWITCH", {}, f"{AT}: stigmer.missing: task 't': it needs 'cases'"),
    "a case that leads nowhere": (
        "SWITCH",
        {"cases": [{"name": "a", "when": "."}]},
        f"{AT}/cases/0: stigmer.missing: task 't': a case needs 'then'",
    ),
    "no branch": ("FORK", {}, f"{AT}: stigmer.missing: task 't': it needs 'branches'"),
    "a branch without a name": (
        "FORK",
        {"branches": [{}]},
        f"{AT}/branches/0: stigmer.missing: task 't': a branch needs 'name'",
    ),
    "no signals": ("LISTEN", {"to": {"mode": "all"}}, f"{AT}/to: stigmer.missing: task 't': it needs 'signals'"),
    "a query": (
        "LISTEN",
        {"to": {"mode": "one", "signals": [{"id": "a", "type": "query"}]}},
        f"{AT}/to/signals/0/type: stigmer.not-expressible: task 't': nothing is heard of type 'query': only what is sent to a"
        " run and not answered is an event: listen to a signal",
    ),
    "no mode": (
        "LISTEN",
        {"to": {"signals": [{"id": "a"}]}},
        f"{AT}/to/mode: stigmer.wrong-value: task 't': the mode cannot be '': it is one of one, any, all",
    ),
    "no time": ("WAIT", {}, f"{AT}: stigmer.missing: task 't': it needs 'seconds', 1 at least"),
    "no error": ("RAISE", {"message": "m"}, f"{AT}: stigmer.missing: task 't': it needs 'error'"),
    "no workflow's name": (
        "RUN",
        {"workflow": "a/b/c"},
        f"{AT}/workflow: stigmer.wrong-value: task 't': 'a/b/c' names no workflow: write NAME or NAMESPACE/NAME@VERSION",
    ),
    "an expression without an end": (
        "SET",
        {"variables": {"a": "x ${ .b"}},
        f"{AT}/variables/a: stigmer.bad-expression: task 't': the expression at character 3 has no end, or brackets that do"
        " not match: close it by }, or leave ${ out",
    ),
    "an empty expression": (
        "SET",
        {"variables": {"a": "${ }"}},
        f"{AT}/variables/a: stigmer.bad-expression: task 't': the expression is empty",
    ),
    "two expressions for one": (
        "FOR",
        {"in": "${.a} + ${.b}"},
        f"{AT}/in: stigmer.bad-expression: task 't': this must be one expression: put all of it into one ${{ … }}",
    ),
    "$data": (
        "SET",
        {"variables": {"a": "${ $data.order }"}},
        f"{AT}/variables/a: stigmer.bad-expression: task 't': the language has no $data but for the variables of loops: a task"
        " gets what the one before it gave (`.`), and what was exported is in $context",
    ),
    "too long": (
        "SET",
        {"variables": {"a": "${.b}" + "x" * 16_384}},
        f"{AT}/variables/a: expression.too-long: task 't': a text with an expression in it has 16389 characters, more than"
        " 16384: put what is long into the workflow's input, and name it by an expression",
    ),
    "an expression that does not compile": (
        "SET",
        {"variables": {"a": "${ result.status == 200 }"}},
        f"{AT}/variables/a: expression.invalid: task 't': ",
    ),
    "a name that is not known": ("SET", {"variables": {"a": "${apiURL}"}}, f"{AT}/variables/a: expression.invalid: task 't': "),
    "a function that no expression may use": (
        "SET",
        {"variables": {"a": "at ${now}"}},
        f"{AT}/variables/a: expression.forbidden: task 't': ",
    ),
    "a wrong method": ("HTTP_CALL", {**HTTP, "method": "G E T"}, f"{AT}/method: property.bad-value: task 't': "),
    "a wrong variable": ("FOR", {"each": "a b", "in": "."}, f"{AT}/each: variable.bad-name: task 't': "),
}


class TestFailures:
    @pytest.mark.parametrize(("kind", "config", "expected"), FAILURES.values(), ids=list(FAILURES))
    def test_says_what_is_wrong_where(self, kind: str, config: Any, expected: str) -> None:
        said = the_failure(kind, config)
        assert said.startswith(expected) if expected.endswith(": ") else said == expected

    def test_all_that_is_wrong_is_said(self) -> None:
        nested = task("inner", "WAIT", {"seconds": "1"})
        assert [
            line.partition(": task")[0]
            for line in failures(task("a", "SET", {}), task("b", "FOR", {"do": [nested], "in": "."}))
        ] == [
            "/tasks/0/task_config: stigmer.missing",
            "/tasks/1/task_config/do/0/task_config/seconds: stigmer.wrong-type",
        ]

    def test_an_error_in_the_catch_of_an_unknown_field(self) -> None:
        inner = task("h", "SET", {"variables": {"x": "${ .error.timestamp }"}})
        said = the_failure("TRY", {"try": INNER, "catch": {"as": "error", "do": [inner]}})
        place = f"{AT}/catch/do/0/task_config/variables/x"
        assert said.startswith(f"{place}: stigmer.bad-expression: task 'h': a caught error has no 'timestamp': it has type,")

    def test_a_spec_without_anything(self) -> None:
        with pytest.raises(ConversionFailed) as caught:
            convert(WorkflowSpec())
        assert [str(each) for each in caught.value.diagnostics] == [
            *(
                f"WorkflowSpec:/document: stigmer.missing: document needs '{name}'"
                for name in ("dsl", "namespace", "name", "version")
            ),
            "WorkflowSpec:/tasks: stigmer.missing: a workflow needs a task",
        ]
        assert caught.value.code == "stigmer.missing"

    def test_a_kind_that_is_not_known(self) -> None:
        unknown = spec(SET)
        unknown.tasks[0].kind = 99  # type: ignore[assignment]  # no kind has this number
        with pytest.raises(
            ConversionFailed, match=r"/tasks/0/kind: stigmer.unknown-kind: task 'note': there is no kind 99: it is"
        ):
            convert(unknown)
        (said,) = failures({**SET, "kind": "WORKFLOW_TASK_KIND_UNSPECIFIED"})
        assert "there is no kind WORKFLOW_TASK_KIND_UNSPECIFIED" in said

    def test_names_and_jumps(self) -> None:
        lost = {**SET, "flow": {"then": "nowhere"}}
        assert failures({**SET, "name": ""}) == ["/tasks/0: stigmer.missing: a task needs 'name'"]
        assert [line.partition(": task '")[0] for line in failures(SET, SET)] == ["/tasks/1: task.duplicate-name"]
        (jump,) = failures(lost)
        assert jump.startswith("/tasks/0/flow/then: then.unknown-target: task 'note': ")

    def test_the_head_is_checked(self) -> None:
        (said,) = failures(SET, document={**DOCUMENT, "version": "1.0"})
        assert said.startswith("/document/version: document.bad-version: ")

    def test_numbers_that_are_none(self) -> None:
        bad = spec(task("t", "HTTP_CALL", HTTP))
        body = Struct()
        body.fields["a"].number_value = float("nan")
        bad.tasks[0].task_config.fields["body"].struct_value.CopyFrom(body)
        with pytest.raises(
            ConversionFailed, match=r"/tasks/0/task_config/body/a: document.not-json: task 't': a number must be finite"
        ):
            convert(bad)

    def test_too_deep(self) -> None:
        config: dict[str, Any] = {"variables": {"a": "1"}}
        inner = task("t", "SET", config)
        for _ in range(40):
            inner = task("t", "TRY", {"try": [inner]})
        deep = WorkflowSpec()
        deep.CopyFrom(spec(SET))
        _fill(deep.tasks.add(), inner)
        with pytest.raises(ConversionFailed, match=r"document\.too-deep"):
            convert(deep)

    def test_data_that_are_too_deep(self) -> None:
        deep = spec(task("t", "HTTP_CALL", HTTP))
        inner = deep.tasks[0].task_config.fields["body"].struct_value
        for _ in range(2_000):
            inner = inner.fields["a"].struct_value
        inner.fields["a"].string_value = "x"
        with pytest.raises(ConversionFailed, match=r"document\.too-deep: task 't': it is nested more than 128 levels deep"):
            convert(deep)

    def test_without_a_check_only_what_cannot_be_said_is_an_error(self) -> None:
        assert isinstance(convert(spec({**SET, "flow": {"then": "nowhere"}}), check=False), Converted)
        with pytest.raises(ConversionFailed):
            convert(spec(task("t", "WAIT", {})), check=False)

    def test_only_so_much_is_said(self) -> None:
        with pytest.raises(ConversionFailed) as caught:
            convert(spec(*(task(f"t{number}", "WAIT", {}) for number in range(200))))
        assert len(caught.value.diagnostics) == 50


def _fill(message: Any, value: dict[str, Any]) -> None:
    """A task with a config that is deeper than json_format goes."""
    message.name, message.kind = value["name"], kinds.WorkflowTaskKind.Value(value["kind"])
    _fill_struct(message.task_config, value["task_config"])


def _fill_struct(struct: Any, value: dict[str, Any]) -> None:
    for name, item in value.items():
        _fill_value(struct.fields[name], item)


def _fill_value(message: Any, value: Any) -> None:
    if isinstance(value, dict):
        message.struct_value.SetInParent()
        _fill_struct(message.struct_value, value)
    elif isinstance(value, list):
        message.list_value.SetInParent()
        for item in value:
            _fill_value(message.list_value.values.add(), item)
    else:
        message.string_value = value


PAGE = (Path(__file__).parents[3] / "docs" / "converter.md").read_text()
ROWS = re.findall(r"^\| (`[^|]*) \| `(\$\{[^|]*\})` \|", PAGE, re.MULTILINE)


class TestThePage:
    """docs/converter.md says what becomes what."""

    def test_every_kind_has_a_row(self) -> None:
        rows = re.findall(r"^\| `([A-Z_]+)` \| ", PAGE, re.MULTILINE)
        assert rows == [name.removeprefix("WORKFLOW_TASK_KIND_") for name in list(kinds.WorkflowTaskKind.keys())[1:]]

    def test_there_are_texts(self) -> None:
        assert len(ROWS) == 7

    @pytest.mark.parametrize(("written", "becomes"), ROWS)
    def test_the_texts_become_what_it_says(self, written: str, becomes: str) -> None:
        names = Names(frozenset({"TOKEN"}), frozenset({"item", "index"}), frozenset({"error"}))
        for given in re.findall(r"`([^`]+)`", written.split(" in `")[0]):
            where = Where(Problems("test"), names, "", "")
            got = text(given, where) if "${" in given else expression(given, where)
            assert got.replace("ZONE", "TOKEN") == becomes
