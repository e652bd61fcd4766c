"""Where Temporal is, and how a process of ours is there. Read in cli; docs/temporal.md lists the variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from workflow_runner.errors import InvalidInput
from workflow_runner.settings.variables import ENDPOINT, count, path, seconds, switch

STIGMER_TASK_QUEUE = "workflow_execution_stigmer"
RUNNER_TASK_QUEUE = "workflow_execution_runner"
ENGINE_TASK_QUEUE = "workflow_execution"
TIME_LIMIT_SECONDS = 30 * 60.0


class PayloadSettings(Struct, frozen=True):
    """What becomes of data before Temporal sees them.

    `keys` is a folder of encryption keys (hosts/temporal/encryption.py); None: data are plain. `store` is the URL of the
    object store for what has more than `threshold` bytes; None: there is none, and the server's own limits hold.
    """

    keys: Path | None = None
    store: str | None = None
    threshold: int = 256 * 1024

    def __repr__(self) -> str:
        """Without the URL, which may have credentials in it."""
        return f"PayloadSettings(encrypted={self.keys is not None!r}, stored={self.store is not None!r})"


class TemporalSettings(Struct, frozen=True):
    """A Temporal server and a process's place there. `address` is HOST:PORT; files are PEM.

    TLS is used where it is asked for, or a key or certificate is given. `build_id` names the version of the code for
    worker versioning, with `deployment`; without both there is none.
    """

    address: str
    namespace: str = "default"
    api_key: str = ""
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None
    payloads: PayloadSettings = PayloadSettings()
    stigmer_task_queue: str = STIGMER_TASK_QUEUE
    runner_task_queue: str = RUNNER_TASK_QUEUE
    engine_task_queue: str = ENGINE_TASK_QUEUE
    time_limit_seconds: float = TIME_LIMIT_SECONDS
    """Of an execution that Stigmer asked for, paused time excluded; and so long it may wait for a runner."""
    heartbeat_seconds: float = 10.0
    """So long a worker that carries out a call may be silent before another one makes the call again."""
    deployment: str = ""
    build_id: str = ""

    def __repr__(self) -> str:
        """Without the key."""
        return f"TemporalSettings(address={self.address!r}, namespace={self.namespace!r})"


def temporal_settings(environment: Mapping[str, str]) -> TemporalSettings | None:
    """The settings, or None where TEMPORAL_SERVICE_ADDRESS is not set. Raises InvalidInput that names the variable, and never
    says what a key is."""
    address = environment.get("TEMPORAL_SERVICE_ADDRESS", "").strip()
    if not address:
        return None
    if ENDPOINT.fullmatch(address) is None or int(address.rsplit(":", 1)[1]) > 65535:
        message = f"TEMPORAL_SERVICE_ADDRESS is {address!r}, not HOST:PORT such as temporal-frontend.temporal:7233"
        raise InvalidInput(message, code="settings.invalid")
    api_key = environment.get("TEMPORAL_API_KEY", "").strip()
    if not api_key.isascii() or not api_key.isprintable():
        raise InvalidInput("TEMPORAL_API_KEY holds characters that cannot be sent in a header", code="settings.invalid")
    certificate, key = path(environment, "TEMPORAL_TLS_CERTIFICATE"), path(environment, "TEMPORAL_TLS_KEY")
    if (certificate is None) != (key is None):
        raise InvalidInput("TEMPORAL_TLS_CERTIFICATE and TEMPORAL_TLS_KEY go together", code="settings.missing")
    ca = path(environment, "TEMPORAL_TLS_CA")
    tls = switch(environment, "TEMPORAL_TLS", default=bool(api_key or certificate or ca))
    if not tls and (api_key or certificate or ca):
        message = "TEMPORAL_TLS is false, and a key or a certificate is given, which would be sent in plain text or not at all"
        raise InvalidInput(message, code="settings.invalid")
    heartbeat = seconds(environment, "TEMPORAL_HEARTBEAT_TIMEOUT_SECONDS")
    limit = seconds(environment, "TEMPORAL_WORKFLOW_EXECUTION_TIMEOUT_SECONDS")
    return TemporalSettings(
        address=address,
        namespace=environment.get("TEMPORAL_NAMESPACE", "").strip() or "default",
        api_key=api_key,
        tls=tls,
        ca=ca,
        certificate=certificate,
        key=key,
        server_name=environment.get("TEMPORAL_TLS_SERVER_NAME", "").strip() or None,
        payloads=PayloadSettings(
            keys=path(environment, "TEMPORAL_PAYLOAD_KEYS"),
            store=environment.get("TEMPORAL_PAYLOAD_STORE", "").strip() or None,
            threshold=count(environment, "TEMPORAL_PAYLOAD_THRESHOLD_BYTES", 256 * 1024),
        ),
        stigmer_task_queue=_queue(environment, "TEMPORAL_WORKFLOW_EXECUTION_STIGMER_TASK_QUEUE", STIGMER_TASK_QUEUE),
        runner_task_queue=_queue(environment, "TEMPORAL_WORKFLOW_EXECUTION_RUNNER_TASK_QUEUE", RUNNER_TASK_QUEUE),
        engine_task_queue=_queue(environment, "TEMPORAL_WORKFLOW_EXECUTION_TASK_QUEUE", ENGINE_TASK_QUEUE),
        time_limit_seconds=TIME_LIMIT_SECONDS if limit is None else limit.total_seconds(),
        heartbeat_seconds=10.0 if heartbeat is None else heartbeat.total_seconds(),
        deployment=environment.get("TEMPORAL_DEPLOYMENT_NAME", "").strip(),
        build_id=environment.get("TEMPORAL_WORKER_BUILD_ID", "").strip(),
    )


def required_temporal_settings(environment: Mapping[str, str]) -> TemporalSettings:
    """The settings; raises InvalidInput where there are none."""
    settings = temporal_settings(environment)
    if settings is None:
        raise InvalidInput(
            "TEMPORAL_SERVICE_ADDRESS is not set: where Temporal is, as HOST:PORT",
            code="settings.missing",
            hint="`workflow-runner dev` starts a server for development at 127.0.0.1:7233",
        )
    return settings


def _queue(environment: Mapping[str, str], name: str, default: str) -> str:
    return environment.get(name, "").strip() or default
