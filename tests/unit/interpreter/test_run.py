"""`run`: what the interpreter asks its host for, and what it makes of the answers."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from tests.unit.interpreter.virtual import run

from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.effects import Call


def asked(task: str, input_: Any = None) -> dict[str, Any]:
    story = run(f"do: [{{r: {{run: {task}}}}}]", input_, answer=lambda _: {"code": 0, "stdout": "", "stderr": ""})
    (call,) = story.calls
    assert (call.protocol, call.reference) == ("process", "/do/0/r")
    return dict(call.arguments)


def test_a_shell_command_with_all_it_can_have() -> None:
    got = asked(
        """{shell: {command: cat, arguments: ["${ .n }", x, "${ {a: 1} }"], environment: {A: "${ .n }", B: b, C: "${ [.n] }"},
            stdin: "${ . }"}}""",
        {"n": 1},
    )
    assert got == {
        "process": "shell",
        "await": True,
        "command": "cat",
        "arguments": ["1", "x", '{"a": 1}'],
        "environment": {"A": "1", "B": "b", "C": "[1]"},
        "stdin": '{"n": 1}',
    }


def test_a_shell_command_with_nothing() -> None:
    assert asked("{shell: {command: ls}}") == {
        "process": "shell",
        "await": True,
        "command": "ls",
        "arguments": [],
        "environment": {},
    }


def test_a_map_of_arguments_of_a_shell_are_names_with_values() -> None:
    got = asked("{shell: {command: ls, arguments: {--user: '${ .n }', -v: null, --name: a b}}}", {"n": 1})
    assert got["arguments"] == ["--user=1", "-v", "--name=a b"]


@pytest.mark.parametrize(
    ("language", "known"), [("python", "python"), ("js", "javascript"), ("javascript", "javascript")], ids=str
)
def test_a_script_keeps_its_arguments_as_data(language: str, known: str) -> None:
    got = asked(f"{{script: {{language: {language}, code: x, arguments: {{n: '${{ . }}'}}}}, await: false}}", 5)
    assert got == {
        "process": "script",
        "await": False,
        "language": known,
        "code": "x",
        "arguments": {"n": 5},
        "environment": {},
    }


def test_the_source_of_a_script_is_an_address_with_its_policy() -> None:
    story = run(
        """
        use: {secrets: [token]}
        do:
          - r:
              run:
                script:
                  language: python
                  source: {endpoint: {uri: 'http://x.test/{n}', authentication: {bearer: {token: "${ $secrets.token }"}}}}
        """,
        {"n": 5},
        answer=lambda _: {"code": 0, "stdout": "out", "stderr": ""},
        secrets={"token": "hidden"},
    )
    (call,) = story.calls
    assert call.arguments["source"] == "http://x.test/5"
    assert call.authentication is None
    assert call.resource_authentication is not None
    assert "hidden" not in str(call.resource_authentication)
    assert story.output == "out"


def test_arguments_of_another_kind_are_expression_errors() -> None:
    fault = run("do: [{r: {run: {shell: {command: ls, arguments: '${ . }'}}}}]", 5).fault
    assert str(fault["type"]).endswith("/expression")
    fault = run("do: [{r: {run: {shell: {command: ls, environment: '${ . }'}}}}]", 5).fault
    assert str(fault["type"]).endswith("/expression")


@pytest.mark.parametrize(
    ("wanted", "code", "output"),
    [
        ("", 0, '{"a": 1}\n'),
        ("return: stdout", 0, '{"a": 1}\n'),
        ("return: stderr", 0, "err"),
        ("return: code", 0, 0),
        ("return: code", 3, 3),
        ("return: all", 0, {"code": 0, "stdout": '{"a": 1}\n', "stderr": "err"}),
        ("return: all", 3, {"code": 3, "stdout": '{"a": 1}\n', "stderr": "err"}),
        ("return: none", 0, None),
        ("await: false", 3, 7),
    ],
)
def test_what_is_returned(wanted: str, code: int, output: Json) -> None:
    document = f"do: [{{r: {{run: {{shell: {{command: x}}, {wanted}}}}}}}]"
    assert run(document, 7, answer=lambda _: {"code": code, "stdout": '{"a": 1}\n', "stderr": "err"}).output == output


@pytest.mark.parametrize("wanted", ["stdout", "stderr", "none"])
def test_a_code_other_than_zero_is_an_error_where_it_is_not_the_answer(wanted: str) -> None:
    document = f"do: [{{r: {{run: {{shell: {{command: secret}}, return: {wanted}}}}}}}]"
    fault = run(document, 7, answer=lambda _: {"code": 3, "stdout": "", "stderr": "secret"}).fault
    assert (str(fault["type"]).rpartition("/")[2], fault["status"], fault["instance"]) == ("runtime", 500, "/do/0/r")
    assert fault["detail"] == "the shell command ended with the exit code 3"


CHILD = """
document: {dsl: '1.0.3', namespace: other, name: child, version: '1.2.0'}
input: {from: .given}
do:
  - a:
      set: {n: "${ . }", workflow: "${ $workflow.definition.document.name }", input: "${ $workflow.input }"}
      export: {as: "{in: .n}"}
  - b: {set: {got: "${ . }", context: "${ $context }", reference: "${ $task.reference }"}}
output: {as: .}
"""


class Knowing:
    """Answers with a document whatever is asked for."""

    def __init__(self, document: str = CHILD) -> None:
        self.document: dict[str, Json] = yaml.safe_load(document)
        self.asked: list[Json] = []

    def __call__(self, request: Call) -> Json:
        assert request.protocol == "workflow"
        self.asked.append(dict(request.arguments))
        return self.document


def test_a_workflow_runs_inside_another() -> None:
    knowing = Knowing()
    story = run(
        """
        do:
          - before: {set: {x: 1}, export: {as: "{out: 1}"}}
          - r: {run: {workflow: {namespace: other, name: child, version: 1.2.0, input: {given: "${ .x }"}}}}
        output: {as: "[., $context]"}
        """,
        answer=knowing,
    )
    assert knowing.asked == [{"namespace": "other", "name": "child", "version": "1.2.0"}]
    got = {"n": 1, "workflow": "child", "input": {"given": 1}}
    reference = "/do/1/r/run/workflow/do/1/b"
    assert story.output == [{"got": got, "context": {"in": 1}, "reference": reference}, {"out": 1}]


def test_without_a_version_the_latest_is_asked_for_and_without_input_it_gets_none() -> None:
    knowing = Knowing("{document: {dsl: 1.0.0, namespace: a, name: b, version: 1.0.0}, do: []}")
    assert run("do: [{r: {run: {workflow: {namespace: a, name: b}}}}]", 5, answer=knowing).output == {}
    assert knowing.asked == [{"namespace": "a", "name": "b", "version": "latest"}]


def test_a_workflow_may_be_named_by_expressions() -> None:
    knowing = Knowing()
    task = "{workflow: {namespace: '${ .a }', name: '${ .b }', version: '${ .c }', input: '${ {given: .} }'}, return: none}"
    assert run(f"do: [{{r: {{run: {task}}}}}]", {"a": "x", "b": "y", "c": "z"}, answer=knowing).output is None
    assert knowing.asked == [{"namespace": "x", "name": "y", "version": "z"}]


def test_one_that_nobody_waits_for_is_started_by_the_host() -> None:
    knowing = Knowing()
    document = "do: [{r: {run: {workflow: {namespace: a, name: b, input: {n: '${ . }'}}, await: false}}}]"
    assert run(document, 5, answer=knowing).output == 5
    assert knowing.asked == [{"namespace": "a", "name": "b", "version": "latest", "start": {"input": {"n": 5}}}]


def test_what_a_child_does_is_told_below_its_task_and_counts() -> None:
    story = run("do: [{r: {run: {workflow: {namespace: a, name: b}}}}, {s: {set: 1}}]", answer=Knowing())
    assert [event.reference for event in story.events if event.type == "task_completed"] == [
        "/do/0/r/run/workflow/do/0/a",
        "/do/0/r/run/workflow/do/1/b",
        "/do/0/r",
        "/do/1/s",
    ]
    assert [event.progress for event in story.events] == [0, 0, 0, 0, 0, 50, 50, 100, 100]
    assert story.counts.completed == 4


def test_an_error_of_a_child_is_at_the_task_that_runs_it() -> None:
    failing = """
        document: {dsl: '1.0.3', namespace: a, name: b, version: '1.0.0'}
        do:
          - t:
              try: [{r: {raise: {error: {type: 'https://e.test/', status: 507INSTANCE}}}}]
              catch: {errors: {with: {instance: /do/0/t/try/0/x}}}
        """
    document = "do: [{o: {do: [{r: {run: {workflow: {namespace: a, name: b}}}}]}}]"
    assert run(document, answer=Knowing(failing.replace("INSTANCE", ""))).fault["instance"] == "/do/0/o/do/0/r"
    assert run(document, answer=Knowing(failing.replace("INSTANCE", ", instance: /mine"))).fault["instance"] == "/mine"


def test_inside_a_child_errors_have_its_own_pointers() -> None:
    child = """
        document: {dsl: '1.0.3', namespace: a, name: b, version: '1.0.0'}
        do:
          - t:
              try: [{r: {raise: {error: {type: 'https://e.test/', status: 507}}}}]
              catch: {do: [{h: {set: "${ $error.instance }"}}]}
        """
    assert run("do: [{r: {run: {workflow: {namespace: a, name: b}}}}]", answer=Knowing(child)).output == "/do/0/t/try/0/r"


def test_end_in_a_child_ends_the_child() -> None:
    child = (
        "{document: {dsl: 1.0.0, namespace: a, name: b, version: 1.0.0}, do: [{a: {wait: PT1S, then: end}}, {b: {wait: PT9S}}]}"
    )
    story = run("do: [{r: {run: {workflow: {namespace: a, name: b}}}}, {s: {set: 5}}]", answer=Knowing(child))
    assert (story.output, story.elapsed) == (5, 1)


def test_a_childs_time_limit_counts_from_its_own_beginning() -> None:
    child = "{document: {dsl: 1.0.0, namespace: a, name: b, version: 1.0.0}, timeout: {after: PT5S}, do: [{w: {wait: PT9S}}]}"
    document = """
        do:
          - w: {wait: PT20S}
          - t: {try: [{r: {run: {workflow: {namespace: a, name: b}}}}], catch: {do: [{h: {set: "${ $error }"}}]}}
        """
    story = run(document, answer=Knowing(child))
    assert story.elapsed == 25
    assert isinstance(story.output, dict)
    assert (story.output["status"], story.output["instance"]) == (408, "/do/1/t/try/0/r")


def test_a_child_has_the_secrets_that_it_declares() -> None:
    child = """
        document: {dsl: '1.0.3', namespace: a, name: b, version: '1.0.0'}
        use: {secrets: [mine]}
        do: [{s: {set: {all: "${ $secrets }", one: "${ $secrets.mine }"}}}]
        """
    document = "use: {secrets: [theirs]}\ndo: [{r: {run: {workflow: {namespace: a, name: b}}}}]"
    story = run(document, answer=Knowing(child), secrets={"mine": 1, "theirs": 2})
    assert story.output == {"all": {"mine": 1}, "one": 1}


def test_extensions_of_the_parent_do_not_reach_into_a_child() -> None:
    document = """
        use: {extensions: [{e: {extend: set, before: [{b: {wait: PT9S}}]}}]}
        do: [{r: {run: {workflow: {namespace: a, name: b}}}}]
        """
    assert run(document, answer=Knowing()).elapsed == 0


def test_workflows_that_run_themselves_end_somewhere() -> None:
    child = (
        "{document: {dsl: 1.0.0, namespace: a, name: b, version: 1.0.0}, do: [{r: {run: {workflow: {namespace: a, name: b}}}}]}"
    )
    fault = run("do: [{r: {run: {workflow: {namespace: a, name: b}}}}]", answer=Knowing(child)).fault
    assert str(fault["type"]).endswith("/configuration")
    assert "at most 16" in str(fault["detail"])
    assert fault["instance"] == "/do/0/r"


def test_tasks_that_are_nested_deeply_cannot_run_another_workflow() -> None:
    deep = "{r: {run: {workflow: {namespace: a, name: b}}}}"
    for _ in range(30):
        deep = f"{{d: {{do: [{deep}]}}}}"
    child = f"{{document: {{dsl: 1.0.0, namespace: a, name: b, version: 1.0.0}}, do: [{deep}]}}"
    fault = run(f"do: [{deep}]", answer=Knowing(child)).fault
    assert str(fault["type"]).endswith("/configuration")
    assert "tasks" in str(fault["detail"])


@pytest.mark.parametrize("answer", [None, {}, {"document": {}}], ids=str)
def test_what_is_no_workflow_is_a_configuration_error(answer: Json) -> None:
    fault = run("do: [{r: {run: {workflow: {namespace: a, name: b}}}}]", answer=lambda _: answer).fault
    assert str(fault["type"]).endswith("/configuration")


def test_branches_of_a_race_that_run_workflows_are_told_as_cancelled() -> None:
    child = "{document: {dsl: 1.0.0, namespace: a, name: b, version: 1.0.0}, do: [{w: {wait: PT9S}}]}"
    document = """
        do: [{f: {fork: {compete: true, branches: [{q: {wait: PT1S}}, {r: {run: {workflow: {namespace: a, name: b}}}}]}}}]
        """
    story = run(document, answer=Knowing(child))
    assert story.lines[-5:] == ["completed q", "cancelled w", "cancelled r", "completed f", "workflow_completed"]
