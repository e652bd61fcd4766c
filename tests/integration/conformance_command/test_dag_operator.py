"""The DAG runner of examples/runners behind an operator, as its README says: the DAG travels inside of a workflow document."""

from __future__ import annotations

import yaml
from examples.runners.dag import dag_runner
from tests.integration.cli.program import call
from tests.integration.conformance_command.runners import DAG, served
from tests.integration.endpoints.operators import operator

from workflow_runner.crd.runner import WorkflowRunnerSpec


def inside(name: str) -> str:
    """A document of the example inside of a workflow document."""
    document = yaml.safe_load((DAG / "documents" / "in-a-workflow.yaml").read_text())
    document["document"]["metadata"]["dag"] = yaml.safe_load((DAG / "documents" / name).read_text())
    return yaml.safe_dump(document, sort_keys=False)


async def test_a_run_completes_with_its_output() -> None:
    text = (DAG / "documents" / "in-a-workflow.yaml").read_text()
    async with served(dag_runner.build) as address, operator(text, address, input={"name": "Ada"}) as made:
        status = await made.reaches("Completed")
    assert status["output"] == {"greeting": "Hello, Ada!", "total": 6}
    assert status["taskCounts"]["completed"] == 3


async def test_a_run_fails_with_its_reason() -> None:
    async with served(dag_runner.build) as address, operator(inside("fails.yaml"), address) as made:
        status = await made.reaches("Failed")
    assert status["error"]["title"] == "the shelf is empty"


async def test_a_run_is_paused_and_goes_on_and_is_cancelled() -> None:
    async with served(dag_runner.build) as address, operator(inside("long.yaml"), address) as made:
        await made.reaches("Running")
        made.patch(paused=True)
        await made.reaches("Paused")
        made.patch(paused=False)
        await made.reaches("Running")
        made.patch(cancelled=True)
        await made.reaches("Cancelled")


def test_the_resource_of_the_readme_is_a_runner() -> None:
    blocks = (DAG / "README.md").read_text().split("```yaml\n")[1:]
    resources = [yaml.safe_load(block.partition("```")[0]) for block in blocks]
    specs = [WorkflowRunnerSpec.model_validate(each["spec"]) for each in resources if each.get("kind") == "WorkflowRunner"]
    assert [(spec.type, spec.endpoint) for spec in specs] == [("dag", "grpc://dag-runner.workflows.svc.cluster.local:9090")]
    assert {"name", "output", "tasks"} == set(resources[0])


def test_the_document_of_the_readme_is_a_workflow() -> None:
    ended = call("validate", DAG / "documents" / "in-a-workflow.yaml")
    assert (ended.code, ended.err) == (0, "1 document: 0 errors, 0 warnings\n")
