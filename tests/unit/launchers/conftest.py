"""A run as the tests of its manifests launch it."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from workflow_runner.launchers.run import LaunchedRun, LaunchSettings, SinkAddress


class MakeRun(Protocol):
    """A run that differs from a plain one in what a test says."""

    def __call__(self, **changes: Any) -> LaunchedRun: ...


@pytest.fixture
def settings() -> LaunchSettings:
    return LaunchSettings("runner:1", "Never", SinkAddress("sink.ns.svc:9090", "PEM"), "debug")


@pytest.fixture
def make_run() -> MakeRun:
    def make(**changes: Any) -> LaunchedRun:
        plain: dict[str, Any] = {
            "name": "hello",
            "namespace": "ns",
            "uid": "u",
            "run_id": "",
            "execution_id": "u",
            "attempt": 1,
            "workflow": "hello",
            "digest": "sha256:d",
            "packed": "p",
        }
        return LaunchedRun(**(plain | changes))

    return make
