"""Every kopf decorator. Each handler only says what was seen; the rest is the reconciler's.

Called by watches.py. Only `on.event` is used: kopf then writes nothing to the objects, neither annotations
nor finalizers of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf
import structlog

from workflow_runner import telemetry
from workflow_runner.controller.store import Kind
from workflow_runner.crd import group

Json = dict[str, Any]
See = Callable[[Kind, Json, bool], None]
"""(what kind of object, the object, whether it was deleted); may be called from another thread."""

log = structlog.get_logger(__name__)

OURS = {group.MANAGED_BY_LABEL: group.MANAGED_BY}


def build_registry(see: See) -> kopf.OperatorRegistry:
    """The watches of the operator, telling `see`."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry, id="login", errors=kopf.ErrorsMode.PERMANENT)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        try:
            return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
        except Exception as error:  # noqa: BLE001 - of whatever reads a kubeconfig
            # An error would end only the one who logs in, and all watches would wait for him; without a login they end.
            log.warning("the API server's address and credentials cannot be read", error=telemetry.redact(str(error))[:300])
            return None

    @kopf.on.event(group.GROUP, group.VERSION, group.EXECUTION_PLURAL, registry=registry, id="execution")
    async def execution(event: kopf.RawEvent, **_: Any) -> None:
        see("execution", dict(event["object"]), event["type"] == "DELETED")

    @kopf.on.event(group.GROUP, group.VERSION, group.RUNNER_PLURAL, registry=registry, id="runner")
    async def runner(event: kopf.RawEvent, **_: Any) -> None:
        see("runner", dict(event["object"]), event["type"] == "DELETED")

    @kopf.on.event("batch", "v1", "jobs", labels=OURS, registry=registry, id="job")
    async def job(event: kopf.RawEvent, **_: Any) -> None:
        see("job", dict(event["object"]), event["type"] == "DELETED")

    @kopf.on.event("", "v1", "pods", labels=OURS, registry=registry, id="pod")
    async def pod(event: kopf.RawEvent, **_: Any) -> None:
        see("pod", dict(event["object"]), event["type"] == "DELETED")

    return registry


def build_settings() -> kopf.OperatorSettings:
    """kopf told to watch only what it must, and to write nothing."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.process.ultimate_exiting_timeout = None
    selector = f"{group.MANAGED_BY_LABEL}={group.MANAGED_BY}"
    settings.watching.label_selectors["jobs"] = selector
    settings.watching.label_selectors["pods"] = selector
    return settings
