"""A launched pod as a process, whose events come from and go where its environment says."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.integration.calls.server import answering, http_server
from tests.integration.cli.program import PROGRAM, environment
from tests.integration.server import conftest as server
from tests.unit.interpreter.virtual import whole
from tests.until import until

from workflow_runner.dsl.templates import Json
from workflow_runner.hosts.event_bus import Offer
from workflow_runner.launchers.payload import Payload, pack, spec_digest
from workflow_runner.reconcile.live import LiveRun

api_server, cluster, sink, live = server.api_server, server.cluster, server.sink, server.live

DOCUMENT = """
    do:
      - l: {listen: {to: {one: {with: {type: question}}}}}
      - e: {emit: {event: {with: {source: /here, type: answer, data: "${ .[0] + 1 }"}}}, output: {as: .data}}
"""


def variables(sink: server.Sink, folder: Path) -> dict[str, str]:
    (folder / "token").write_text("pod-1.x.y")
    return {
        "WORKFLOW_RUNNER_EXECUTION_UID": "execution-1",
        "WORKFLOW_RUNNER_EXECUTION_ID": "execution-1",
        "WORKFLOW_RUNNER_ATTEMPT": "1",
        "WORKFLOW_RUNNER_SINK_ENDPOINT": f"localhost:{sink.port}",
        "WORKFLOW_RUNNER_SINK_CA": sink.ca.decode(),
        "WORKFLOW_RUNNER_SINK_TOKEN_FILE": str(folder / "token"),
        "WORKFLOW_RUNNER_TERMINATION_LOG": str(folder / "termination"),
    }


def packed(folder: Path) -> list[str]:
    payload = Payload(whole(DOCUMENT), None, "test.yaml")
    (folder / "input").write_text(pack(payload))
    return ["execute", "--input-file", str(folder / "input"), "--digest", spec_digest(payload)]


def message(folder: Path) -> Any:
    return json.loads((folder / "termination").read_text())


async def test_a_pods_run_hears_the_operators_events_and_tells_its_own(
    sink: server.Sink, live: LiveRun, tmp_path: Path
) -> None:
    async with http_server(answering(202)) as events, http_server(answering(202)) as lifecycle:
        sinks = {"WORKFLOW_RUNNER_EVENT_SINK": events.url, "WORKFLOW_RUNNER_LIFECYCLE_SINK": lifecycle.url}
        process = await asyncio.create_subprocess_exec(
            PROGRAM, *packed(tmp_path), env=environment(**variables(sink, tmp_path), **sinks)
        )
        await until(lambda: sink.service.streams["Listen"] == 1, 60)
        question: dict[str, Json] = {"specversion": "1.0", "id": "1", "source": "/s", "type": "question", "data": 41}
        assert await sink.service.events.offer("elsewhere", question) == Offer(0, 0)
        assert await sink.service.events.offer("ns", question) == Offer(1, 0)
        await until(lambda: live.end is not None, 60)
        sink.runs.recorded("execution-1", 1, live.source_sequence)
        assert await asyncio.wait_for(process.wait(), 60) == 0
        assert message(tmp_path)["output"] == 42
        assert [json.loads(seen.body)["data"] for seen in events.seen] == [42]
        kinds = [json.loads(seen.body)["type"].removeprefix("io.serverlessworkflow.") for seen in lifecycle.seen]
        assert kinds[0] == "workflow.started.v1"
        assert kinds[-1] == "workflow.completed.v1"
        assert {"workflow.correlation-started.v1", "workflow.correlation-completed.v1"} <= set(kinds)
    assert "correlation" not in " ".join(entry["reference"] for entry in live.tasks.entries())


async def test_a_pod_with_a_sink_that_is_none_says_so(sink: server.Sink, live: LiveRun, tmp_path: Path) -> None:
    settings = variables(sink, tmp_path) | {"WORKFLOW_RUNNER_EVENT_SINK": "nowhere"}
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *packed(tmp_path), env=environment(**settings), stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert "workflow-runner: input.bad-sink: " in said.decode()
    assert message(tmp_path)["error"]["code"] == "input.bad-sink"
