"""What Stigmer is asked for, over real sockets: found, merged, and told apart when it is not there or does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from tests import canaries
from tests.integration.stigmer.conftest import KEY, QUICK, plain
from tests.servers.stigmer import Behaviour, StigmerServer

from workflow_runner import telemetry
from workflow_runner.proto.ai.stigmer.agentic.environment.v1.api_pb2 import Environment
from workflow_runner.proto.ai.stigmer.agentic.environment.v1.spec_pb2 import EnvironmentValue
from workflow_runner.proto.ai.stigmer.agentic.executioncontext.v1.spec_pb2 import ExecutionValue
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.api_pb2 import Workflow
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecution
from workflow_runner.proto.ai.stigmer.agentic.workflowinstance.v1.api_pb2 import WorkflowInstance
from workflow_runner.proto.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceReference
from workflow_runner.stigmer.queries import Asked, NotThere, Queries, QueryFailed, QueryRefused, Wanted, merged

SECRET = canaries.WORKFLOW_SECRET


@pytest.fixture
async def queries(stigmer: StigmerServer) -> AsyncIterator[Queries]:
    async with Queries(plain(stigmer), deadline_seconds=5, backoff=QUICK) as queries:
        yield queries


def environment(slug: str, **values: str | tuple[str, bool]) -> Environment:
    made = Environment(metadata={"id": f"env-{slug}", "slug": slug})
    for name, value in values.items():
        text, is_secret = (value, False) if isinstance(value, str) else value
        made.spec.data[name].CopyFrom(EnvironmentValue(value=text, is_secret=is_secret))
    return made


@pytest.fixture
def shop(stigmer: StigmerServer) -> StigmerServer:
    """A workflow with its default instance, another instance with two environments, and executions."""
    workflow = Workflow(metadata={"id": "wf-1", "slug": "order"}, status={"default_instance_id": "wfi-default"})
    workflow.spec.document.name = "order"
    for name, value in {"REGION": "eu", "TOKEN": "", "COLOUR": "red", "UNUSED": ""}.items():
        workflow.spec.env_spec.data[name].CopyFrom(EnvironmentValue(value=value, is_secret=name == "TOKEN"))
    refs = [ApiResourceReference(org="acme", slug="base"), ApiResourceReference(slug="team")]
    instance = WorkflowInstance(metadata={"id": "wfi-1"}, spec={"workflow_id": "wf-1", "env_refs": refs})
    default = WorkflowInstance(metadata={"id": "wfi-default"}, spec={"workflow_id": "wf-1", "env_refs": refs[:1]})
    execution = WorkflowExecution(metadata={"id": "wfx-1"}, spec={"workflow_instance_id": "wfi-1", "trigger_message": "go"})
    execution.spec.trigger_metadata["by"] = "ann"
    execution.spec.runtime_env["COLOUR"].CopyFrom(ExecutionValue(value="blue"))
    execution.spec.runtime_env["ONCE"].CopyFrom(ExecutionValue(value=SECRET, is_secret=True))
    by_workflow = WorkflowExecution(metadata={"id": "wfx-2"}, spec={"workflow_id": "wf-1"})
    stigmer.resources.add(workflow, instance, default, execution, by_workflow)
    stigmer.resources.add(WorkflowExecution(metadata={"id": "wfx-empty"}), WorkflowInstance(metadata={"id": "wfi-empty"}))
    stigmer.resources.add(environment("base", REGION="us", TOKEN=("base-token", False), LEVEL="1", COLOUR="green"))
    stigmer.resources.add(environment("team", LEVEL="2", PASSWORD=("pass-word-1", True)))
    return stigmer


async def test_an_execution_with_its_instance_its_workflow_and_all_environments_in_their_order(
    queries: Queries, shop: StigmerServer
) -> None:
    found = await queries.resolve(Wanted("execution", "wfx-1"))
    assert found.spec.document.name == "order"
    assert found.environment.values == {"REGION": "us", "COLOUR": "blue", "LEVEL": "2"}
    secrets = {name: value.get_secret_value() for name, value in found.environment.secrets.items()}
    assert secrets == {"TOKEN": "base-token", "PASSWORD": "pass-word-1", "ONCE": SECRET}
    assert (found.trigger_message, found.trigger_metadata) == ("go", {"by": "ann"})
    assert shop.queries == [
        ("execution/get", "wfx-1"),
        ("instance/get", "wfi-1"),
        ("workflow/get", "wf-1"),
        ("environment/getByReference", "base"),
        ("environment/getByReference", "team"),
    ]


@pytest.mark.parametrize(("kind", "id_"), [("execution", "wfx-2"), ("workflow", "wf-1"), ("instance", "wfi-default")])
async def test_a_workflow_runs_as_its_default_instance(queries: Queries, shop: StigmerServer, kind: Asked, id_: str) -> None:
    found = await queries.resolve(Wanted(kind, id_))
    assert found.environment.values == {"REGION": "us", "COLOUR": "green", "LEVEL": "1"}
    assert list(found.environment.secrets) == ["TOKEN"]


async def test_a_workflow_without_a_default_instance_has_its_own_defaults(queries: Queries, shop: StigmerServer) -> None:
    shop.resources.workflows["wf-1"].status.default_instance_id = ""
    found = await queries.resolve(Wanted("workflow", "wf-1"))
    assert found.environment.values == {"REGION": "eu", "COLOUR": "red"}
    assert found.environment.secrets == {}


async def test_things_are_found_by_a_reference_too(queries: Queries, shop: StigmerServer) -> None:
    shop.resources.instances["wfi-1"].metadata.slug = "prod"
    assert (await queries.workflow(ApiResourceReference(slug="order"))).metadata.id == "wf-1"
    assert (await queries.instance(ApiResourceReference(slug="prod"))).metadata.id == "wfi-1"
    assert (await queries.environment("env-team")).metadata.slug == "team"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted("execution", "wfx-9"), "there is no workflow execution 'wfx-9' at "),
        (Wanted("instance", "wfi-9"), "there is no workflow instance 'wfi-9' at "),
        (Wanted("workflow", "wf-9"), "there is no workflow 'wf-9' at "),
        (Wanted("execution", "wfx-empty"), "'wfx-empty' names neither an instance nor a workflow"),
        (Wanted("instance", "wfi-empty"), "'wfi-empty' names no workflow"),
    ],
)
async def test_what_is_not_there_is_named(queries: Queries, shop: StigmerServer, wanted: Wanted, message: str) -> None:
    with pytest.raises(NotThere, match=message) as missing:
        await queries.resolve(wanted)
    assert missing.value.code == "stigmer.not-found"


async def test_an_environment_that_is_not_there_is_named(queries: Queries, shop: StigmerServer) -> None:
    del shop.resources.environments["env-base"]
    with pytest.raises(NotThere, match="there is no environment 'acme/base'"):
        await queries.resolve(Wanted("instance", "wfi-1"))


@pytest.mark.parametrize("code", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN"])
async def test_what_may_pass_is_tried_three_times(queries: Queries, shop: StigmerServer, code: str) -> None:
    shop.behaviour = Behaviour("status", code=code)
    with pytest.raises(QueryFailed, match=f"'wf-1' could not be read from .* in 3 attempts: {code}") as failure:
        await queries.workflow("wf-1")
    assert failure.value.code == "stigmer.unavailable"
    assert len(shop.queries) == 3


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        ("UNAUTHENTICATED", "stigmer.unauthenticated"),
        ("PERMISSION_DENIED", "stigmer.permission-denied"),
        ("UNIMPLEMENTED", "stigmer.unimplemented"),
        ("INVALID_ARGUMENT", "stigmer.refused"),
    ],
)
async def test_a_refusal_is_not_tried_again_and_holds_no_key(
    queries: Queries, shop: StigmerServer, code: str, ours: str
) -> None:
    shop.behaviour = Behaviour("status", code=code)
    with pytest.raises(QueryRefused) as refusal:
        await queries.workflow("wf-1")
    assert refusal.value.code == ours
    assert KEY not in f"{refusal.value} {refusal.value.__cause__!r}"
    assert len(shop.queries) == 1


async def test_a_server_that_hangs_costs_one_deadline_an_attempt(shop: StigmerServer) -> None:
    shop.behaviour = Behaviour("hang")
    async with Queries(plain(shop), attempts=2, deadline_seconds=0.2, backoff=QUICK) as queries:
        with pytest.raises(QueryFailed, match="DEADLINE_EXCEEDED"):
            await queries.workflow("wf-1")
    assert len(shop.queries) == 2


async def test_a_dropped_connection_is_dialled_again(queries: Queries, shop: StigmerServer) -> None:
    assert (await queries.workflow("wf-1")).metadata.slug == "order"
    shop.behaviour = Behaviour("drop")
    with pytest.raises(QueryFailed):
        await queries.workflow("wf-1")
    shop.behaviour = Behaviour()
    async with asyncio.timeout(20):
        # The server may still be on its way back.
        while True:
            with contextlib.suppress(QueryFailed):
                assert (await queries.workflow("wf-1")).metadata.slug == "order"
                return


async def test_no_secret_is_logged_once_it_was_read(queries: Queries, shop: StigmerServer) -> None:
    found = await queries.resolve(Wanted("execution", "wfx-1"))
    for value in (SECRET, "base-token", "pass-word-1"):
        assert value not in telemetry.redact(f"it said {value}")
        assert value not in f"{found.environment!r}"
    logging.getLogger("test").info("%s", found.environment)


async def test_too_many_environments_are_refused(queries: Queries, shop: StigmerServer) -> None:
    shop.resources.instances["wfi-1"].spec.env_refs.extend([ApiResourceReference(slug="base")] * 50)
    with pytest.raises(QueryRefused, match="more than 50 environments") as refusal:
        await queries.resolve(Wanted("instance", "wfi-1"))
    assert refusal.value.code == "stigmer.environment-too-large"


def test_a_name_that_is_secret_once_is_secret_whoever_gives_its_value() -> None:
    declared = {"A": EnvironmentValue(is_secret=True), "B": EnvironmentValue(value="b"), "C": EnvironmentValue(value="c")}
    given = {"A": ExecutionValue(value="a"), "B": ExecutionValue(value="b2", is_secret=True), "C": ExecutionValue(value="")}
    found = merged([declared, given])
    assert found.values == {"C": ""}
    assert found.secrets == {"A": SecretStr("a"), "B": SecretStr("b2")}


def test_a_huge_environment_is_refused() -> None:
    with pytest.raises(QueryRefused, match="at most 500"):
        merged([{f"N{number}": EnvironmentValue(value="x") for number in range(501)}])
    with pytest.raises(QueryRefused, match="524,288"):
        merged([{"N": EnvironmentValue(value="x" * 524_288)}])
