"""`workflow-runner invoke EXECUTION_ID`: has Temporal carry out an execution that Stigmer has a record of.

It does what Stigmer's server does after it has written the record, for records that could not be started then. Started twice an
execution runs once.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Annotated

from cyclopts import Parameter
from google.protobuf import json_format

from workflow_runner import telemetry
from workflow_runner.errors import InvalidInput, Unavailable
from workflow_runner.hosts.temporal.client import Client, connect
from workflow_runner.hosts.temporal.creator import InvokeWorkflowCreator
from workflow_runner.hosts.temporal.invocations import Ended, ended
from workflow_runner.hosts.temporal.queues import Finding, diagnose
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import enum_pb2
from workflow_runner.settings import log_level
from workflow_runner.settings.temporal import TemporalSettings, required_temporal_settings

COMPLETED, FAULTED, CANCELLED = 0, 1, 3
LOOK_SECONDS = 3.0
"""So long what is started may take to begin before it is looked what stands in the way; then again and again."""
LONGEST_ID = 512


def invoke(
    execution_id: Annotated[str, Parameter(help="The id of the execution in Stigmer.")],
    *,
    wait: Annotated[
        bool,
        Parameter(help="Wait for the end, print the final status, and leave as `run` does.", negative="", show_default=False),
    ] = False,
    again: Annotated[
        bool, Parameter(help="Start one that could not be carried out once more.", negative="", show_default=False)
    ] = False,
) -> int:
    """Have Temporal carry out an execution that Stigmer has a record of.

    The execution runs once, however often this is called. What keeps it from beginning is told.
    """
    telemetry.configure_logging(log_level(), json=not sys.stderr.isatty())
    settings = required_temporal_settings(os.environ)
    if not 0 < len(execution_id) <= LONGEST_ID or not execution_id.isprintable():
        raise InvalidInput(f"{execution_id[:80]!r} is no id of an execution", code="execution.bad-id")
    return asyncio.run(_invoke(settings, execution_id, wait=wait, again=again))


async def _invoke(settings: TemporalSettings, execution_id: str, *, wait: bool, again: bool) -> int:
    client = await connect(settings)
    found = await InvokeWorkflowCreator(client, settings).create(execution_id, again=again)
    how = "was started before" if found.attached else "is started"
    print(f"workflow-runner: {found.workflow_id} {how} in Temporal", file=sys.stderr, flush=True)
    waiting = asyncio.create_task(ended(client, execution_id))
    try:
        return await _until(client, settings, execution_id, waiting, wait=wait)
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def _until(
    client: Client, settings: TemporalSettings, execution_id: str, waiting: asyncio.Task[Ended], *, wait: bool
) -> int:
    """Until the end, or for one look; what stands in the way is told once each."""
    told: set[Finding] = set()
    begun = time.monotonic()
    while True:
        await asyncio.wait([waiting], timeout=LOOK_SECONDS)
        if waiting.done():
            return _conclude(waiting.result())
        try:
            findings = await diagnose(client, execution_id, settings)
        except Unavailable as error:
            findings = [Finding(error.code, str(error))]
        for finding in findings:
            if finding not in told:
                print(f"workflow-runner: {finding}", file=sys.stderr, flush=True)
                told.add(finding)
        if not wait and time.monotonic() - begun >= LOOK_SECONDS:
            return COMPLETED


def _conclude(end: Ended) -> int:
    if end.status is not None:
        print(json_format.MessageToJson(end.status, indent=None))
    if end.error:
        print(f"workflow-runner: {end.error}", file=sys.stderr)
    if end.cancelled:
        return CANCELLED
    completed = end.status is not None and end.status.phase == enum_pb2.EXECUTION_COMPLETED
    return COMPLETED if completed else FAULTED
