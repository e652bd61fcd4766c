"""`use.extensions`: tasks before and after tasks."""

from __future__ import annotations

import pytest
from tests.unit.interpreter.virtual import run

from workflow_runner.dsl.model import MOST_BRANCHES


def test_before_feeds_the_task_and_after_sees_its_output() -> None:
    story = run(
        """
        use:
          extensions:
            - e:
                extend: set
                before: [{b: {do: [{x: {wait: PT1S}}], output: {as: ". + 1"}}}]
                after: [{a: {do: [{y: {wait: PT1S}}], export: {as: "$context + {after: $input}"}}}]
        do: [{t: {set: "${ . * 10 }", output: {as: "[.]"}}}]
        output: {as: "[., $context]"}
        """,
        1,
    )
    assert story.output == [[20], {"after": 20}]


def test_what_after_gives_is_not_used() -> None:
    document = "use: {extensions: [{e: {extend: wait, after: [{a: {set: other}}]}}]}\ndo: [{t: {wait: PT1S}}]"
    assert run(document, 5).output == 5


def test_several_go_in_order_before_and_in_the_opposite_order_after() -> None:
    story = run(
        """
        use:
          extensions:
            - one: {extend: all, before: [{b1: {wait: PT1S}}], after: [{a1: {wait: PT1S}}]}
            - two: {extend: wait, before: [{b2: {wait: PT1S}}], after: [{a2: {wait: PT1S}}]}
        do: [{t: {set: 1}}, {w: {wait: PT1S}}]
        """
    )
    begun = [line.removeprefix("started ") for line in story.lines if line.startswith("started ")]
    assert begun == ["t", "b1", "a1", "w", "b1", "b2", "a2", "a1"]


def test_tasks_of_extensions_are_not_extended() -> None:
    story = run("use: {extensions: [{e: {extend: all, before: [{b: {do: [{c: {wait: PT1S}}]}}]}}]}\ndo: [{t: {wait: PT1S}}]")
    assert story.counts.started == 3


def test_exit_before_a_task_skips_it_and_gives_its_raw_output() -> None:
    story = run(
        """
        use:
          extensions:
            - early: {extend: wait, before: [{b: {wait: PT1S}}], after: [{seen: {wait: PT1S}}]}
            - mock:
                extend: call
                before: [{m: {set: {content: 5}, then: exit}}, {never: {set: 1}}]
                after: [{called: {wait: PT2S, export: {as: "{after: $input}"}}}]
            - late: {extend: call, before: [{l: {raise: {error: {type: 'https://e.test/', status: 500}}}}]}
        do:
          - t:
              call: http
              with: {method: get, endpoint: 'http://x.test/'}
              input: {schema: {document: {type: object}}}
              output: {as: .content}
        output: {as: "[., $context]"}
        """,
        7,
    )
    assert story.output == [5, {"after": {"content": 5}}]
    assert story.calls == []


def test_exit_in_a_list_inside_does_not_skip_the_task() -> None:
    document = """
        use: {extensions: [{e: {extend: wait, before: [{b: {do: [{c: {set: 2, then: exit}}]}}]}}]}
        do: [{t: {wait: PT3S}}]
        """
    story = run(document, 1)
    assert (story.output, story.elapsed) == (2, 3)


@pytest.mark.parametrize(
    ("when", "applies"),
    [
        ('$task.name == "t"', True),
        ('$task.reference == "/do/0/t"', True),
        ('$task.wait == "PT1S"', True),
        ('$task.definition.wait == "PT1S"', True),
        ("$task.input == 1", True),
        (". == 1", True),
        (". == 2", False),
        ("$context.none", False),
        ("$task.wait.seconds == 1", False),
        ("error", False),
    ],
)
def test_when_says_for_which_tasks(when: str, applies: bool) -> None:
    document = f"""
        use: {{extensions: [{{e: {{extend: wait, when: '{when}', before: [{{b: {{set: 9}}}}]}}}}]}}
        do: [{{t: {{wait: PT1S}}}}]
        """
    assert run(document, 1).output == (9 if applies else 1)


def test_a_secret_that_is_missing_is_not_taken_for_a_when_that_does_not_hold() -> None:
    document = """
        use: {secrets: [s], extensions: [{e: {extend: wait, when: $secrets.s, before: [{b: {set: 9}}]}}]}
        do: [{t: {wait: PT1S}}]
        """
    assert run(document, 1).fault["status"] == 403


def test_the_task_of_an_extension_is_the_one_it_extends() -> None:
    story = run(
        """
        use:
          extensions:
            - e:
                extend: set
                before: [{b: {do: [{c: {set: {name: "${ $task.name }", set: "${ $task.set }", output: "${ $task.output }"}}}]}}]
                after: [{a: {set: "${ $task.output }", export: {as: .}}}]
        do: [{t: {set: {was: "${ . }"}}}]
        output: {as: "[., $context]"}
        """
    )
    before = {"name": "t", "set": {"was": "${ . }"}, "output": None}
    assert story.output == [{"was": before}, {"was": before}]


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("call", "{call: f}"),
        ("composite", "{do: []}"),
        ("composite", "{fork: {branches: [{a: {wait: PT1S}}]}}"),
        ("for", "{for: {in: '[]'}, do: []}"),
        ("set", "{set: 1}"),
        ("switch", "{switch: [{c: {then: continue}}]}"),
        ("try", "{try: [], catch: {}}"),
        ("wait", "{wait: PT1S}"),
    ],
)
def test_each_kind_can_be_extended(kind: str, task: str) -> None:
    story = run(
        f"""
        use:
          functions: {{f: {{emit: {{event: {{with: {{source: 'https://x.test', type: a}}}}}}}}}}
          extensions:
            - e: {{extend: {kind}, before: [{{b: {{raise: {{error: {{type: "https://e.test/", status: 507}}}}}}}}]}}
        do: [{{t: {task}}}]
        """
    )
    assert (story.fault["status"], story.fault["instance"]) == (507, "/do/0/t")


def test_a_skipped_task_is_not_extended() -> None:
    document = "use: {extensions: [{e: {extend: all, before: [{b: {set: 9}}]}}]}\ndo: [{t: {if: 'false', set: 1}}]"
    assert run(document, 5).output == 5


def test_tasks_inside_functions_and_branches_are_extended() -> None:
    story = run(
        """
        use:
          functions: {f: {do: [{w: {wait: PT1S}}]}}
          extensions: [{e: {extend: wait, before: [{b: {set: 9}}]}}]
        do: [{c: {call: f}}, {k: {fork: {branches: [{x: {wait: PT1S}}]}}}]
        """
    )
    assert story.output == [9]
    references = [event.reference for event in story.events if event.task_name == "b"]
    assert references[0] == "/do/0/c/call/f/do/0/w/extensions/e/before/0/b"
    assert references[-1] == "/do/1/k/fork/branches/0/x/extensions/e/before/0/b"


def test_end_before_a_task_ends_the_workflow() -> None:
    document = (
        "use: {extensions: [{e: {extend: wait, before: [{b: {set: 9, then: end}}]}}]}\ndo: [{t: {wait: PT1S}}, {u: {set: 1}}]"
    )
    story = run(document)
    assert (story.output, story.elapsed) == (9, 0)


def test_branches_that_are_broken_off_in_an_extension_are_told() -> None:
    story = run(
        """
        use: {extensions: [{e: {extend: set, before: [{b: {wait: PT9S}}], after: [{a: {wait: PT9S}}]}}]}
        do:
          - f:
              fork:
                compete: true
                branches: [{quick: {wait: PT1S}}, {slow: {set: 1}}]
          - g: {timeout: {after: PT15S}, do: [{s: {set: 2}}, {t: {set: 2}}]}
        """
    )
    assert [line for line in story.lines if line.split()[0] in ("cancelled", "failed")] == [
        *("cancelled b", "cancelled slow", "failed a", "failed s", "failed g"),
    ]


def test_calls_of_a_service_can_be_mocked() -> None:
    """As the reference's examples do it: they compare `$task.with` with an address, which may be there in two forms."""
    document = """
        use:
          extensions:
            - mock:
                extend: call
                when: >-
                  ($task.with.endpoint != null and ($task.with.endpoint | startswith("http://mocked.test")))
                  or ($task.with.endpoint.uri != null and ($task.with.endpoint.uri | startswith("http://mocked.test")))
                before: [{answer: {set: {statusCode: 200, content: {a: 1}}, then: exit}}]
        do:
          - c: {call: http, with: {method: get, endpoint: ENDPOINT, output: response}, export: {as: .content}}
        output: {as: "[., $context]"}
        """
    mocked = run(document.replace("ENDPOINT", "http://mocked.test/x"))
    assert mocked.output == [{"statusCode": 200, "content": {"a": 1}}, {"a": 1}]
    real = run(document.replace("ENDPOINT", "http://real.test/x"), answer=lambda _: {"content": 2})
    assert real.output == [{"content": 2}, 2]
    # `when` fails for an endpoint that is an object, so the extension is not for it.
    assert run(document.replace("ENDPOINT", "{uri: 'http://mocked.test/x'}"), answer=lambda _: {"content": 3}).calls != []


def test_a_fork_of_many_branches_is_extended_in_all() -> None:
    branches = ", ".join(f"{{b{number}: {{set: {number}}}}}" for number in range(MOST_BRANCHES))
    extensions = "use: {extensions: [{e: {extend: set, before: [{b: {wait: PT1S}}]}}]}\n"
    assert run(f"{extensions}do: [{{f: {{fork: {{branches: [{branches}]}}}}}}]").elapsed == 1
