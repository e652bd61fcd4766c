"""The pod of a run: what is the operator's, and what templates, variables and secrets add to it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.launchers.conftest import MakeRun

from workflow_runner.crd import pods
from workflow_runner.launchers.pod_template import pod_template
from workflow_runner.launchers.run import LaunchedRun, LaunchSettings

Json = dict[str, Any]


def container(**fields: Any) -> Json:
    return {"spec": {"containers": [{"name": "workflow", **fields}]}}


def pod_container(settings: LaunchSettings, run: LaunchedRun) -> Json:
    [result] = pod_template(settings, run)["spec"]["containers"]
    assert isinstance(result, dict)
    return result


def environment(settings: LaunchSettings, run: LaunchedRun) -> dict[str, Any]:
    entries = pod_container(settings, run)["env"]
    assert len({entry["name"] for entry in entries}) == len(entries)
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def volume(settings: LaunchSettings, run: LaunchedRun, name: str) -> Json:
    [result] = [volume for volume in pod_template(settings, run)["spec"]["volumes"] if volume["name"] == name]
    assert isinstance(result, dict)
    return result


def handed(settings: LaunchSettings, run: LaunchedRun, kind: str) -> list[Json]:
    """What of a kind is in the volume that the operator hands to the pod."""
    return [source[kind] for source in volume(settings, run, "handed")["projected"]["sources"] if kind in source]


def mounts(settings: LaunchSettings, run: LaunchedRun) -> dict[str, Json]:
    return {mount["mountPath"]: mount for mount in pod_container(settings, run)["volumeMounts"]}


def test_the_token_is_for_the_sink_only(settings: LaunchSettings, make_run: MakeRun) -> None:
    assert pod_template(settings, make_run())["spec"]["automountServiceAccountToken"] is False
    [token] = handed(settings, make_run(), "serviceAccountToken")
    assert token["audience"] == "workflow-runner-sink"


def test_the_input_is_in_an_annotation_not_in_the_environment(settings: LaunchSettings, make_run: MakeRun) -> None:
    run = make_run(packed="the packed text")
    assert pod_template(settings, run)["metadata"]["annotations"] == {"workflowrunner.stigmer.ai/input": "the packed text"}
    assert "the packed text" not in environment(settings, run).values()
    place = {"fieldPath": "metadata.annotations['workflowrunner.stigmer.ai/input']"}
    assert handed(settings, run, "downwardAPI") == [{"items": [{"path": "input", "fieldRef": place}]}]


def test_a_large_input_comes_from_its_config_map_to_the_same_place(settings: LaunchSettings, make_run: MakeRun) -> None:
    run = make_run(packed="p" * 131_073)
    assert pod_template(settings, run)["metadata"]["annotations"] == {}
    assert handed(settings, run, "configMap") == [{"name": run.workload, "items": [{"key": "input", "path": "input"}]}]
    assert "--input-file=/etc/workflow-runner/input" in pod_container(settings, run)["args"]


def test_what_the_pod_is_told(settings: LaunchSettings, make_run: MakeRun) -> None:
    assert environment(settings, make_run()) == {
        "WORKFLOW_RUNNER_EXECUTION_UID": "u",
        "WORKFLOW_RUNNER_EXECUTION_ID": "u",
        "WORKFLOW_RUNNER_RUN_ID": "",
        "WORKFLOW_RUNNER_ENGINE": "embedded",
        "WORKFLOW_RUNNER_ATTEMPT": "1",
        "WORKFLOW_RUNNER_WORKFLOW_NAME": "hello",
        "WORKFLOW_RUNNER_SINK_ENDPOINT": "sink.ns.svc:9090",
        "WORKFLOW_RUNNER_SINK_CA": "PEM",
        "WORKFLOW_RUNNER_SINK_TOKEN_FILE": "/etc/workflow-runner/token",
        "WORKFLOW_RUNNER_ALLOW_ADDRESSES": "",
        "WORKFLOW_RUNNER_DENY_ADDRESSES": "",
        "WORKFLOW_RUNNER_PROCESSES": "true",
        "WORKFLOW_RUNNER_PROCESS_TIMEOUT_SECONDS": "",
        "WORKFLOW_RUNNER_DEFAULT_CATALOG": "",
        "WORKFLOW_RUNNER_EVENT_SINK": "",
        "WORKFLOW_RUNNER_EVENT_SINK_TOKEN": "",
        "WORKFLOW_RUNNER_LIFECYCLE_SINK": "",
        "WORKFLOW_RUNNER_LIFECYCLE_SINK_TOKEN": "",
        "LOG_LEVEL": "debug",
    }


def test_where_the_pods_calls_may_go_is_for_the_operator_to_say(settings: LaunchSettings, make_run: MakeRun) -> None:
    settings = replace(settings, allow_addresses=("*.test", "10.0.0.0/8"), deny_addresses=("10.1.0.0/16",))
    run = make_run(env=({"name": "WORKFLOW_RUNNER_ALLOW_ADDRESSES", "value": "*"},))
    told = environment(settings, run)
    assert told["WORKFLOW_RUNNER_ALLOW_ADDRESSES"] == "*.test,10.0.0.0/8"
    assert told["WORKFLOW_RUNNER_DENY_ADDRESSES"] == "10.1.0.0/16"


def test_what_a_pod_permits_is_for_the_operator_to_say(settings: LaunchSettings, make_run: MakeRun) -> None:
    settings = replace(settings, processes=False, process_seconds=90.5, default_catalog="https://c.test/")
    told = environment(settings, make_run(env=({"name": "WORKFLOW_RUNNER_PROCESSES", "value": "true"},)))
    assert told["WORKFLOW_RUNNER_PROCESSES"] == "false"
    assert told["WORKFLOW_RUNNER_PROCESS_TIMEOUT_SECONDS"] == "90.5"
    assert told["WORKFLOW_RUNNER_DEFAULT_CATALOG"] == "https://c.test/"


@pytest.mark.parametrize(("seconds", "text"), [(90.0, "90"), (0.25, "0.25"), (100.0, "100"), (315360000.0, "315360000")])
def test_a_timeout_is_told_as_a_decimal(settings: LaunchSettings, make_run: MakeRun, seconds: float, text: str) -> None:
    assert environment(settings, make_run(timeout_seconds=seconds))["WORKFLOW_RUNNER_TIMEOUT_SECONDS"] == text


def test_secrets_are_files_of_their_names_that_only_the_run_reads(settings: LaunchSettings, make_run: MakeRun) -> None:
    run = make_run(secrets={"db": ("shop", "password"), "api": ("keys", "api"), "user": ("shop", "user")})
    assert volume(settings, run, "handed")["projected"]["defaultMode"] == 0o440
    assert handed(settings, run, "secret") == [
        {"name": "keys", "items": [{"key": "api", "path": "secrets/api"}]},
        {"name": "shop", "items": [{"key": "password", "path": "secrets/db"}, {"key": "user", "path": "secrets/user"}]},
    ]
    assert mounts(settings, run)["/etc/workflow-runner"]["readOnly"] is True
    assert environment(settings, run)["WORKFLOW_RUNNER_SECRETS_FOLDER"] == "/etc/workflow-runner/secrets"


def test_checkpoints_have_a_folder_of_their_run(settings: LaunchSettings, make_run: MakeRun) -> None:
    run = make_run(snapshot_claim="checkpoints", run_id="b", execution_id="u-b")
    assert volume(settings, run, "snapshots")["persistentVolumeClaim"] == {"claimName": "checkpoints"}
    mount = mounts(settings, run)["/var/lib/workflow-runner"]
    assert (mount["subPath"], mount.get("readOnly")) == ("u-b", None)
    assert environment(settings, run)["WORKFLOW_RUNNER_SNAPSHOT_FOLDER"] == "/var/lib/workflow-runner"
    assert pod_template(settings, run)["spec"]["securityContext"]["fsGroup"] == 65532
    assert pod_template(settings, run)["spec"]["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


HOSTILE: Json = {
    "metadata": {
        "labels": {"workflowrunner.stigmer.ai/execution-uid": "another", "team": "a"},
        "annotations": {"workflowrunner.stigmer.ai/input": "another", "note": "b"},
    },
    "spec": {
        "restartPolicy": "Always",
        "hostNetwork": True,
        "hostPID": True,
        "automountServiceAccountToken": True,
        "enableServiceLinks": True,
        "initContainers": [{"name": "i", "image": "evil"}],
        "securityContext": {
            "runAsUser": 1000,
            "runAsNonRoot": False,
            "seccompProfile": {"type": "Unconfined"},
            "sysctls": [{"name": "kernel.msgmax", "value": "1"}],
        },
        "volumes": [{"name": "handed", "hostPath": {"path": "/"}}, {"name": "mine", "emptyDir": {}}],
        "containers": [
            {"name": "sidecar", "image": "evil"},
            {
                "name": "workflow",
                "image": "evil",
                "command": ["sh"],
                "args": ["-c", "evil"],
                "imagePullPolicy": "Always",
                "securityContext": {"privileged": True, "readOnlyRootFilesystem": False},
                "env": [
                    {"name": "WORKFLOW_RUNNER_SINK_ENDPOINT", "value": "evil:1"},
                    {"name": "WORKFLOW_RUNNER_TIMEOUT_SECONDS", "value": "1"},
                    {"name": "LOG_LEVEL", "value": "trace"},
                    {"name": "FINE", "value": "1"},
                ],
                "volumeMounts": [
                    {"name": "handed", "mountPath": "/mnt/token"},
                    {"name": "mine", "mountPath": "/etc/workflow-runner"},
                    {"name": "mine", "mountPath": "/tmp/../tmp/x"},
                    {"name": "mine", "mountPath": "/mnt/mine"},
                ],
            },
        ],
    },
}


@pytest.mark.parametrize("who", ["runner_template", "template"])
def test_what_is_the_operators_stays_so_whatever_a_template_says(settings: LaunchSettings, make_run: MakeRun, who: str) -> None:
    run = make_run(**{who: HOSTILE})
    plain, spec = pod_template(settings, make_run())["spec"], pod_template(settings, run)["spec"]
    assert set(spec) == set(plain)
    for field in ("restartPolicy", "automountServiceAccountToken", "enableServiceLinks"):
        assert spec[field] == plain[field], field
    assert spec["securityContext"] == {**plain["securityContext"], "runAsUser": 1000}
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["volumes"] == [{"name": "mine", "emptyDir": {}}, *plain["volumes"]]
    [own], [wanted] = plain["containers"], spec["containers"]
    for field in set(own) - {"env", "volumeMounts"}:
        assert wanted[field] == own[field], field
    assert set(wanted) == set(own)
    assert wanted["volumeMounts"] == [{"name": "mine", "mountPath": "/mnt/mine"}, *own["volumeMounts"]]
    assert wanted["env"] == [{"name": "FINE", "value": "1"}, *own["env"]]
    metadata = pod_template(settings, run)["metadata"]
    assert metadata["annotations"] == {"workflowrunner.stigmer.ai/input": "p", "note": "b"}
    assert metadata["labels"] == {**pod_template(settings, make_run())["metadata"]["labels"], "team": "a"}


def test_templates_are_merged_the_executions_over_the_runners(settings: LaunchSettings, make_run: MakeRun) -> None:
    runner = {
        "spec": {
            "nodeSelector": {"pool": "workflows", "arch": "amd64"},
            "tolerations": [{"key": "a"}],
            "priorityClassName": "low",
            "terminationGracePeriodSeconds": 60,
            "containers": [{"name": "workflow", "resources": {"limits": {"memory": "1Gi", "cpu": "2"}}}],
        }
    }
    execution = {
        "spec": {
            "nodeSelector": {"pool": "big"},
            "tolerations": [{"key": "b"}],
            "containers": [{"name": "workflow", "resources": {"limits": {"memory": "4Gi"}}}],
        }
    }
    run = make_run(runner_template=runner, template=execution)
    spec = pod_template(settings, run)["spec"]
    assert spec["nodeSelector"] == {"pool": "big", "arch": "amd64"}
    assert spec["tolerations"] == [{"key": "b"}]
    assert (spec["priorityClassName"], spec["terminationGracePeriodSeconds"]) == ("low", 60)
    assert pod_container(settings, run)["resources"] == {
        "requests": {"cpu": "50m", "memory": "96Mi"},
        "limits": {"memory": "4Gi", "cpu": "2"},
    }


def test_variables_of_the_execution_come_first_and_are_taken_literally(settings: LaunchSettings, make_run: MakeRun) -> None:
    """Kubernetes resolves $(NAME) from what comes before: an execution must not quote the runner's secrets."""
    secret = {"secretKeyRef": {"name": "db", "key": "password"}}
    run = make_run(
        runner_template=container(env=[{"name": "PASSWORD", "valueFrom": secret}, {"name": "URL", "value": "db:$(PASSWORD)"}]),
        template=container(env=[{"name": "MINE", "value": "$(PASSWORD)"}, {"name": "BOTH", "value": "template"}]),
        env=({"name": "STOLEN", "value": "$(PASSWORD) $$ $x"}, {"name": "BOTH", "value": "spec"}),
    )
    entries = [(entry["name"], entry.get("value")) for entry in pod_container(settings, run)["env"]]
    assert entries[:5] == [
        ("MINE", "$$(PASSWORD)"),
        ("BOTH", "spec"),
        ("STOLEN", "$$(PASSWORD) $$$$ $$x"),
        ("PASSWORD", None),
        ("URL", "db:$(PASSWORD)"),
    ]


def test_a_variable_of_the_execution_takes_the_place_of_the_runners(settings: LaunchSettings, make_run: MakeRun) -> None:
    run = make_run(runner_template=container(env=[{"name": "REGION", "value": "eu"}]), env=({"name": "REGION", "value": "us"},))
    assert environment(settings, run)["REGION"] == "us"


def test_whole_config_maps_become_variables_without_taking_the_operators_place(
    settings: LaunchSettings, make_run: MakeRun
) -> None:
    run = make_run(runner_template=container(envFrom=[{"configMapRef": {"name": "settings"}}]))
    made = pod_container(settings, run)
    assert made["envFrom"] == [{"configMapRef": {"name": "settings"}}]
    assert environment(settings, run) == environment(settings, make_run()), "`env` wins over `envFrom`"
    assert "envFrom" not in pod_container(settings, make_run())


def test_the_runner_says_where_events_go_and_no_execution_does(settings: LaunchSettings, make_run: MakeRun) -> None:
    def template(*variables: Json) -> Json:
        return {"spec": {"containers": [{"name": "workflow", "env": list(variables)}]}}

    token = {"name": "WORKFLOW_RUNNER_EVENT_SINK_TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    elsewhere = {"name": "WORKFLOW_RUNNER_EVENT_SINK", "value": "http://elsewhere"}
    run = make_run(
        runner_template=template({"name": "WORKFLOW_RUNNER_EVENT_SINK", "value": "http://broker"}, token),
        template=template(elsewhere, {"name": "WORKFLOW_RUNNER_LIFECYCLE_SINK", "value": "http://elsewhere"}),
        env=(elsewhere,),
    )
    told = pod_template(settings, run)["spec"]["containers"][0]["env"]
    assert [entry for entry in told if entry["name"] in pods.EVENT_VARIABLES] == [
        {"name": "WORKFLOW_RUNNER_EVENT_SINK", "value": "http://broker"},
        token,
        {"name": "WORKFLOW_RUNNER_LIFECYCLE_SINK", "value": ""},
        {"name": "WORKFLOW_RUNNER_LIFECYCLE_SINK_TOKEN", "value": ""},
    ]
