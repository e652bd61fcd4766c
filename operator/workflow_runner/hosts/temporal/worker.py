"""A worker for runs: built by whoever runs documents on Temporal (cli, and run for a run of its own)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.hosts.event_bus import Publish
from workflow_runner.hosts.temporal.activities import BEAT_SECONDS, Activities, SecretsOf
from workflow_runner.hosts.temporal.run_workflow import RunWorkflow

if TYPE_CHECKING:
    from workflow_runner.calls.addresses import AddressRules

WORKFLOWS = (RunWorkflow,)
WORKFLOW_RUNNER = UnsandboxedWorkflowRunner()
"""Determinism is held by lint, by what the interpreter is given, and by replayed histories (tests/replay, which take these);
a sandbox would read half of the program anew for every run."""

STICKY_SECONDS = 5.0
"""A worker that does not take a run's next task so long has lost the run to others."""


class RunWorker:
    """`async with` it: the worker polls, and when the block ends it stops: what its calls had begun others begin again."""

    def __init__(
        self,
        client: Client,
        task_queue: str,
        *,
        addresses: AddressRules | None = None,
        options: HostOptions | None = None,
        publish: Publish | None = None,
        secrets: SecretsOf | None = None,
        version: tuple[str, str] | None = None,
        most_cached: int = 1000,
        most_calls: int = 200,
        sticky_seconds: float = STICKY_SECONDS,
    ) -> None:
        """`version` is the name of a deployment and that of its version: runs stay with the version that began them."""
        self._activities = Activities(addresses, options or HostOptions(), publish, secrets)
        beat = timedelta(seconds=BEAT_SECONDS)
        self._worker = Worker(
            client,
            task_queue=task_queue,
            workflows=WORKFLOWS,
            activities=[self._activities.call, self._activities.evaluate, self._activities.breathe],
            workflow_runner=WORKFLOW_RUNNER,
            max_cached_workflows=most_cached,
            max_concurrent_activities=most_calls,
            max_heartbeat_throttle_interval=beat,
            default_heartbeat_throttle_interval=beat,
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=sticky_seconds),
            graceful_shutdown_timeout=timedelta(0),
            deployment_config=None if version is None else _pinned(*version),
        )

    async def __aenter__(self) -> RunWorker:
        await self._worker.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._worker.shutdown()
        finally:
            await self._activities.close()


def _pinned(deployment: str, build_id: str) -> WorkerDeploymentConfig:
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment, build_id),
        use_worker_versioning=True,
        # Also a run that is continued as new goes on there.
        default_versioning_behavior=VersioningBehavior.PINNED,
    )
