"""What a scrape of a process that serves shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from tests import canaries
from tests.integration.serve.conftest import Serve
from tests.integration.serve.served import Served, refused, request
from tests.servers.stigmer import StigmerServer
from tests.until import until

from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as older

DOCS = Path(__file__).parents[3] / "docs" / "operations.md"
PREFIX = "workflow_runner_"
EXECUTE_ASYNC = "/ai.stigmer.agentic.workflowrunner.v1.WorkflowExecutionService/ExecuteAsync"


async def scraped(served: Served) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every number by its name, without our prefix, and its labels."""
    url = f"http://127.0.0.1:{served.ports['metrics_port']}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        families = list(text_string_to_metric_families(await answer.text()))
    return {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


async def test_calls_executions_and_documents_are_counted(served: Served) -> None:
    await served.start_run("do: [{step: {set: {n: 1}}}]")
    await served.end()
    await served.start_run("do: [{nap: {wait: PT10M}}]", "run-2")
    await served.reaches("running", execution_id="run-2")
    await refused(served.services.execution.ExecuteAsync(request("do: [{x: 1}]", "run-3")))
    await refused(served.services.query.GetStatus(older.GetExecutionStatusRequest(execution_id="nobody")))

    async def counted() -> bool:
        found = await scraped(served)
        calls = "grpc_call_duration_seconds_count"
        return (
            found.get((calls, (("code", "OK"), ("method", EXECUTE_ASYNC)))) == 2
            and found.get((calls, (("code", "INVALID_ARGUMENT"), ("method", EXECUTE_ASYNC)))) == 1
        )

    await until(counted)
    found = await scraped(served)
    assert found["served_executions", (("status", "completed"),)] == 1
    assert found["served_executions", (("status", "running"),)] == 1
    assert found["served_execution_duration_seconds_count", (("status", "completed"),)] == 1
    assert found["documents_kept", ()] == 2
    names = {dict(labels).get("code") for name, labels in found if name == "grpc_call_duration_seconds_count"}
    assert names <= {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}


async def test_methods_that_nobody_serves_are_not_counted(served: Served) -> None:
    for number in range(200):
        call: Any = served.services.channel.unary_unary(f"/made.up.Service/Method{number}")
        await refused(call(b""))
    assert not [labels for name, labels in await scraped(served) if "made.up" in str(labels)]


async def test_the_table_of_metrics_is_complete(serve: Serve) -> None:
    """docs/operations.md and what is shown name the same metrics."""
    async with StigmerServer(api_key=canaries.STIGMER_KEY) as stigmer:
        served = await serve(
            STIGMER_SERVICE_ENDPOINT=stigmer.listen,
            STIGMER_SERVICE_API_KEY=canaries.STIGMER_KEY,
            STIGMER_SERVICE_USE_TLS="false",
        )
        await served.start_run("do: [{step: {set: {n: 1}}}]")
        await stigmer.until(lambda: len(stigmer.arrived) == 4)
        found = await scraped(served)
        assert found["callbacks_total", (("endpoint", stigmer.listen), ("result", "delivered"))] >= 3
        assert found["stigmer_up", (("endpoint", stigmer.listen),)] == 1
        url = f"http://127.0.0.1:{served.ports['metrics_port']}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            families = {family.name for family in text_string_to_metric_families(await answer.text())}
    section = DOCS.read_text().split("### Of a runner's service")[1].split("\n### ")[0]
    section = "\n".join(line for line in section.splitlines() if "`WORKFLOW_RUNNER_ENGINE=temporal`" not in line)
    documented = {re.sub(r"_total$", "", name) for name in re.findall(r"^\| `(workflow_runner_\w+)", section, re.MULTILINE)}
    assert documented == {name for name in families if name.startswith(PREFIX)}
