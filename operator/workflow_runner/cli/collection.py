"""How often Python looks for garbage that refers to itself. Called by the commands that run documents, once all is imported.

Runs make objects by the thousand that live as long as they do and refer to themselves hardly ever; looking through all of
them at Python's own pace costs 1,000 executions a third of their time (docs/performance.md).
"""

from __future__ import annotations

import gc

THRESHOLDS = (50_000, 20, 50)


def collect_seldom() -> None:
    """What is there now is kept out of it, and it happens after so many new objects."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
