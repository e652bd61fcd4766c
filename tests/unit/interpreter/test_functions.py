"""`call` of functions: those of the document, and those that the host fetches."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.interpreter.virtual import run

from workflow_runner.dsl.problems import COMMUNICATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.frames import Function, ListFrame


class Fetching:
    """Answers what is asked: functions from a table by address, anything else with its arguments."""

    def __init__(self, functions: dict[str, Any]) -> None:
        self.functions = functions

    def __call__(self, request: Call) -> Json:
        if request.protocol == "function":
            default: Any = request.arguments.get("default")
            key = str(request.arguments["uri"]) if default is None else f"default {default['name']} {default['version']}"
            found: Json = self.functions[key]
            return found
        return dict(request.arguments)


def test_a_function_runs_over_its_arguments_and_sees_nothing_else() -> None:
    story = run(
        """
        use: {functions: {f: {set: {data: "${ . }", input: "${ $input }", context: "${ $context }", task: "${ $task.input }"}}}}
        do:
          - before: {set: {secret: 1}, export: {as: "{seen: 1}"}}
          - c: {call: f, with: {a: "${ .secret + 1 }", b: [text]}}
        """
    )
    arguments = {"a": 2, "b": ["text"]}
    assert story.output == {"data": arguments, "input": arguments, "context": {}, "task": arguments}


def test_loops_variables_do_not_reach_a_function() -> None:
    document = """
        use: {functions: {f: {set: "${ [.n, $item] }"}}}
        do: [{l: {for: {in: "[1]"}, do: [{c: {call: f, with: {n: 1}}}]}}]
        """
    with pytest.raises(Exception, match=r"\$item is not available here"):
        run(document)


def test_without_arguments_a_function_gets_an_empty_object() -> None:
    assert run("use: {functions: {f: {set: '${ . }'}}}\ndo: [{c: {call: f}}]", 7).output == {}


def test_arguments_may_be_one_expression() -> None:
    document = "use: {functions: {f: {set: '${ .n }'}}}\ndo: [{c: {call: f, with: '${ . }'}}]"
    assert run(document, {"n": 5}).output == 5
    assert str(run(document, [5]).fault["type"]).endswith("/expression")


def test_a_uri_template_in_a_function_is_filled_from_its_arguments() -> None:
    story = run(
        """
        use:
          functions:
            getPet:
              input: {schema: {document: {type: object, properties: {petId: {type: integer}}, required: [petId]}}}
              call: http
              with: {method: get, endpoint: 'http://pets.test/v2/pet/{petId}'}
        do: [{get: {call: getPet, with: {petId: 69}}}]
        """,
        answer=lambda _: {"name": "Milou"},
    )
    assert story.output == {"name": "Milou"}
    assert story.calls[0].arguments["uri"] == "http://pets.test/v2/pet/69"


def test_what_a_function_exports_stays_in_it() -> None:
    story = run(
        """
        use:
          functions:
            f: {do: [{a: {set: 1, export: {as: "{inner: .}"}}}, {b: {set: "${ [., $context] }"}}], export: {as: "{outer: .}"}}
        do: [{c: {call: f}}]
        output: {as: "[., $context]"}
        """
    )
    assert story.output == [[1, {"inner": 1}], {}]


def test_a_function_has_all_that_a_task_has() -> None:
    story = run(
        """
        use:
          functions:
            f:
              if: .n > 0
              input: {schema: {document: {type: object, required: [n]}}, from: .n}
              set: "${ . + 1 }"
              output: {as: "{m: .}"}
        do:
          - c: {call: f, with: {n: "${ . }"}, output: {as: "[.]"}}
        """,
        4,
    )
    assert story.output == [{"m": 5}]
    assert run("use: {functions: {f: {if: .n > 0, set: 1}}}\ndo: [{c: {call: f, with: {n: 0}}}]").output == {"n": 0}


def test_arguments_that_do_not_match_are_the_callers_error() -> None:
    document = """
        use:
          functions:
            f: {input: {schema: {document: {properties: {n: {type: integer}}}}}, do: [{a: {set: 1}}]}
        do: [{c: {call: f, with: {n: text}}}]
        """
    fault = run(document).fault
    assert str(fault["type"]).endswith("/validation")
    assert fault["instance"] == "/do/0/c"


def test_an_error_deep_inside_a_function_is_at_its_caller() -> None:
    document = """
        use:
          functions:
            outer: {do: [{i: {call: inner}}]}
            inner: {do: [{r: {raise: {error: {type: 'https://e.test/', status: 500INSTANCE}}}}]}
        do: [{c: {call: outer}}]
        """
    assert run(document.replace("INSTANCE", "")).fault["instance"] == "/do/0/c"
    assert run(document.replace("INSTANCE", ", instance: /mine")).fault["instance"] == "/mine"


def test_time_outs_inside_a_function_are_at_its_caller() -> None:
    inner = "{do: [{w: {wait: PT5S, timeout: {after: PT1S}}}]}"
    assert run(f"use: {{functions: {{f: {inner}}}}}\ndo: [{{c: {{call: f}}}}]").fault["instance"] == "/do/0/c"
    limited = "{try: [{w: {wait: PT5S}}], catch: {retry: {limit: {attempt: {count: 1, duration: PT1S}}}}}"
    assert run(f"use: {{functions: {{f: {limited}}}}}\ndo: [{{c: {{call: f}}}}]").fault["instance"] == "/do/0/c"


def test_a_function_can_end_the_workflow() -> None:
    document = "use: {functions: {f: {do: [{a: {set: 5, then: end}}]}}}\ndo: [{c: {call: f}}, {never: {set: 9}}]"
    assert run(document).output == 5


def test_what_a_function_does_is_told_below_its_caller() -> None:
    story = run("use: {functions: {f: {do: [{a: {set: 1}}]}}}\ndo: [{c: {call: f}}, {d: {call: f}}]")
    references = [event.reference for event in story.events if event.reference]
    assert references == [
        *("/do/0/c", "/do/0/c/call/f", "/do/0/c/call/f/do/0/a", "/do/0/c/call/f/do/0/a", "/do/0/c/call/f", "/do/0/c"),
        *("/do/1/d", "/do/1/d/call/f", "/do/1/d/call/f/do/0/a", "/do/1/d/call/f/do/0/a", "/do/1/d/call/f", "/do/1/d"),
    ]
    assert [event.progress for event in story.events] == [0, 0, 0, 0, 0, 50, 50, 50, 50, 50, 50, 100, 100]


def test_each_call_of_a_function_has_its_own_idempotency_keys() -> None:
    call = "{call: http, with: {method: post, endpoint: 'http://x.test/'}}"
    story = run(
        f"""
        use: {{functions: {{f: {{do: [{{h: {call}}}]}}}}}}
        do:
          - c: {{call: f}}
          - d: {{call: f}}
          - l: {{for: {{in: "[1, 2]"}}, do: [{{e: {{call: f}}}}]}}
          - k: {{fork: {{branches: [{{x: {{call: f}}}}, {{y: {{call: f}}}}]}}}}
        """,
        answer=lambda _: None,
    )
    keys = [call.idempotency_key for call in story.calls]
    assert (len(keys), len(set(keys))) == (6, 6)


def test_a_function_of_a_catalog_is_fetched_once_a_run() -> None:
    story = run(
        """
        use: {catalogs: {mine: {endpoint: {uri: 'https://github.com/o/r/tree/main'}}}}
        do:
          - l: {for: {in: "[1, 2]"}, do: [{c: {call: 'double:1.0.0@mine', with: {n: "${ $item }"}}}]}
          - d: {call: 'double:1.0.0@mine', with: {n: "${ . }"}}
        """,
        answer=Fetching(
            {
                "https://raw.githubusercontent.com/o/r/refs/heads/main/functions/double/1.0.0/function.yaml": {
                    "input": {"from": ".n"},
                    "set": "${ . * 2 }",
                }
            }
        ),
    )
    assert story.output == 8
    assert [call.protocol for call in story.calls] == ["function"]


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        ("https://x.test/f/function.yaml", {"uri": "https://x.test/f/function.yaml"}),
        ("https://x.test/f", {"uri": "https://x.test/f/function.yaml"}),
        ("f:1.0.0@default", {"default": {"name": "f", "version": "1.0.0"}}),
    ],
)
def test_functions_may_be_called_by_address_and_from_the_default_catalog(call: str, asked: dict[str, Json]) -> None:
    story = run(f"do: [{{c: {{call: '{call}', with: {{n: 1}}}}}}]", answer=lambda _: {"set": "${ .n }"})
    assert story.output == 1
    assert dict(story.calls[0].arguments) == asked | {"name": call}


def test_a_catalog_of_the_authors_goes_before_the_default_one() -> None:
    story = run(
        "use: {catalogs: {default: {endpoint: 'http://x.test'}}}\ndo: [{c: {call: 'f:1@default'}}]",
        answer=lambda _: {"set": "${ 1 }"},
    )
    assert story.calls[0].arguments["uri"] == "http://x.test/functions/f/1/function.yaml"


def test_the_policy_of_a_catalog_goes_along_without_its_secret() -> None:
    story = run(
        """
        use:
          secrets: [token]
          catalogs: {c: {endpoint: {uri: 'http://x.test', authentication: {bearer: {token: "${ $secrets.token }"}}}}}
        do: [{c: {call: 'f:1@c'}}]
        """,
        answer=lambda _: {"set": "${ 1 }"},
        secrets={"token": "hidden"},
    )
    assert story.calls[0].authentication is not None
    assert "hidden" not in str(story.calls[0].authentication)


@pytest.mark.parametrize(
    "definition",
    [None, 5, {}, {"nothing": 1}, {"call": "other"}, {"set": {"a": "${ $secrets.token }"}}, {"do": [{"a": {"call": "mine"}}]}],
    ids=str,
)
def test_what_is_fetched_and_no_function_is_a_configuration_error(definition: Json) -> None:
    document = """
        use: {secrets: [token], functions: {mine: {set: 1}}}
        do: [{c: {call: 'http://x.test/f.yaml'}}]
        """
    fault = run(document, answer=lambda _: definition, secrets={"token": "hidden"}).fault
    assert (str(fault["type"]).rpartition("/")[2], fault["status"], fault["instance"]) == ("configuration", 400, "/do/0/c")
    assert "http://x.test/f.yaml" in str(fault["detail"])


def test_a_fetched_function_sees_no_secrets() -> None:
    document = """
        use: {secrets: [token]}
        do: [{c: {call: 'http://x.test/f.yaml'}}]
        """
    story = run(document, answer=lambda _: {"do": [{"a": {"set": {"s": "${ $secrets }"}}}]}, secrets={"token": "hidden"})
    assert story.output == {"s": {}}


def test_a_function_that_cannot_be_fetched_faults_at_the_caller() -> None:
    def refuse(_request: Call) -> Json:
        raise WorkflowFault(Problem.standard(COMMUNICATION, "no", status=404))

    fault = run("do: [{c: {call: 'http://x.test/f.yaml'}}]", answer=refuse).fault
    assert (fault["status"], fault["instance"]) == (404, "/do/0/c")


def test_fetched_functions_that_call_one_another_end_somewhere() -> None:
    story = run(
        "do: [{c: {call: 'http://x.test/f.yaml'}}]",
        answer=lambda _: {"do": [{"again": {"call": "http://x.test/f.yaml"}}]},
    )
    assert str(story.fault["type"]).endswith("/configuration")
    assert "at most 16" in str(story.fault["detail"])
    assert story.fault["instance"] == "/do/0/c"
    assert len(story.calls) == 1


def test_a_functions_frame_begins_with_an_empty_context() -> None:
    one, other = (Function(ListFrame("f")) for _ in range(2))
    assert one.context == other.context == {}
    assert one.context is not other.context


def test_tasks_of_a_function_that_is_broken_off_are_told() -> None:
    story = run(
        """
        use: {functions: {slow: {do: [{w: {wait: PT9S}}]}}}
        do:
          - f: {fork: {compete: true, branches: [{q: {wait: PT1S}}, {c: {call: slow}}]}}
          - t: {timeout: {after: PT1S}, call: slow}
        """
    )
    assert [line for line in story.lines if line.split()[0] in ("cancelled", "failed")] == [
        *("cancelled w", "cancelled slow", "cancelled c", "failed w", "failed slow", "failed t"),
    ]
