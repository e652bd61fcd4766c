"""The Job that ends in Temporal what a run has left open there: `workflow-runner terminate`, once. Called by reconcile.

It is for runs whose pod cannot end them any more: cancelled by force, lost, timed out, or deleted.
"""

from __future__ import annotations

from typing import Any

from workflow_runner.crd import group
from workflow_runner.launchers.job import DISRUPTED, on_exit
from workflow_runner.launchers.pod_template import termination_template
from workflow_runner.launchers.run import NO_TEMPORAL, LaunchedRun, LaunchSettings, owned, workload_name

Json = dict[str, Any]

TERMINATION_SECONDS = 3600
"""So long it is tried to end a run's workflow in Temporal."""
TERMINATION_KEPT_SECONDS = 300
_TERMINATION_FAILURES = 6


def termination_name(name: str, uid: str, run_id: str) -> str:
    """The Job of a run of an execution: one a run, known before it is made."""
    return workload_name(name, uid, f"{run_id}/terminate", 0)


def build_termination(settings: LaunchSettings, run: LaunchedRun, reason: str, *, owned_by_execution: bool) -> Json:
    """A Job that ends the run's workflow in Temporal, if it is open, and removes itself afterwards.

    An execution that is being deleted must not own it: deleted in the foreground it would take the Job along.
    """
    metadata = {**owned(run), "name": termination_name(run.name, run.uid, run.run_id)}
    if not owned_by_execution:
        del metadata["ownerReferences"]
    template = termination_template(settings, run)
    # The pod keeps the labels of the run's: whatever says where those may connect holds for this one.
    metadata["labels"] |= {group.NAME_LABEL: group.TERMINATION}
    said = {"name": "WORKFLOW_RUNNER_TERMINATION_REASON", "value": reason.replace("$", "$$")}
    template["spec"]["containers"][0]["env"].append(said)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": _TERMINATION_FAILURES,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": TERMINATION_SECONDS,
            "ttlSecondsAfterFinished": TERMINATION_KEPT_SECONDS,
            "podFailurePolicy": {"rules": [on_exit("Ignore", NO_TEMPORAL), DISRUPTED]},
            "template": template,
        },
    }
