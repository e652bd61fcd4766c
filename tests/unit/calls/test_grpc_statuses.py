"""The table of gRPC statuses in docs/language.md is the one that is used."""

from __future__ import annotations

import re
from pathlib import Path

import grpc

from workflow_runner.calls.grpc import STATUS

PAGE = (Path(__file__).parents[3] / "docs" / "language.md").read_text()


def test_every_status_is_in_the_table() -> None:
    rows = re.findall(r"^\| (`[A-Z_`, ]+[^|]*) \| `([a-z]+)` \| (\d+) \|$", PAGE, re.MULTILINE)
    told = {name: (type_, int(status)) for names, type_, status in rows for name in re.findall(r"`([A-Z_]+)`", names)}
    assert told == {code.name: (type_.rsplit("/", 1)[1], status) for code, (type_, status) in STATUS.items()}


def test_every_status_but_success_has_an_error() -> None:
    assert set(STATUS) == set(grpc.StatusCode) - {grpc.StatusCode.OK}
