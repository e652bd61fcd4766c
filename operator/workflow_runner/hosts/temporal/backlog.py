"""How many tasks wait in a queue: what a pool is made larger or smaller by. Used by cli.serve, for its metrics."""

from __future__ import annotations

import asyncio
import logging
import random

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from workflow_runner.hosts.temporal.rpc import RPC_SECONDS

LOOK_SECONDS = 10.0
_KINDS = {"workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, "activity": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY}

log = logging.getLogger(__name__)


async def backlog(client: Client, queue: str) -> dict[str, int]:
    """How many tasks of each kind, workflow and activity, no worker has taken yet, about. Raises RPCError."""
    found: dict[str, int] = {}
    for kind, type_ in _KINDS.items():
        request = DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=type_, report_stats=True
        )
        answer = await client.workflow_service.describe_task_queue(request, retry=True, timeout=RPC_SECONDS)
        found[kind] = answer.stats.approximate_backlog_count
    return found


class Backlog:
    """The newest answer, by queue and kind, as long as `run` runs; what is not known any more is left out."""

    def __init__(self, client: Client, queue: str) -> None:
        self._client = client
        self._queue = queue
        self.known: dict[tuple[str, str], int] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                self.known = {(self._queue, kind): count for kind, count in (await backlog(self._client, self._queue)).items()}
            except RPCError as error:
                self.known = {}
                log.debug("how many tasks wait is not known now: %s", error.status.name)
            except Exception:
                self.known = {}
                log.exception("how many tasks wait cannot be found out")
            await asyncio.sleep(LOOK_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
