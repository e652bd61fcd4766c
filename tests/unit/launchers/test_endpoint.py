"""What is handed to a runner at an endpoint."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from workflow_runner.errors import InvalidInput
from workflow_runner.launchers.endpoint import build_request
from workflow_runner.launchers.payload import Payload, pack, spec_digest
from workflow_runner.launchers.run import LaunchedRun

DOCUMENT = {"document": {"dsl": "1.0.0", "name": "a", "namespace": "b", "version": "1"}, "do": [{"x": {"set": {"y": "no"}}}]}


def run(given: Any = None, document: Any = DOCUMENT, **fields: Any) -> LaunchedRun:
    payload = Payload(document, {} if given is None else given, "spec.workflow.definition")
    base: dict[str, Any] = {"name": "hello", "namespace": "ns", "uid": "u", "run_id": "", "execution_id": "id-1", "attempt": 1}
    return LaunchedRun(**base, workflow="hello", digest=spec_digest(payload), packed=pack(payload), **fields)


def test_everything_goes_along() -> None:
    request = build_request(run({"n": 1}, timeout_seconds=90.5), "examples/hello:0.1.0", {"A": "b"})
    assert request.workflow_execution_id == "id-1"
    assert yaml.safe_load(request.workflow_yaml) == DOCUMENT
    assert json_format.MessageToDict(request.workflow_input) == {"n": 1}
    metadata = request.metadata
    assert (metadata.namespace, metadata.name, metadata.version) == ("examples", "hello", "0.1.0")
    assert dict(request.env_vars) == {"A": "b"}
    assert dict(request.config) == {"timeout": "PT90.5S"}


def test_text_goes_as_it_is() -> None:
    assert build_request(run(document="# mine\ndo: []\n"), "a/b:1", {}).workflow_yaml == "# mine\ndo: []\n"


def test_the_same_is_asked_for_in_the_same_bytes() -> None:
    """The runner compares them with what it was asked for before."""
    one, other = (build_request(run({"b": 1, "a": [True, None]}), "a/b:1", {"B": "2", "A": "1"}) for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ([1], "no object"),
        ({"a": [{"b": 2**53 + 1}]}, "/a/0/b"),
        ({"a": "\ud800"}, "cannot be put"),
        ({"a": "x" * 5_000_000}, "at most"),
    ],
    ids=["no-object", "too-exact", "half-a-character", "too-large"],
)
def test_what_would_not_arrive_is_refused(given: Any, where: str) -> None:
    with pytest.raises(InvalidInput, match=where) as refused:
        build_request(run(given), "a/b:1", {})
    assert refused.value.code == "endpoint.unsendable"


def test_secret_values_stay() -> None:
    with pytest.raises(InvalidInput, match="TOKEN"):
        build_request(run(stigmer_values={"A": "b"}, stigmer_secrets=("TOKEN",)), "a/b:1", {})


def test_the_executions_own_variables_win_over_those_of_stigmer() -> None:
    request = build_request(run(stigmer_values={"A": "theirs", "B": "theirs"}), "a/b:1", {"A": "own"})
    assert dict(request.env_vars) == {"A": "own", "B": "theirs"}
