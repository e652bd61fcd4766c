"""How a run looks while it runs: a live table on a terminal, a line an event elsewhere. Called by `run`.

Both write to standard error; standard output is the workflow's output and nothing else. Of a loop's passes
only the newest and the failed ones are shown, so a million passes take no more room than ten.
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from workflow_runner.interpreter.events import Event, EventType

MAX_ROWS = 16
STARTED = EventType.TASK_STARTED
ENDS = {
    EventType.TASK_COMPLETED: ("✓", "green"),
    EventType.TASK_FAILED: ("✗", "red"),
    EventType.TASK_SKIPPED: ("-", "dim"),
    EventType.TASK_CANCELLED: ("■", "dim"),
}
STATES = {
    EventType.WORKFLOW_STARTED: "starting",
    EventType.WORKFLOW_VALIDATED: "running",
    EventType.WORKFLOW_RESUMED: "running",
}
_LISTENING = {EventType.CORRELATION_STARTED: "listens", EventType.CORRELATION_COMPLETED: ""}
_LOUD = frozenset({EventType.TASK_FAILED, EventType.TASK_RETRIED})


class Display(Protocol):
    """Shows events."""

    def show(self, event: Event) -> None:
        """Takes an event; quick."""

    def close(self) -> None:
        """No more events."""


def display_for(stream: TextIO, name: str) -> Display:
    """The display that suits where standard error goes."""
    return LiveDisplay(stream, name) if stream.isatty() else LineDisplay(stream)


class LineDisplay:
    """One line an event; of what happens inside loops only what went wrong."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream

    def show(self, event: Event) -> None:
        """Writes the event's line."""
        if event.iteration and event.type not in _LOUD:
            return
        where = f" {event.reference}" if event.reference else ""
        passes = f" (pass {event.iteration})" if event.iteration else ""
        detail = f": {' '.join(event.message.split())}" if event.message else ""
        moment = event.timestamp.astimezone().strftime("%H:%M:%S.%f")[:-3]
        print(f"{moment} {event.progress:>3} % {event.type.value}{where}{passes}{detail}", file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is held back."""


class _Row:
    def __init__(self, event: Event, depth: int) -> None:
        self.name, self.depth = event.task_name, depth
        self.start = event.timestamp
        self.mark: tuple[str, str] | None = None
        self.passes, self.note = 0, ""
        self.end: datetime | None = None


class LiveDisplay:
    """A table of tasks with their state and duration, drawn again a few times a second."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._name = name
        self._rows: dict[str, _Row] = {}
        self._progress = 0
        self._state = "starting"
        self._spinner = Spinner("dots")
        self._live = Live(console=Console(file=stream), get_renderable=self._draw, refresh_per_second=8, transient=False)
        self._live.start()

    def show(self, event: Event) -> None:
        """Notes the event; the next drawing shows it."""
        self._progress = event.progress
        if not event.reference:
            self._state = STATES.get(event.type) or event.type.value.removeprefix("workflow_")
            return
        row = self._rows.get(event.reference)
        if row is None:
            depth = sum(event.reference.startswith(f"{outer}/") for outer in self._rows)
            row = self._rows[event.reference] = _Row(event, depth)
        if event.type in _LISTENING:
            row.note = _LISTENING[event.type]
        elif event.type is STARTED:
            row.start, row.end, row.mark = event.timestamp, None, None
            row.passes += 1
        elif event.type is EventType.TASK_RETRIED:
            row.note = event.message
        else:
            row.mark, row.end = ENDS[event.type], event.timestamp
            row.note = " ".join(event.message.split()) if event.type is EventType.TASK_FAILED else ""

    def close(self) -> None:
        """Leaves the last drawing on the screen, where nothing runs any more."""
        for row in self._rows.values():
            if row.mark is None:
                row.mark, row.end = ("■", "yellow"), datetime.now(row.start.tzinfo)
        self._live.stop()

    def _draw(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        rows = list(self._rows.values())
        hidden = max(0, len(rows) - MAX_ROWS)
        for row in rows[hidden:]:
            mark: RenderableType = self._spinner if row.mark is None else Text(row.mark[0], style=row.mark[1])
            seconds = ((row.end or datetime.now(row.start.tzinfo)) - row.start).total_seconds()
            passes = f"×{row.passes}" if row.passes > 1 else ""
            table.add_row(
                mark,
                Text("  " * row.depth + row.name),
                Text(f"{seconds:6.1f} s", style="dim"),
                Text(passes, style="cyan"),
                Text(row.note),
            )
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(self._name, style="bold"),
            ProgressBar(total=100, completed=self._progress, width=30),
            f"{self._progress} %",
            self._state,
        )
        parts: list[RenderableType] = [head]
        if hidden:
            parts.append(Text(f"… {hidden} earlier tasks", style="dim"))
        return Group(*parts, table)
