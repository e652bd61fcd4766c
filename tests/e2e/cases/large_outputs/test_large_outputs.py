"""Outputs of every size: in the termination message, in status, or named as lost; never a run that fails of its size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.stigmer import Stigmer
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

KIB = 1024
STIGMER = {"name": "with-stigmer", "namespace": "workflow-runner"}


def _termination_message(run: Execution) -> Json:
    def messages() -> list[str]:
        return [
            item["state"]["terminated"].get("message", "")
            for pod in run.pods()
            for item in pod["status"].get("containerStatuses", [])
            if "terminated" in item["state"]
        ]

    [text] = wait_for(messages, bool, what="the container has ended")
    value: Json = json.loads(text)
    return value


def _size(value: Any) -> int:
    return len(json.dumps(value))


@pytest.mark.parametrize(
    ("size", "between"),
    [(3 * KIB, 0), (8 * KIB, 0), (250 * KIB, 0), (8 * KIB, 1200 * KIB)],
    ids=lambda size: f"{size // KIB}-KiB",
)
def test_an_output_of_up_to_256_kib_stands_in_status(
    stigmer: Stigmer, operator: Operator, namespace: Namespace, case: Path, size: int, between: int
) -> None:
    before = operator.identity()
    run = namespace.start(case / "execution.yaml", input={"size": size, "between": between}, runnerRef=STIGMER)
    status = run.wait_phase("Completed")
    assert status["output"] == {"text": "x" * size}
    assert "OutputLost" not in {item["type"] for item in status["conditions"]}
    message = _termination_message(run)
    assert ("output" in message) == (size < 4 * KIB)
    assert message["phase"] == "Completed"
    assert _size(status) < size + 20 * KIB, "what tasks gave is no part of status"
    assert stigmer.told(status["executionId"], "workflow_completed")
    assert operator.identity() == before


@pytest.mark.parametrize("size", [300 * KIB, 1200 * KIB, 8000 * KIB], ids=lambda size: f"{size // KIB}-KiB")
def test_a_larger_one_is_lost_and_status_says_so(
    stigmer: Stigmer, operator: Operator, namespace: Namespace, case: Path, size: int
) -> None:
    before = operator.identity()
    run = namespace.start(case / "execution.yaml", input={"size": size, "between": 0}, runnerRef=STIGMER)
    status = run.wait_phase("Completed")
    assert "output" not in status
    lost = run.condition("OutputLost")
    assert (lost["status"], lost["reason"]) == ("True", "TooLarge")
    assert "larger than the 262,144 bytes" in lost["message"]
    assert _size(status) < 20 * KIB
    assert "output" not in _termination_message(run)
    assert stigmer.told(status["executionId"], "workflow_completed")
    assert operator.identity() == before
