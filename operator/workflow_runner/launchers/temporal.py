"""What the pods of a run of type temporal get so that they find Temporal: variables, files and volumes. Called by pod_template.

The variables are those that settings.temporal reads, every one of them, also where it says nothing: a variable from an
envFrom must not. Secrets are named, never read.
"""

from __future__ import annotations

from typing import Any

from workflow_runner.crd import pods
from workflow_runner.crd.durations import seconds
from workflow_runner.crd.temporal import Temporal

Json = dict[str, Any]

THRESHOLD_BYTES = 256 * 1024
FOLDER = "temporal"
"""Within the folder of what is handed to the pod."""
KEYS_MODE = 0o440
_CA, _CERTIFICATE, _KEY = "ca.crt", "tls.crt", "tls.key"


def is_reserved(temporal: Temporal, name: str) -> bool:
    """Whether a variable of this name would say where Temporal or its store is, or as whom a pod goes there."""
    stores = temporal.payloads is not None and temporal.payloads.store is not None
    return name.startswith(pods.TEMPORAL_VARIABLES) or (stores and name.startswith(pods.STORE_VARIABLES))


def variables(temporal: Temporal) -> list[Json]:
    """The container's variables, as a pod has them."""
    tls, payloads, key = temporal.tls, temporal.payloads, temporal.api_key_secret_ref
    has_ca = tls is not None and (tls.ca_secret_ref is not None or tls.ca_config_map_ref is not None)
    certified = tls is not None and tls.client_certificate_secret_ref is not None
    encrypted = payloads is not None and payloads.encryption_keys_secret_ref is not None
    threshold = THRESHOLD_BYTES if payloads is None or payloads.threshold_bytes is None else payloads.threshold_bytes
    values = {
        "TEMPORAL_SERVICE_ADDRESS": temporal.address,
        "TEMPORAL_NAMESPACE": temporal.namespace,
        "TEMPORAL_TLS": "true" if temporal.uses_tls else "false",
        "TEMPORAL_TLS_CA": _path(_CA) if has_ca else "",
        "TEMPORAL_TLS_CERTIFICATE": _path(_CERTIFICATE) if certified else "",
        "TEMPORAL_TLS_KEY": _path(_KEY) if certified else "",
        "TEMPORAL_TLS_SERVER_NAME": (tls.server_name or "") if tls is not None else "",
        "TEMPORAL_PAYLOAD_KEYS": pods.PAYLOAD_KEYS_FOLDER if encrypted else "",
        "TEMPORAL_PAYLOAD_STORE": ((payloads.store or "") if payloads is not None else "").replace("$", "$$"),
        "TEMPORAL_PAYLOAD_THRESHOLD_BYTES": str(threshold),
        "TEMPORAL_HEARTBEAT_TIMEOUT_SECONDS": (
            "" if temporal.heartbeat_timeout is None else f"{seconds(temporal.heartbeat_timeout):.3f}".rstrip("0").rstrip(".")
        ),
        "TEMPORAL_WORKFLOW_EXECUTION_STIGMER_TASK_QUEUE": "",
        "TEMPORAL_WORKFLOW_EXECUTION_RUNNER_TASK_QUEUE": "",
        "TEMPORAL_WORKFLOW_EXECUTION_TASK_QUEUE": "",
        "TEMPORAL_WORKFLOW_EXECUTION_TIMEOUT_SECONDS": "",
        "TEMPORAL_DEPLOYMENT_NAME": "",
        "TEMPORAL_WORKER_BUILD_ID": "",
    }
    api_key: Json = {"name": "TEMPORAL_API_KEY", "value": ""}
    if key is not None:
        api_key = {"name": "TEMPORAL_API_KEY", "valueFrom": {"secretKeyRef": {"name": key.name, "key": key.key}}}
    return [*({"name": name, "value": value} for name, value in values.items()), api_key]


def variable_sources(temporal: Temporal) -> list[Json]:
    """Whole Secrets that become variables: what a store of payloads wants to know."""
    payloads = temporal.payloads
    if payloads is None or payloads.store_secret_ref is None:
        return []
    return [{"secretRef": {"name": payloads.store_secret_ref.name}}]


def files(temporal: Temporal) -> list[Json]:
    """Sources of the volume of what is handed to the pod: certificates."""
    tls = temporal.tls
    if tls is None:
        return []
    result: list[Json] = []
    if tls.ca_secret_ref is not None:
        ca = tls.ca_secret_ref
        result.append({"secret": {"name": ca.name, "items": [{"key": ca.key, "path": f"{FOLDER}/{_CA}"}]}})
    if tls.ca_config_map_ref is not None:
        found = tls.ca_config_map_ref
        result.append({"configMap": {"name": found.name, "items": [{"key": found.key, "path": f"{FOLDER}/{_CA}"}]}})
    if tls.client_certificate_secret_ref is not None:
        items = [{"key": name, "path": f"{FOLDER}/{name}"} for name in (_CERTIFICATE, _KEY)]
        result.append({"secret": {"name": tls.client_certificate_secret_ref.name, "items": items}})
    return result


def mounts(temporal: Temporal) -> list[Json]:
    """Where `volumes` are mounted."""
    return [{"name": volume["name"], "mountPath": pods.PAYLOAD_KEYS_FOLDER, "readOnly": True} for volume in volumes(temporal)]


def volumes(temporal: Temporal) -> list[Json]:
    """A volume with all keys of the encryption keys' Secret, each a file called by its id."""
    payloads = temporal.payloads
    if payloads is None or payloads.encryption_keys_secret_ref is None:
        return []
    secret = {"secretName": payloads.encryption_keys_secret_ref.name, "defaultMode": KEYS_MODE}
    return [{"name": pods.PAYLOAD_KEYS, "secret": secret}]


def _path(file: str) -> str:
    return f"{pods.HANDED_FOLDER}/{FOLDER}/{file}"
