"""The bare pod of one attempt of a run (launch.mode Pod). Called by reconcile; read by nothing else.

Without a Job between there is one object less to create and one controller less to wait for, and nobody
who replaces a lost pod: the operator does that itself, with a further attempt.
"""

from __future__ import annotations

from typing import Any

from workflow_runner.launchers.pod_template import pod_template
from workflow_runner.launchers.run import LaunchedRun, LaunchSettings, owned

Json = dict[str, Any]


def build_pod(settings: LaunchSettings, run: LaunchedRun) -> Json:
    """The manifest: the pod that a Job would make, owned by the execution itself."""
    template = pod_template(settings, run)
    metadata = owned(run)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], **metadata, "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    }
