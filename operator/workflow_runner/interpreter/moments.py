"""Arithmetic with moments for the interpreter, which has no clock of its own."""

from __future__ import annotations

from datetime import datetime, timedelta

from workflow_runner.dsl.templates import Json

LONGEST = timedelta(days=36500)
"""Longer durations count as this one, so that no document can overflow the calendar."""


def later(start: datetime, duration: timedelta) -> datetime:
    """`start` plus `duration`, which is cut to LONGEST."""
    return start + min(duration, LONGEST)


def descriptor(value: datetime) -> dict[str, Json]:
    """A date and time as expressions see it (dsl.md, "DateTime Descriptor")."""
    milliseconds = int(value.timestamp() * 1000)
    return {
        "iso8601": value.isoformat().replace("+00:00", "Z"),
        "epoch": {"seconds": milliseconds // 1000, "milliseconds": milliseconds},
    }
