"""Every kopf decorator. Each handler only notes what was seen and puts a key into the queue.

Called by cli.operator. Only `on.event` is used: kopf then writes nothing to the objects, neither
annotations nor finalizers of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from workflow_runner.controller.queue import KeyedQueue
from workflow_runner.controller.store import Store
from workflow_runner.crd import group

Json = dict[str, Any]
See = Callable[..., str | None]


def build_registry(store: Store, queue: KeyedQueue) -> kopf.OperatorRegistry:
    """The watches of the operator, feeding `store` and `queue`."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry, id="service-account", errors=kopf.ErrorsMode.IGNORED)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(group.GROUP, group.VERSION, group.EXECUTION_PLURAL, registry=registry, id="execution")
    def execution(event: kopf.RawEvent, **_: Any) -> None:
        resource = _object(event)
        store.see_execution(resource, deleted=event["type"] == "DELETED")
        queue.add(resource["metadata"]["uid"])

    @kopf.on.event(group.GROUP, group.VERSION, group.RUNNER_PLURAL, registry=registry, id="runner")
    def runner(event: kopf.RawEvent, **_: Any) -> None:
        resource = _object(event)
        store.see_runner(resource, deleted=event["type"] == "DELETED")
        for uid in store.executions_for_runner(resource["metadata"]["name"]):
            queue.add(uid)

    ours = {group.MANAGED_BY_LABEL: group.MANAGED_BY}

    @kopf.on.event("batch", "v1", "jobs", labels=ours, registry=registry, id="job")
    def job(event: kopf.RawEvent, **_: Any) -> None:
        uid = store.see_job(_object(event), deleted=event["type"] == "DELETED")
        if uid is not None:
            queue.add(uid)

    @kopf.on.event("", "v1", "pods", labels=ours, registry=registry, id="pod")
    def pod(event: kopf.RawEvent, **_: Any) -> None:
        uid = store.see_pod(_object(event), deleted=event["type"] == "DELETED")
        if uid is not None:
            queue.add(uid)

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
    return settings


def _object(event: kopf.RawEvent) -> Json:
    value: Json = dict(event["object"])
    return value
