"""Whether the API server answers. Told of every call by cluster.Cluster; asks by itself when there are none.

Run by cli.operator; `trouble` is one of the reasons of `/health/ready`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from workflow_runner.cluster import Cluster, ClusterError

ASK_AFTER_SECONDS = 5.0
PATIENCE_SECONDS = 15.0


class Reachability:
    """Remembers since when the API server has not answered."""

    def __init__(self, *, ask_after: float = ASK_AFTER_SECONDS, patience: float = PATIENCE_SECONDS) -> None:
        """Asks when nobody has for `ask_after` seconds; no answer for less than `patience` seconds is no trouble."""
        self._ask_after = ask_after
        self._patience = patience
        self._last_call = time.monotonic()
        self._failing_since: float | None = None
        self._last_status = 0

    def called(self, status: int) -> None:
        """A call got this HTTP status, or 0 for no answer."""
        self._last_call = time.monotonic()
        if 0 < status < 500:
            self._failing_since = None
            return
        self._last_status = status
        if self._failing_since is None:
            self._failing_since = self._last_call

    def trouble(self) -> str | None:
        """What is wrong and for how long; None while the API server answers."""
        if self._failing_since is None:
            return None
        seconds = time.monotonic() - self._failing_since
        if seconds < self._patience:
            return None
        what = f"answers {self._last_status}" if self._last_status else "does not answer"
        return f"the API server {what}, for {seconds:.0f} s now"

    async def run(self, cluster: Cluster) -> None:
        """Asks whenever nobody else does, until cancelled; `called` hears of it by the cluster."""
        while True:
            await asyncio.sleep(max(self._ask_after / 5, self._last_call + self._ask_after - time.monotonic()))
            if time.monotonic() - self._last_call >= self._ask_after:
                with contextlib.suppress(ClusterError):
                    await cluster.version()
