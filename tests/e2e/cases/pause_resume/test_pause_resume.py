"""Pause holds a run where it is; resume lets it end right."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.harness.kube import Execution, Namespace


def test_nothing_runs_while_paused_and_the_end_is_right(applied: Execution, case: Path) -> None:
    applied.wait(lambda status: (status.get("taskCounts") or {}).get("completed", 0) >= 3, "three tasks are done")
    applied.patch(paused=True)
    paused = applied.wait_phase("Paused")
    assert paused["control"]["desired"] == "Pause"
    assert paused["control"]["result"] == "Applied"
    assert paused["control"]["observedGeneration"] == applied.resource["metadata"]["generation"]

    # As long as another run needs for its second of waiting, this one must not move.
    applied.namespace.apply(case / "yardstick.yaml")
    applied.namespace.execution("pause-resume-yardstick").wait_phase("Completed")
    still = applied.status
    assert (still["taskCounts"], still["phase"]) == (paused["taskCounts"], "Paused")

    applied.patch(paused=False)
    status = applied.wait_phase("Completed")
    assert status["output"] == {"total": sum(range(40))}
    assert status["control"]["result"] == "Applied"
    events = applied.events()
    assert [reason for reason in events if reason in ("Paused", "Resumed", "Completed")] == ["Paused", "Resumed", "Completed"]


def test_paused_before_launch_has_no_pod_until_it_is_resumed(namespace: Namespace, case: Path) -> None:
    text = (case / "yardstick.yaml").read_text().replace("spec:", "spec:\n  paused: true", 1)
    namespace.apply(text)
    execution = namespace.execution("pause-resume-yardstick")
    execution.wait_phase("Paused")
    assert execution.jobs() == []
    execution.patch(paused=False)
    execution.wait_phase("Completed")
