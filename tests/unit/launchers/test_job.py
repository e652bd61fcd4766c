"""The Job of a run."""

from __future__ import annotations

from typing import Any

import pytest

from workflow_runner.launchers.job import CONTAINER, LaunchSettings, SinkAddress, build_job, job_name

Json = dict[str, Any]
SETTINGS = LaunchSettings("runner:1", "Never", SinkAddress("sink.ns.svc:9090", "PEM"), "debug")


@pytest.fixture
def job() -> Json:
    return build_job(
        settings=SETTINGS,
        name="hello",
        namespace="ns",
        uid="u",
        execution_id="u",
        attempt=1,
        workflow="hello",
        digest="sha256:d",
        packed="p",
    )


def test_names_fit_a_label_and_differ_by_run_and_attempt() -> None:
    names = {job_name("n" * 63, uid, attempt) for uid in ("a", "b") for attempt in (1, 2)}
    assert len(names) == 4
    assert all(len(name) <= 57 for name in names), "pods add six characters"


def test_a_name_that_is_cut_at_a_dot_is_still_a_name() -> None:
    assert "." not in job_name("a" * 45 + ".b", "u", 1)[45:]


def test_it_goes_when_its_execution_goes(job: Json) -> None:
    [owner] = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("WorkflowExecution", "u", True)


def test_its_own_exit_codes_end_it_and_a_drained_node_does_not_count(job: Json) -> None:
    assert job["spec"]["backoffLimit"] == 0
    own, drained = job["spec"]["podFailurePolicy"]["rules"]
    assert own["onExitCodes"] == {"containerName": CONTAINER, "operator": "In", "values": [1, 2, 3]}
    assert drained["action"] == "Ignore"


def test_the_token_is_for_the_sink_only(job: Json) -> None:
    spec = job["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    [token] = [volume for volume in spec["volumes"] if volume["name"] == "token"]
    assert token["projected"]["sources"][0]["serviceAccountToken"]["audience"] == "workflow-runner-sink"


def test_the_input_is_in_an_annotation_not_in_the_environment(job: Json) -> None:
    template = job["spec"]["template"]
    assert template["metadata"]["annotations"] == {"workflowrunner.stigmer.ai/input": "p"}
    assert "p" not in {entry["value"] for entry in template["spec"]["containers"][0]["env"]}
