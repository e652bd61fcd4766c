"""While Temporal does not let a run begin, the run says why and waits; then it goes on by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.temporal import Temporal

Json = dict[str, Any]

MODES = pytest.mark.parametrize("mode", ["Job", "Pod"])


@MODES
def test_a_server_that_comes_later(temporal: Temporal, namespace: Namespace, case: Path, mode: str) -> None:
    temporal.stop()
    try:
        namespace.apply(temporal.runner(mode))
        execution = namespace.start(case / "execution.yaml")
        stalled = execution.wait_condition("Stalled", "True", "TemporalUnreachable", seconds=90)
        assert temporal.address in stalled["message"]
        status = execution.status
        assert status["phase"] == "Pending"
        assert "error" not in status
    finally:
        temporal.start()
    # The next try is some seconds away, and twice as many if that one was too early.
    status = execution.wait_phase("Completed", seconds=240)
    assert execution.condition("Stalled")["status"] == "False"
    assert "failures" not in status, "no retry was used up"
    assert status["attempt"] == 1


@MODES
def test_a_namespace_that_is_not_there(temporal: Temporal, namespace: Namespace, case: Path, mode: str) -> None:
    execution = _started(namespace, case, {**temporal.runner(mode)["spec"]["temporal"], "namespace": "nowhere"}, mode)
    stalled = execution.wait_condition("Stalled", "True", "TemporalNamespaceMissing", seconds=90)
    assert "nowhere" in stalled["message"]
    execution.patch(cancelled=True)
    status = execution.wait_phase("Cancelled")
    assert "termination" not in status, "it never was in Temporal"


def test_tls_where_there_is_none(temporal: Temporal, namespace: Namespace, case: Path) -> None:
    execution = _started(namespace, case, {"address": temporal.address, "tls": {}}, "Job")
    execution.wait_condition("Stalled", "True", ("TemporalTls", "TemporalUnreachable"), seconds=90)
    execution.patch(cancelled=True)
    execution.wait_phase("Cancelled")


def _started(namespace: Namespace, case: Path, temporal: Json, mode: str) -> Execution:
    spec = {"type": "temporal", "launch": {"mode": mode}, "temporal": temporal}
    metadata = {"name": "default"}
    namespace.apply(
        {"apiVersion": "workflowrunner.stigmer.ai/v1", "kind": "WorkflowRunner", "metadata": metadata, "spec": spec}
    )
    return namespace.start(case / "execution.yaml")
