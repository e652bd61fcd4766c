"""`call: agent` against a Stigmer with agents: asked, followed, answered, found again, given up; and each failure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests import canaries
from tests.integration.hosts.recorder import Recorder, local_run
from tests.servers.agents import AgentServer
from tests.servers.tls import Authority
from tests.until import until

from workflow_runner.calls import Calls
from workflow_runner.calls.agent import TEMPERATURE, AgentCalls
from workflow_runner.calls.agent_service import AgentService
from workflow_runner.dsl import problems
from workflow_runner.dsl.problems import Problem, WorkflowFault
from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.interpreter import frame_codec
from workflow_runner.interpreter.outcome import Cancelled, Completed, Faulted
from workflow_runner.proto.ai.stigmer.agentic.agentexecution.v1 import enum_pb2 as words
from workflow_runner.proto.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from workflow_runner.proto.ai.stigmer.commons.apiresource import enum_pb2 as owners

KEY = canaries.STIGMER_KEY


@pytest.fixture
async def stigmer() -> AsyncIterator[AgentServer]:
    async with AgentServer(KEY) as running:
        yield running


@pytest.fixture
async def agents(stigmer: AgentServer) -> AsyncIterator[AgentCalls]:
    made = client(stigmer)
    yield made
    await made.close()


def client(stigmer: AgentServer, key: str = KEY, **options: Any) -> AgentCalls:
    """Looks often, so that tests need not wait."""
    service = AgentService(stigmer.listen, key, use_tls=False)
    return AgentCalls(service, retry_seconds=(0.01, 0.05), look_seconds=(0.02, 0.05), **options)


def arguments(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "agent": "reviewer",
        "scope": "organization",
        "org": "",
        "message": "Review this",
        "env": {},
        "model": "",
        "temperature": None,
        "output": "content",
        "seconds": 20.0,
    }
    return given | changes


async def ask(agents: AgentCalls, key: str = "key-1", secret: dict[str, Any] | None = None, **changes: Any) -> Any:
    environment: dict[str, Any] | None = None if secret is None else {"scheme": "environment", "members": secret}
    return await agents.call(arguments(**changes), idempotency_key=key, environment=environment)


async def fault_of(agents: AgentCalls, **changes: Any) -> Problem:
    with pytest.raises(WorkflowFault) as caught:
        await ask(agents, **changes)
    assert canaries.found_in(str(caught.value.problem.to_dict())) == []
    return caught.value.problem


def told(what: str) -> Any:
    return lambda _: what


class TestAnswers:
    async def test_the_output_is_what_the_agent_said_last(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        stigmer.answers = told("Looks fine.")
        assert await ask(agents) == "Looks fine."

    async def test_the_whole_answer_is_given_where_it_is_asked_for(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        stigmer.answers = told("Looks fine.")
        assert await ask(agents, output="response") == {
            "id": "aex-1",
            "message": "Looks fine.",
            "messages": [
                {"type": "human", "content": "Review this", "timestamp": None},
                {"type": "ai", "content": "Let me see.", "timestamp": None},
                {"type": "tool", "content": "{}", "timestamp": None},
                {"type": "ai", "content": "Looks fine.", "timestamp": None},
            ],
            "startedAt": None,
            "completedAt": "2026-01-01T00:00:00Z",
        }

    async def test_stigmer_is_told_all_that_was_asked(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        stigmer.agents[owners.platform, "helper"] = "agt-9"
        stigmer.answers = told("Yes")
        secret = {"TOKEN": canaries.ENV_SECRET}
        env = {"REGION": "eu", "LIMITS": {"cpu": 1}}
        more: dict[str, Any] = {"scope": "platform", "org": "acme", "model": "large", "temperature": 0.2}
        await ask(agents, agent="helper", secret=secret, env=env, **more)
        (made,) = stigmer.executions.values()
        assert (made.api_version, made.kind) == ("agentic.stigmer.ai/v1", "AgentExecution")
        assert made.metadata.slug == made.metadata.name
        assert (made.spec.agent_id, made.spec.message) == ("agt-9", "Review this")
        assert made.spec.execution_config.model_name == "large"
        assert json.loads(made.metadata.annotations[TEMPERATURE]) == 0.2
        assert made.metadata.org == "acme"
        assert made.metadata.owner_scope == owners.api_resource_owner_scope_unspecified, "Stigmer refuses another one"
        assert {name: (one.value, one.is_secret) for name, one in made.spec.runtime_env.items()} == {
            "REGION": ("eu", False),
            "LIMITS": ('{"cpu": 1}', False),
            "TOKEN": (canaries.ENV_SECRET, True),
        }

    async def test_an_environment_that_is_secret_as_a_whole(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        stigmer.answers = told("Yes")
        await ask(agents, secret={"*": {"A": "1"}})
        (made,) = stigmer.executions.values()
        assert made.spec.runtime_env["A"].is_secret
        assert (await fault_of(agents, key="2", secret={"*": [1]})).type == problems.VALIDATION

    async def test_an_id_is_not_looked_up(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        stigmer.answers = told("Yes")
        await ask(agents, agent="agt-42")
        assert "getByReference" not in stigmer.called
        assert [one.spec.agent_id for one in stigmer.executions.values()] == ["agt-42"]

    async def test_an_agent_that_said_nothing_gives_null(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        asking = asyncio.create_task(ask(agents))
        await stigmer.until(lambda: bool(stigmer.executions))
        stigmer.executions["aex-1"].status.phase = words.EXECUTION_COMPLETED
        assert await asking is None

    async def test_over_tls(self) -> None:
        authority = Authority()
        pair = authority.server()
        async with AgentServer(KEY, tls=(pair.key.encode(), pair.certificate.encode()), answers=told("Yes")) as stigmer:
            agents = AgentCalls(AgentService(stigmer.listen, KEY, ca_pem=authority.certificate.encode()))
            assert await ask(agents) == "Yes"
            await agents.close()
            trusting_nobody = AgentCalls(AgentService(stigmer.listen, KEY))
            problem = await fault_of(trusting_nobody)
            await trusting_nobody.close()
        assert (problem.type, problem.status) == (problems.COMMUNICATION, 503)


class TestFollowing:
    @pytest.mark.parametrize("how", ["stream", "unimplemented", "mute", "breaking"])
    async def test_it_waits_for_the_end(self, stigmer: AgentServer, agents: AgentCalls, how: str) -> None:
        if how == "unimplemented":
            stigmer.unimplemented.add("subscribe")
        stigmer.mute = how == "mute"
        if how == "breaking":
            stigmer.failures["subscribe"] = [grpc.StatusCode.UNAVAILABLE] * 2
        asking = asyncio.create_task(ask(agents))
        await stigmer.until(lambda: stigmer.called.count("subscribe") >= (3 if how == "breaking" else 1))
        stigmer.executions["aex-1"].status.phase = words.EXECUTION_IN_PROGRESS
        await stigmer.until(lambda: how != "unimplemented" or stigmer.called.count("get") > 2)
        assert not asking.done()
        await stigmer.end("aex-1", "Done")
        assert await asking == "Done"
        await until(lambda: stigmer.streams == 0)

    async def test_streams_that_always_break_are_given_up(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        stigmer.failures["subscribe"] = [grpc.StatusCode.UNAVAILABLE] * 100
        asking = asyncio.create_task(ask(agents))
        await stigmer.until(lambda: stigmer.called.count("subscribe") == 5 and stigmer.called[-1] == "get")
        await stigmer.end("aex-1", "Done")
        assert await asking == "Done"
        assert stigmer.called.count("subscribe") == 5

    async def test_a_stigmer_that_restarts(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        asking = asyncio.create_task(ask(agents))
        await stigmer.until(lambda: stigmer.streams == 1)
        await stigmer.down()
        await stigmer.up()
        await stigmer.end("aex-1", "Done")
        assert await asking == "Done"
        assert stigmer.called.count("create") == 1


class TestFoundAgain:
    async def test_the_same_key_follows_the_same_execution(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        first = asyncio.create_task(ask(agents))
        await stigmer.until(lambda: stigmer.streams == 1)
        second = asyncio.create_task(ask(agents))
        await stigmer.until(lambda: stigmer.streams == 2)
        await stigmer.end("aex-1", "Once")
        assert (await first, await second) == ("Once", "Once")
        assert await ask(agents) == "Once", "one that has ended, too"
        assert stigmer.called.count("create") == 1
        stigmer.answers = told("Another")
        assert await ask(agents, key="key-2") == "Another"

    async def test_a_create_whose_answer_is_lost_is_not_made_twice(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        quick = client(stigmer, request_seconds=0.5)
        stigmer.hold = asyncio.Event()
        asking = asyncio.create_task(ask(quick))
        await stigmer.until(lambda: stigmer.streams == 1)
        await stigmer.end("aex-1", "Once")
        assert await asking == "Once"
        assert stigmer.called.count("create") == 1
        await quick.close()

    async def test_one_that_is_only_seen_late_is_found(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        stigmer.answers = told("Once")
        assert await ask(agents) == "Once"
        stigmer.blind = 1
        assert await ask(agents) == "Once"
        assert stigmer.called.count("create") == 2, "the second was refused: the name is taken"
        assert len(stigmer.executions) == 1

    async def test_a_list_that_looks_at_no_tags(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        stigmer.unfiltered = True
        stigmer.answers = lambda made: made.spec.message
        assert [await ask(agents, key, message=key) for key in ("a", "b", "a")] == ["a", "b", "a"]
        assert len(stigmer.executions) == 2

    async def test_where_nothing_can_be_listed_a_taken_name_is_a_failure(
        self, stigmer: AgentServer, agents: AgentCalls
    ) -> None:
        stigmer.unimplemented.add("list")
        stigmer.answers = told("Once")
        assert await ask(agents) == "Once"
        problem = await fault_of(agents)
        assert (problem.type, problem.status) == (problems.COMMUNICATION, 409)

    async def test_a_retry_asks_an_agent_that_failed_anew(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        async def failing() -> None:
            await stigmer.until(lambda: bool(stigmer.executions))
            await stigmer.end("aex-1", phase=words.EXECUTION_FAILED, error="no credit")

        ending = asyncio.create_task(failing())
        assert (await fault_of(agents)).type == problems.RUNTIME
        await ending
        stigmer.answers = told("Now")
        assert await ask(agents) == "Now"
        names = [one.metadata.name for one in stigmer.executions.values()]
        assert names[0].endswith("-1")
        assert names[1] == names[0][:-1] + "2"


class TestGivenUp:
    async def test_when_the_caller_is_cancelled(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        asking = asyncio.create_task(ask(agents))
        await stigmer.until(lambda: stigmer.streams == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert stigmer.deleted == ["aex-1"]

    async def test_when_it_is_not_known_whether_it_was_made(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        stigmer.hold = asyncio.Event()
        asking = asyncio.create_task(ask(agents))
        await stigmer.until(lambda: bool(stigmer.executions))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert stigmer.deleted == ["aex-1"]

    async def test_when_time_is_over(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        problem = await fault_of(agents, seconds=0.5)
        assert (problem.type, problem.status) == (problems.TIMEOUT, 408)
        assert "'reviewer' has not answered within 0.5 s" in (problem.detail or "")
        assert stigmer.deleted == ["aex-1"]

    async def test_that_it_goes_on_at_stigmer_is_logged(
        self, stigmer: AgentServer, agents: AgentCalls, caplog: pytest.LogCaptureFixture
    ) -> None:
        stigmer.failures["delete"] = [grpc.StatusCode.PERMISSION_DENIED]
        await fault_of(agents, seconds=0.5)
        assert "the agent execution aex-1 goes on at Stigmer: PERMISSION_DENIED" in caplog.text


class TestFailures:
    @pytest.mark.parametrize(
        ("phase", "error", "detail"),
        [
            (words.EXECUTION_FAILED, "no credit", "failed: no credit"),
            (words.EXECUTION_FAILED, "", "failed: Stigmer gave no reason"),
            (words.EXECUTION_CANCELLED, "", "was cancelled at Stigmer"),
        ],
    )
    async def test_an_agent_that_fails(
        self, stigmer: AgentServer, agents: AgentCalls, phase: int, error: str, detail: str
    ) -> None:
        asking = asyncio.create_task(fault_of(agents))
        await stigmer.until(lambda: bool(stigmer.executions))
        await stigmer.end("aex-1", phase=phase, error=error)
        problem = await asking
        assert (problem.type, problem.status) == (problems.RUNTIME, 500)
        assert problem.detail == f"the agent 'reviewer' (execution aex-1) {detail}"
        assert stigmer.deleted == []

    async def test_an_agent_that_is_not_there(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        problem = await fault_of(agents, agent="nobody")
        assert (problem.type, problem.status) == (problems.CONFIGURATION, 404)
        assert (problem.detail or "").startswith("call.unknown-agent: Stigmer has no agent 'nobody' of scope organization")
        assert stigmer.executions == {}

    async def test_a_stigmer_that_cannot_look_agents_up_gets_the_name(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        stigmer.unimplemented.add("getByReference")
        stigmer.answers = told("Yes")
        await ask(agents)
        assert [one.spec.agent_id for one in stigmer.executions.values()] == ["reviewer"]

    @pytest.mark.parametrize(
        ("method", "code", "type_", "status"),
        [
            ("create", grpc.StatusCode.INVALID_ARGUMENT, problems.COMMUNICATION, 400),
            ("create", grpc.StatusCode.PERMISSION_DENIED, problems.AUTHORIZATION, 403),
            ("subscribe", grpc.StatusCode.PERMISSION_DENIED, problems.AUTHORIZATION, 403),
            ("getByReference", grpc.StatusCode.PERMISSION_DENIED, problems.AUTHORIZATION, 403),
            ("list", grpc.StatusCode.INVALID_ARGUMENT, problems.COMMUNICATION, 400),
        ],
    )
    async def test_what_stigmer_refuses(
        self, stigmer: AgentServer, agents: AgentCalls, method: str, code: grpc.StatusCode, type_: str, status: int
    ) -> None:
        stigmer.failures[method] = [code]
        problem = await fault_of(agents)
        assert (problem.type, problem.status) == (type_, status)
        assert f"Stigmer at {stigmer.listen} answered {code.name}: told to" in (problem.detail or "")

    @pytest.mark.parametrize("method", ["create", "list", "getByReference", "get"])
    async def test_what_passes_is_tried_again(self, stigmer: AgentServer, agents: AgentCalls, method: str) -> None:
        stigmer.failures[method] = [grpc.StatusCode.UNAVAILABLE]
        stigmer.unimplemented.add("subscribe")
        asking = asyncio.create_task(ask(agents))
        await stigmer.until(lambda: bool(stigmer.executions) and not stigmer.failures[method])
        await stigmer.end("aex-1", "Yes")
        assert await asking == "Yes"

    async def test_not_for_ever(self, stigmer: AgentServer, agents: AgentCalls) -> None:
        stigmer.failures["create"] = [grpc.StatusCode.UNAVAILABLE] * 100
        problem = await fault_of(agents)
        assert (problem.type, problem.status) == (problems.COMMUNICATION, 503)
        assert stigmer.called.count("create") == 5

    async def test_a_wrong_key_is_not_shown(self, stigmer: AgentServer) -> None:
        agents = client(stigmer, canaries.BEARER)
        problem = await fault_of(agents)
        await agents.close()
        assert (problem.type, problem.status) == (problems.AUTHENTICATION, 401)

    async def test_a_key_that_no_header_can_hold(self, stigmer: AgentServer) -> None:
        agents = client(stigmer, f"{KEY}\n")
        problem = await fault_of(agents)
        await agents.close()
        assert problem.type == problems.AUTHENTICATION

    async def test_a_key_in_a_file_is_read_for_each_call(self, stigmer: AgentServer, tmp_path: Path) -> None:
        file = tmp_path / "key"
        agents = AgentCalls(AgentService(stigmer.listen, use_tls=False, api_key_file=file))
        stigmer.answers = told("Yes")
        assert (await fault_of(agents)).type == problems.CONFIGURATION
        file.write_text(f"{canaries.BEARER}\n")
        assert (await fault_of(agents)).type == problems.AUTHENTICATION
        file.write_text(f"{KEY}\n")
        assert await ask(agents) == "Yes"
        await agents.close()

    async def test_a_variable_without_a_value(self, agents: AgentCalls) -> None:
        problem = await fault_of(agents, env={"A": None})
        assert (problem.type, problem.detail) == (problems.VALIDATION, "/with/env/A: it has no value (null)")


def options(stigmer: AgentServer) -> HostOptions:
    return HostOptions(agents=AgentService(stigmer.listen, KEY, use_tls=False))


class TestHosts:
    async def test_a_host_without_stigmer_says_what_is_missing(self) -> None:
        calls = Calls()
        with pytest.raises(WorkflowFault) as caught:
            await calls.call("agent", arguments(), idempotency_key="k")
        problem = caught.value.problem
        assert problem.type == problems.CONFIGURATION
        assert (problem.detail or "").startswith("call.no-stigmer: ")
        assert "STIGMER_SERVICE_ENDPOINT" in (problem.detail or "")

    async def test_a_host_without_temporal_calls_no_activity(self) -> None:
        with pytest.raises(WorkflowFault) as caught:
            await Calls().call("activity", {"activity": "Charge", "input": None}, idempotency_key="k")
        assert caught.value.problem.type == problems.CONFIGURATION
        assert (caught.value.problem.detail or "").startswith("call.no-temporal: the activity 'Charge' is not called")

    async def test_calls_go_to_the_agents_of_the_host(self, stigmer: AgentServer) -> None:
        stigmer.answers = lambda made: f"{made.spec.message}!"
        calls = Calls(agents=AgentService(stigmer.listen, KEY, use_tls=False))
        assert await calls.call("agent", arguments(), idempotency_key="k") == "Review this!"
        await calls.close()

    async def test_a_task_that_is_broken_off_ends_the_agents_execution(self, stigmer: AgentServer) -> None:
        document = "do: [{a: {timeout: {after: PT0.5S}, call: agent, with: {agent: reviewer, message: m}}}]"
        outcome = await local_run(document, report=Recorder(), options=options(stigmer)).run()
        assert isinstance(outcome, Faulted)
        assert outcome.problem.status == 408
        assert stigmer.deleted == ["aex-1"]

    async def test_a_run_that_is_cancelled_ends_the_agents_execution(self, stigmer: AgentServer) -> None:
        document = "do: [{a: {call: agent, with: {agent: reviewer, message: m}}}]"
        run = local_run(document, report=Recorder(), options=options(stigmer))
        running = asyncio.create_task(run.run())
        await stigmer.until(lambda: stigmer.streams == 1)
        run.cancel("enough")
        assert isinstance(await running, Cancelled)
        assert stigmer.deleted == ["aex-1"]

    async def test_a_run_that_goes_on_elsewhere_finds_its_agents_execution(self, stigmer: AgentServer) -> None:
        document = "do: [{a: {call: agent, with: {agent: reviewer, message: m}}}]"
        first = local_run(document, report=Recorder(), options=options(stigmer))
        running = asyncio.create_task(first.run())
        await stigmer.until(lambda: stigmer.streams == 1)
        first.cancel("the runner stops", goes_on=True)
        await running
        assert stigmer.deleted == []
        state = frame_codec.decode(json.loads(json.dumps(frame_codec.encode(first.frame))))
        second = asyncio.create_task(local_run(document, report=Recorder(), options=options(stigmer), start_from=state).run())
        await stigmer.until(lambda: stigmer.called.count("list") == 2)
        await stigmer.end("aex-1", "Done")
        outcome = await second
        assert isinstance(outcome, Completed)
        assert outcome.output == "Done"
        assert stigmer.called.count("create") == 1

    async def test_a_retry_of_the_task_goes_by_the_same_key(self, stigmer: AgentServer) -> None:
        stigmer.failures["create"] = [grpc.StatusCode.INVALID_ARGUMENT]
        stigmer.answers = told("Yes")
        ask_ = "{a: {call: agent, with: {agent: reviewer, message: m}}}"
        document = f"do: [{{t: {{try: [{ask_}], catch: {{retry: {{limit: {{attempt: {{count: 2}}}}}}}}}}}}]"
        outcome = await local_run(document, report=Recorder(), options=options(stigmer)).run()
        assert isinstance(outcome, Completed)
        assert outcome.output == "Yes"
        (made,) = stigmer.executions.values()
        assert made.metadata.tags == [made.metadata.name.removesuffix("-1")]

    def test_nothing_shows_the_key(self) -> None:
        assert canaries.found_in(repr(AgentService("x:1", KEY))) == []


def test_the_double_is_like_what_is_generated() -> None:
    """Each method that a call uses is one of the service's own, so that the double cannot drift from the protos."""
    services = {
        "create": "AgentExecutionCommandController",
        "delete": "AgentExecutionCommandController",
        "get": "AgentExecutionQueryController",
        "list": "AgentExecutionQueryController",
        "subscribe": "AgentExecutionQueryController",
    }
    from workflow_runner.proto.ai.stigmer.agentic.agentexecution.v1 import command_pb2, query_pb2

    known = {
        method.name: service.name
        for module in (command_pb2, query_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert services.items() <= known.items()
    assert AgentExecution.DESCRIPTOR.full_name == "ai.stigmer.agentic.agentexecution.v1.AgentExecution"
