"""What is launched: one attempt of a run, the names of what belongs to it, and its input where that is large.

Filled in by reconcile; read by `job.py` and `pod.py`, which say in what the attempt runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from workflow_runner.crd import group
from workflow_runner.crd.pods import CONTAINER as CONTAINER
from workflow_runner.crd.temporal import Temporal
from workflow_runner.launchers.payload import MAX_ANNOTATION

Json = dict[str, Any]

INPUT_KEY = "input"
"""The key of the input's ConfigMap, and the name of the file that the pod reads."""

NO_TEMPORAL = 75
"""How a pod exits (EX_TEMPFAIL) that cannot begin since Temporal does not let it: nothing has happened to the run."""


class SinkAddress(Struct, frozen=True):
    """Where launched pods report: HOST:PORT and the operator's CA certificate (PEM)."""

    endpoint: str
    ca_pem: str


class LaunchSettings(Struct, frozen=True):
    """What the operator says of every run it launches. Addresses are those of its outgoing calls, as the pod reads them;
    `processes` permits shell commands and scripts, `default_catalog` is where functions are that documents need not define."""

    image: str
    image_pull_policy: str
    sink: SinkAddress
    log_level: str
    allow_addresses: tuple[str, ...] = ()
    deny_addresses: tuple[str, ...] = ()
    processes: bool = True
    process_seconds: float | None = None
    default_catalog: str | None = None
    cpu_request: str = "50m"
    memory_request: str = "96Mi"
    memory_limit: str = "512Mi"


class LaunchedRun(Struct, frozen=True):
    """One attempt of a run.

    `name`, `namespace` and `uid` are the execution's; `run_id` is its spec.runId, or empty. `packed` is what
    `payload.pack` made, `digest` what pins it. The templates are partial pod templates, the runner's and the
    execution's; `env` holds the execution's variables as a pod has them. `secrets` gives (Secret, key) by the name
    that the workflow knows. `stigmer_values` are the plain values of a workflow that comes from Stigmer,
    `stigmer_secrets` the names of the others, which the pod gets from the sink. `snapshot_claim` is the
    PersistentVolumeClaim with the run's checkpoints, `temporal` the Temporal that has its state in place of that. What a run
    may not have has been refused before (reconcile.allowed); the manifests hold to the limits once more.
    """

    name: str
    namespace: str
    uid: str
    run_id: str
    execution_id: str
    attempt: int
    workflow: str
    digest: str
    packed: str
    runner_template: Json | None = None
    template: Json | None = None
    env: tuple[Json, ...] = ()
    secrets: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    stigmer_values: Mapping[str, str] = field(default_factory=dict)
    stigmer_secrets: tuple[str, ...] = ()
    timeout_seconds: float | None = None
    retries: int = 0
    snapshot_claim: str | None = None
    temporal: Temporal | None = None
    suspended: bool = False

    @property
    def workload(self) -> str:
        """The name of this attempt's Job, or bare pod, and of its input's ConfigMap."""
        return workload_name(self.name, self.uid, self.run_id, self.attempt)

    @property
    def input_is_stored(self) -> bool:
        """Whether the input is too large for an annotation and travels in a ConfigMap (`build_input`)."""
        return len(self.packed) > MAX_ANNOTATION


def workload_name(name: str, uid: str, run_id: str, attempt: int) -> str:
    """The attempt's Job or pod: the execution's name, cut, and a hash, so that it is known before it is made."""
    which = f"{uid}/{run_id}/{attempt}" if run_id else f"{uid}/{attempt}"
    suffix = hashlib.sha256(which.encode()).hexdigest()[:10]
    return f"{name[:46].rstrip('-.')}-{suffix}"


def labels(run: LaunchedRun) -> dict[str, str]:
    """The labels of everything that belongs to the attempt."""
    result = {
        group.MANAGED_BY_LABEL: group.MANAGED_BY,
        "app.kubernetes.io/name": "workflow-execution",
        group.LABEL_EXECUTION: run.name,
        group.LABEL_EXECUTION_UID: run.uid,
        group.LABEL_ATTEMPT: str(run.attempt),
    }
    return result | ({group.LABEL_RUN_ID: run.run_id} if run.run_id else {})


def owned(run: LaunchedRun) -> Json:
    """Metadata of an object that is the attempt's own: it goes when the execution goes."""
    return {
        "name": run.workload,
        "namespace": run.namespace,
        "labels": labels(run),
        "ownerReferences": [
            {
                "apiVersion": group.API_VERSION,
                "kind": group.EXECUTION_KIND,
                "name": run.name,
                "uid": run.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def build_input(run: LaunchedRun) -> Json | None:
    """The ConfigMap with the packed input; None where that fits the pod's annotation. Create it before the workload."""
    if not run.input_is_stored:
        return None
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owned(run),
        "immutable": True,
        "data": {INPUT_KEY: run.packed},
    }
