"""An execution that names a workflow in Stigmer: the operator's reconcile against a real Stigmer, up to the Job it makes.

The API server is the fake of the unit tests; the document is made, checked and packed as in the operator's child.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests import canaries
from tests.integration.stigmer.conftest import KEY, plain
from tests.servers.stigmer import Behaviour, StigmerServer
from tests.unit.controller.test_reconciler import OneExecution, Operator, resource

from workflow_runner.cluster import NotFound
from workflow_runner.controller.sources import Source
from workflow_runner.controller.stigmer_workflows import AT_ONCE, CONNECTIONS_KEPT, StigmerWorkflows
from workflow_runner.controller.validation import Validator, inspect
from workflow_runner.errors import InvalidInput, Unavailable
from workflow_runner.launchers.payload import unpack
from workflow_runner.proto.ai.stigmer.agentic.environment.v1.api_pb2 import Environment
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.api_pb2 import Workflow
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecution
from workflow_runner.proto.ai.stigmer.agentic.workflowinstance.v1.api_pb2 import WorkflowInstance
from workflow_runner.proto.ai.stigmer.commons.apiresource.enum_pb2 import WORKFLOW_TASK_KIND_SET
from workflow_runner.reconcile.live import End
from workflow_runner.reconcile.observed import Accepted, Refused
from workflow_runner.stigmer.queries import Resolved

Json = dict[str, Any]
SECRET = canaries.WORKFLOW_SECRET
UID_ = resource()["metadata"]["uid"]


class Inspects(Validator):
    """Looks at documents in this process, as a child does in its own."""

    def __init__(self) -> None:
        pass

    async def check(self, source: Source) -> Accepted | Refused:
        return inspect(source)


class Cluster(OneExecution):
    """With the Secret that holds Stigmer's key."""

    async def get_secret(self, namespace: str, name: str) -> dict[str, bytes]:
        if (namespace, name) != ("ns", "stigmer-key"):
            raise NotFound("no such Secret", 404)
        return {"api-key": KEY.encode()}


class Run:
    """One execution under an operator whose runner names Stigmer."""

    def __init__(self, stigmer: StigmerServer, source: Json, **spec: Any) -> None:
        self.wanted = resource()
        self.wanted["spec"] = {"workflow": {"stigmer": source}, **spec}
        self.server = Cluster(self.wanted)
        self.operator = Operator(self.server)
        self.operator.observer._validator = Inspects()
        self.runner: Json = {
            "allow": {"stigmer": True},
            "stigmer": {
                "endpoint": stigmer.listen,
                "useTLS": False,
                "apiKeySecretRef": {"name": "stigmer-key", "key": "api-key"},
            },
        }
        self.says()

    def says(self) -> None:
        metadata = {"name": "default", "namespace": "ns", "uid": "r", "generation": 1}
        self.operator.store.see_runner({"metadata": metadata, "spec": self.runner}, deleted=False)

    @property
    def workflows(self) -> StigmerWorkflows:
        return self.operator.observer._stigmer

    @property
    def status(self) -> Json:
        assert self.server.resource is not None
        return self.server.resource.get("status") or {}

    def condition(self, kind: str) -> Json:
        found: Json = next((item for item in self.status.get("conditions", []) if item["type"] == kind), {})
        return found

    async def until(self, holds: Callable[[], bool]) -> None:
        """Reconcile until something holds."""
        async with asyncio.timeout(30):
            while True:
                await self.operator.look()
                if holds():
                    return
                await self.checked()

    async def checked(self) -> None:
        """What is being looked at has been."""
        await asyncio.gather(*self.operator.observer._checking.values())
        await asyncio.sleep(0)

    async def job(self) -> Json:
        """The container of the Job that is made."""
        await self.until(lambda: bool(self.server.jobs))
        [job] = self.server.jobs.values()
        template: Json = job["spec"]["template"]
        return {**template["spec"]["containers"][0], "annotations": template["metadata"]["annotations"]}

    async def close(self) -> None:
        await self.operator.observer.close()
        await self.workflows.close()


@pytest.fixture
def shop(stigmer: StigmerServer) -> StigmerServer:
    workflow = Workflow(metadata={"id": "wf-1"})
    head = {"dsl": "1.0.0", "namespace": "shop", "name": "order", "version": "1.0.0"}
    workflow.spec.document.MergeFrom(type(workflow.spec.document)(**head))
    task = workflow.spec.tasks.add(name="greet", kind=WORKFLOW_TASK_KIND_SET)
    task.task_config.update({"variables": {"region": "${REGION}", "said": "${ .trigger_message }"}})
    for name, value, is_secret in (("REGION", "eu", False), ("TOKEN", "", True), ("PRICE", "5$ or $(HOME)", False)):
        entry = workflow.spec.env_spec.data[name]
        entry.value, entry.is_secret = value, is_secret
    environment = Environment(metadata={"id": "env-1", "slug": "prod"})
    environment.spec.data["TOKEN"].value = SECRET
    instance = WorkflowInstance(metadata={"id": "wfi-1"}, spec={"workflow_id": "wf-1"})
    instance.spec.env_refs.add(slug="prod")
    execution = WorkflowExecution(metadata={"id": "wfx-1"}, spec={"workflow_instance_id": "wfi-1", "trigger_message": "hello"})
    execution.spec.trigger_metadata["by"] = "ann"
    stigmer.resources.add(workflow, environment, instance, execution)
    return stigmer


@pytest.fixture
async def run(shop: StigmerServer) -> AsyncIterator[Run]:
    run = Run(shop, {"workflowExecutionId": "wfx-1"})
    yield run
    await run.close()


def variables(container: Json) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"]}


async def test_its_document_its_trigger_and_its_plain_values_reach_the_pod_and_no_secret_does(run: Run) -> None:
    container = await run.job()
    found = variables(container)
    assert (found["REGION"], found["WORKFLOW_RUNNER_STIGMER_SECRETS"]) == ("eu", "TOKEN")
    # `$$` is Kubernetes' way of writing `$`.
    assert found["PRICE"] == "5$$ or $$(HOME)"
    values = json.loads(found["WORKFLOW_RUNNER_STIGMER_VALUES"].replace("$$", "$"))
    assert values == {"REGION": "eu", "PRICE": "5$ or $(HOME)"}
    payload = unpack(container["annotations"]["workflowrunner.stigmer.ai/input"], run.status["specDigest"])
    assert payload.input == {"trigger_message": "hello", "trigger_metadata": {"by": "ann"}}
    assert isinstance(payload.document, dict)
    assert payload.document["document"]["name"] == "order"
    assert run.status["workflow"] == "shop/order:1.0.0"
    assert SECRET not in f"{run.server.jobs} {run.server.resource} {run.operator.observer._checks}"


async def test_the_secrets_are_read_when_a_pod_asks(run: Run, shop: StigmerServer) -> None:
    await run.job()
    asked = len(shop.queries)
    assert await run.workflows.secrets(UID_) == {"TOKEN": SECRET}
    assert len(shop.queries) == asked + 4
    shop.resources.environments["env-1"].spec.data["TOKEN"].value = "another-token"
    assert await run.workflows.secrets(UID_) == {"TOKEN": "another-token"}
    assert await run.workflows.secrets("no such execution") == {}
    shop.behaviour = Behaviour("status", code="PERMISSION_DENIED")
    with pytest.raises(InvalidInput, match="permission-denied"):
        await run.workflows.secrets(UID_)
    await shop.down()
    with pytest.raises(Unavailable, match="could not be read"):
        await run.workflows.secrets(UID_)


async def test_it_is_told_under_the_id_that_stigmer_knows(run: Run) -> None:
    await run.job()
    live = run.operator.runs.get(UID_)
    assert live is not None
    assert (live.told_as, live.execution_id) == ("wfx-1", run.status["executionId"])
    told = [live.outward(live.conclude(End("Failed", datetime.now(UTC)))), *live.owed_events()]
    assert {event.workflow_execution_id for event in told} == {"wfx-1"}
    run.operator.restart()
    run.operator.observer._validator = Inspects()
    await run.operator.look()
    again = run.operator.runs.get(UID_)
    assert again is not None
    assert again.told_as == "wfx-1"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [({"input": {"a": 1}}, {"a": 1}), ({"inputFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}, {"b": 2})],
    ids=["input", "inputFrom"],
)
async def test_an_input_of_its_own_takes_the_place_of_the_trigger(shop: StigmerServer, spec: Json, expected: Json) -> None:
    run = Run(shop, {"workflowExecutionId": "wfx-1"}, **spec)
    run.server.config_maps["c"] = {"k": '{"b": 2}'}
    container = await run.job()
    payload = unpack(container["annotations"]["workflowrunner.stigmer.ai/input"], run.status["specDigest"])
    assert payload.input == expected
    await run.close()


@pytest.mark.parametrize("source", [{"workflowInstanceId": "wfi-1"}, {"workflowId": "wf-1"}])
async def test_an_instance_or_a_workflow_has_no_trigger(shop: StigmerServer, source: Json) -> None:
    run = Run(shop, source)
    container = await run.job()
    payload = unpack(container["annotations"]["workflowrunner.stigmer.ai/input"], run.status["specDigest"])
    assert payload.input == {}
    assert ("WORKFLOW_RUNNER_STIGMER_SECRETS" in variables(container)) == ("workflowInstanceId" in source)
    await run.close()


async def test_what_a_runner_or_an_execution_sets_itself_goes_over_stigmers_values(shop: StigmerServer) -> None:
    run = Run(shop, {"workflowId": "wf-1"}, env=[{"name": "REGION", "value": "mine"}])
    container = {"name": "workflow", "env": [{"name": "PRICE", "value": "7"}]}
    run.runner["launch"] = {"template": {"spec": {"containers": [container]}}}
    run.says()
    found = variables(await run.job())
    assert (found["REGION"], found["PRICE"]) == ("mine", "7")
    await run.close()


async def test_an_author_whom_the_runner_does_not_allow_it_learns_nothing(shop: StigmerServer) -> None:
    run = Run(shop, {"workflowExecutionId": "wfx-1"})
    del run.runner["allow"]
    run.says()
    await run.until(lambda: run.condition("Stalled").get("status") == "True")
    assert run.condition("Stalled")["reason"] == "NotAllowed"
    assert "spec.allow.stigmer" in run.condition("Stalled")["message"]
    await run.checked()
    assert shop.queries == []
    await run.close()


async def test_a_runner_without_stigmer_is_named(shop: StigmerServer) -> None:
    run = Run(shop, {"workflowId": "wf-1"})
    del run.runner["stigmer"]
    run.says()
    await run.until(lambda: run.condition("Stalled").get("status") == "True")
    assert "The WorkflowRunner ns/default names no Stigmer (spec.stigmer)" in run.condition("Stalled")["message"]
    await run.close()


@pytest.mark.parametrize(
    ("source", "behaviour", "reason", "message"),
    [
        ({"workflowId": "wf-9"}, Behaviour(), "StigmerRefused", "stigmer.not-found: there is no workflow 'wf-9'"),
        ({"workflowId": "wf-1"}, Behaviour("status", code="UNAUTHENTICATED"), "StigmerRefused", "stigmer.unauthenticated"),
    ],
)
async def test_what_stigmer_does_not_give_stalls_the_run_until_it_does(
    shop: StigmerServer, source: Json, behaviour: Behaviour, reason: str, message: str
) -> None:
    run = Run(shop, source)
    shop.behaviour = behaviour
    await run.until(lambda: run.condition("Stalled").get("status") == "True")
    stalled = run.condition("Stalled")
    assert stalled["reason"] == reason
    assert message in stalled["message"]
    assert KEY not in stalled["message"]
    assert run.status["phase"] == "Pending"
    assert run.server.jobs == {}
    await run.close()


async def test_a_stigmer_that_is_away_is_waited_for(shop: StigmerServer) -> None:
    run = Run(shop, {"workflowId": "wf-1"})
    await shop.down()
    await run.until(lambda: run.condition("Reconciling").get("reason") == "StigmerUnavailable")
    assert run.condition("Stalled")["status"] == "False"
    await shop.up()

    def made() -> bool:
        run.operator.observer._missing.clear()  # as if its time had passed
        return bool(run.server.jobs)

    await run.until(made)
    await run.close()


async def test_a_workflow_that_cannot_be_converted_fails_the_run_and_says_where(shop: StigmerServer) -> None:
    shop.resources.workflows["wf-1"].spec.document.version = ""
    run = Run(shop, {"workflowId": "wf-1"})
    await run.until(lambda: run.status.get("phase") == "Failed")
    assert "stigmer.missing" in json.dumps(run.status["error"])
    assert "document needs 'version'" in run.status["error"]["detail"]
    await run.close()


@pytest.mark.parametrize("name", ["PATH", "WORKFLOW_RUNNER_SINK_CA", "a-b", "LD_PRELOAD"])
async def test_names_that_no_run_may_set_are_refused(shop: StigmerServer, name: str) -> None:
    shop.resources.environments["env-1"].spec.data[name].value = "x"
    run = Run(shop, {"workflowInstanceId": "wfi-1"})
    await run.until(lambda: run.condition("Stalled").get("status") == "True")
    assert "stigmer.environment-name: the environment in Stigmer" in run.condition("Stalled")["message"]
    assert repr(name) in run.condition("Stalled")["message"]
    await run.close()


async def test_connections_are_shared_bounded_and_not_taken_from_whoever_reads(shop: StigmerServer) -> None:
    run = Run(shop, {"workflowId": "wf-1"})
    shop.behaviour = Behaviour(seconds=0.2)
    reading = asyncio.create_task(run.workflows.find(run.wanted))
    await shop.until(lambda: len(shop.queries) == 1)
    async with contextlib.AsyncExitStack() as stack:
        for number in range(CONNECTIONS_KEPT + 3):
            await stack.enter_async_context(run.workflows._queries(plain(shop, key=f"key-{number}-of-many")))
    assert isinstance(await reading, Resolved)
    assert len(run.workflows._connections) == CONNECTIONS_KEPT
    async with run.workflows._queries(plain(shop)) as one, run.workflows._queries(plain(shop)) as other:
        assert one is other
    await run.close()


async def test_a_stigmer_that_hangs_keeps_nobody_else_waiting(shop: StigmerServer) -> None:
    runs = [Run(shop, {"workflowId": "wf-1"}) for _ in range(AT_ONCE + 4)]
    workflows = runs[0].workflows
    async with StigmerServer(api_key=KEY, resources=shop.resources) as other:
        shop.behaviour = Behaviour("hang")
        hanging = [asyncio.create_task(workflows.find(run.wanted)) for run in runs]
        await shop.until(lambda: len(shop.queries) == AT_ONCE)
        runs[0].runner["stigmer"]["endpoint"] = other.listen
        runs[0].says()
        assert isinstance(await workflows.find(runs[0].wanted), Resolved)
        assert len(shop.queries) == AT_ONCE
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
    for run in runs:
        await run.close()
