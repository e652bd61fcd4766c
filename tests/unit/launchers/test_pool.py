"""The objects of a pool."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.reconcile.conftest import LAUNCH

from workflow_runner.crd import group
from workflow_runner.crd.temporal import Temporal
from workflow_runner.launchers.pool import Pool, build_secret, build_service, build_stateful_set

Json = dict[str, Any]

POOL = Pool("my.runner", "ns", "runner-uid", replicas=3, concurrency=50)


def container(pool: Pool = POOL) -> Json:
    [found] = build_stateful_set(LAUNCH, pool)["spec"]["template"]["spec"]["containers"]
    result: Json = found
    return result


@pytest.mark.parametrize(
    "manifest",
    [build_secret(POOL, "key", (b"k", b"c")), build_service(POOL), build_stateful_set(LAUNCH, POOL)],
    ids=lambda m: m["kind"],
)
def test_everything_belongs_to_the_runner_and_has_one_name(manifest: Json) -> None:
    metadata = manifest["metadata"]
    assert (metadata["name"], metadata["namespace"]) == (POOL.name, "ns")
    [owner] = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
        "WorkflowRunner",
        "my.runner",
        "runner-uid",
        True,
    )
    assert metadata["labels"][group.LABEL_POOL] == "runner-uid"


def test_names_are_short_enough_for_pods_and_labels_and_differ_by_uid() -> None:
    long = Pool("r" * 253, "ns", "a", 1, 1)
    assert len(long.name) <= 52
    assert long.name != Pool("r" * 253, "ns", "b", 1, 1).name
    assert "." not in POOL.name


def test_pods_are_those_that_the_operator_watches() -> None:
    spec = build_stateful_set(LAUNCH, POOL)["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert labels[group.MANAGED_BY_LABEL] == group.MANAGED_BY
    assert build_service(POOL)["spec"]["selector"].items() <= labels.items()
    assert spec["replicas"] == 3


def test_replicas_have_no_rights_and_as_long_to_drain_as_the_template_says() -> None:
    template = {"spec": {"terminationGracePeriodSeconds": 60, "nodeSelector": {"a": "b"}}}
    pod = build_stateful_set(LAUNCH, Pool("r", "ns", "u", 1, 1, template))["spec"]["template"]["spec"]
    assert (pod["terminationGracePeriodSeconds"], pod["nodeSelector"]) == (60, {"a": "b"})
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    [found] = pod["containers"]
    assert found["securityContext"]["readOnlyRootFilesystem"] is True
    assert {item["name"]: item["value"] for item in found["env"]}["WORKFLOW_RUNNER_STOP_SECONDS"] == "50"


def test_a_template_sets_variables_and_none_of_the_operators() -> None:
    env = [{"name": "HTTPS_PROXY", "value": "x"}, {"name": "WORKFLOW_RUNNER_API_KEYS", "value": "/elsewhere"}]
    template = {"spec": {"containers": [{"name": "workflow", "env": env, "resources": {"limits": {"memory": "1Gi"}}}]}}
    found = container(Pool("r", "ns", "u", 1, 7, template))
    names = [item["name"] for item in found["env"]]
    assert names.count("WORKFLOW_RUNNER_API_KEYS") == 1
    values = {item["name"]: item["value"] for item in found["env"]}
    assert (values["HTTPS_PROXY"], values["WORKFLOW_RUNNER_MOST_EXECUTIONS"]) == ("x", "7")
    assert values["WORKFLOW_RUNNER_API_KEYS"] == "/etc/workflow-runner/keys"
    assert found["resources"]["limits"]["memory"] == "1Gi"
    assert found["args"] == ["serve"]


TEMPORAL = Temporal.model_validate(
    {
        "address": "temporal:7233",
        "apiKeySecretRef": {"name": "cloud", "key": "key"},
        "tls": {"caConfigMapRef": {"name": "authority", "key": "ca.crt"}},
        "payloads": {
            "encryptionKeysSecretRef": {"name": "keys"},
            "store": "s3://bucket/prefix",
            "storeSecretRef": {"name": "bucket"},
        },
    }
)


def test_replicas_on_temporal_share_a_queue_of_the_pool_s_own() -> None:
    template = {"spec": {"containers": [{"name": "runner", "env": [{"name": "TEMPORAL_NAMESPACE", "value": "another"}]}]}}
    pool = Pool("r", "ns", "runner-uid", 2, 10, template, TEMPORAL)
    found = container(pool)
    values = {entry["name"]: entry.get("value") for entry in found["env"]}
    assert values["WORKFLOW_RUNNER_ENGINE"] == "temporal"
    assert values["TEMPORAL_SERVICE_ADDRESS"] == "temporal:7233"
    assert values["TEMPORAL_WORKFLOW_EXECUTION_TASK_QUEUE"] == "workflow_execution_pool/runner-uid"
    assert [entry for entry in found["env"] if entry["name"] == "TEMPORAL_NAMESPACE"] == [
        {"name": "TEMPORAL_NAMESPACE", "value": "default"}
    ]
    [key] = [entry for entry in found["env"] if entry["name"] == "TEMPORAL_API_KEY"]
    assert key["valueFrom"]["secretKeyRef"] == {"name": "cloud", "key": "key"}
    assert found["envFrom"] == [{"secretRef": {"name": "bucket"}}]
    spec = build_stateful_set(LAUNCH, pool)["spec"]["template"]["spec"]
    [handed] = [volume for volume in spec["volumes"] if volume["name"] == "handed"]
    assert handed["projected"]["sources"][1] == {
        "configMap": {"name": "authority", "items": [{"key": "ca.crt", "path": "temporal/ca.crt"}]}
    }
    assert {volume["name"] for volume in spec["volumes"]} == {mount["name"] for mount in found["volumeMounts"]}


def test_the_queue_may_be_a_named_one() -> None:
    named = TEMPORAL.model_copy(update={"task_queue": "pool-of-ours"})
    found = container(Pool("r", "ns", "runner-uid", 1, 1, None, named))
    [queue] = [entry["value"] for entry in found["env"] if entry["name"] == "TEMPORAL_WORKFLOW_EXECUTION_TASK_QUEUE"]
    assert queue == "pool-of-ours"


def test_replicas_of_the_embedded_engine_know_nothing_of_temporal() -> None:
    found = container()
    assert [entry["value"] for entry in found["env"] if entry["name"] == "WORKFLOW_RUNNER_ENGINE"] == ["embedded"]
    assert not [entry for entry in found["env"] if entry["name"].startswith("TEMPORAL_")]
