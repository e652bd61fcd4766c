"""How much memory this process has now. Called by the benchmarks that watch it."""

from __future__ import annotations

import os
from pathlib import Path


def resident_mib() -> float:
    """Resident memory in MiB (Linux: proc(5), statm)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
