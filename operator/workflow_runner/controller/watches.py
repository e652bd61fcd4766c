"""kopf at work, in a thread with an event loop of its own. Run by cli.operator.

kopf takes the signals of its thread, and its tasks are its loop's; in a loop of its own it can have both. What it sees is
handed over to the operator's loop. It ends at answers that it does not expect of an API server (a watch that is 410 as a
whole, for one); then it begins again. Its tasks are ended here and not by `kopf.operator`, which waits five seconds for
watches that go on, and for ever for those that have news at that moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Callable, Sequence

import kopf
import structlog
from kopf._cogs.structs.credentials import Vault  # its connections are closed nowhere else when tasks are cancelled
from kopf._cogs.structs.references import Insights  # what it found is told nowhere else
from msgspec import Struct, field

from workflow_runner.controller.handlers import Json, See, build_registry, build_settings
from workflow_runner.controller.queue import KeyedQueue
from workflow_runner.controller.runners import key_of
from workflow_runner.controller.slots import name_of
from workflow_runner.controller.store import Kind, Store
from workflow_runner.crd import group
from workflow_runner.errors import Internal

STOP_SECONDS = 3.0
FINISH_SECONDS = 1.0
"""So long a watch may hand over the news that it has when another one ended it."""
CANCEL_AGAIN_SECONDS = 0.2
"""Some of kopf's tasks swallow a cancellation while they clean up."""
STEADY_SECONDS = 30.0
"""kopf that lived this long did well: what ends it then is no further failure of those before."""
MOST_FAILURES, PATIENCE_SECONDS = 5, 300.0
"""kopf that has never found out what to watch is given up after so many lives; one that has, when it has not done well for so
long, however often it began again."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
WATCHED = {
    (group.GROUP, group.EXECUTION_PLURAL),
    (group.GROUP, group.RUNNER_PLURAL),
    ("batch", "jobs"),
    ("", "pods"),
}
"""(API group, plural) of what handlers.py has handlers for."""

log = structlog.get_logger(__name__)


class _Life(Struct, frozen=True):
    """One life of kopf: how to end it, and what is to be seen of it."""

    stop: threading.Event = field(default_factory=threading.Event)
    watching: threading.Event = field(default_factory=threading.Event)
    """It has found all that is to be watched."""


class WatchesEnded(Internal):
    """kopf has ended by itself, or does not watch what it should."""


class Watches:
    """Fills store and queue for as long as `run` runs."""

    def __init__(
        self,
        store: Store,
        queue: KeyedQueue,
        namespaces: Sequence[str] = (),
        *,
        interrupted: Callable[[], None] = lambda: None,
    ) -> None:
        """Of these namespaces only; none means the whole cluster. `interrupted` is called when the watches are back: what was
        deleted meanwhile they do not tell."""
        self._store = store
        self._queue = queue
        self._namespaces = namespaces
        self._interrupted = interrupted
        self._life = _Life()
        self._lives = 0

    @property
    def ready(self) -> bool:
        """Whether kopf has found all that is to be watched, and goes on."""
        return self._life.watching.is_set() and not self._life.stop.is_set()

    async def run(self) -> None:
        """Watches until cancelled; raises WatchesEnded when kopf ends again and again."""
        level = logging.getLogger().level
        for name in ("kopf.objects", "kopf._core", "kopf._cogs", "kopf.activities"):
            # A line an event, and it knows no more than we do: for those who want to see everything.
            logging.getLogger(name).setLevel(level if level < logging.DEBUG else max(level, logging.WARNING))
        # It warns at every start that it takes no signals in a thread, which is why it is in one.
        logging.getLogger("kopf._core.reactor.running").setLevel(level if level < logging.DEBUG else logging.ERROR)
        loop, failures = asyncio.get_running_loop(), 0
        well, has_watched = loop.time(), False
        while True:
            begun = loop.time()
            try:
                await self._live()
            except WatchesEnded as error:
                has_watched = has_watched or self._life.watching.is_set()
                if loop.time() - begun > STEADY_SECONDS:
                    failures, well = 0, loop.time()
                failures += 1
                if loop.time() - well > PATIENCE_SECONDS if has_watched else failures > MOST_FAILURES:
                    raise
                log.warning("the watches broke off; they begin again", error=error.message, failures=failures)
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _live(self) -> None:
        """One life of kopf."""
        life = self._life = _Life()
        self._lives += 1
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        thread = threading.Thread(target=self._thread, args=(life, loop, ended), name="watches", daemon=True)
        thread.start()
        try:
            await asyncio.shield(ended)
        finally:
            life.stop.set()
            await asyncio.to_thread(thread.join, STOP_SECONDS)

    def _thread(self, life: _Life, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
        def see(kind: Kind, resource: Json, deleted: bool) -> None:
            loop.call_soon_threadsafe(self._take, kind, resource, deleted)

        def watching() -> None:
            life.watching.set()
            if self._lives > 1:
                loop.call_soon_threadsafe(self._interrupted)

        error: BaseException | None = None
        try:
            # Not asyncio.run: it waits for every task that is left, however long that takes.
            with contextlib.closing(asyncio.new_event_loop()) as own:
                own.run_until_complete(self._watch(life, see, watching))
        except BaseException as caught:  # noqa: BLE001 - it goes on in the operator's loop
            error = caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, ended, error)

    async def _watch(self, life: _Life, see: See, watching: Callable[[], None]) -> None:
        vault, insights = Vault(), Insights()
        try:
            tasks = await kopf.spawn_tasks(
                registry=build_registry(see),
                settings=build_settings(),
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=life.stop,
                insights=insights,
                vault=vault,
            )
            looking = asyncio.create_task(_look_at(insights, watching))
            done, _ = await asyncio.wait([*tasks, looking], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            # Also for kopf, which waits for it in a thread of the loop's.
            life.stop.set()
            await _end_all()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(vault.close(), STOP_SECONDS)

    def _take(self, kind: Kind, resource: Json, deleted: bool) -> None:
        if kind == "execution":
            self._store.see_execution(resource, deleted=deleted)
            self._queue.add(resource["metadata"]["uid"])
        elif kind == "runner":
            changed = self._store.see_runner(resource, deleted=deleted)
            self._queue.add(key_of(name_of(resource)))
            # Its status is written again and again: thousands of executions must not be looked at for that.
            for uid in self._store.executions_for_runner(resource["metadata"]["name"]) if changed else ():
                self._queue.add(uid)
        else:
            see = self._store.see_job if kind == "job" else self._store.see_pod
            execution = see(resource, deleted=deleted)
            if execution is not None:
                self._queue.add(execution)


async def _look_at(insights: Insights, watching: Callable[[], None]) -> None:
    """Raises WatchesEnded where the API server does not know what is to be watched: kopf would never look for it again."""
    await insights.ready_resources.wait()
    missing = WATCHED - {(resource.group, resource.plural) for resource in insights.watched_resources}
    if missing:
        names = ", ".join(sorted(f"{plural}.{group}".rstrip(".") for group, plural in missing))
        raise WatchesEnded(f"the API server does not know {names}")
    watching()
    await asyncio.Event().wait()


async def _end_all() -> None:
    """Ends every other task of this loop; what will not end is left after a few seconds."""
    loop = asyncio.get_running_loop()
    # What was wrong has been logged; what else breaks while kopf is taken apart tells nobody anything.
    loop.set_exception_handler(
        lambda _, context: log.debug("while the watches ended", **{key: str(context[key]) for key in context})
    )
    # The watches first, while what they need is still there.
    if tasks := {task for task in asyncio.all_tasks() if task.get_name().startswith("watcher for ")}:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=FINISH_SECONDS)
    deadline = loop.time() + STOP_SECONDS
    while (tasks := asyncio.all_tasks() - {asyncio.current_task()}) and loop.time() < deadline:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=CANCEL_AGAIN_SECONDS)


def _settle(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        known = isinstance(error, WatchesEnded)
        ended.set_exception(error if known else WatchesEnded(f"the watches have ended: {error!r}"))
