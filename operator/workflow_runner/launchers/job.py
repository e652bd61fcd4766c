"""The Job of one attempt of a run (launch.mode Job). Called by reconcile; read by nothing else."""

from __future__ import annotations

from typing import Any

from workflow_runner.launchers.pod_template import pod_template
from workflow_runner.launchers.run import CONTAINER, NO_TEMPORAL, LaunchedRun, LaunchSettings, owned

Json = dict[str, Any]

DISRUPTED: Json = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def on_exit(action: str, *codes: int) -> Json:
    """A rule of a podFailurePolicy."""
    return {"action": action, "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": list(codes)}}


def build_job(settings: LaunchSettings, run: LaunchedRun) -> Json:
    """The manifest. Exit codes 1 to 3 are the run's own word and end the Job; a drained node does not count, nor does a pod
    that has not got as far as Temporal: such are replaced ever more slowly, for as long as it takes."""
    job: Json = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": owned(run),
        "spec": {
            "backoffLimit": run.retries,
            "completions": 1,
            "parallelism": 1,
            "podFailurePolicy": {
                "rules": [
                    on_exit("FailJob", 1, 2, 3),
                    *([on_exit("Ignore", NO_TEMPORAL)] if run.temporal is not None else []),
                    DISRUPTED,
                ]
            },
            "template": pod_template(settings, run),
        },
    }
    if run.suspended:
        job["spec"]["suspend"] = True
    return job
