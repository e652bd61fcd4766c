"""What the environment says. Read in cli only; everything else is handed values.

Names that others rely on stand here once: GRPC_PORT, LOG_LEVEL, ENV and the STIGMER_SERVICE_* of the callback
client (docs/operations.md lists them).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workflow_runner.errors import InvalidInput

LOG_LEVELS = ("trace", "debug", "info", "warn", "error")


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """The operator's process."""

    image: str
    image_pull_policy: str
    namespace: str | None
    grpc_port: int
    health_port: int
    sink_service: str
    sink_endpoint: str | None
    ca_secret: str
    log_level: str
    job_log_level: str


@dataclass(frozen=True, slots=True)
class PodSettings:
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


def operator_settings(environment: Mapping[str, str]) -> OperatorSettings:
    """The operator's settings; raises InvalidInput that names the variable."""
    level = _level(environment)
    return OperatorSettings(
        image=_required(environment, "WORKFLOW_RUNNER_IMAGE", "the image that launched pods run"),
        image_pull_policy=environment.get("WORKFLOW_RUNNER_IMAGE_PULL_POLICY", "IfNotPresent"),
        namespace=environment.get("WORKFLOW_RUNNER_NAMESPACE"),
        grpc_port=_port(environment, "GRPC_PORT", 9090),
        health_port=_port(environment, "HEALTH_PORT", 3000),
        sink_service=environment.get("WORKFLOW_RUNNER_SINK_SERVICE", "workflow-runner-sink"),
        sink_endpoint=environment.get("WORKFLOW_RUNNER_SINK_ENDPOINT"),
        ca_secret=environment.get("WORKFLOW_RUNNER_CA_SECRET", "workflow-runner-sink"),
        log_level=level,
        job_log_level=environment.get("WORKFLOW_RUNNER_JOB_LOG_LEVEL", level),
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
    )


def _required(environment: Mapping[str, str], name: str, meaning: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise InvalidInput(f"{name} is not set: {meaning}", code="settings.missing")
    return value


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdigit() or not 0 <= int(text) <= 65535:
        raise InvalidInput(f"{name} is {text!r}, not a port", code="settings.invalid")
    return int(text)


def _level(environment: Mapping[str, str]) -> str:
    level = environment.get("LOG_LEVEL", "info").lower()
    if level not in LOG_LEVELS:
        raise InvalidInput(f"LOG_LEVEL is {level!r}, not one of {', '.join(LOG_LEVELS)}", code="settings.invalid")
    return level
