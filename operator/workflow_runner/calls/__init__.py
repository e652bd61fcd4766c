"""Side effects of tasks, one module a protocol; hosts reach them through `Calls`.

A protocol's module takes the arguments that the interpreter made (all JSON), gives the task's raw
output, and raises WorkflowFault for whatever went wrong outside. Nothing of a protocol is imported
before the first call that needs it.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from workflow_runner.dsl.problems import CONFIGURATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json

if TYPE_CHECKING:
    from workflow_runner.calls.http import HttpCalls


class Calls:
    """The connections of one host. Close it when no call is running any more."""

    def __init__(self) -> None:
        self._http: HttpCalls | None = None

    async def call(self, protocol: str, arguments: Mapping[str, Json], *, idempotency_key: str) -> Json:
        """Carry out one call. Raises WorkflowFault; every call ends by its own deadline."""
        match protocol:
            case "http":
                if self._http is None:
                    # The client library takes 0.3 s to import: not on the event loop.
                    module = await asyncio.to_thread(importlib.import_module, "workflow_runner.calls.http")
                    self._http = self._http or module.HttpCalls()
                return await self._http.call(arguments, idempotency_key=idempotency_key)
            case _:
                detail = f"this runner has no calls by the protocol '{protocol}'"
                raise WorkflowFault(Problem.standard(CONFIGURATION, detail))

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()
            self._http = None
