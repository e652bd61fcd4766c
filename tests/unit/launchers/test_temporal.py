"""What the pods of runs of type temporal get, and the Job that ends what such a run leaves open."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from tests.unit.launchers.conftest import MakeRun

from workflow_runner.crd import pods
from workflow_runner.crd.temporal import Temporal
from workflow_runner.launchers import temporal
from workflow_runner.launchers.job import build_job
from workflow_runner.launchers.pod import build_pod
from workflow_runner.launchers.pod_template import pod_template
from workflow_runner.launchers.run import LaunchedRun, LaunchSettings
from workflow_runner.launchers.termination import build_termination
from workflow_runner.settings import temporal as settings_of_temporal
from workflow_runner.settings.temporal import temporal_settings

Json = dict[str, Any]

PLAIN = Temporal(address="temporal:7233")
EVERYTHING = Temporal.model_validate(
    {
        "address": "temporal.example.com:443",
        "namespace": "orders",
        "apiKeySecretRef": {"name": "temporal-key", "key": "api-key"},
        "tls": {
            "caSecretRef": {"name": "temporal-ca", "key": "ca.pem"},
            "clientCertificateSecretRef": {"name": "temporal-client"},
            "serverName": "temporal.internal",
        },
        "payloads": {
            "encryptionKeysSecretRef": {"name": "payload-keys"},
            "store": "s3://payloads/$HOME",
            "storeSecretRef": {"name": "s3"},
            "thresholdBytes": 100_000,
        },
        "heartbeatTimeout": "1m30s",
    }
)


def container(manifest: Json) -> Json:
    [found] = manifest["spec"]["containers"]
    return dict(found)


def environment(settings: LaunchSettings, run: LaunchedRun) -> dict[str, Json]:
    """The container's variables by name; none is there twice."""
    entries = container(pod_template(settings, run))["env"]
    found = {entry["name"]: entry for entry in entries}
    assert len(found) == len(entries)
    return found


def values(settings: LaunchSettings, run: LaunchedRun, **resolved: str) -> dict[str, str]:
    """What the process sees, `resolved` in place of what Kubernetes reads from Secrets."""
    return {
        name: resolved[name] if "valueFrom" in entry else entry["value"].replace("$$", "$")
        for name, entry in environment(settings, run).items()
    }


def test_the_pod_finds_temporal_as_the_runner_says(settings: LaunchSettings, make_run: MakeRun) -> None:
    seen = values(settings, make_run(temporal=PLAIN))
    assert seen["WORKFLOW_RUNNER_ENGINE"] == "temporal"
    found = temporal_settings(seen)
    assert found is not None
    assert (found.address, found.namespace, found.tls, found.api_key) == ("temporal:7233", "default", False, "")
    assert (found.payloads.keys, found.payloads.store, found.payloads.threshold) == (None, None, 262_144)
    assert found.heartbeat_seconds == 10


def test_everything_that_a_runner_can_say_arrives(settings: LaunchSettings, make_run: MakeRun) -> None:
    found = temporal_settings(values(settings, make_run(temporal=EVERYTHING), TEMPORAL_API_KEY="key"))
    assert found is not None
    assert (found.address, found.namespace, found.tls, found.api_key) == ("temporal.example.com:443", "orders", True, "key")
    assert found.server_name == "temporal.internal"
    folder = Path(pods.HANDED_FOLDER) / "temporal"
    assert (found.ca, found.certificate, found.key) == (folder / "ca.crt", folder / "tls.crt", folder / "tls.key")
    payloads = found.payloads
    assert (payloads.keys, payloads.store) == (Path(pods.PAYLOAD_KEYS_FOLDER), "s3://payloads/$HOME")
    assert payloads.threshold == 100_000
    assert found.heartbeat_seconds == 90


def test_every_variable_that_the_settings_read_is_set_so_that_nobody_else_sets_it(
    settings: LaunchSettings, make_run: MakeRun
) -> None:
    read = set(re.findall(r'"(TEMPORAL_[A-Z_]+)"', inspect.getsource(settings_of_temporal)))
    assert len(read) > 10
    assert {name for name in environment(settings, make_run(temporal=PLAIN)) if name.startswith("TEMPORAL_")} == read


def test_secrets_are_named_and_mounted_from_where_the_pod_runs(settings: LaunchSettings, make_run: MakeRun) -> None:
    template = pod_template(settings, make_run(temporal=EVERYTHING))
    key = next(entry for entry in container(template)["env"] if entry["name"] == "TEMPORAL_API_KEY")
    assert key["valueFrom"] == {"secretKeyRef": {"name": "temporal-key", "key": "api-key"}}
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    sources = volumes["handed"]["projected"]["sources"]
    assert {"secret": {"name": "temporal-ca", "items": [{"key": "ca.pem", "path": "temporal/ca.crt"}]}} in sources
    certificate = [{"key": "tls.crt", "path": "temporal/tls.crt"}, {"key": "tls.key", "path": "temporal/tls.key"}]
    assert {"secret": {"name": "temporal-client", "items": certificate}} in sources
    assert volumes["payload-keys"]["secret"] == {"secretName": "payload-keys", "defaultMode": 0o440}
    mount = {"name": "payload-keys", "mountPath": pods.PAYLOAD_KEYS_FOLDER, "readOnly": True}
    assert mount in container(template)["volumeMounts"]
    assert container(template)["envFrom"] == [{"secretRef": {"name": "s3"}}]


def test_a_ca_may_be_in_a_config_map(settings: LaunchSettings, make_run: MakeRun) -> None:
    where = Temporal.model_validate({"address": "t:1", "tls": {"caConfigMapRef": {"name": "ca", "key": "ca.crt"}}})
    volumes = {volume["name"]: volume for volume in pod_template(settings, make_run(temporal=where))["spec"]["volumes"]}
    source = {"configMap": {"name": "ca", "items": [{"key": "ca.crt", "path": "temporal/ca.crt"}]}}
    assert source in volumes["handed"]["projected"]["sources"]


@pytest.mark.parametrize(
    ("says", "uses"),
    [
        ({}, "false"),
        ({"tls": {}}, "true"),
        ({"tls": {"enabled": False}}, "false"),
        ({"apiKeySecretRef": {"name": "n", "key": "k"}}, "true"),
    ],
)
def test_tls_is_said_in_so_many_words(settings: LaunchSettings, make_run: MakeRun, says: Json, uses: str) -> None:
    where = Temporal.model_validate({"address": "t:1", **says})
    assert environment(settings, make_run(temporal=where))["TEMPORAL_TLS"]["value"] == uses


def test_nobody_sends_a_run_to_another_temporal(settings: LaunchSettings, make_run: MakeRun) -> None:
    asked = [{"name": "TEMPORAL_SERVICE_ADDRESS", "value": "evil:7233"}, {"name": "TEMPORAL_TLS_CA", "value": "/data/evil"}]
    template = {"spec": {"containers": [{"name": "workflow", "env": asked}]}}
    run = make_run(temporal=PLAIN, runner_template=template, template=template, env=tuple(asked))
    seen = environment(settings, run)
    assert seen["TEMPORAL_SERVICE_ADDRESS"]["value"] == "temporal:7233"
    assert seen["TEMPORAL_TLS_CA"]["value"] == ""


def test_an_execution_does_not_say_where_its_data_are_kept_and_the_runner_may(
    settings: LaunchSettings, make_run: MakeRun
) -> None:
    region = {"spec": {"containers": [{"name": "workflow", "env": [{"name": "AWS_REGION", "value": "eu-1"}]}]}}
    endpoint = {"name": "AWS_ENDPOINT_URL", "value": "http://evil"}
    run = make_run(temporal=EVERYTHING, runner_template=region, env=(endpoint,), stigmer_values={"AWS_PROFILE": "evil"})
    seen = environment(settings, run)
    assert seen["AWS_REGION"]["value"] == "eu-1"
    assert {"AWS_ENDPOINT_URL", "AWS_PROFILE"} & set(seen) == set()
    without = make_run(temporal=PLAIN, env=(endpoint,))
    assert environment(settings, without)["AWS_ENDPOINT_URL"]["value"] == "http://evil", "there is no store"


@pytest.mark.parametrize(
    ("name", "reserved"),
    [("TEMPORAL_NAMESPACE", True), ("AWS_ACCESS_KEY_ID", True), ("AZURE_STORAGE_KEY", True), ("TEMPO", False), ("HOME", False)],
)
def test_what_is_reserved(name: str, *, reserved: bool) -> None:
    assert temporal.is_reserved(EVERYTHING, name) == reserved
    assert temporal.is_reserved(PLAIN, name) == (reserved and name.startswith("TEMPORAL_"))


def test_other_runs_get_nothing_of_it(settings: LaunchSettings, make_run: MakeRun) -> None:
    seen = environment(settings, make_run(env=({"name": "TEMPORAL_NAMESPACE", "value": "mine"},)))
    assert seen["WORKFLOW_RUNNER_ENGINE"]["value"] == "embedded"
    assert {name: entry["value"] for name, entry in seen.items() if name.startswith("TEMPORAL_")} == {
        "TEMPORAL_NAMESPACE": "mine"
    }
    assert "envFrom" not in container(pod_template(settings, make_run()))


def test_a_pod_that_has_not_got_as_far_as_temporal_does_not_count(settings: LaunchSettings, make_run: MakeRun) -> None:
    def ignored(run: LaunchedRun) -> list[int]:
        rules = build_job(settings, run)["spec"]["podFailurePolicy"]["rules"]
        return [code for rule in rules if rule["action"] == "Ignore" for code in rule.get("onExitCodes", {}).get("values", [])]

    assert ignored(make_run(temporal=PLAIN)) == [75]
    assert ignored(make_run()) == []


def test_a_bare_pod_has_the_same(settings: LaunchSettings, make_run: MakeRun) -> None:
    run = make_run(temporal=EVERYTHING)
    template, pod = pod_template(settings, run), build_pod(settings, run)
    assert pod["spec"] == template["spec"]


class TestTermination:
    @pytest.fixture
    def run(self, make_run: MakeRun) -> LaunchedRun:
        runners = {"spec": {"nodeSelector": {"zone": "a"}, "containers": [{"name": "workflow", "resources": {}}]}}
        return make_run(temporal=EVERYTHING, runner_template=runners, execution_id="u-two", run_id="two")

    def test_it_is_our_program_with_the_same_way_to_temporal(self, settings: LaunchSettings, run: LaunchedRun) -> None:
        job = build_termination(settings, run, "it took $(TOO) long", owned_by_execution=True)
        pod = job["spec"]["template"]
        [only] = pod["spec"]["containers"]
        assert (only["image"], only["args"]) == ("runner:1", ["terminate"])
        seen = {entry["name"]: entry for entry in only["env"]}
        of_run = environment(settings, run)
        for name in ("WORKFLOW_RUNNER_EXECUTION_ID", "WORKFLOW_RUNNER_RUN_ID", "TEMPORAL_SERVICE_ADDRESS", "TEMPORAL_API_KEY"):
            assert seen[name] == of_run[name]
        assert seen["WORKFLOW_RUNNER_TERMINATION_REASON"]["value"] == "it took $$(TOO) long"
        assert pod["spec"]["nodeSelector"] == {"zone": "a"}
        assert pod["metadata"]["annotations"] == {}, "it has no input"
        handed = next(volume for volume in pod["spec"]["volumes"] if volume["name"] == "handed")
        assert [list(source) for source in handed["projected"]["sources"]] == [["secret"], ["secret"]], "and no token"

    def test_it_tries_for_long_and_goes_by_itself(self, settings: LaunchSettings, run: LaunchedRun) -> None:
        spec = build_termination(settings, run, "", owned_by_execution=True)["spec"]
        assert spec["activeDeadlineSeconds"] == 3600
        assert spec["ttlSecondsAfterFinished"] == 300
        [first, _] = spec["podFailurePolicy"]["rules"]
        assert (first["action"], first["onExitCodes"]["values"]) == ("Ignore", [75])

    def test_it_outlives_an_execution_that_goes(self, settings: LaunchSettings, run: LaunchedRun) -> None:
        owned = build_termination(settings, run, "", owned_by_execution=True)["metadata"]
        free = build_termination(settings, run, "", owned_by_execution=False)["metadata"]
        assert [owner["uid"] for owner in owned["ownerReferences"]] == ["u"]
        assert "ownerReferences" not in free
        assert owned["name"] == free["name"] != run.workload
        assert owned["labels"]["app.kubernetes.io/name"] == "workflow-termination"

    def test_a_policy_for_the_runs_pods_holds_for_its_pod(self, settings: LaunchSettings, run: LaunchedRun) -> None:
        job = build_termination(settings, run, "", owned_by_execution=True)
        labels = pod_template(settings, run)["metadata"]["labels"]
        assert job["spec"]["template"]["metadata"]["labels"] == labels
