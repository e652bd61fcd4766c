"""Looks after the status of WorkflowRunners. Called by the queue with a runner's key (`key_of`)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from workflow_runner.cluster import Cluster, Conflict, NotFound
from workflow_runner.controller.slots import RunnerName, Slots
from workflow_runner.controller.stigmer import Destinations
from workflow_runner.controller.store import Store
from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.launchers.merge import unsupported
from workflow_runner.reconcile.observed import Runner
from workflow_runner.reconcile.runner import runner_status

Json = dict[str, Any]

STATUS_SECONDS = 2.0
"""Counts change with every execution; they are written no more often than this."""
LOOK_SECONDS = 60.0
"""How often the Secret of a runner's Stigmer is looked at again."""
MAX_PROBLEM = 2000
_PREFIX = "runner/"


def key_of(runner: RunnerName) -> str:
    """The queue's key of a runner; executions' keys are uids, which have no slash."""
    return f"{_PREFIX}{runner[0]}/{runner[1]}"


def is_runner(key: str) -> bool:
    """Whether a key of the queue is a runner's."""
    return key.startswith(_PREFIX)


def read_runner(resource: Json) -> Runner:
    """A WorkflowRunner object as the operator uses it; raises ValidationError for a spec that the CRD would refuse."""
    metadata = resource["metadata"]
    spec = WorkflowRunnerSpec.model_validate(resource.get("spec") or {})
    return Runner(metadata["name"], metadata["namespace"], metadata["uid"], metadata.get("generation", 0), spec)


class RunnerReconciler:
    """Writes what a runner is, and how much it has to do, into its status."""

    def __init__(self, *, cluster: Cluster, store: Store, slots: Slots, destinations: Destinations, image: str) -> None:
        self._cluster = cluster
        self._store = store
        self._slots = slots
        self._destinations = destinations
        self._image = image
        self._written_at: dict[str, float] = {}

    async def reconcile(self, key: str) -> float | None:
        """Brings one runner's status up to date; in how many seconds to look again, or None."""
        namespace, name = key.removeprefix(_PREFIX).split("/", 1)
        resource = self._store.runners.get((namespace, name))
        if resource is None or resource["metadata"].get("deletionTimestamp"):
            self._written_at.pop(key, None)
            return None
        status, known = await self._status(resource), resource.get("status") or {}
        if status == known:
            return LOOK_SECONDS if (resource.get("spec") or {}).get("stigmer") else None
        now = asyncio.get_running_loop().time()
        wait = STATUS_SECONDS - (now - self._written_at.get(key, -STATUS_SECONDS))
        if wait > 0 and status["conditions"] == known.get("conditions"):
            return wait
        self._written_at[key] = now
        try:
            self._store.see_runner(await self._cluster.write_runner_status(resource, status), deleted=False)
        except NotFound:
            return None
        except Conflict:
            return STATUS_SECONDS  # the watch brings what is newer
        return LOOK_SECONDS if (resource.get("spec") or {}).get("stigmer") else None

    async def _status(self, resource: Json) -> Json:
        metadata = resource["metadata"]
        invalid = problem = None
        try:
            runner = read_runner(resource)
            invalid = _left_out(runner)
            problem = await self._destinations.problem_of(runner)
        except ValidationError as error:
            invalid = f"The spec cannot be read: {error}"[:MAX_PROBLEM]
        active, queued = self._slots.counts((metadata["namespace"], metadata["name"]))
        return runner_status(
            resource,
            now=datetime.now(UTC),
            active=active,
            queued=queued,
            image=self._image,
            invalid=invalid,
            stigmer_problem=problem,
        )


def _left_out(runner: Runner) -> str | None:
    """Fields of the runner's template that no run can have; they are left out of its pods."""
    template = runner.spec.template
    found = [] if template is None else list(unsupported(template.to_json(), "spec.launch.template"))
    return "\n".join(found)[:MAX_PROBLEM] or None
