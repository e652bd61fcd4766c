"""A new runId runs the same resource again, as it is by then; without one, what was accepted stays what runs."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.harness.kube import Namespace, manifest_of
from tests.e2e.harness.stigmer import Stigmer
from tests.e2e.harness.waiting import wait_for

SHORT = """
document: {dsl: 1.0.0, namespace: e2e, name: run-again, version: 0.2.0}
do:
  - short: {set: {short: true}}
"""


def test_again_after_the_end(namespace: Namespace, case: Path) -> None:
    execution = namespace.start(case / "execution.yaml")
    first = execution.wait_phase("Completed")
    assert (first["runId"], first["output"]) == ("first", {"hello": "Ada"})

    namespace.start(case / "execution.yaml", runId="second", input={"name": "Grace"})
    second = execution.wait(lambda status: status.get("runId") == "second" and status["phase"] == "Completed", "it ran again")
    assert second["output"] == {"hello": "Grace"}
    assert second["executionId"] != first["executionId"]
    assert (second["attempt"], second["launches"]) == (1, 1)
    wait_for(
        lambda: [job["metadata"]["name"] for job in execution.jobs()],
        lambda names: names == [second["jobName"]],
        what="the former run's Job is gone",
    )
    assert execution.condition("Completed")["observedGeneration"] == execution.resource["metadata"]["generation"]


def test_what_changes_under_the_same_run_id_changes_nothing(namespace: Namespace, case: Path) -> None:
    execution = namespace.start(case / "execution.yaml")
    execution.wait_phase("Completed")
    execution.patch(input={"name": "Grace"})
    changed = execution.wait_condition("SpecChanged", "True", "DigestDiffers")
    assert "give spec.runId a new value" in changed["message"]
    status = execution.status
    assert (status["phase"], status["output"], status["runId"]) == ("Completed", {"hello": "Ada"}, "first")
    assert len(execution.jobs()) == 1
    execution.patch(input={"name": "Ada"})
    execution.wait_condition("SpecChanged", "False", "DigestMatches")
    document = (case / "execution.yaml").read_text().replace("hello:", "bye:")
    assert "give spec.runId a new value to run again" in namespace.refusal(document)


def test_a_live_run_is_cancelled_first_and_the_document_may_change(stigmer: Stigmer, namespace: Namespace, case: Path) -> None:
    ref = {"name": "default"}
    stigmer.lend_key(namespace)
    namespace.apply(_runner(stigmer))
    execution = namespace.start(case / "long.yaml", runnerRef=ref)
    first = execution.wait_phase("Running")
    manifest = manifest_of(case / "long.yaml", runnerRef=ref, workflow={"yaml": SHORT})
    assert "give spec.runId a new value to run again" in namespace.refusal(manifest)

    namespace.start(case / "long.yaml", runnerRef=ref, workflow={"yaml": SHORT}, runId="second")
    second = execution.wait(lambda status: status.get("runId") == "second" and status["phase"] == "Completed", "it ran again")
    assert (second["output"], second["workflow"]) == ({"short": True}, "e2e/run-again:0.2.0")
    assert [event["eventType"] for event in stigmer.told(first["executionId"], "workflow_cancelled")][
        -1
    ] == "workflow_cancelled"
    assert stigmer.told(second["executionId"], "workflow_completed")[0]["eventType"] == "workflow_started"


def test_a_cancelled_run_is_taken_back_by_a_new_run_only(namespace: Namespace, case: Path) -> None:
    execution = namespace.start(case / "execution.yaml", paused=True, cancelled=True)
    execution.wait_phase("Cancelled")
    assert "a cancelled run stays cancelled" in namespace.refusal(manifest_of(case / "execution.yaml", cancelled=False))
    namespace.start(case / "execution.yaml", runId="second", paused=False, cancelled=False)
    execution.wait(lambda status: status.get("runId") == "second" and status["phase"] == "Completed", "it ran again")


def _runner(stigmer: Stigmer) -> dict[str, object]:
    return {
        "apiVersion": "workflowrunner.stigmer.ai/v1",
        "kind": "WorkflowRunner",
        "metadata": {"name": "default"},
        "spec": {"stigmer": stigmer.spec},
    }
