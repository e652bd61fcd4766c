"""An invalid document fails at once, with every mistake and its place, and nothing is started."""

from __future__ import annotations

from tests.e2e.harness.kube import Execution


def test_the_message_names_line_and_column_and_no_pod_is_made(applied: Execution) -> None:
    status = applied.wait_phase("Failed")
    accepted = applied.condition("Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "InvalidDocument")
    lines = accepted["message"].splitlines()
    assert any(line.startswith("spec.workflow.yaml:9:7: ") and "thn" in line for line in lines), lines
    assert any(line.startswith("spec.workflow.yaml:11:") and "jq" in line for line in lines), lines
    assert status["error"]["code"]
    assert applied.condition("Stalled")["status"] == "True"
    assert (applied.jobs(), applied.pods()) == ([], [])
    assert applied.events() == ["Failed"]
