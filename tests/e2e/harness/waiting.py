"""Waiting for conditions. Used by every end-to-end case; nothing there sleeps a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

POLL_SECONDS = 0.2


def wait_for(look: Callable[[], Value], until: Callable[[Value], object], *, what: str, seconds: float = 60.0) -> Value:
    """Looks again and again until `until` likes what it sees; raises AssertionError with the last sight."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if until(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s; last seen: {seen}")
        time.sleep(POLL_SECONDS)
