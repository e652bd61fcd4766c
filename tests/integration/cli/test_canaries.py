"""Secrets go where the document sends them and are seen nowhere else: not in output, logs, events or errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import canaries
from tests.integration.cli.program import call

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
