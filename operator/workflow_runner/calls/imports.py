"""Modules that take long to import, at their first use. Called by `calls` and hosts.event_sink."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

_imported: dict[str, Any] = {}


async def imported(name: str) -> Any:
    """The module. It is imported in a thread, since aiohttp alone would hold the event loop for 0.3 s; once it is there, to its
    end, nobody waits for a thread any more."""
    module = _imported.get(name)
    if module is None:
        module = _imported[name] = await asyncio.to_thread(importlib.import_module, name)
    return module
