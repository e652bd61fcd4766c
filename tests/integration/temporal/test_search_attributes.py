"""Runs are found by search attributes, where the server has them, and start all the same where it has not."""

from __future__ import annotations

import pytest
from temporalio.client import Client
from tests.integration.temporal.runs import setting
from tests.servers.temporal import temporal_server
from tests.until import until

from workflow_runner.hosts.temporal.search_attributes import KEYS, search_attributes

HELLO = "do: [{step: {set: {n: 1}}}]"


@pytest.mark.parametrize("known", [(), ("StigmerWorkflow",), ("StigmerExecutionId", "StigmerWorkflow")], ids=len)
async def test_those_that_the_server_has(known: tuple[str, ...]) -> None:
    arguments = [argument for name in known for argument in ("--search-attribute", f"{name}=Keyword")]
    async with temporal_server(*arguments) as address, (await setting(address)).running(HELLO) as run:
        await run.outcome()
        found = (await run.described()).typed_search_attributes
        assert {key.name: found.get(key) for key in KEYS if found.get(key) is not None} == {
            name: {"StigmerExecutionId": run.execution_id, "StigmerWorkflow": "tests/test:1.0.0"}[name] for name in known
        }
        if "StigmerExecutionId" in known:
            query = f"StigmerExecutionId = '{run.execution_id}'"

            async def is_found() -> bool:
                return [each.id async for each in run.client.list_workflows(query)] == [(await run.described()).id]

            await until(is_found, 30)


async def test_one_of_another_type_is_not_used() -> None:
    async with temporal_server("--search-attribute", "StigmerWorkflow=Int") as address:
        assert list(await search_attributes(await Client.connect(address), "e", "a/b:1")) == []
