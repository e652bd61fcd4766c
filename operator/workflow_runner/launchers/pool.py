"""What a pool is made of (launch.mode Pool): a StatefulSet, its headless Service, and a Secret with what its replicas show and
ask for. Pure; called by controller.pools, which applies them.

All three belong to the WorkflowRunner and go with it. A replica is `workflow-runner serve`; it stops as its pod's grace period
lets it: it takes nothing new, and what runs has that long to end. With type temporal it leaves its runs to the others at once.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from msgspec import Struct

from workflow_runner.crd import group, pods
from workflow_runner.crd.temporal import Temporal
from workflow_runner.launchers import temporal
from workflow_runner.launchers.merge import merged
from workflow_runner.launchers.pod_template import HANDED_MODE, USER
from workflow_runner.launchers.resources import resources
from workflow_runner.launchers.run import LaunchSettings

Json = dict[str, Any]

PORT, HEALTH_PORT = 9090, 3000
GRACE_SECONDS = 300
"""How long the runs of a replica that stops may take to end, where the template does not say."""
LAST_SECONDS = 10
"""Of these, so many are for the process itself."""
KEY_FOLDER, KEY_FILE = "keys", "operator"


class Pool(Struct, frozen=True):
    """The pool of one runner, whose name, namespace and uid these are. `template` is the runner's partial pod template."""

    runner: str
    namespace: str
    uid: str
    replicas: int
    concurrency: int
    template: Json | None = None
    temporal: Temporal | None = None
    """Where the state of its runs is; None: in the replicas."""

    @property
    def name(self) -> str:
        """Of its objects: the runner's name, cut, and a hash, so that another runner of that name has another pool."""
        return f"{self.runner[:38].rstrip('-.').replace('.', '-')}-{hashlib.sha256(self.uid.encode()).hexdigest()[:8]}"

    @property
    def task_queue(self) -> str:
        """The queue in Temporal that its replicas share."""
        named = None if self.temporal is None else self.temporal.task_queue
        return named or f"workflow_execution_pool/{self.uid}"

    @property
    def server_name(self) -> str:
        """What the certificate of every replica is for."""
        return f"{self.name}.{self.namespace}.svc"


def build_secret(pool: Pool, api_key: str, certificate: tuple[bytes, bytes]) -> Json:
    """The key that replicas ask for, and the (key, certificate) that they show."""
    key, chain = certificate
    data = {KEY_FILE: api_key.encode(), "tls.key": key, "tls.crt": chain}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(pool),
        "immutable": True,
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def build_service(pool: Pool) -> Json:
    """The headless Service that gives the replicas their names."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(pool),
        "spec": {
            "clusterIP": "None",
            # Whoever drains is still asked for what it runs.
            "publishNotReadyAddresses": True,
            "selector": _selector(pool),
            "ports": [{"name": "grpc", "port": PORT, "targetPort": PORT, "protocol": "TCP"}],
        },
    }


def build_stateful_set(settings: LaunchSettings, pool: Pool) -> Json:
    """The replicas. They are replaced one by one when the template changes, each after its runs have ended or the grace period
    is over."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(pool),
        "spec": {
            "serviceName": pool.name,
            "replicas": pool.replicas,
            "podManagementPolicy": "Parallel",
            "revisionHistoryLimit": 2,
            "updateStrategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": _selector(pool)},
            "template": _template(settings, pool),
        },
    }


def _template(settings: LaunchSettings, pool: Pool) -> Json:
    asked = merged(pool.template)
    metadata, spec = asked["metadata"], asked["spec"]
    container: Json = next(iter(spec.pop("containers", [])), {})
    grace = int(spec.pop("terminationGracePeriodSeconds", GRACE_SECONDS))
    user = {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"}
    return {
        "metadata": {
            "labels": {**(metadata.get("labels") or {}), **_labels(pool)},
            "annotations": metadata.get("annotations") or {},
        },
        "spec": {
            **spec,
            "terminationGracePeriodSeconds": grace,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                **user,
                **(spec.get("securityContext") or {}),
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(settings, pool, container, grace)],
            "volumes": [
                *(volume for volume in spec.get("volumes") or [] if volume.get("name") not in pods.OWN_VOLUMES),
                {"name": pods.HANDED, "projected": {"defaultMode": HANDED_MODE, "sources": _sources(pool)}},
                {"name": pods.TMP, "emptyDir": {"sizeLimit": "64Mi"}},
                *(temporal.volumes(pool.temporal) if pool.temporal else []),
            ],
        },
    }


_ITEMS = [
    {"key": KEY_FILE, "path": f"{KEY_FOLDER}/{KEY_FILE}"},
    {"key": "tls.crt", "path": "tls.crt"},
    {"key": "tls.key", "path": "tls.key"},
]


def _sources(pool: Pool) -> list[Json]:
    own = {"secret": {"name": pool.name, "items": _ITEMS}}
    return [own, *(temporal.files(pool.temporal) if pool.temporal else [])]


def _container(settings: LaunchSettings, pool: Pool, asked: Json, grace: int) -> Json:
    defaults = {
        "requests": {"cpu": settings.cpu_request, "memory": settings.memory_request},
        "limits": {"memory": settings.memory_limit},
    }
    own = (pods.HANDED_FOLDER, pods.TMP_FOLDER)
    mounts = [
        mount
        for mount in asked.get("volumeMounts") or []
        if mount.get("name") not in pods.OWN_VOLUMES and not pods.is_own_folder(str(mount.get("mountPath")))
    ]
    sources = [*(asked.get("envFrom") or []), *(temporal.variable_sources(pool.temporal) if pool.temporal else [])]
    return {
        **({"envFrom": sources} if sources else {}),
        "name": pods.CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": ["serve"],
        "env": [
            *(entry for entry in asked.get("env") or [] if not _is_reserved(pool, str(entry.get("name")))),
            *({"name": name, "value": value} for name, value in _variables(settings, pool, grace).items()),
            *_temporal_variables(pool),
        ],
        "ports": [{"name": "grpc", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/health/ready", "port": HEALTH_PORT}, "periodSeconds": 2},
        "livenessProbe": {"httpGet": {"path": "/health/live", "port": HEALTH_PORT}, "periodSeconds": 20, "failureThreshold": 6},
        # Why a replica has ended is what the runner's status says where none is ready.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": resources(defaults, asked.get("resources") or {}),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            *mounts,
            {"name": pods.HANDED, "mountPath": own[0], "readOnly": True},
            {"name": pods.TMP, "mountPath": own[1]},
            *(temporal.mounts(pool.temporal) if pool.temporal else []),
        ],
    }


def _is_reserved(pool: Pool, name: str) -> bool:
    """Whether a variable is not the template's to set."""
    if pool.temporal is not None and name.startswith(pods.TEMPORAL_VARIABLES):
        return True
    return name.startswith(pods.OWN_VARIABLES) and name not in pods.EVENT_VARIABLES


def _temporal_variables(pool: Pool) -> list[Json]:
    if pool.temporal is None:
        return []
    queue = {"name": "TEMPORAL_WORKFLOW_EXECUTION_TASK_QUEUE", "value": pool.task_queue}
    return [queue if entry["name"] == queue["name"] else entry for entry in temporal.variables(pool.temporal)]


def _variables(settings: LaunchSettings, pool: Pool, grace: int) -> dict[str, str]:
    return {
        "WORKFLOW_RUNNER_ENGINE": "embedded" if pool.temporal is None else "temporal",
        "GRPC_PORT": str(PORT),
        "HEALTH_PORT": str(HEALTH_PORT),
        "WORKFLOW_RUNNER_API_KEYS": f"{pods.HANDED_FOLDER}/{KEY_FOLDER}",
        "WORKFLOW_RUNNER_TLS_CERTIFICATE": f"{pods.HANDED_FOLDER}/tls.crt",
        "WORKFLOW_RUNNER_TLS_KEY": f"{pods.HANDED_FOLDER}/tls.key",
        "WORKFLOW_RUNNER_MOST_EXECUTIONS": str(pool.concurrency),
        "WORKFLOW_RUNNER_STOP_SECONDS": str(max(1, grace - LAST_SECONDS)),
        "WORKFLOW_RUNNER_ALLOW_ADDRESSES": ",".join(settings.allow_addresses),
        "WORKFLOW_RUNNER_DENY_ADDRESSES": ",".join(settings.deny_addresses),
        "WORKFLOW_RUNNER_PROCESSES": "true" if settings.processes else "false",
        "WORKFLOW_RUNNER_PROCESS_TIMEOUT_SECONDS": "" if settings.process_seconds is None else f"{settings.process_seconds:g}",
        "WORKFLOW_RUNNER_DEFAULT_CATALOG": settings.default_catalog or "",
        "LOG_LEVEL": settings.log_level,
    }


def _selector(pool: Pool) -> dict[str, str]:
    return {group.LABEL_POOL: pool.uid}


def _labels(pool: Pool) -> dict[str, str]:
    """The operator watches what it manages; the runner's uid says which pool a pod is of."""
    return {
        group.MANAGED_BY_LABEL: group.MANAGED_BY,
        "app.kubernetes.io/name": "workflow-runner-pool",
        group.LABEL_POOL: pool.uid,
    }


def _metadata(pool: Pool) -> Json:
    owner = {
        "apiVersion": group.API_VERSION,
        "kind": group.RUNNER_KIND,
        "name": pool.runner,
        "uid": pool.uid,
        "controller": True,
    }
    return {"name": pool.name, "namespace": pool.namespace, "labels": _labels(pool), "ownerReferences": [owner]}
