"""Arithmetic with moments for the interpreter, which has no clock of its own."""

from __future__ import annotations

from datetime import datetime, timedelta

from workflow_runner.dsl.durations import LONGEST
from workflow_runner.dsl.templates import Json


def later(start: datetime, duration: timedelta) -> datetime:
    """`start` plus `duration`, cut to the longest there is, so that no backoff overflows the calendar."""
    return start + min(duration, LONGEST)


def descriptor(value: datetime) -> dict[str, Json]:
    """A date and time as expressions see it (dsl.md, "DateTime Descriptor")."""
    milliseconds = int(value.timestamp() * 1000)
    return {
        "iso8601": value.isoformat().replace("+00:00", "Z"),
        "epoch": {"seconds": milliseconds // 1000, "milliseconds": milliseconds},
    }
