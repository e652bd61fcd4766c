"""What a Call carries of a policy, what a host makes of it, and `$authorization`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests import canaries
from tests.unit.interpreter.virtual import Story, run

from workflow_runner.dsl import problems
from workflow_runner.dsl.problems import WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.evaluate import JqRequest
from workflow_runner.expressions.programs import compile_text, single_value
from workflow_runner.interpreter.authentication import resolved
from workflow_runner.interpreter.effects import Call

TOKEN = canaries.BEARER


def story_of(policy: str, input_: Any = None, use: str = "", call: str = "", **options: Any) -> Story:
    return run(
        f"""
        use: {{secrets: [mine, other]{use}}}
        do:
          - c:
              call: http
              with:
                method: get
                endpoint: {{uri: 'http://x.test/', authentication: {policy}}}
              {call}
        """,
        input_,
        **{"answer": lambda _: None, "secrets": {"mine": TOKEN}, **options},
    )


def carried(policy: str, input_: Any = None, use: str = "", **options: Any) -> dict[str, Any]:
    """Of the only call; as JSON, for hosts may keep it so."""
    (call,) = story_of(policy, input_, use, **options).calls
    assert call.protocol == "http"
    assert canaries.found_in(json.dumps([call.arguments, call.authentication]) + repr(call)) == []
    found: dict[str, Any] = json.loads(json.dumps(call.authentication))
    return found


async def _deferred(request: Any) -> Json:
    assert isinstance(request, JqRequest)
    return single_value(compile_text(request.program), request.payload)


def opened(policy: dict[str, Any], secrets: dict[str, Json]) -> dict[str, Json]:
    return asyncio.run(resolved(policy, secrets, _deferred))


class TestCarried:
    def test_members_are_evaluated(self) -> None:
        got = carried("{basic: {username: '${ .user }', password: p}}", {"user": "ann"})
        assert got == {"scheme": "basic", "members": {"username": "ann", "password": "p"}}

    def test_a_call_without_a_policy_carries_none(self) -> None:
        story = run("do: [{c: {call: http, with: {method: get, endpoint: 'http://x.test/'}}}]", answer=lambda _: None)
        assert story.calls[0].authentication is None

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            ("{bearer: {token: '${ $secrets.mine }'}}", TOKEN),
            ("{bearer: {token: '${ $secrets.mine + \"-\" + .who }'}}", f"{TOKEN}-ann"),
            ("{bearer: '${ $secrets.mine + $input.who + $task.name }'}", f"{TOKEN}annc"),
            ("{bearer: {token: '${ [limit(1; $secrets.mine)] | .[0] }'}}", TOKEN),
            ("{bearer: {use: mine}}", TOKEN),
        ],
        ids=["path", "program", "names", "a program for the worker", "secret"],
    )
    def test_secrets_are_put_in_by_the_host(self, policy: str, expected: str) -> None:
        got = carried(policy, {"who": "ann"})
        assert opened(got, {"mine": TOKEN, "other": 5}) == {"scheme": "bearer", "members": {"token": expected}}

    def test_what_a_path_does_not_need_is_not_carried(self) -> None:
        assert "big" not in str(carried("{bearer: {token: '${ $secrets.mine }'}}", "big"))

    def test_a_secret_may_be_the_whole_policy(self) -> None:
        value: Json = {"client": {"id": "a"}, "scopes": ["x", "y"], "authority": "http://a.test"}
        got = opened(carried("{oauth2: {use: mine}}", secrets={"mine": value}), {"mine": value})
        assert got["members"] == {"client.id": "a", "scopes.0": "x", "scopes.1": "y", "authority": "http://a.test"}

    def test_an_expression_sees_no_secret_that_it_does_not_name(self) -> None:
        got = carried("{bearer: {token: '${ $secrets | tojson }'}}", secrets={"mine": TOKEN, "other": "x", "undeclared": "y"})
        members = opened(got, {"mine": TOKEN, "other": "x", "undeclared": "y"})["members"]
        assert members == {"token": json.dumps({"mine": TOKEN, "other": "x"}, separators=(",", ":"))}

    def test_uri_templates_are_filled(self) -> None:
        got = carried(
            """{oauth2: {authority: 'http://{host}/r', grant: client_credentials, client: {id: '{host}'},
                 scopes: [a, '${ .s }'], issuers: ['http://{host}', '${ "{host}" }'], endpoints: {token: '/{host}/t'}}}""",
            {"host": "h", "s": "b"},
        )
        assert got["members"] == {
            "authority": "http://h/r",
            "grant": "client_credentials",
            "client.id": "{host}",
            "endpoints.token": "/h/t",
            "issuers.0": "http://h",
            "issuers.1": "{host}",
            "scopes.0": "a",
            "scopes.1": "b",
        }

    @pytest.mark.parametrize("how", ["{use: shared}", "shared"])
    def test_a_reusable_policy_sees_the_task_that_uses_it(self, how: str) -> None:
        use = ", authentications: {shared: {bearer: {token: '${ .t + $task.name }'}}}"
        assert carried(how, {"t": "x"}, use)["members"] == {"token": "xc"}

    def test_numbers_are_passwords_too(self) -> None:
        assert carried("{basic: {username: admin, password: 1234}}")["members"]["password"] == "1234"

    def test_a_schemas_resource_has_a_policy(self) -> None:
        story = run(
            """
            use: {secrets: [mine]}
            do:
              - a:
                  input:
                    schema: {resource: {endpoint: {uri: 'http://x.test/{n}', authentication: {bearer: '${ $secrets.mine }'}}}}
                  set: 1
            """,
            {"n": 1},
            answer=lambda _: True,
            secrets={"mine": TOKEN},
        )
        (call,) = story.calls
        assert opened(dict(call.authentication or {}), {"mine": TOKEN})["members"] == {"token": TOKEN}


class TestRefused:
    @pytest.mark.parametrize("policy", ["{bearer: {token: '${ $secrets.other }'}}", "{bearer: {use: other}}"])
    def test_a_secret_without_a_value(self, policy: str) -> None:
        with pytest.raises(WorkflowFault) as caught:
            opened(carried(policy), {"mine": TOKEN})
        assert (caught.value.problem.type, caught.value.problem.status) == (problems.AUTHORIZATION, 403)
        assert "other" in str(caught.value.problem.detail)

    def test_a_secret_that_is_no_policy(self) -> None:
        with pytest.raises(WorkflowFault) as caught:
            opened(carried("{basic: {use: mine}}"), {"mine": TOKEN})
        assert caught.value.problem.type == problems.CONFIGURATION
        assert canaries.found_in(str(caught.value.problem)) == []

    @pytest.mark.parametrize("program", ["$secrets.mine + 1", "$secrets.mine.a.b"])
    def test_an_expression_over_secrets_that_fails(self, program: str) -> None:
        with pytest.raises(WorkflowFault) as caught:
            opened(carried(f"{{bearer: {{token: '${{ {program} }}'}}}}"), {"mine": TOKEN})
        assert caught.value.problem.type == problems.EXPRESSION
        assert canaries.found_in(str(caught.value.problem)) == []

    def test_an_expression_over_data_that_fails_is_the_tasks_fault(self) -> None:
        fault = story_of("{bearer: {token: '${ .a }'}}", 5).fault
        assert (fault["type"], fault["instance"]) == (problems.EXPRESSION, "/do/0/c")


def describing(request: Call) -> Json:
    """A host that knows the one secret."""
    if request.protocol == "authorization":
        assert "$secrets.mine" in str(request.authentication)
        return {"scheme": "Bearer", "parameter": TOKEN}
    return "answered"


class TestAuthorization:
    POLICY = "{bearer: {token: '${ $secrets.mine }'}}"

    def test_it_is_known_in_the_tasks_own_expressions(self) -> None:
        story = run(
            f"""
            use: {{secrets: [mine]}}
            do:
              - c:
                  call: http
                  with:
                    method: get
                    endpoint: {{uri: 'http://x.test/', authentication: {self.POLICY}}}
                    headers: {{X-Scheme: '${{ $authorization.scheme }}'}}
                  output: {{as: '[., ($authorization.parameter | length)]'}}
                  export: {{as: '[$authorization.scheme, ($authorization.parameter | length)]'}}
              - after: {{set: '${{ [., $authorization] }}'}}
            """,
            answer=describing,
            secrets={"mine": TOKEN},
        )
        asked, called = story.calls
        assert (asked.protocol, called.protocol) == ("authorization", "http")
        assert called.arguments["headers"] == {"X-Scheme": "Bearer"}
        assert story.output == [["answered", len(TOKEN)], None]
        assert story.context == ["Bearer", len(TOKEN)]
        assert canaries.found_in(str(story.events)) == []

    def test_nobody_is_asked_where_no_expression_wants_to_know(self) -> None:
        assert [call.protocol for call in story_of(self.POLICY, answer=describing).calls] == ["http"]

    def test_a_task_before_that_asks_does_not_make_others_ask(self) -> None:
        endpoint = f"{{uri: 'http://x.test/', authentication: {self.POLICY}}}"
        story = run(
            f"""
            use: {{secrets: [mine]}}
            do:
              - a: {{call: http, with: {{method: get, endpoint: {endpoint}}}, output: {{as: $authorization.scheme}}}}
              - b: {{call: http, with: {{method: get, endpoint: {endpoint}}}}}
            """,
            answer=describing,
            secrets={"mine": TOKEN},
        )
        assert [call.protocol for call in story.calls] == ["authorization", "http", "http"]

    def test_what_fails_over_it_is_not_quoted(self) -> None:
        story = story_of(self.POLICY, call="output: {as: $authorization.parameter + 1}", answer=describing)
        assert story.fault["type"] == problems.EXPRESSION
        assert canaries.found_in(str(story.fault)) == []
        assert "$authorization" in str(story.fault["detail"])

    def test_a_policy_that_cannot_be_had_is_the_tasks_fault(self) -> None:
        def refuse(request: Call) -> Json:
            raise WorkflowFault(problems.Problem.standard(problems.AUTHENTICATION, request.protocol))

        story = story_of(self.POLICY, call="output: {as: $authorization.scheme}", answer=refuse)
        assert (story.fault["detail"], story.fault["instance"]) == ("authorization", "/do/0/c")
