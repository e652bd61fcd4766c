"""Schemas of input, output and export: where in the life of a task they are asked, and fetched ones."""

from __future__ import annotations

import pytest
from tests.unit.interpreter.virtual import Story, run

from workflow_runner.dsl.problems import COMMUNICATION, CONFIGURATION, VALIDATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.effects import Call

INTEGER = "{schema: {document: {type: integer}}}"


def fault(story: Story) -> tuple[Json, Json]:
    assert story.fault["type"] == VALIDATION
    assert story.fault["status"] == 400
    return story.fault["instance"], story.fault["detail"]


@pytest.mark.parametrize(
    ("document", "instance", "name"),
    [
        ("input: {schema: {document: {type: 'null'}}}\ndo: [{a: {set: 1}}]", "/input/schema", "input.schema"),
        ("output: {schema: {document: {type: 'null'}}}\ndo: [{a: {set: 1}}]", "/output/schema", "output.schema"),
        ("do: [{a: {input: {schema: {document: {type: 'null'}}}, set: 1}}]", "/do/0/a", "input.schema"),
        ("do: [{a: {output: {schema: {document: {type: 'null'}}}, set: 1}}]", "/do/0/a", "output.schema"),
        ("do: [{a: {export: {as: ., schema: {document: {type: 'null'}}}, set: 1}}]", "/do/0/a", "export.schema"),
        ("do: [{a: {export: {schema: {document: {type: 'null'}}}, set: 1}}]", "/do/0/a", "export.schema"),
    ],
)
def test_data_that_do_not_match_are_a_validation_error(document: str, instance: str, name: str) -> None:
    where, said = fault(run(document, "in"))
    assert where == instance
    assert said == f'the data do not match {name}: (root): the value is not of type "null"'


def test_the_raw_input_and_the_transformed_output_are_compared() -> None:
    story = run(
        """
        input: {from: .n, schema: {document: {type: object}}}
        output: {as: "{n: .}", schema: {document: {type: object}}}
        do:
          - a:
              input: {schema: {document: {type: integer}}, from: "[.]"}
              set: "${ . + [2] }"
              output: {as: length, schema: {document: {const: 2}}}
              export: {as: "{n: .}", schema: {document: {required: [n]}}}
        """,
        {"n": 1},
    )
    assert story.output == {"n": 2}


def test_a_task_whose_input_does_not_match_is_not_run() -> None:
    story = run("do: [{a: {input: " + INTEGER + ", call: http, with: {method: get, endpoint: 'http://x.test/'}}}]", "in")
    assert story.calls == []
    assert story.lines == ["started a", "failed a", "workflow_failed"]


def test_a_skipped_task_is_not_compared() -> None:
    assert run("do: [{a: {if: 1 == 2, input: " + INTEGER + ", set: 1}}]", "in").output == "in"


def test_a_context_that_does_not_match_is_not_taken() -> None:
    story = run(
        """
        output: {as: $context}
        do:
          - t:
              try: [{a: {set: 1, export: {as: "{a: .}", schema: {document: {required: [b]}}}}}]
              catch: {errors: {with: {type: 'https://serverlessworkflow.io/spec/1.0.0/errors/validation'}}, do: []}
        """
    )
    assert story.output == {}


def test_a_versioned_format_says_how_a_schema_is_read() -> None:
    tuple_ = "document: {items: [{type: integer}]}"
    assert run(f"do: [{{a: {{set: '${{ [1] }}', output: {{schema: {{format: 'json:draft-07', {tuple_}}}}}}}}}]").output == [1]
    assert fault(
        run(
            f"do: [{{a: {{set: '${{ [x] }}', output: {{schema: {{format: 'json:draft-07', {tuple_}}}}}}}}}]".replace(
                "[x]", '["x"]'
            )
        )
    )


class TestResources:
    DOCUMENT = """
        do:
          - l:
              for: {in: "[1, 2]"}
              do:
                - a:
                    input: {schema: {resource: {name: s, endpoint: 'http://schemas.test/{kind}'}}}
                    set: "${ . }"
        """

    def test_it_is_fetched_once_a_run(self) -> None:
        def answer(request: Call) -> Json:
            assert request.reference == "/do/0/l/do/0/a/input/schema/resource"
            assert (request.arguments["method"], request.arguments["uri"]) == ("GET", "http://schemas.test/order")
            return {"required": ["kind"]}

        story = run(self.DOCUMENT, {"kind": "order"}, answer=answer)
        assert story.output == {"kind": "order"}
        assert len(story.calls) == 1

    def test_data_are_compared_with_what_was_fetched(self) -> None:
        story = run(self.DOCUMENT, {"kind": "order"}, answer=lambda _: '{"required": ["id"]}')
        assert fault(story) == (
            "/do/0/l/do/0/a",
            'the data do not match input.schema: (root): "id" is a required property',
        )

    @pytest.mark.parametrize("answered", ["no: json", {"type": "objekt"}, ["a"], None, {"$ref": "http://other.test/"}])
    def test_an_answer_that_is_no_schema_is_a_configuration_error(self, answered: Json) -> None:
        story = run(self.DOCUMENT, {"kind": "order"}, answer=lambda _: answered)
        assert (story.fault["type"], story.fault["status"], story.fault["instance"]) == (CONFIGURATION, 400, "/do/0/l/do/0/a")

    def test_an_answer_that_is_too_large_is_one_too(self) -> None:
        story = run(self.DOCUMENT, {"kind": "order"}, answer=lambda _: {"enum": ["x" * 1024] * 1024})
        assert story.fault["type"] == CONFIGURATION

    def test_a_failure_to_fetch_it_is_the_error_of_the_task(self) -> None:
        def answer(_request: Call) -> Json:
            raise WorkflowFault(Problem.standard(COMMUNICATION, "gone", status=404))

        story = run(self.DOCUMENT, {"kind": "order"}, answer=answer)
        assert (story.fault["status"], story.fault["instance"]) == (404, "/do/0/l/do/0/a")

    def test_its_address_may_be_computed(self) -> None:
        document = "input: {schema: {resource: {endpoint: {uri: '${ .at }'}}}}\ndo: []"
        story = run(document, {"at": "http://x.test/a"}, answer=lambda request: {"const": {"at": request.arguments["uri"]}})
        assert story.output == {"at": "http://x.test/a"}
        assert "endpoint of input.schema must be a string" in str(run(document, {"at": 5}).fault["detail"])
