"""`workflow-runner run` asks agents where it is told of a Stigmer, and says what is missing where it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests import canaries
from tests.integration.cli.program import Ended, call
from tests.servers.agents import AgentServer

DOCUMENT = """\
document: {dsl: 1.0.3, namespace: test, name: review, version: 1.0.0}
use: {secrets: [TOKEN]}
do:
  - review:
      call: agent
      with: {agent: reviewer, message: '${ "Review \\(.what)" }', env: {TOKEN: '${ $secrets.TOKEN }'}}
"""


@pytest.fixture
async def stigmer() -> AsyncIterator[AgentServer]:
    async with AgentServer(canaries.STIGMER_KEY, answers=lambda made: f"{made.spec.message}: fine.") as running:
        yield running


async def run(**variables: str) -> Ended:
    secrets = {"WORKFLOW_SECRET_TOKEN": canaries.ENV_SECRET}
    arguments = ("run", "-", "--input", '{"what": "this"}')
    return await asyncio.to_thread(lambda: call(*arguments, given=DOCUMENT, **(secrets | variables)))


async def test_an_agent_is_asked(stigmer: AgentServer) -> None:
    ended = await run(
        STIGMER_SERVICE_ENDPOINT=stigmer.listen,
        STIGMER_SERVICE_API_KEY=canaries.STIGMER_KEY,
        STIGMER_SERVICE_USE_TLS="false",
    )
    assert (ended.code, ended.output) == (0, "Review this: fine.")
    (made,) = stigmer.executions.values()
    assert (made.spec.runtime_env["TOKEN"].value, made.spec.runtime_env["TOKEN"].is_secret) == (canaries.ENV_SECRET, True)


async def test_without_a_stigmer_the_call_says_what_is_missing() -> None:
    ended = await run(STIGMER_SERVICE_ENDPOINT="")
    assert ended.code == 1
    assert ended.problem["type"].endswith("/configuration")
    assert "call.no-stigmer" in ended.problem["detail"]
    assert "STIGMER_SERVICE_ENDPOINT" in ended.problem["detail"]


async def test_an_endpoint_that_is_none_is_refused_before_anything_runs() -> None:
    ended = await run(STIGMER_SERVICE_ENDPOINT="https://stigmer.test")
    assert ended.code == 2
    assert "settings.invalid: STIGMER_SERVICE_ENDPOINT" in ended.err


async def test_a_wrong_key_is_told_and_not_shown(stigmer: AgentServer) -> None:
    ended = await run(
        STIGMER_SERVICE_ENDPOINT=stigmer.listen,
        STIGMER_SERVICE_API_KEY=canaries.BEARER,
        STIGMER_SERVICE_USE_TLS="false",
    )
    assert (ended.code, ended.problem["status"]) == (1, 401)
