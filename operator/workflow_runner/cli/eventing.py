"""Where events come from and go to, by options and environment: for the commands that run documents.

Builds the bus that runs share, the endpoint of `--listen` and the sinks. Nothing of it is imported or opened by a
run that was not told to.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from workflow_runner import telemetry
from workflow_runner.dsl.model import DocumentInfo
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.event_bus import EventBus
from workflow_runner.interpreter.events import Event
from workflow_runner.settings import EventSettings, event_settings

if TYPE_CHECKING:
    from workflow_runner.hosts.event_sink import EventSink
    from workflow_runner.hosts.lifecycle import LifecycleReporter

_ADDRESS = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9_.-]*)):([0-9]{1,5})")


class EventOptions(Struct, frozen=True):
    """`listen` is where the endpoint listens; `sink` gets what runs emit, `lifecycle_sink` what they do."""

    listen: tuple[str, int] | None
    sink: str | None
    lifecycle_sink: str | None
    settings: EventSettings

    def __repr__(self) -> str:
        """Without addresses and tokens."""
        return f"EventOptions(listen={self.listen!r})"


def event_options(
    listen: str | None = None,
    sink: str | None = None,
    lifecycle_sink: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> EventOptions:
    """What options say, else the environment. Raises InvalidInput."""
    settings = event_settings(environment)
    for token in (settings.listen_token, settings.sink_token, settings.lifecycle_sink_token):
        if token:
            telemetry.conceal(token)
    sink, lifecycle_sink = sink or settings.sink, lifecycle_sink or settings.lifecycle_sink
    if sink is not None or lifecycle_sink is not None:
        from workflow_runner.hosts.event_sink import shown_address

        for url in (sink, lifecycle_sink):
            if url is not None:
                shown_address(url)
    return EventOptions(
        None if listen is None else _address(listen),
        sink,
        lifecycle_sink,
        settings,
    )


class Eventing:
    """The bus of this process's runs, and who tells their lifecycles."""

    def __init__(self, bus: EventBus, lifecycle_sink: EventSink | None) -> None:
        self.bus = bus
        self._lifecycle_sink = lifecycle_sink
        self._reporters: set[LifecycleReporter] = set()

    def reporter(self, document: Callable[[], DocumentInfo | None], execution_id: str) -> LifecycleReporter | None:
        """Who tells a run's lifecycle; None where nobody wants to know."""
        if self._lifecycle_sink is None:
            return None
        from workflow_runner.hosts.lifecycle import LifecycleReporter

        return LifecycleReporter(self._lifecycle_sink, document, execution_id)

    @contextlib.asynccontextmanager
    async def telling(
        self, document: Callable[[], DocumentInfo | None], execution_id: str, report: Callable[[Event], None]
    ) -> AsyncIterator[Callable[[Event], None]]:
        """`report`, which also tells the run's lifecycle; what is left of that is delivered at the end."""
        reporter = self.reporter(document, execution_id)
        if reporter is None:
            yield report
            return

        def both(event: Event) -> None:
            reporter.report(event)
            report(event)

        try:
            yield both
        finally:
            await reporter.finish()


@contextlib.asynccontextmanager
async def open_events(options: EventOptions) -> AsyncIterator[Eventing]:
    """Open what the options name, and close it at the end. Raises InvalidInput."""
    settings = options.settings
    async with contextlib.AsyncExitStack() as stack:
        sink = _sink(stack, options.sink, settings.sink_token)
        lifecycle_sink = _sink(stack, options.lifecycle_sink, settings.lifecycle_sink_token)
        bus = EventBus(None if sink is None else sink.send)
        if options.listen is not None:
            from workflow_runner.hosts.event_endpoint import admitting, listen_at, serve_events

            host, port = options.listen
            try:
                listening = await listen_at(host, port)
            except OSError as error:
                raise InvalidInput(
                    f"--listen {host}:{port} cannot be listened on: {error.strerror or error}",
                    code="input.bad-address",
                ) from error
            endpoint = await serve_events(listening, admitting(bus.offer, settings.listen_token))
            stack.push_async_callback(endpoint.close)
            shown = f"[{host}]" if ":" in host else host or "*"
            print(f"workflow-runner: takes CloudEvents at http://{shown}:{endpoint.port}/", file=sys.stderr, flush=True)
        yield Eventing(bus, lifecycle_sink)


def _sink(stack: contextlib.AsyncExitStack, url: str | None, token: str | None) -> EventSink | None:
    if url is None:
        return None
    from workflow_runner.hosts.event_sink import EventSink

    sink = EventSink(url, token=token)
    stack.push_async_callback(sink.close)
    return sink


def _address(text: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[3]) > 65535:
        raise InvalidInput(
            f"--listen takes HOST:PORT, not {text[:80]!r}", code="input.bad-address", hint="such as 127.0.0.1:8080"
        )
    return found[1] or found[2] or "", int(found[3])
