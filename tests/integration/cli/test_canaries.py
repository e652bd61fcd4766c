"""Secrets go where the document sends them and are seen nowhere else: not in output, logs, events or errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests import canaries
from tests.integration.cli.program import call

HEADER = "document: {dsl: 1.0.3, namespace: test, name: canaries, version: 1.0.0}\n"
DOCUMENT = """\
document: {dsl: 1.0.3, namespace: test, name: canaries, version: 1.0.0}
use: {secrets: [TOKEN]}
do:
  - call:
      call: http
      with:
        method: get
        endpoint: {uri: %s}
        headers: {Authorization: '${ "Bearer " + $secrets.TOKEN }'}
"""


@pytest.mark.parametrize(
    "uri",
    [
        f"http://user:{canaries.URL_PASSWORD}@127.0.0.1:9/x",
        f"http://127.0.0.1:9/x?key={canaries.URL_PASSWORD}",
        "'${ \"http://127.0.0.1:9/\" + $secrets.TOKEN }'",
        "'${ $secrets.TOKEN }'",
        "'${ $secrets.TOKEN + 1 }'",
    ],
    ids=["password-in-url", "key-in-query", "secret-in-path", "secret-as-url", "expression-that-fails"],
)
@pytest.mark.parametrize("level", ["trace", "info"])
def test_a_failing_call_tells_no_secret(tmp_path: Path, uri: str, level: str) -> None:
    path, events = tmp_path / "document.yaml", tmp_path / "events"
    path.write_text(DOCUMENT % uri)
    ended = call("run", path, "--events", events, LOG_LEVEL=level, WORKFLOW_SECRET_TOKEN=canaries.BEARER)
    assert ended.code == 1
    assert ended.problem["instance"].startswith("/do/0/call")
    assert canaries.found_in(events.read_text()) == []


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("bearer: {token: '${ null }'}", "bearer authentication needs 'token' (it is missing, null or empty)"),
        ("basic: {username: a, password: '${ [1] }'}", "password of basic authentication must be a string"),
        ("basic: {username: a, password: '${ .half }'}", "password of basic authentication has half of a character"),
    ],
)
def test_what_is_wrong_with_a_policy_can_be_read(tmp_path: Path, policy: str, said: str) -> None:
    """What looks like a credential is taken out of messages; these only speak of some."""
    path = tmp_path / "document.yaml"
    endpoint = f"{{uri: 'http://127.0.0.1:9/', authentication: {{{policy}}}}}"
    path.write_text(f"{HEADER}do: [{{ask: {{call: http, with: {{method: get, endpoint: {endpoint}}}}}}}]\n")
    ended = call("run", path, "--input", '{"half": "\\ud800"}' if "half" in policy else "{}")
    assert ended.problem["detail"].startswith(said)


@pytest.mark.parametrize(
    ("level", "shown"), [("trace", True), ("debug", True), ("warn", False), ("nonsense", None)], ids=lambda one: str(one)
)
def test_run_logs_what_it_is_told_to(tmp_path: Path, level: str, shown: bool | None) -> None:
    path = tmp_path / "document.yaml"
    path.write_text(f"{HEADER}do: [{{a: {{set: {{x: 1}}}}}}]\n")
    ended = call("run", path, LOG_LEVEL=level)
    if shown is None:
        assert (ended.code, "settings.invalid: LOG_LEVEL is 'nonsense'" in ended.err) == (2, True)
    else:
        assert (ended.code, " debug Using selector" in ended.err) == (0, shown)


@pytest.mark.parametrize("given", ['{"x": "\\ud800 and é"}', '{"x": "\\ud800"}'])
def test_half_of_a_character_is_written_as_json_has_it(tmp_path: Path, given: str) -> None:
    path, events = tmp_path / "document.yaml", tmp_path / "events"
    path.write_text(f"{HEADER}do: [{{a: {{set: {{x: '${{ .x }}'}}}}}}]\n")
    ended = call("run", path, "--input", given, "--events", events)
    assert ended.output == json.loads(given)
    last = json.loads(events.read_text().splitlines()[-1])
    assert (last["eventType"], "output" in last) == ("workflow_completed", False)
