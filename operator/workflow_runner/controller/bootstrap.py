"""The runner `default` as the operator's environment describes it (WORKFLOW_RUNNER_DEFAULT_RUNNER). Called by cli.operator.

For installs by one `kubectl apply`: kubectl cannot apply a WorkflowRunner together with the definition of what that
is, so the operator does it when it starts. By server-side apply: what somebody else has set stays as it is.
"""

from __future__ import annotations

from typing import Any

import structlog

from workflow_runner.cluster import Cluster, ClusterError, Conflict
from workflow_runner.crd import group

Json = dict[str, Any]

log = structlog.get_logger(__name__)


async def apply_default_runner(cluster: Cluster, namespace: str, spec: Json) -> None:
    """Makes the runner `default` of the operator's namespace what `spec` says, or logs why it cannot be so."""
    manifest = {
        "apiVersion": group.API_VERSION,
        "kind": group.RUNNER_KIND,
        "metadata": {
            "name": group.DEFAULT_RUNNER,
            "namespace": namespace,
            "labels": {group.MANAGED_BY_LABEL: group.MANAGED_BY},
        },
        "spec": spec,
    }
    try:
        await cluster.apply_runner(manifest)
    except Conflict as error:
        log.warning("the runner `default` is somebody else's, and stays as it is", namespace=namespace, error=error.message)
    except ClusterError as error:
        log.error("the runner `default` cannot be applied", namespace=namespace, error=error.message)
