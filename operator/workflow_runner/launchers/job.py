"""The Job of one attempt of a run. Called by reconcile.execution; read by nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from workflow_runner.crd import group

CONTAINER = "workflow"
INPUT_FOLDER = "/etc/workflow-runner"
TOKEN_FOLDER = "/var/run/secrets/workflow-runner"  # noqa: S105 - a folder, not a token
TOKEN_SECONDS = 3600
TERMINATION_GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class SinkAddress:
    """Where launched pods report: HOST:PORT and the operator's CA certificate (PEM)."""

    endpoint: str
    ca_pem: str


@dataclass(frozen=True, slots=True)
class LaunchSettings:
    """What the operator says of every run it launches."""

    image: str
    image_pull_policy: str
    sink: SinkAddress
    log_level: str
    cpu_request: str = "50m"
    memory_request: str = "96Mi"
    memory_limit: str = "512Mi"


def job_name(execution: str, uid: str, attempt: int) -> str:
    """The attempt's Job: the execution's name, cut, and a hash, so that it is known before it is made."""
    suffix = hashlib.sha256(f"{uid}/{attempt}".encode()).hexdigest()[:10]
    return f"{execution[:46].rstrip('-.')}-{suffix}"


def build_job(
    *,
    settings: LaunchSettings,
    name: str,
    namespace: str,
    uid: str,
    execution_id: str,
    attempt: int,
    workflow: str,
    digest: str,
    packed: str,
) -> dict[str, Any]:
    """The manifest. Exit codes 1 to 3 are the run's own word and end the Job; a drained node does not count."""
    labels = {
        group.MANAGED_BY_LABEL: group.MANAGED_BY,
        "app.kubernetes.io/name": "workflow-execution",
        group.LABEL_EXECUTION: name,
        group.LABEL_EXECUTION_UID: uid,
        group.LABEL_ATTEMPT: str(attempt),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(name, uid, attempt),
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": group.API_VERSION,
                    "kind": group.EXECUTION_KIND,
                    "name": name,
                    "uid": uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [1, 2, 3]}},
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "template": {
                "metadata": {"labels": labels, "annotations": {group.ANNOTATION_INPUT: packed}},
                "spec": _pod_spec(settings, uid, execution_id, attempt, workflow, digest),
            },
        },
    }


def _pod_spec(
    settings: LaunchSettings, uid: str, execution_id: str, attempt: int, workflow: str, digest: str
) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(settings, uid, execution_id, attempt, workflow, digest)],
        "volumes": _volumes(),
    }


def _container(
    settings: LaunchSettings, uid: str, execution_id: str, attempt: int, workflow: str, digest: str
) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": ["execute", f"--input-file={INPUT_FOLDER}/input", f"--digest={digest}"],
        "env": [
            {"name": "WORKFLOW_RUNNER_EXECUTION_UID", "value": uid},
            {"name": "WORKFLOW_RUNNER_EXECUTION_ID", "value": execution_id},
            {"name": "WORKFLOW_RUNNER_ATTEMPT", "value": str(attempt)},
            {"name": "WORKFLOW_RUNNER_WORKFLOW_NAME", "value": workflow},
            {"name": "WORKFLOW_RUNNER_SINK_ENDPOINT", "value": settings.sink.endpoint},
            {"name": "WORKFLOW_RUNNER_SINK_CA", "value": settings.sink.ca_pem},
            {"name": "WORKFLOW_RUNNER_SINK_TOKEN_FILE", "value": f"{TOKEN_FOLDER}/token"},
            {"name": "LOG_LEVEL", "value": settings.log_level},
        ],
        "resources": {
            "requests": {"cpu": settings.cpu_request, "memory": settings.memory_request},
            "limits": {"memory": settings.memory_limit},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "input", "mountPath": INPUT_FOLDER, "readOnly": True},
            {"name": "token", "mountPath": TOKEN_FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the container's own, an emptyDir
        ],
    }


def _volumes() -> list[dict[str, Any]]:
    return [
        {
            "name": "input",
            "downwardAPI": {
                "items": [{"path": "input", "fieldRef": {"fieldPath": f"metadata.annotations['{group.ANNOTATION_INPUT}']"}}]
            },
        },
        {
            "name": "token",
            "projected": {
                "sources": [
                    {
                        "serviceAccountToken": {
                            "audience": group.SINK_AUDIENCE,
                            "expirationSeconds": TOKEN_SECONDS,
                            "path": "token",
                        }
                    }
                ]
            },
        },
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
