"""`call: agent` and `call: activity`: what the interpreter asks its host for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests import canaries
from tests.unit.interpreter.test_authentication import opened
from tests.unit.interpreter.virtual import run

from workflow_runner.interpreter.effects import Call

PLAIN: dict[str, Any] = {
    "agent": "reviewer",
    "scope": "organization",
    "org": "",
    "message": "Hi",
    "env": {},
    "model": "",
    "temperature": None,
    "output": "content",
}


def asked(function: str, with_: str, input_: Any = None, *, task: str = "", more: str = "", **options: Any) -> Call:
    story = run(f"do: [{{c: {{call: {function}, with: {{{with_}}}{task}}}}}]\n{more}", input_, answer=lambda _: "x", **options)
    (call,) = story.calls
    assert (call.protocol, call.reference) == (function, "/do/0/c")
    assert len(call.idempotency_key) == 64
    return call


class TestAgent:
    def test_what_is_asked_of_which_agent(self) -> None:
        call = asked(
            "agent",
            "agent: '${ .a }', scope: platform, org: acme, message: '${ \"Review \\(.m)\" }', env: {A: '${ .n }', B: b},"
            " model: '${ .model }', temperature: '${ .t }', timeout: PT5M, output: response",
            {"a": "helper", "m": "this", "n": 1, "model": "large", "t": 0.5},
        )
        assert call.arguments == {
            "agent": "helper",
            "scope": "platform",
            "org": "acme",
            "message": "Review this",
            "env": {"A": 1, "B": "b"},
            "model": "large",
            "temperature": 0.5,
            "output": "response",
            "seconds": 300,
        }
        assert call.authentication is None

    def test_what_is_not_said_is_left_to_the_host(self) -> None:
        assert asked("agent", "agent: reviewer, message: Hi").arguments == PLAIN

    @pytest.mark.parametrize(("own", "around", "seconds"), [(60, 90, 60), (90, 60, 60)])
    def test_the_shorter_time_limit_counts(self, own: int, around: int, seconds: int) -> None:
        with_ = f"agent: reviewer, message: Hi, timeout: {{seconds: {own}}}"
        call = asked("agent", with_, task=f", timeout: {{after: {{seconds: {around}}}}}")
        assert call.arguments["seconds"] == seconds

    def test_secrets_of_the_environment_are_carried_sealed(self) -> None:
        call = asked(
            "agent",
            "agent: reviewer, message: Hi, env: {A: '${ .n }', TOKEN: '${ $secrets.T }', BOTH: '${ .n + $secrets.T }'}",
            {"n": "see "},
            more="use: {secrets: [T]}",
            secrets={"T": canaries.WORKFLOW_SECRET},
        )
        assert call.arguments["env"] == {"A": "see "}
        assert call.authentication is not None
        assert canaries.found_in(json.dumps([call.arguments, call.authentication]) + repr(call)) == []
        assert opened(dict(call.authentication), {"T": canaries.WORKFLOW_SECRET})["members"] == {
            "TOKEN": canaries.WORKFLOW_SECRET,
            "BOTH": f"see {canaries.WORKFLOW_SECRET}",
        }

    def test_so_is_an_environment_that_is_one_expression(self) -> None:
        call = asked(
            "agent",
            "agent: reviewer, message: Hi, env: '${ {T: $secrets.T} }'",
            more="use: {secrets: [T]}",
            secrets={"T": canaries.WORKFLOW_SECRET},
        )
        assert call.arguments["env"] == {}
        assert canaries.found_in(json.dumps([call.arguments, call.authentication])) == []
        secrets: dict[str, Any] = {"T": canaries.WORKFLOW_SECRET}
        assert call.authentication is not None
        assert opened(dict(call.authentication), secrets)["members"] == {"*": secrets}
        assert asked("agent", "agent: reviewer, message: Hi, env: '${ . }'", {"A": "1"}).arguments["env"] == {"A": "1"}

    def test_the_answer_is_the_output(self) -> None:
        story = run("do: [{c: {call: agent, with: {agent: a, message: m}}}]", answer=lambda _: "Fine.")
        assert story.output == "Fine."

    @pytest.mark.parametrize(
        "with_",
        [
            "agent: '${ .list }', message: m",
            "agent: a, message: '${ .list }'",
            "agent: a, message: m, org: '${ .list }'",
            "agent: a, message: m, model: '${ .list }'",
            "agent: a, message: m, env: '${ .list }'",
            "agent: a, message: m, temperature: '${ .list }'",
            "agent: a, message: m, temperature: '${ 3 }'",
            "agent: a, message: m, temperature: '${ true }'",
            "agent: a, message: m, timeout: '${ .list }'",
        ],
    )
    def test_values_of_the_wrong_kind_are_expression_errors(self, with_: str) -> None:
        fault = run(f"do: [{{c: {{call: agent, with: {{{with_}}}}}}}]", {"list": []}).fault
        assert str(fault["type"]).endswith("/expression")
        assert (fault["status"], fault["instance"]) == (400, "/do/0/c")

    def test_a_function_of_the_documents_own_goes_before(self) -> None:
        story = run("use: {functions: {agent: {set: {n: '${ .n }'}}}}\ndo: [{c: {call: agent, with: {n: 5}}}]")
        assert (story.output, story.calls) == ({"n": 5}, [])


class TestActivity:
    def test_what_is_asked_of_which_activity(self) -> None:
        call = asked("activity", "activity: '${ .which }', input: {n: '${ .n }'}", {"which": "Charge", "n": 1})
        assert call.arguments == {"activity": "Charge", "input": {"n": 1}}

    def test_without_an_input_it_gets_the_tasks(self) -> None:
        call = asked("activity", "activity: Charge", {"n": 1}, task=", timeout: {after: PT9S}")
        assert call.arguments == {"activity": "Charge", "input": {"n": 1}, "seconds": 9}

    def test_a_function_of_the_documents_own_goes_before(self) -> None:
        story = run("use: {functions: {activity: {set: {n: 1}}}}\ndo: [{c: {call: activity, with: {activity: x}}}]")
        assert (story.output, story.calls) == ({"n": 1}, [])
