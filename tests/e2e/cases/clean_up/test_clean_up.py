"""What an ended run leaves behind goes when it is told to: its Job and pods, or the resource itself."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.waiting import wait_for


def test_job_and_pods_go_and_status_stays(namespace: Namespace, case: Path) -> None:
    execution = namespace.start(case / "execution.yaml")
    status = execution.wait_phase("Completed")
    wait_for(lambda: (execution.jobs(), execution.pods()), lambda found: found == ([], []), what="Job and pods are gone")
    assert execution.status == status


def test_the_resource_itself_goes_where_that_is_asked_for(namespace: Namespace, case: Path) -> None:
    execution = namespace.start(case / "execution.yaml", "goes", ttlAfterFinished=None, deleteAfterFinished="2s")
    execution.wait_phase("Completed")
    namespace.wait_gone("wfe", "goes")
    wait_for(lambda: (execution.jobs(), execution.pods()), lambda found: found == ([], []), what="Job and pods are gone")
