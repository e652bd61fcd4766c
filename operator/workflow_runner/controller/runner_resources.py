"""WorkflowRunner resources for those who manage them by gRPC (server/runners.py). Built by cli.operator.

Each call is checked as its caller; the API server validates what is written.
"""

from __future__ import annotations

from typing import Any

from workflow_runner.cluster import Cluster, Conflict, Rejected
from workflow_runner.controller.access import Access
from workflow_runner.crd import group
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.executions import Caller, OtherContent

Json = dict[str, Any]

PLURAL = group.RUNNER_PLURAL


class RunnerResources:
    """Use it from one event loop."""

    def __init__(self, cluster: Cluster, *, namespace: str) -> None:
        """`namespace` is meant where a caller names none."""
        self._cluster = cluster
        self._access = Access(cluster)
        self.namespace = namespace

    async def create(self, manifest: Json, caller: Caller) -> Json:
        """Make one. Raises OtherContent where there is one of that name, InvalidInput where the API server does not take it."""
        await self._check(manifest, caller, "create")
        try:
            return await self._written(self._cluster.create_resource(PLURAL, manifest))
        except Conflict as error:
            raise OtherContent(f"there is a runner {manifest['metadata']['name']!r} already") from error

    async def update(self, manifest: Json, caller: Caller) -> Json:
        """Make its spec, labels and annotations what is given. With a resourceVersion: raises Conflict when it has changed
        since. Raises NotFound."""
        await self._check(manifest, caller, "update")
        metadata = manifest["metadata"]
        current = await self._cluster.get_resource(PLURAL, metadata["namespace"], metadata["name"])
        # What is not said (finalizers, owners, annotations of others' tools) stays.
        merged = {
            **current["metadata"],
            "labels": metadata.get("labels") or {},
            "annotations": {**(current["metadata"].get("annotations") or {}), **(metadata.get("annotations") or {})},
        }
        if "resourceVersion" in metadata:
            merged["resourceVersion"] = metadata["resourceVersion"]
        whole = {**current, "apiVersion": group.API_VERSION, "kind": group.RUNNER_KIND, "metadata": merged}
        return await self._written(self._cluster.replace_resource(PLURAL, {**whole, "spec": manifest["spec"]}))

    async def apply(self, manifest: Json, caller: Caller) -> Json:
        """Make one, or make it what is given."""
        try:
            return await self.create(manifest, caller)
        except OtherContent:
            return await self.update(manifest, caller)

    async def delete(self, namespace: str, name: str, caller: Caller) -> Json:
        """Remove it; what it was. Raises NotFound."""
        await self._access.check(caller, "delete", PLURAL, namespace, name)
        found = await self._cluster.get_resource(PLURAL, namespace, name)
        await self._cluster.delete_resource(PLURAL, namespace, name)
        return found

    async def get(self, namespace: str, name: str, caller: Caller) -> Json:
        """One of them. Raises NotFound."""
        await self._access.check(caller, "get", PLURAL, namespace, name)
        return await self._cluster.get_resource(PLURAL, namespace, name)

    async def page(self, namespace: str, limit: int, token: str, selector: str, caller: Caller) -> tuple[list[Json], str]:
        """Some of a namespace's, and the token of the next page."""
        await self._access.check(caller, "list", PLURAL, namespace)
        return await self._cluster.page(PLURAL, namespace, limit=limit, token=token, selector=selector)

    async def _check(self, manifest: Json, caller: Caller, verb: str) -> None:
        metadata = manifest["metadata"]
        await self._access.check(caller, verb, PLURAL, metadata["namespace"], metadata["name"])

    async def _written(self, writing: Any) -> Json:
        try:
            written: Json = await writing
        except Rejected as error:
            raise InvalidInput(f"the WorkflowRunner is not taken: {error.message}", code=error.code) from error
        return written
