"""The Job of one attempt of a run (launch.mode Job). Called by reconcile; read by nothing else."""

from __future__ import annotations

from typing import Any

from workflow_runner.launchers.pod_template import pod_template
from workflow_runner.launchers.run import CONTAINER, LaunchedRun, LaunchSettings, owned

Json = dict[str, Any]


def build_job(settings: LaunchSettings, run: LaunchedRun) -> Json:
    """The manifest. Exit codes 1 to 3 are the run's own word and end the Job; a drained node does not count."""
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
                    {"action": "FailJob", "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [1, 2, 3]}},
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "template": pod_template(settings, run),
        },
    }
    if run.suspended:
        job["spec"]["suspend"] = True
    return job
