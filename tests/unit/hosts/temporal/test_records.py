"""Executions as the arguments of workflows and activities have them, and which documents need encryption."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from workflow_runner.errors import InvalidInput
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.temporal.limits import needing_encryption
from workflow_runner.hosts.temporal.payloads import InlineConverter
from workflow_runner.hosts.temporal.records import execution_of
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecution


@pytest.mark.parametrize(
    "argument",
    ["wfx-1", {"metadata": {"id": "wfx-1"}, "addedSince": 1}, WorkflowExecution(metadata={"id": "wfx-1"})],
    ids=["an id", "JSON", "a message"],
)
def test_an_execution_is_named_in_three_ways(argument: Any) -> None:
    assert execution_of(argument).metadata.id == "wfx-1"


@pytest.mark.parametrize("argument", ["", {}, {"metadata": "wfx-1"}, None, 5, WorkflowExecution()])
def test_what_names_none_is_refused(argument: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        execution_of(argument)
    assert refused.value.code == "execution.bad-id"


def test_a_message_of_a_newer_stigmer_is_read() -> None:
    converter = InlineConverter()
    [payload] = converter.to_payloads([WorkflowExecution(metadata={"id": "wfx-1"})])
    assert payload.metadata["encoding"] == b"json/protobuf"
    payload.data = payload.data.replace(b'{"metadata"', b'{"addedSince":1,"metadata"')
    assert b"addedSince" in payload.data
    [found] = converter.from_payloads([payload])
    assert found.metadata.id == "wfx-1"


@pytest.mark.parametrize(
    ("expression", "needed"),
    [
        ("$secrets.ZONE", False),
        ("$secrets.TOKEN", True),
        ('$secrets["TOKEN"] + $secrets.ZONE', True),
        ("$secrets | keys", True),
        (".a", False),
    ],
)
def test_only_what_is_secret_needs_encryption(expression: str, needed: bool) -> None:
    document = {
        "document": {"dsl": "1.0.3", "namespace": "test", "name": "test", "version": "1.0.0"},
        "use": {"secrets": ["TOKEN", "ZONE"]},
        "do": [{"step": {"set": {"a": f"${{ {expression} }}"}}}],
    }
    workflow, _ = read_document(document, "test.yaml")
    assert (needing_encryption(workflow, {"ZONE"}) is not None) is needed


POLICY = "{bearer: {token: '${ $secrets.TOKEN }'}}"
ENDPOINT = f"{{uri: 'https://e.test', authentication: {POLICY}}}"


@pytest.mark.parametrize(
    ("tasks", "pointer"),
    [
        (f"[{{c: {{call: http, with: {{method: get, endpoint: {ENDPOINT}}}}}}}]", None),
        ("[{c: {call: http, with: {method: get, endpoint: {uri: 'https://e.test', authentication: {use: known}}}}}]", None),
        ("[{c: {call: agent, with: {agent: a, message: m, env: {TOKEN: '${ $secrets.TOKEN }'}}}}]", None),
        ("[{c: {call: agent, with: {agent: a, message: m, env: '${ $secrets }'}}}]", None),
        ("[{c: {call: agent, with: {agent: a, message: '${ $secrets.TOKEN }'}}}]", "/do/0/c/with/message"),
        ("[{c: {call: agent, with: {agent: a, message: m, env: {A: {b: '${ $secrets.TOKEN }'}}}}}]", "/do/0/c/with/env/A/b"),
        # Data whose names only are those of policies and environments.
        ("[{s: {set: {authentication: '${ $secrets.TOKEN }'}}}]", "/do/0/s/set/authentication"),
        (
            f"[{{c: {{call: http, with: {{method: post, endpoint: 'https://e.test', body: {ENDPOINT}}}}}}}]",
            "/do/0/c/with/body/authentication/bearer/token",
        ),
        ("[{c: {call: used, with: {env: {TOKEN: '${ $secrets.TOKEN }'}}}}]", "/do/0/c/with/env/TOKEN"),
    ],
)
def test_secrets_of_authentication_never_become_data(tasks: str, pointer: str | None) -> None:
    text = f"""
        document: {{dsl: '1.0.3', namespace: test, name: test, version: '1.0.0'}}
        use:
          secrets: [TOKEN]
          authentications: {{known: {POLICY}}}
          functions: {{used: {{set: {{a: 1}}}}}}
        do: {tasks}
        """
    workflow, _ = read_document(dedent(text), "test.yaml")
    found = needing_encryption(workflow)
    assert (None if found is None else found.pointer) == pointer
