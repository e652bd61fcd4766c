"""Versions of the engine: runs finish on the one that began them, new ones go to the current one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio.client import WorkflowHandle
from tests.integration.temporal.topology import COMPLETED, GREET, LISTEN, Topology, result, topology
from tests.servers.temporal import temporal_server
from tests.unit.stigmer.specs import task


@pytest.fixture
async def place() -> AsyncIterator[Topology]:
    # Every run that does something is continued as new.
    async with (
        temporal_server("--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=8") as address,
        topology(address) as found,
    ):
        found.variables["TEMPORAL_DEPLOYMENT_NAME"] = "engine"
        yield found


async def build_of(handle: WorkflowHandle[object, object]) -> str:
    """The version that Temporal keeps a run on."""
    info = (await handle.describe()).raw_description.workflow_execution_info.versioning_info
    return info.deployment_version.build_id


async def test_runs_finish_on_their_version(place: Topology) -> None:
    for number in (1, 2):
        place.record(f"wfx-{number}", GREET, LISTEN, task("done", "SET", {"variables": {"done": "yes"}}))
    await place.worker("orchestrator,runner", TEMPORAL_DEPLOYMENT_NAME="")
    await place.worker("engine", "--current", TEMPORAL_WORKER_BUILD_ID="v1")
    first = await place.invoke("wfx-1")
    await place.listens("wfx-1")
    began = (await place.run("wfx-1").describe()).run_id
    await place.worker("engine", "--current", TEMPORAL_WORKER_BUILD_ID="v2")
    second = await place.invoke("wfx-2")
    await place.listens("wfx-2")
    for number in (1, 2):
        await place.go(f"wfx-{number}")
    assert (await result(first)).phase == (await result(second)).phase == COMPLETED
    assert (await build_of(place.run("wfx-1")), await build_of(place.run("wfx-2"))) == ("v1", "v2")
    assert (await place.run("wfx-1").describe()).run_id != began, "it was continued as new"


async def test_a_version_that_nothing_goes_to_says_so(place: Topology) -> None:
    worker = await place.worker("engine", TEMPORAL_WORKER_BUILD_ID="v1")
    [line] = worker.lines("no version of this deployment is current: new runs wait until one is (--current)")
    assert (line["code"], line["build_id"]) == ("temporal.no-current-version", "v1")
