"""What the environment says. Read in cli only; everything else is handed values.

Names that others rely on stand here once: GRPC_PORT, LOG_LEVEL, ENV and the STIGMER_SERVICE_* of the callback
client (docs/operations.md lists them).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from workflow_runner.errors import InvalidInput

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LOG_LEVELS = ("trace", "debug", "info", "warn", "error")
MOST_SECONDS = 100 * 366 * 86_400
"""The longest that the language knows: a hundred years."""
_DECIMAL = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")


class OperatorSettings(Struct, frozen=True):
    """The operator's process."""

    image: str
    image_pull_policy: str
    namespace: str | None
    grpc_port: int
    health_port: int
    metrics_port: int
    watch_namespaces: tuple[str, ...]
    """Empty: the whole cluster."""
    default_runner: dict[str, Any] | None
    """The spec of the runner `default` that the operator applies when it starts; None: it applies none."""
    sink_service: str
    sink_endpoint: str | None
    ca_secret: str
    log_level: str
    job_log_level: str


class PodSettings(Struct, frozen=True):
    """A launched pod: which run it is, and where the sink is."""

    execution_uid: str
    execution_id: str
    attempt: int
    workflow_name: str
    sink_endpoint: str
    sink_ca: bytes
    sink_token_file: Path
    termination_log: Path
    log_level: str
    run_id: str = ""
    timeout: timedelta | None = None
    secrets_folder: Path | None = None
    """Its files are named for secrets and hold their values."""
    snapshot_folder: Path | None = None
    """On a volume that outlives the pod; without one a restarted pod begins anew."""


def operator_settings(environment: Mapping[str, str]) -> OperatorSettings:
    """The operator's settings; raises InvalidInput that names the variable."""
    level = _level(environment)
    return OperatorSettings(
        image=_required(environment, "WORKFLOW_RUNNER_IMAGE", "the image that launched pods run"),
        image_pull_policy=environment.get("WORKFLOW_RUNNER_IMAGE_PULL_POLICY", "IfNotPresent"),
        namespace=environment.get("WORKFLOW_RUNNER_NAMESPACE"),
        grpc_port=_port(environment, "GRPC_PORT", 9090),
        health_port=_port(environment, "HEALTH_PORT", 3000),
        metrics_port=_port(environment, "METRICS_PORT", 9464),
        watch_namespaces=_namespaces(environment, "WATCH_NAMESPACES"),
        default_runner=_object(environment, "WORKFLOW_RUNNER_DEFAULT_RUNNER"),
        sink_service=environment.get("WORKFLOW_RUNNER_SINK_SERVICE", "workflow-runner-sink"),
        sink_endpoint=environment.get("WORKFLOW_RUNNER_SINK_ENDPOINT"),
        ca_secret=environment.get("WORKFLOW_RUNNER_CA_SECRET", "workflow-runner-sink"),
        log_level=level,
        job_log_level=_level(environment, "WORKFLOW_RUNNER_JOB_LOG_LEVEL", level),
    )


def pod_settings(environment: Mapping[str, str]) -> PodSettings:
    """A launched pod's settings; raises InvalidInput that names the variable."""
    attempt = _required(environment, "WORKFLOW_RUNNER_ATTEMPT", "the number of this launch")
    if not attempt.isdigit():
        raise InvalidInput(f"WORKFLOW_RUNNER_ATTEMPT is {attempt!r}, not a number", code="settings.invalid")
    return PodSettings(
        execution_uid=_required(environment, "WORKFLOW_RUNNER_EXECUTION_UID", "the execution's uid"),
        execution_id=_required(environment, "WORKFLOW_RUNNER_EXECUTION_ID", "the run's id"),
        attempt=int(attempt),
        workflow_name=environment.get("WORKFLOW_RUNNER_WORKFLOW_NAME", ""),
        sink_endpoint=_required(environment, "WORKFLOW_RUNNER_SINK_ENDPOINT", "HOST:PORT of the operator's sink"),
        sink_ca=_required(environment, "WORKFLOW_RUNNER_SINK_CA", "the sink's CA certificate").encode(),
        sink_token_file=Path(_required(environment, "WORKFLOW_RUNNER_SINK_TOKEN_FILE", "the projected token")),
        termination_log=Path(environment.get("WORKFLOW_RUNNER_TERMINATION_LOG", "/dev/termination-log")),
        log_level=_level(environment),
        run_id=environment.get("WORKFLOW_RUNNER_RUN_ID", ""),
        timeout=_seconds(environment, "WORKFLOW_RUNNER_TIMEOUT_SECONDS"),
        secrets_folder=_folder(environment, "WORKFLOW_RUNNER_SECRETS_FOLDER"),
        snapshot_folder=_folder(environment, "WORKFLOW_RUNNER_SNAPSHOT_FOLDER"),
    )


def _required(environment: Mapping[str, str], name: str, meaning: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise InvalidInput(f"{name} is not set: {meaning}", code="settings.missing")
    return value


def _seconds(environment: Mapping[str, str], name: str) -> timedelta | None:
    text = environment.get(name, "")
    if not text:
        return None
    if _DECIMAL.fullmatch(text) is None or not 0 < float(text) <= MOST_SECONDS:
        raise InvalidInput(f"{name} is {text!r}, not a number of seconds above 0", code="settings.invalid")
    return timedelta(seconds=float(text))


def _folder(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name, "")
    if text and not text.startswith("/"):
        raise InvalidInput(f"{name} is {text!r}, not an absolute path", code="settings.invalid")
    return Path(text) if text else None


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdigit() or not 0 <= int(text) <= 65535:
        raise InvalidInput(f"{name} is {text!r}, not a port", code="settings.invalid")
    return int(text)


def _object(environment: Mapping[str, str], name: str) -> dict[str, Any] | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{name} is not JSON: {error}", code="settings.invalid") from error
    if not isinstance(value, dict):
        raise InvalidInput(f"{name} is not a JSON object", code="settings.invalid")
    return value


def _namespaces(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip() for part in environment.get(name, "").split(",") if part.strip()))
    for namespace in found:
        if not _NAMESPACE.fullmatch(namespace):
            raise InvalidInput(f"{name} names {namespace!r}, which is no namespace's name", code="settings.invalid")
    return found


def _level(environment: Mapping[str, str], name: str = "LOG_LEVEL", default: str = "info") -> str:
    level = environment.get(name, default).lower()
    if level not in LOG_LEVELS:
        raise InvalidInput(f"{name} is {level!r}, not one of {', '.join(LOG_LEVELS)}", code="settings.invalid")
    return level
