"""Versions of the engine's code, as a worker deployment of Temporal's: which one new runs go to. Used by cli.worker.

Runs stay with the version that began them (worker); those of a version that is not current any more finish there.
"""

from __future__ import annotations

import asyncio
import random

from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from workflow_runner.errors import Unavailable
from workflow_runner.hosts.temporal.rpc import RPC_SECONDS
from workflow_runner.settings.temporal import TemporalSettings

TRIES = 30
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
_FOR_GOOD = frozenset(
    {
        RPCStatusCode.INVALID_ARGUMENT,
        RPCStatusCode.PERMISSION_DENIED,
        RPCStatusCode.UNAUTHENTICATED,
        RPCStatusCode.UNIMPLEMENTED,
    }
)
"""Everything else may be because Temporal has not noticed the version yet, or wants to be asked less often."""


async def make_current(client: Client, settings: TemporalSettings) -> None:
    """New runs go to this version from now on; its worker polls already, which Temporal notices in a moment. Raises
    Unavailable."""
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name=settings.deployment,
        version=f"{settings.deployment}.{settings.build_id}",
        build_id=settings.build_id,
        identity=client.identity,
    )
    for attempt in range(1, TRIES + 1):
        try:
            await client.workflow_service.set_worker_deployment_current_version(request, timeout=RPC_SECONDS)
        except RPCError as error:
            if error.status in _FOR_GOOD or attempt == TRIES:
                message = f"Temporal does not make {settings.build_id!r} the current version: {error.message}"[:500]
                raise Unavailable(message, code="temporal.version-refused") from error
        else:
            return
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 1.5 ** (attempt - 1))
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter


async def no_current_version(client: Client, settings: TemporalSettings) -> bool:
    """Whether new runs would wait for a version to go to. Raises Unavailable."""
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=settings.deployment)
    try:
        found = await client.workflow_service.describe_worker_deployment(request, retry=True, timeout=RPC_SECONDS)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return True
        message = f"Temporal does not answer: {error.status.name}: {error.message}"[:500]
        raise Unavailable(message, code="temporal.unavailable") from error
    current = found.worker_deployment_info.routing_config.current_deployment_version
    return not current.build_id
