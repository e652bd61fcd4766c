"""`workflow-runner terminate`: ends what a run has left open in Temporal. The operator launches it; nobody types it."""

from __future__ import annotations

import asyncio
import os
import sys

from workflow_runner import telemetry
from workflow_runner.errors import WorkflowRunnerError
from workflow_runner.settings import log_level
from workflow_runner.settings.temporal import TemporalSettings, required_temporal_settings
from workflow_runner.settings.variables import required

DONE, TRY_LATER = 0, 75


def terminate() -> int:
    """End the run of WORKFLOW_RUNNER_EXECUTION_ID in Temporal, if it is open."""
    telemetry.configure_logging(log_level(), json=True)
    settings = required_temporal_settings(os.environ)
    execution_id = required(os.environ, "WORKFLOW_RUNNER_EXECUTION_ID", "the run's id")
    reason = os.environ.get("WORKFLOW_RUNNER_TERMINATION_REASON", "") or "its execution has ended"
    try:
        found = asyncio.run(_terminate(settings, execution_id, reason))
    except WorkflowRunnerError as error:
        print(f"workflow-runner: {error.code}: {error}", file=sys.stderr)
        return TRY_LATER
    print(f"workflow-runner: the run {execution_id} was {'terminated' if found else 'not open'} in Temporal")
    return DONE


async def _terminate(settings: TemporalSettings, execution_id: str, reason: str) -> bool:
    from workflow_runner.hosts.temporal.client import connect
    from workflow_runner.hosts.temporal.run import terminated

    return await terminated(await connect(settings), execution_id, reason)
