"""JSON schemas: what is one, what matches, and what may be checked in a shared process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workflow_runner.dsl.problems import VALIDATION, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.programs import EvaluationFailed
from workflow_runner.expressions.schemas import InvalidSchema, SchemaRequest, answer, check_data, check_schema, violations

PERSON: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer", "minimum": 0}},
    "additionalProperties": False,
}


class Worker:
    """Answers in this process and keeps what it was asked; with `failure` it gives up on explanations or on all."""

    def __init__(self, failure: str = "", *, only_explanations: bool = False) -> None:
        self.asked: list[SchemaRequest] = []
        self._failure, self._only = failure, only_explanations

    async def __call__(self, request: SchemaRequest) -> Json:
        self.asked.append(request)
        if self._failure and (request.explain or not self._only):
            raise EvaluationFailed(self._failure)
        return answer(request)


async def detail(schema: Any, data: Json, worker: Worker | None = None) -> str:
    """What the fault says; nothing when the data match."""
    try:
        await check_data(json.dumps(schema), data, "input.schema", worker or Worker())
    except WorkflowFault as fault:
        return f"{fault.problem.detail}" if fault.problem.type == VALIDATION else f"another error: {fault.problem}"
    return ""


@pytest.mark.parametrize("data", [{"name": "Ada"}, {"name": "Ada", "age": 36}])
async def test_data_that_match(data: Json) -> None:
    assert await detail(PERSON, data) == ""


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        ({}, '(root): "name" is a required property'),
        ({"name": 5}, '/name: the value is not of type "string"'),
        ({"name": "Ada", "age": -1}, "/age: the value is less than the minimum of 0"),
        ([], '(root): the value is not of type "object"'),
        (
            {"name": 1, "age": "x"},
            '/name: the value is not of type "string"; /age: the value is not of type "integer"',
        ),
    ],
)
async def test_the_message_says_where_and_what(data: Json, wrong: str) -> None:
    assert await detail(PERSON, data) == f"the data do not match input.schema: {wrong}"


async def test_the_message_is_bounded_and_does_not_repeat_data() -> None:
    schema = {"items": {"type": "integer", "enum": list(range(500))}, "maxItems": 2}
    said = await detail(schema, ["hush"] * 50)
    assert said.endswith("; and more")
    assert len(said) < 800
    assert "hush" not in said
    assert "hush" not in await detail({"properties": {"a": {"const": 1}}}, {"a": {"b": "hush"}})


async def test_pointers_are_json_pointers() -> None:
    said = await detail({"properties": {"a/b": {"items": {"type": "null"}}}}, {"a/b": [None, 1]})
    assert "/a~1b/1: " in said


@pytest.mark.parametrize("schema", [True, {}, {"$schema": "http://json-schema.org/draft-07/schema#"}, {"format": "email"}])
async def test_schemas_that_say_nothing(schema: Json) -> None:
    assert await detail(schema, "anything") == ""


async def test_false_matches_nothing() -> None:
    assert "(root)" in await detail(False, 1)


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "objekt"}, ("type",)),
        ({"properties": {"a": {"minimum": "x"}}}, ("properties", "a", "minimum")),
        ({"items": {"pattern": "("}}, ("items", "pattern")),
        ({"pattern": "(x{1000}){1000}"}, ("pattern",)),
        ({"$ref": "#/nowhere"}, ()),
        ({"$ref": "http://example.com/other.json"}, ()),
        ({"$ref": "file:///etc/hostname"}, ()),
        ({"$schema": "http://example.com/mine"}, ()),
    ],
)
def test_what_is_no_schema_or_leads_outside(schema: Json, path: tuple[str | int, ...]) -> None:
    with pytest.raises(InvalidSchema) as caught:
        check_schema(json.dumps(schema))
    assert caught.value.path == path
    assert 5 < len(str(caught.value)) <= 200


def test_nothing_is_fetched_to_complete_a_schema(tmp_path: Any) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"type": "integer"}')
    with pytest.raises(InvalidSchema, match="schemas are not fetched"):
        check_schema(json.dumps({"$ref": other.as_uri()}))


def test_a_huge_schema_is_refused() -> None:
    with pytest.raises(InvalidSchema, match="more than 1,048,576 characters"):
        check_schema(json.dumps({"enum": ["x" * 1024] * 1024}))


CHEAP = [
    PERSON,
    {"items": {"anyOf": [{"type": "integer"}, {"not": {"enum": ["a"]}}]}, "maxItems": 3},
    {"if": {"required": ["a"]}, "then": {"properties": {"b": {"const": 1}}}, "else": False},
    {"prefixItems": [{"type": "string", "minLength": 1}], "items": {"multipleOf": 2}},
    {"$schema": "http://json-schema.org/draft-04/schema#", "items": [{"type": "string"}], "additionalItems": False},
]
NOT_CHEAP = [
    {"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}},
    {"properties": {"a": {"pattern": "^a"}}},
    {"patternProperties": {"^a": {}}},
    {"items": {"not": {"uniqueItems": True}}},
    {"contains": {"type": "integer"}},
    {"unevaluatedProperties": False},
    {"propertyNames": {"maxLength": 3}},
    {"somethingOfTheFuture": {}},
    {"$id": "https://example.com/a", "type": "object"},
    {"dependentSchemas": {"a": {"required": ["b"]}}},
    {"$defs": {"a": {}}},
    {"properties": {"$ref": {"$ref": "#"}}},
]


@pytest.mark.parametrize("schema", CHEAP, ids=json.dumps)
async def test_small_data_are_compared_with_a_cheap_schema_in_this_process(schema: Json) -> None:
    worker = Worker()
    await detail(schema, {"name": "Ada"}, worker)
    assert worker.asked == []


@pytest.mark.parametrize("schema", NOT_CHEAP, ids=json.dumps)
async def test_any_other_schema_is_left_to_a_worker(schema: Json) -> None:
    worker = Worker()
    await detail(schema, {"name": "Ada"}, worker)
    assert [request.explain for request in worker.asked][:1] == [False]


async def test_large_data_are_left_to_a_worker_and_so_are_long_explanations() -> None:
    worker = Worker()
    assert await detail(PERSON, {"name": "Ada", "a" * 200_000: 1}, worker) != ""
    assert [request.explain for request in worker.asked] == [False, True]
    worker = Worker()
    assert await detail({"items": {"anyOf": [{"type": "null"}] * 100}}, ["x"] * 500, worker) != ""
    assert [request.explain for request in worker.asked] == [True], "comparing is cheap, collecting what is wrong is not"


async def test_what_a_worker_gives_up_on_is_said() -> None:
    schema = NOT_CHEAP[0]
    said = await detail(schema, 1, Worker("it took longer than 10 seconds"))
    assert said == "the data could not be compared with input.schema: it took longer than 10 seconds"
    said = await detail(schema, "x", Worker("it took longer than 10 seconds", only_explanations=True))
    assert said == "the data do not match input.schema: what is wrong cannot be told (it took longer than 10 seconds)"


async def test_deeply_nested_data_are_no_crash() -> None:
    deep: Json = 1
    for _ in range(900):
        deep = [deep]
    assert await detail({"type": "array"}, deep) == ""
    assert "nested deeply" in await detail({"type": "object"}, deep)
    for _ in range(100_000):
        deep = [deep]
    assert "nested too deeply" in await detail({"type": "array"}, deep)


async def test_data_that_are_no_json_cannot_match() -> None:
    assert "no JSON" in await detail({}, float("nan"))


async def test_an_invalid_schema_is_told_as_such_also_by_a_worker() -> None:
    for schema in ({"type": "objekt"}, {"pattern": "("}):
        with pytest.raises(InvalidSchema):
            await detail(schema, 1)


def test_violations_are_few() -> None:
    assert len(violations('{"items": {"type": "null"}}', [1, 2, 3])) == 3
    assert violations('{"items": {"type": "null"}}', [1, 2, 3, 4])[3:] == ["and more"]
