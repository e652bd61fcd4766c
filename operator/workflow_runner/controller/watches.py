"""kopf at work, in a thread with an event loop of its own. Run by cli.operator.

kopf takes the signals of its thread and, when it ends, cancels every task of its loop; in a loop of its own
it can do neither to the rest of the operator. What it sees is handed over to the operator's loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence

import kopf
from kopf._cogs.structs.references import Insights  # what it found is told nowhere else

from workflow_runner.controller.handlers import Json, See, build_registry, build_settings
from workflow_runner.controller.queue import KeyedQueue
from workflow_runner.controller.runners import key_of
from workflow_runner.controller.slots import name_of
from workflow_runner.controller.store import Kind, Store

STOP_SECONDS = 3.0


class Watches:
    """Fills store and queue for as long as `run` runs."""

    def __init__(self, store: Store, queue: KeyedQueue, namespaces: Sequence[str] = ()) -> None:
        """Of these namespaces only; none means the whole cluster."""
        self._store = store
        self._queue = queue
        self._namespaces = namespaces
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._insights = Insights()

    @property
    def ready(self) -> bool:
        """Whether kopf has started, has found out what to watch, and goes on."""
        return self._ready.is_set() and self._insights.ready_resources.is_set() and not self._stop.is_set()

    async def run(self) -> None:
        """Watches until cancelled; raises what made kopf end."""
        level = logging.getLogger().level
        for name in ("kopf.objects", "kopf._core", "kopf._cogs", "kopf.activities"):
            # A line an event, and it knows no more than we do: for those who want to see everything.
            logging.getLogger(name).setLevel(level if level < logging.DEBUG else max(level, logging.WARNING))
        # It warns at every start that it takes no signals in a thread, which is why it is in one.
        logging.getLogger("kopf._core.reactor.running").setLevel(level if level < logging.DEBUG else logging.ERROR)
        loop, ended = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        thread = threading.Thread(target=self._thread, args=(loop, ended), name="watches", daemon=True)
        thread.start()
        try:
            await asyncio.shield(ended)
        finally:
            self._stop.set()
            await asyncio.to_thread(thread.join, STOP_SECONDS)

    def _thread(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
        def see(kind: Kind, resource: Json, deleted: bool) -> None:
            loop.call_soon_threadsafe(self._take, kind, resource, deleted)

        error: BaseException | None = None
        try:
            asyncio.run(self._watch(see))
        except BaseException as caught:  # noqa: BLE001 - it goes on in the operator's loop
            error = caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, ended, error)

    async def _watch(self, see: See) -> None:
        try:
            await kopf.operator(
                registry=build_registry(see),
                settings=build_settings(),
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
                ready_flag=self._ready,
                insights=self._insights,
            )
        finally:
            # kopf waits for this flag in a thread of the loop's, for which the loop's end would wait for ever.
            self._stop.set()

    def _take(self, kind: Kind, resource: Json, deleted: bool) -> None:
        if kind == "execution":
            self._store.see_execution(resource, deleted=deleted)
            self._queue.add(resource["metadata"]["uid"])
        elif kind == "runner":
            self._store.see_runner(resource, deleted=deleted)
            self._queue.add(key_of(name_of(resource)))
            for uid in self._store.executions_for_runner(resource["metadata"]["name"]):
                self._queue.add(uid)
        else:
            see = self._store.see_job if kind == "job" else self._store.see_pod
            execution = see(resource, deleted=deleted)
            if execution is not None:
                self._queue.add(execution)


def _settle(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(RuntimeError(f"the watches have ended: {error!r}"))
