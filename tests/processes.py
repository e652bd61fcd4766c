"""Which processes a process has started: what must not be left behind is looked for among them."""

from __future__ import annotations

import os
from pathlib import Path


def children(parent: int | None = None) -> set[int]:
    """The processes that this one, or another, has started and that are still there, ended but not waited for included.

    Tests that ran before in one process may have left servers that all share: compare with what was there before.
    """
    tasks = Path(f"/proc/{os.getpid() if parent is None else parent}/task")
    while True:
        try:
            return {int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()}
        except (FileNotFoundError, ProcessLookupError):
            if not tasks.exists():
                raise
            # A thread has ended meanwhile; what it has started is another one's now.


def alive(pid: int) -> bool:
    """Whether a process runs: one that nobody has waited for yet has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
