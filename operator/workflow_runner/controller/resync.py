"""Lists everything the operator cares for: before its first reconcile, and now and then for as long as it lives.

Before the first, since a decision must not hang on which watch happened to answer first. Later, since a watch
that was interrupted tells what there is when it is back, but not what went meanwhile. Run by cli.operator.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import structlog

from workflow_runner.cluster import Cluster, ClusterError, NotFound
from workflow_runner.controller.queue import KeyedQueue
from workflow_runner.controller.store import Kind, Store
from workflow_runner.errors import InvalidInput

Json = dict[str, Any]

RESYNC_SECONDS = 300.0
FIRST_TRIES = 10

log = structlog.get_logger(__name__)

KINDS: tuple[Kind, ...] = ("runner", "job", "pod", "execution")


class Resync:
    """Keeps the store complete."""

    def __init__(self, cluster: Cluster, store: Store, queue: KeyedQueue) -> None:
        self._cluster = cluster
        self._store = store
        self._queue = queue
        self.done = False
        """Whether everything has been listed once."""

    async def first(self) -> None:
        """Lists everything once; raises InvalidInput when the CRDs are not installed, ClusterError after several tries."""
        for attempt in range(1, FIRST_TRIES + 1):
            try:
                await self._list()
            except NotFound as error:
                raise InvalidInput(
                    f"the cluster does not know the operator's resources: {error.message}",
                    code="cluster.no-crds",
                    hint="apply the CustomResourceDefinitions of the chart, or `workflow-runner crds | kubectl apply -f -`",
                ) from error
            except ClusterError as error:
                if attempt == FIRST_TRIES:
                    raise
                log.warning("the API server cannot be listed yet", error=error.message, attempt=attempt)
                await asyncio.sleep(min(10.0, 0.5 * 2**attempt) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            else:
                self.done = True
                return

    async def run(self) -> None:
        """Lists again every five minutes, until cancelled."""
        while True:
            await asyncio.sleep(RESYNC_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            try:
                await self._list()
            except ClusterError as error:
                log.warning("the API server could not be listed; the watches go on", error=error.message)

    async def _list(self) -> None:
        for kind in KINDS:
            version, items = await self._cluster.list_everywhere(kind)
            self._store.relist(kind, items, version)
        for uid in list(self._store.executions):
            self._queue.add(uid)
