"""`workflow-runner serve` tells Stigmer of its runs: by either API, with a key that is replaced while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf import json_format
from tests.integration.serve.conftest import Serve
from tests.integration.stigmer.conftest import KEY
from tests.servers.stigmer import StigmerServer

from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import enum_pb2

THREE = 'do: [{a: {set: {x: 1}}}, {b: {wait: {milliseconds: 10}}}, {c: {set: "${ [1, 2] }"}}]'
NEW_KEY = "the-new-key-4711"


@pytest.fixture
async def stigmer() -> AsyncIterator[StigmerServer]:
    """Speaks plaintext, knows KEY."""
    async with StigmerServer(api_key=KEY) as server:
        yield server


@pytest.fixture
def variables(stigmer: StigmerServer, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "api-key").write_text(KEY)
    return {
        "STIGMER_SERVICE_ENDPOINT": stigmer.listen,
        "STIGMER_SERVICE_USE_TLS": "false",
        "STIGMER_SERVICE_API_KEY_FILE": str(tmp_path / "api-key"),
    }


async def test_whole_states_end_with_the_output_and_all_tasks(
    serve: Serve, stigmer: StigmerServer, variables: dict[str, str]
) -> None:
    served = await serve(**variables, STIGMER_SERVICE_API="status")
    await served.start_run(THREE)
    await stigmer.until(lambda: any(state.completed_at for state in stigmer.states_of("run-1")), 60)
    assert stigmer.arrived == []
    last = stigmer.states_of("run-1")[-1]
    assert last.phase == enum_pb2.EXECUTION_COMPLETED
    assert [(task.task_name, task.task_type, task.status) for task in last.tasks] == [
        ("a", enum_pb2.WORKFLOW_TASK_TRANSFORM, enum_pb2.WORKFLOW_TASK_COMPLETED),
        ("b", enum_pb2.WORKFLOW_TASK_CUSTOM, enum_pb2.WORKFLOW_TASK_COMPLETED),
        ("c", enum_pb2.WORKFLOW_TASK_TRANSFORM, enum_pb2.WORKFLOW_TASK_COMPLETED),
    ]
    assert json_format.MessageToDict(last.output) == {"output": [1, 2]}


@pytest.mark.parametrize("api", ["progress", "status"])
async def test_a_key_that_is_replaced_is_taken_up_without_a_restart(
    serve: Serve, stigmer: StigmerServer, variables: dict[str, str], tmp_path: Path, api: str
) -> None:
    served = await serve(**variables, STIGMER_SERVICE_API=api)

    def told(run: str) -> bool:
        if api == "progress":
            return any(event.event_type == "workflow_completed" for event in stigmer.events(run))
        return any(state.completed_at for state in stigmer.states_of(run))

    await served.start_run(THREE, "run-1")
    await stigmer.until(lambda: told("run-1"), 60)
    stigmer.api_key = NEW_KEY
    await served.start_run(THREE, "run-2")
    await stigmer.until(lambda: stigmer.unauthenticated > 0, 60)
    (tmp_path / "api-key").write_text(NEW_KEY)
    await served.start_run(THREE, "run-3")
    for run in ("run-2", "run-3"):
        await stigmer.until(lambda run=run: told(run), 60)  # type: ignore[misc]
    assert NEW_KEY not in served.log


@pytest.mark.parametrize(("content", "why"), [(None, "cannot be read"), ("", "is empty"), ("ké", "cannot be sent in a header")])
async def test_a_key_file_without_a_key_is_named_at_the_start(
    serve: Serve, variables: dict[str, str], tmp_path: Path, content: str | None, why: str
) -> None:
    file = tmp_path / "api-key"
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(AssertionError, match=r"stigmer\.key-unusable") as refusal:
        await serve(**variables)
    assert why in str(refusal.value)
