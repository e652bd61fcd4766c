"""Lists everything the operator cares for: before its first reconcile, and now and then for as long as it lives.

Before the first, since a decision must not hang on which watch happened to answer first. Later, since a watch
that was interrupted tells what there is when it is back, but not what went meanwhile. Run by cli.operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any

import structlog

from workflow_runner.cluster import Cluster, ClusterError, NotFound
from workflow_runner.controller.queue import KeyedQueue
from workflow_runner.controller.runners import key_of
from workflow_runner.controller.slots import Slots, name_of
from workflow_runner.controller.store import Kind, Store
from workflow_runner.errors import InvalidInput

Json = dict[str, Any]

RESYNC_SECONDS = 300.0
SOON_SECONDS = 5.0
"""After the watches are back: they list, too, and what goes between our list and theirs nobody would tell."""
FIRST_TRIES = 10

log = structlog.get_logger(__name__)

KINDS: tuple[Kind, ...] = ("runner", "job", "pod", "execution")


class Resync:
    """Keeps the store complete."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        slots: Slots,
        queue: KeyedQueue,
        operator_namespace: str,
        namespaces: Sequence[str] = (),
    ) -> None:
        """Of these namespaces only; none means the whole cluster."""
        self._namespaces = namespaces
        self._cluster = cluster
        self._store = store
        self._slots = slots
        self._operator_namespace = operator_namespace
        self._queue = queue
        self._wanted = asyncio.Event()
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
        """Lists again every five minutes, and soon after `soon`, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), RESYNC_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
                await asyncio.sleep(SOON_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            self._wanted.clear()
            try:
                await self._list()
            except ClusterError as error:
                log.warning("the API server could not be listed; the watches go on", error=error.message)

    def soon(self) -> None:
        """Something may have gone unseen."""
        self._wanted.set()

    async def _list(self) -> None:
        for kind in KINDS:
            lists = [await self._cluster.list_everywhere(kind, namespace) for namespace in self._namespaces or (None,)]
            # The oldest list's version: what is newer than that and missing may be on its way here.
            version = min((version for version, _ in lists), key=lambda version: int(version) if version.isdigit() else 0)
            self._store.relist(kind, [item for _, items in lists for item in items], version)
        if not self.done:
            for resource in self._store.executions.values():
                runner = self._store.runner_of(resource, self._operator_namespace)
                self._slots.seed(resource, None if runner is None else name_of(runner))
        for name in list(self._store.runners):
            self._queue.add(key_of(name))
        for uid in list(self._store.executions):
            self._queue.add(uid)
