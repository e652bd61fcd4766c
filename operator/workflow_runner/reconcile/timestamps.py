"""Times as Kubernetes writes them. Called throughout reconcile."""

from __future__ import annotations

from datetime import UTC, datetime


def to_text(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_seconds_text(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as metav1.Time has it."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """The moment that RFC 3339 text names."""
    return datetime.fromisoformat(text)


def from_milliseconds(value: int) -> datetime:
    """The moment that is `value` milliseconds after the Unix epoch; the epoch itself for values no date has."""
    try:
        return datetime.fromtimestamp(value / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)
