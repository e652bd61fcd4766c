"""What a request for a run has to be, in this process and in the cluster alike."""

from __future__ import annotations

from typing import Any

import pytest

from workflow_runner.errors import InvalidInput
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts import start_requests
from workflow_runner.hosts.executions import StartRequest
from workflow_runner.settings import control_settings, serve_settings

HEAD = "document: {dsl: 1.0.0, namespace: test, name: test, version: 1.0.0}\n"
TEXT = f"{HEAD}use: {{secrets: [TOKEN, ABSENT]}}\ndo: [{{a: {{set: {{x: 1}}}}}}]"
LONG = f"{HEAD}timeout: {{after: PT11M}}\ndo: [{{a: {{set: {{x: 1}}}}}}]"


def request(**fields: Any) -> StartRequest:
    return StartRequest(**{"execution_id": "e", "document": TEXT, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"execution_id": "e" * 257},
        {"execution_id": "a\nb"},
        {"document": ""},
        {"environment": {"": "x"}},
        {"environment": {"A=B": "x"}},
        {"environment": {"A": "\0"}},
        {"environment": {"A": "x" * start_requests.LARGEST_VARIABLE}},
        {"environment": {f"A{number}": "" for number in range(start_requests.MOST_VARIABLES + 1)}},
    ],
)
def test_what_cannot_be_run_is_refused_before_the_document_is_read(fields: dict[str, Any]) -> None:
    start_requests.check(request())
    with pytest.raises(InvalidInput):
        start_requests.check(request(**fields))


@pytest.mark.parametrize(("text", "config"), [(LONG, {}), (TEXT, {"timeout": "PT11M"})])
def test_nobody_waits_for_a_run_that_may_take_longer_than_ten_minutes(text: str, config: dict[str, str]) -> None:
    workflow, _ = read_document(text)
    start_requests.check_awaited(request(config=config), workflow)
    with pytest.raises(InvalidInput, match="ExecuteAsync"):
        start_requests.check_awaited(request(config=config, awaited=True), workflow)
    with pytest.raises(InvalidInput, match=r"config\.timeout"):
        start_requests.check_awaited(request(config={"timeout": "soon"}), workflow)


def test_secrets_are_what_the_document_names_and_the_caller_gave() -> None:
    workflow, _ = read_document(TEXT)
    assert start_requests.secrets_of(request(environment={"TOKEN": "t", "OTHER": "o"}), workflow) == {"TOKEN": "t"}


@pytest.mark.parametrize("name", ["CERTIFICATE", "KEY", "CLIENT_CA"])
def test_a_part_of_the_tls_files_alone_is_refused_by_both_services(name: str) -> None:
    environment = {f"WORKFLOW_RUNNER_TLS_{name}": "/tls/file", "CONTROL_PORT": "9091"}
    for read in (serve_settings, control_settings):
        with pytest.raises(InvalidInput, match="WORKFLOW_RUNNER_TLS_CERTIFICATE"):
            read(environment)
