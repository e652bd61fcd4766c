"""The colours of drawings, the same in every format."""

from __future__ import annotations

from collections.abc import Mapping

KIND_FILLS: Mapping[str, str] = {
    "call": "#dbeafe",
    "do": "#f8fafc",
    "emit": "#fce7f3",
    "extension": "#f0fdfa",
    "for": "#fef9c3",
    "fork": "#e0f2fe",
    "listen": "#fae8ff",
    "raise": "#fee2e2",
    "run": "#d1fae5",
    "set": "#f1f5f9",
    "switch": "#ffedd5",
    "try": "#f5f3ff",
    "wait": "#ecfccb",
}
"""What each kind of task is filled with."""

STATUS_STROKES: Mapping[str, str] = {
    "completed": "#15803d",
    "failed": "#b91c1c",
    "running": "#b45309",
    "skipped": "#64748b",
    "cancelled": "#64748b",
}
"""The outline of a task by how it ended in a run; steps that were taken have that of `completed`."""

FILLS: Mapping[str, str] = {
    "completed": "#dcfce7",
    "failed": "#fee2e2",
    "running": "#fef3c7",
    "skipped": "#f1f5f9",
    "cancelled": "#f1f5f9",
}
"""What a task is filled with by how it ended."""

UNTOUCHED = "#94a3b8"
"""Outline and text of what a run did not come to."""
