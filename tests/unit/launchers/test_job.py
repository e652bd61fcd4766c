"""The Job of a run, the bare pod of a run, and the names of both."""

from __future__ import annotations

from tests.unit.launchers.conftest import MakeRun

from workflow_runner.launchers.job import build_job
from workflow_runner.launchers.pod import build_pod
from workflow_runner.launchers.run import CONTAINER, LaunchSettings, build_input, workload_name

OWN_LABELS = {
    "app.kubernetes.io/managed-by": "workflow-runner",
    "app.kubernetes.io/name": "workflow-execution",
    "workflowrunner.stigmer.ai/execution": "hello",
    "workflowrunner.stigmer.ai/execution-uid": "u",
    "workflowrunner.stigmer.ai/attempt": "1",
}


def test_names_fit_a_label_and_differ_by_execution_run_and_attempt() -> None:
    names = {workload_name("n" * 63, uid, run, attempt) for uid in ("a", "b") for run in ("", "1", "2") for attempt in (1, 2)}
    assert len(names) == 12
    assert all(len(name) <= 57 for name in names), "pods add six characters"


def test_names_stay_what_they_were_for_executions_without_a_run_id() -> None:
    assert workload_name("hello", "u", "", 1) == "hello-4f435f2f80"


def test_a_name_that_is_cut_at_a_dot_is_still_a_name() -> None:
    assert "." not in workload_name("a" * 45 + ".b", "u", "", 1)[45:]


def test_a_job_and_a_pod_go_when_their_execution_goes(settings: LaunchSettings, make_run: MakeRun) -> None:
    for manifest in (build_job(settings, make_run()), build_pod(settings, make_run())):
        [owner] = manifest["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("WorkflowExecution", "u", True)


def test_its_own_exit_codes_end_it_and_a_drained_node_does_not_count(settings: LaunchSettings, make_run: MakeRun) -> None:
    job = build_job(settings, make_run())
    assert job["spec"]["backoffLimit"] == 0
    own, drained = job["spec"]["podFailurePolicy"]["rules"]
    assert own["onExitCodes"] == {"containerName": CONTAINER, "operator": "In", "values": [1, 2, 3]}
    assert drained["action"] == "Ignore"


def test_retries_are_the_jobs(settings: LaunchSettings, make_run: MakeRun) -> None:
    assert build_job(settings, make_run(retries=3))["spec"]["backoffLimit"] == 3


def test_a_job_is_made_suspended_where_the_run_is(settings: LaunchSettings, make_run: MakeRun) -> None:
    assert "suspend" not in build_job(settings, make_run())["spec"]
    assert build_job(settings, make_run(suspended=True))["spec"]["suspend"] is True


def test_a_bare_pod_is_the_pod_that_the_job_would_make(settings: LaunchSettings, make_run: MakeRun) -> None:
    run = make_run(run_id="again", execution_id="u-again", retries=5, template={"metadata": {"labels": {"team": "a"}}})
    pod, template = build_pod(settings, run), build_job(settings, run)["spec"]["template"]
    assert (pod["apiVersion"], pod["kind"]) == ("v1", "Pod")
    assert pod["spec"] == template["spec"]
    assert pod["metadata"]["labels"] == template["metadata"]["labels"]
    assert pod["metadata"]["annotations"] == template["metadata"]["annotations"]
    assert (pod["metadata"]["name"], pod["metadata"]["namespace"]) == (run.workload, "ns")


def test_labels_tell_execution_attempt_and_run(settings: LaunchSettings, make_run: MakeRun) -> None:
    job = build_job(settings, make_run())
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"] == OWN_LABELS
    again = build_job(settings, make_run(run_id="again"))
    assert again["metadata"]["labels"] == {**OWN_LABELS, "workflowrunner.stigmer.ai/run-id": "again"}


def test_a_small_input_needs_no_config_map(make_run: MakeRun) -> None:
    assert build_input(make_run(packed="p" * 131_072)) is None


def test_a_large_input_is_a_config_map_that_goes_with_the_execution(make_run: MakeRun) -> None:
    run = make_run(packed="p" * 131_073)
    stored = build_input(run)
    assert stored is not None
    assert (stored["kind"], stored["immutable"], stored["data"]) == ("ConfigMap", True, {"input": "p" * 131_073})
    assert stored["metadata"]["name"] == run.workload
    assert stored["metadata"]["ownerReferences"][0]["uid"] == "u"
