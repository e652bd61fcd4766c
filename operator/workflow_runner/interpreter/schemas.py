"""Checks data against the schemas of input, output and export; the engine calls it.

A schema that is a resource is fetched when it is first needed, once a run, by the same http call that tasks make.
"""

from __future__ import annotations

import json

from workflow_runner.dsl.model import Schema
from workflow_runner.dsl.problems import CONFIGURATION, EXPRESSION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json, Literal
from workflow_runner.expressions.schemas import LARGEST_SCHEMA, InvalidSchema, check_data
from workflow_runner.interpreter.authentication import carried
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.run import Run
from workflow_runner.interpreter.uris import expand

_MOST_FETCHED = 100
_ACCEPTED = "application/schema+json, application/json"


async def check(run: Run, schema: Schema, data: Json, scope: Scope) -> None:
    """Raise WorkflowFault unless `data` match: `validation`, or what went wrong with fetching the schema.

    `data` are also what an address is computed from.
    """
    text = schema.text if schema.endpoint is None else await _fetched(run, schema, data, scope)
    assert text is not None  # noqa: S101 - it has either a text or an endpoint
    try:
        await check_data(text, data, schema.name, run.effects.evaluate)
    except InvalidSchema as error:
        raise _wrong(f"what {schema.name} says is no JSON schema: {error}") from error


async def _fetched(run: Run, schema: Schema, data: Json, scope: Scope) -> str:
    endpoint = schema.endpoint
    assert endpoint is not None  # noqa: S101 - see above
    uri = await scope.template(endpoint, data)
    if not isinstance(uri, str):
        detail = f"the endpoint of {schema.name} must be a string, and its expression gave another kind of value"
        raise WorkflowFault(Problem.standard(EXPRESSION, detail))
    if isinstance(endpoint, Literal):
        uri = expand(uri, data)
    text = run.fetched_schemas.get(uri)
    if text is None:
        arguments: dict[str, Json] = {
            "method": "GET",
            "uri": uri,
            "headers": {"Accept": _ACCEPTED},
            "query": {},
            "output": "content",
            "redirect": False,
        }
        policy = await carried(schema.authentication, data, scope)
        answer = await run.effects.call(Call("http", arguments, run.fetch_key(schema.pointer), schema.pointer, policy))
        text = _document(schema, answer)
        if len(run.fetched_schemas) < _MOST_FETCHED:
            run.fetched_schemas[uri] = text
    return text


def _document(schema: Schema, answer: Json) -> str:
    """The schema in an answer; servers that know no better call it text."""
    if isinstance(answer, str):
        try:
            answer = json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise _wrong(f"the resource of {schema.name} is no JSON") from error
    text = json.dumps(answer, separators=(",", ":"))
    if len(text) > LARGEST_SCHEMA:
        raise _wrong(f"the resource of {schema.name} has more than {LARGEST_SCHEMA:,} characters")
    return text


def _wrong(detail: str) -> WorkflowFault:
    return WorkflowFault(Problem.standard(CONFIGURATION, detail))
