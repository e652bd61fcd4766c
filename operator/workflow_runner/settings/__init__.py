"""What the environment says. Read in cli only; everything else is handed values.

Names that others rely on stand here once: GRPC_PORT, LOG_LEVEL, ENV and the STIGMER_SERVICE_* of the callback
client (docs/operations.md lists them).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from workflow_runner.errors import InvalidInput
from workflow_runner.settings.temporal import TemporalSettings, required_temporal_settings
from workflow_runner.settings.variables import (
    ENDPOINT,
    count,
    entries,
    level,
    namespaces,
    object_,
    path,
    port,
    required,
    seconds,
    switch,
)
from workflow_runner.settings.variables import LOG_LEVELS as LOG_LEVELS
from workflow_runner.settings.variables import MOST_SECONDS as MOST_SECONDS

ALLOW_ADDRESSES, DENY_ADDRESSES = "WORKFLOW_RUNNER_ALLOW_ADDRESSES", "WORKFLOW_RUNNER_DENY_ADDRESSES"


class HostSettings(Struct, frozen=True):
    """What a process that runs documents has and permits."""

    processes: bool = True
    process_seconds: float | None = None
    """How long one may take; None is the default."""
    default_catalog: str | None = None

    def __repr__(self) -> str:
        """Without the address, which may have credentials."""
        return f"HostSettings(processes={self.processes!r}, process_seconds={self.process_seconds!r})"


def host_settings(environment: Mapping[str, str]) -> HostSettings:
    """The host settings; raises InvalidInput that names the variable."""
    longest = seconds(environment, "WORKFLOW_RUNNER_PROCESS_TIMEOUT_SECONDS")
    catalog = environment.get("WORKFLOW_RUNNER_DEFAULT_CATALOG") or None
    if catalog is not None and not catalog.startswith(("https://", "http://", "file:/")):
        message = "WORKFLOW_RUNNER_DEFAULT_CATALOG is not an http, https or file URI"
        raise InvalidInput(message, code="settings.invalid")
    return HostSettings(
        processes=switch(environment, "WORKFLOW_RUNNER_PROCESSES", default=True),
        process_seconds=None if longest is None else longest.total_seconds(),
        default_catalog=catalog,
    )


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
    events_port: int | None = None
    """Where CloudEvents for runs are taken; None: nowhere."""
    events_tokens_folder: Path | None = None
    """Its files are named for namespaces and hold the token that opens each."""
    allow_addresses: tuple[str, ...] = ()
    deny_addresses: tuple[str, ...] = ()
    control: ControlSettings | None = None
    """None: the operator has no services but the sink."""
    host: HostSettings = HostSettings()
    """What launched pods have and permit."""
    """Of the calls of launched pods; entries of `calls.addresses.AddressRules`."""


class StigmerSettings(Struct, frozen=True):
    """The Stigmer service that a process of its own tells of progress (the operator has it from its runners).

    `endpoint` is HOST:PORT. The key is `api_key`, or in `api_key_file`, which is read again when it changes; without either
    calls go without one. `api` is how progress is told: progress (ReportProgress) or status (updateStatus).
    """

    endpoint: str
    api_key: str = ""
    use_tls: bool = True
    api_key_file: Path | None = None
    api: Literal["progress", "status"] = "progress"

    def __repr__(self) -> str:
        """Without the key."""
        return f"StigmerSettings(endpoint={self.endpoint!r}, use_tls={self.use_tls!r}, api={self.api!r})"


class TlsFiles(Struct, frozen=True):
    """PEM files of a server. With `client_ca` clients must show a certificate, too."""

    certificate: Path
    key: Path
    client_ca: Path | None


class ServeSettings(Struct, frozen=True):
    """A process that serves WorkflowExecutionService."""

    grpc_port: int
    health_port: int
    metrics_port: int
    log_level: str
    stigmer: StigmerSettings | None
    """Whom it tells of progress; None: nobody."""
    temporal: TemporalSettings | None
    """Where runs are, with WORKFLOW_RUNNER_ENGINE=temporal; None: in this process."""
    state_folder: Path | None
    """Where runs are kept, so that they go on in the next process."""
    api_keys: Path | None
    """A file with a key, or a folder of them, named for whom each belongs to."""
    tls: TlsFiles | None
    unguarded: bool
    """Everybody may call from everywhere: somebody else guards the port."""
    public_address: str
    """HOST:PORT by which others reach it; empty: what it listens on."""
    stop_seconds: float
    """How long runs have when the process is told to stop."""
    most_executions: int


class ControlSettings(Struct, frozen=True):
    """The operator's own gRPC services."""

    port: int
    namespace: str
    """Where what they start goes; empty: the operator's own."""
    keys: Path | None
    """A folder of keys, named for whom each belongs to."""
    tokens: bool
    """Whether the cluster's tokens are let in."""
    audience: str
    """What tokens have to be made for; empty: what the API server takes."""
    tls: TlsFiles | None
    """None: a certificate by the operator's own CA."""
    address: str
    """HOST:PORT by which others reach them, for the URLs in answers."""


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
    temporal: TemporalSettings | None = None
    """Where the run's state is; None: in this process."""
    allow_addresses: tuple[str, ...] = ()
    deny_addresses: tuple[str, ...] = ()
    """Entries of `calls.addresses.AddressRules`."""
    stigmer_values: dict[str, str] = {}
    """The plain values of the environment that the workflow has in Stigmer."""
    stigmer_secrets: tuple[str, ...] = ()
    """The names of the secret ones, which the sink knows; empty: it need not be asked."""


class EventSettings(Struct, frozen=True):
    """Where the events of runs go, and what opens these doors. What is not set is None."""

    sink: str | None = None
    sink_token: str | None = None
    lifecycle_sink: str | None = None
    lifecycle_sink_token: str | None = None
    listen_token: str | None = None

    def __repr__(self) -> str:
        """Without addresses and tokens: each may be a secret."""
        return "EventSettings()"


class WorkerSettings(Struct, frozen=True):
    """A process that works for Temporal, in whatever roles."""

    temporal: TemporalSettings
    stigmer: StigmerSettings | None
    """Where executions are read and told of; None: only the role engine can do without."""
    health_port: int
    metrics_port: int
    log_level: str
    most_executions: int
    """So many the role runner follows at the same time."""


def worker_settings(environment: Mapping[str, str]) -> WorkerSettings:
    """The settings of `worker`; raises InvalidInput that names the variable."""
    return WorkerSettings(
        temporal=required_temporal_settings(environment),
        stigmer=stigmer_settings(environment),
        health_port=port(environment, "HEALTH_PORT", 3000),
        metrics_port=port(environment, "METRICS_PORT", 9090),
        log_level=level(environment),
        most_executions=count(environment, "WORKFLOW_RUNNER_MOST_EXECUTIONS", 2000),
    )


def event_settings(environment: Mapping[str, str]) -> EventSettings:
    """The event settings of a process that runs documents."""
    return EventSettings(
        sink=environment.get("WORKFLOW_RUNNER_EVENT_SINK") or None,
        sink_token=environment.get("WORKFLOW_RUNNER_EVENT_SINK_TOKEN") or None,
        lifecycle_sink=environment.get("WORKFLOW_RUNNER_LIFECYCLE_SINK") or None,
        lifecycle_sink_token=environment.get("WORKFLOW_RUNNER_LIFECYCLE_SINK_TOKEN") or None,
        listen_token=environment.get("WORKFLOW_RUNNER_LISTEN_TOKEN") or None,
    )


def stigmer_settings(environment: Mapping[str, str]) -> StigmerSettings | None:
    """Where a process reports, and as whom; None where STIGMER_SERVICE_ENDPOINT is not set. Raises InvalidInput that
    names the variable, and never says what a key is."""
    endpoint = environment.get("STIGMER_SERVICE_ENDPOINT", "").strip()
    if not endpoint:
        return None
    if ENDPOINT.fullmatch(endpoint) is None or int(endpoint.rsplit(":", 1)[1]) > 65535:
        message = f"STIGMER_SERVICE_ENDPOINT is {endpoint!r}, not HOST:PORT such as stigmer.example.com:443"
        raise InvalidInput(message, code="settings.invalid", hint="STIGMER_SERVICE_USE_TLS chooses between TLS and plaintext")
    key, file = environment.get("STIGMER_SERVICE_API_KEY", "").strip(), path(environment, "STIGMER_SERVICE_API_KEY_FILE")
    if key and file is not None:
        message = "STIGMER_SERVICE_API_KEY and STIGMER_SERVICE_API_KEY_FILE are both set"
        raise InvalidInput(message, code="settings.invalid", hint="remove one of the two")
    if not key.isascii() or not key.isprintable():
        message = "STIGMER_SERVICE_API_KEY holds characters that cannot be sent in a header"
        raise InvalidInput(message, code="settings.invalid")
    api = environment.get("STIGMER_SERVICE_API", "").strip() or "progress"
    if api not in ("progress", "status"):
        raise InvalidInput(f"STIGMER_SERVICE_API is {api!r}, not progress or status", code="settings.invalid")
    use_tls = switch(environment, "STIGMER_SERVICE_USE_TLS", default=True)
    return StigmerSettings(endpoint, key, use_tls, file, "status" if api == "status" else "progress")


def operator_settings(environment: Mapping[str, str]) -> OperatorSettings:
    """The operator's settings; raises InvalidInput that names the variable."""
    log_level = level(environment)
    return OperatorSettings(
        image=required(environment, "WORKFLOW_RUNNER_IMAGE", "the image that launched pods run"),
        image_pull_policy=environment.get("WORKFLOW_RUNNER_IMAGE_PULL_POLICY", "IfNotPresent"),
        namespace=environment.get("WORKFLOW_RUNNER_NAMESPACE"),
        grpc_port=port(environment, "GRPC_PORT", 9090),
        health_port=port(environment, "HEALTH_PORT", 3000),
        metrics_port=port(environment, "METRICS_PORT", 9464),
        watch_namespaces=namespaces(environment, "WATCH_NAMESPACES"),
        default_runner=object_(environment, "WORKFLOW_RUNNER_DEFAULT_RUNNER"),
        sink_service=environment.get("WORKFLOW_RUNNER_SINK_SERVICE", "workflow-runner-sink"),
        sink_endpoint=environment.get("WORKFLOW_RUNNER_SINK_ENDPOINT"),
        ca_secret=environment.get("WORKFLOW_RUNNER_CA_SECRET", "workflow-runner-sink"),
        log_level=log_level,
        job_log_level=level(environment, "WORKFLOW_RUNNER_JOB_LOG_LEVEL", log_level),
        events_port=port(environment, "EVENTS_PORT", 0) or None,
        events_tokens_folder=path(environment, "WORKFLOW_RUNNER_EVENTS_TOKENS_FOLDER"),
        allow_addresses=entries(environment, ALLOW_ADDRESSES),
        deny_addresses=entries(environment, DENY_ADDRESSES),
        control=control_settings(environment),
        host=host_settings(environment),
    )


def serve_settings(environment: Mapping[str, str]) -> ServeSettings:
    """The settings of `serve`; raises InvalidInput that names the variable."""
    authentication = environment.get("WORKFLOW_RUNNER_AUTHENTICATION", "")
    if authentication not in ("", "none"):
        raise InvalidInput(
            f"WORKFLOW_RUNNER_AUTHENTICATION is {authentication!r}, and can only be none",
            code="settings.invalid",
            hint="keys are in WORKFLOW_RUNNER_API_KEYS, clients' certificates by WORKFLOW_RUNNER_TLS_CLIENT_CA",
        )
    stop = seconds(environment, "WORKFLOW_RUNNER_STOP_SECONDS")
    return ServeSettings(
        grpc_port=port(environment, "GRPC_PORT", 9090),
        health_port=port(environment, "HEALTH_PORT", 3000),
        metrics_port=port(environment, "METRICS_PORT", 9464),
        log_level=level(environment),
        stigmer=stigmer_settings(environment),
        temporal=_engine(environment),
        state_folder=path(environment, "WORKFLOW_RUNNER_STATE_FOLDER"),
        api_keys=path(environment, "WORKFLOW_RUNNER_API_KEYS"),
        tls=_tls_files(environment),
        unguarded=authentication == "none",
        public_address=environment.get("WORKFLOW_RUNNER_PUBLIC_ADDRESS", "").strip(),
        stop_seconds=20.0 if stop is None else stop.total_seconds(),
        most_executions=count(environment, "WORKFLOW_RUNNER_MOST_EXECUTIONS", 2000),
    )


def control_settings(environment: Mapping[str, str]) -> ControlSettings | None:
    """The settings of the operator's own services, None where they are off; raises InvalidInput that names the variable."""
    control_port = port(environment, "CONTROL_PORT", 0)
    if control_port == 0:
        return None
    named = namespaces(environment, "WORKFLOW_RUNNER_CONTROL_NAMESPACE")
    return ControlSettings(
        port=control_port,
        namespace=named[0] if named else "",
        keys=path(environment, "WORKFLOW_RUNNER_CONTROL_KEYS"),
        tokens=switch(environment, "WORKFLOW_RUNNER_CONTROL_TOKENS", default=False),
        audience=environment.get("WORKFLOW_RUNNER_CONTROL_AUDIENCE", ""),
        tls=_tls_files(environment),
        address=environment.get("WORKFLOW_RUNNER_PUBLIC_ADDRESS", "").strip(),
    )


def pod_settings(environment: Mapping[str, str]) -> PodSettings:
    """A launched pod's settings; raises InvalidInput that names the variable."""
    attempt = required(environment, "WORKFLOW_RUNNER_ATTEMPT", "the number of this launch")
    if not attempt.isdigit():
        raise InvalidInput(f"WORKFLOW_RUNNER_ATTEMPT is {attempt!r}, not a number", code="settings.invalid")
    return PodSettings(
        temporal=_engine(environment),
        execution_uid=required(environment, "WORKFLOW_RUNNER_EXECUTION_UID", "the execution's uid"),
        execution_id=required(environment, "WORKFLOW_RUNNER_EXECUTION_ID", "the run's id"),
        attempt=int(attempt),
        workflow_name=environment.get("WORKFLOW_RUNNER_WORKFLOW_NAME", ""),
        sink_endpoint=required(environment, "WORKFLOW_RUNNER_SINK_ENDPOINT", "HOST:PORT of the operator's sink"),
        sink_ca=required(environment, "WORKFLOW_RUNNER_SINK_CA", "the sink's CA certificate").encode(),
        sink_token_file=Path(required(environment, "WORKFLOW_RUNNER_SINK_TOKEN_FILE", "the projected token")),
        termination_log=Path(environment.get("WORKFLOW_RUNNER_TERMINATION_LOG", "/dev/termination-log")),
        log_level=level(environment),
        run_id=environment.get("WORKFLOW_RUNNER_RUN_ID", ""),
        timeout=seconds(environment, "WORKFLOW_RUNNER_TIMEOUT_SECONDS"),
        secrets_folder=path(environment, "WORKFLOW_RUNNER_SECRETS_FOLDER"),
        snapshot_folder=path(environment, "WORKFLOW_RUNNER_SNAPSHOT_FOLDER"),
        stigmer_values=object_(environment, "WORKFLOW_RUNNER_STIGMER_VALUES") or {},
        stigmer_secrets=entries(environment, "WORKFLOW_RUNNER_STIGMER_SECRETS"),
        allow_addresses=entries(environment, ALLOW_ADDRESSES),
        deny_addresses=entries(environment, DENY_ADDRESSES),
    )


def log_level(environment: Mapping[str, str] = os.environ) -> str:
    """What a command for people logs: little, unless LOG_LEVEL says more. Raises InvalidInput."""
    return level(environment, default="warn")


def address_settings(environment: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The allowed and the denied addresses of outgoing calls, as entries that are not checked yet."""
    return entries(environment, ALLOW_ADDRESSES), entries(environment, DENY_ADDRESSES)


def _engine(environment: Mapping[str, str]) -> TemporalSettings | None:
    """Where Temporal is, for the engine of that name; None for the embedded one."""
    engine = environment.get("WORKFLOW_RUNNER_ENGINE", "") or "embedded"
    if engine not in ("embedded", "temporal"):
        raise InvalidInput(f"WORKFLOW_RUNNER_ENGINE is {engine!r}, not embedded or temporal", code="settings.invalid")
    return required_temporal_settings(environment) if engine == "temporal" else None


def _tls_files(environment: Mapping[str, str]) -> TlsFiles | None:
    certificate, key = path(environment, "WORKFLOW_RUNNER_TLS_CERTIFICATE"), path(environment, "WORKFLOW_RUNNER_TLS_KEY")
    client_ca = path(environment, "WORKFLOW_RUNNER_TLS_CLIENT_CA")
    if certificate is not None and key is not None:
        return TlsFiles(certificate, key, client_ca)
    if certificate is None and key is None and client_ca is None:
        return None
    raise InvalidInput(
        "WORKFLOW_RUNNER_TLS_CERTIFICATE and WORKFLOW_RUNNER_TLS_KEY go together, and _TLS_CLIENT_CA needs both",
        code="settings.missing",
    )
