"""What an execution may ask of its runner, and that nothing else gets by."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from workflow_runner.crd.execution import WorkflowExecutionSpec
from workflow_runner.crd.runner import AllowedField, WorkflowRunnerSpec
from workflow_runner.launchers import merge
from workflow_runner.reconcile.allowed import MAX_MESSAGES, matches, not_allowed
from workflow_runner.reconcile.observed import Runner

Json = dict[str, Any]


def refusals(
    asked: Json,
    allow: Json | None = None,
    *,
    template: Json | None = None,
    runner_namespace: str = "team",
    operator_namespace: str | None = "workflow-runner",
) -> list[str]:
    """For an execution in namespace `team`; `template` is the runner's."""
    launch = {"template": template} if template is not None else {}
    spec = WorkflowRunnerSpec.model_validate({"allow": allow or {}, "launch": launch})
    runner = Runner("default", runner_namespace, "uid", 1, spec)
    execution = WorkflowExecutionSpec.model_validate({"workflow": {"yaml": "…"}, **asked})
    return not_allowed(execution, "team", runner, operator_namespace)


def pod(**fields: Any) -> Json:
    return {"template": {"spec": fields}}


def container(**fields: Any) -> Json:
    return pod(containers=[{"name": "workflow", **fields}])


def secret_env(name: str) -> Json:
    return {"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}


HARMLESS: dict[str, Json] = {
    "nothing": {},
    "resources": container(resources={"requests": {"cpu": 1}, "limits": {"memory": "1Gi"}}),
    "plain-variables": {"env": [{"name": "A", "value": "1"}]},
    "config-maps": {
        "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}],
        "inputFrom": {"configMapKeyRef": {"name": "c", "key": "k"}},
    },
    "the-default-account": pod(serviceAccountName="default"),
    "limits": {"timeout": "1h", "retries": 3, "ttlAfterFinished": "1h", "deleteAfterFinished": "2h"},
}


@pytest.mark.parametrize("asked", HARMLESS.values(), ids=HARMLESS)
def test_what_gives_no_rights_needs_no_permission(asked: Json) -> None:
    assert refusals(asked) == []


# What is asked, the field the message names, and the permission that grants it.
GRANTS: dict[str, tuple[Json, str, Json]] = {
    "a-secret": (
        {"secrets": {"db": {"secretKeyRef": {"name": "db", "key": "p"}}}},
        "spec.secrets.db.secretKeyRef.name",
        {"secrets": ["db"]},
    ),
    "a-variable-from-a-secret": (
        {"env": [{"name": "X", "value": ""}, secret_env("db")]},
        "spec.env[1].valueFrom.secretKeyRef.name",
        {"secrets": ["d*"]},
    ),
    "an-account": (
        pod(serviceAccountName="builder"),
        "spec.template.spec.serviceAccountName",
        {"serviceAccounts": ["build*"]},
    ),
    "labels": (
        {"template": {"metadata": {"labels": {"a": "b"}}}},
        "spec.template.metadata.labels",
        {"template": ["metadata.labels"]},
    ),
    "annotations": (
        {"template": {"metadata": {"annotations": {"a": "b"}}}},
        "spec.template.metadata.annotations",
        {"template": ["metadata.annotations"]},
    ),
    "node-selector": (pod(nodeSelector={"a": "b"}), "spec.template.spec.nodeSelector", {"template": ["nodeSelector"]}),
    "tolerations": (pod(tolerations=[{}]), "spec.template.spec.tolerations", {"template": ["tolerations"]}),
    "affinity": (pod(affinity={}), "spec.template.spec.affinity", {"template": ["affinity"]}),
    "spread": (
        pod(topologySpreadConstraints=[]),
        "spec.template.spec.topologySpreadConstraints",
        {"template": ["topologySpreadConstraints"]},
    ),
    "priority": (pod(priorityClassName="high"), "spec.template.spec.priorityClassName", {"template": ["priorityClassName"]}),
    "runtime": (pod(runtimeClassName="fast"), "spec.template.spec.runtimeClassName", {"template": ["runtimeClassName"]}),
    "scheduler": (pod(schedulerName="mine"), "spec.template.spec.schedulerName", {"template": ["schedulerName"]}),
    "user": (
        pod(securityContext={"runAsUser": 5}),
        "spec.template.spec.securityContext",
        {"template": ["securityContext"]},
    ),
    "hosts": (pod(hostAliases=[{"ip": "1.2.3.4"}]), "spec.template.spec.hostAliases", {"template": ["hostAliases"]}),
    "dns-policy": (pod(dnsPolicy="Default"), "spec.template.spec.dnsPolicy", {"template": ["dnsPolicy"]}),
    "dns": (pod(dnsConfig={}), "spec.template.spec.dnsConfig", {"template": ["dnsConfig"]}),
    "grace": (
        pod(terminationGracePeriodSeconds=60),
        "spec.template.spec.terminationGracePeriodSeconds",
        {"template": ["terminationGracePeriodSeconds"]},
    ),
    "pull-secrets": (
        pod(imagePullSecrets=[{"name": "registry"}]),
        "spec.template.spec.imagePullSecrets",
        {"template": ["imagePullSecrets"], "secrets": ["registry"]},
    ),
    "variables": (
        container(env=[{"name": "A", "value": "1"}]),
        "spec.template.spec.containers[0].env",
        {"template": ["env"]},
    ),
    "whole-config-maps": (
        container(envFrom=[{"configMapRef": {"name": "c"}}]),
        "spec.template.spec.containers[0].envFrom",
        {"template": ["envFrom"]},
    ),
    "a-config-map-as-files": (
        pod(volumes=[{"name": "v", "configMap": {"name": "c"}}]),
        "spec.template.spec.volumes[0].configMap",
        {"template": ["volumes"]},
    ),
    "a-secret-as-files": (
        pod(volumes=[{"name": "v", "secret": {"secretName": "db"}}]),
        "spec.template.spec.volumes[0].secret",
        {"template": ["volumes"], "secrets": ["db"]},
    ),
    "a-claim": (
        pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]),
        "spec.template.spec.volumes[0].persistentVolumeClaim",
        {"template": ["volumes.persistentVolumeClaim"]},
    ),
    "the-nodes-files": (
        pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
        "spec.template.spec.volumes[0].hostPath",
        {"template": ["volumes.hostPath"]},
    ),
    "a-token-of-the-api": (
        pod(volumes=[{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]),
        "spec.template.spec.volumes[0].projected.sources[0].serviceAccountToken",
        {"template": ["volumes", "volumes.serviceAccountToken"]},
    ),
}


@pytest.mark.parametrize(("asked", "field", "allow"), GRANTS.values(), ids=GRANTS)
def test_what_needs_permission_is_refused_without_and_taken_with_it(asked: Json, field: str, allow: Json) -> None:
    found = refusals(asked, {"template": []})
    assert any(line.startswith(f"{field} ") for line in found), found
    for line in found:
        assert "WorkflowRunner team/default allows nothing" in line
        assert line.endswith("ask whoever looks after that runner")
    assert refusals(asked, allow) == []


def test_every_field_that_can_be_set_needs_its_permission() -> None:
    """A field that is added to templates and forgotten here would be free for all."""
    shown = {field for _, _, allow in GRANTS.values() for field in allow.get("template", [])}
    apart = {"containers", "volumes", "serviceAccountName", "securityContext"}
    assert merge._POD_FIELDS - apart <= set(get_args(AllowedField))
    assert {field for field in get_args(AllowedField) if not field.startswith("volumes.")} - shown == {"resources"}


# What one permission must not open as well.
ATTACKS: dict[str, tuple[Json, Json, str]] = {
    "another-secret": (
        {"secrets": {"a": {"secretKeyRef": {"name": "db-admin", "key": "p"}}}},
        {"secrets": ["db", "*-user"]},
        "is 'db-admin'; WorkflowRunner team/default allows db, *-user (spec.allow.secrets)",
    ),
    "secret-in-a-template-variable": (
        container(env=[secret_env("db")]),
        {"template": ["env"]},
        "spec.template.spec.containers[0].env[0].valueFrom.secretKeyRef.name is 'db'",
    ),
    "whole-secret-as-variables": (
        container(envFrom=[{"secretRef": {"name": "db"}}]),
        {"template": ["envFrom"]},
        "spec.template.spec.containers[0].envFrom[0].secretRef.name is 'db'",
    ),
    "secret-as-files": (
        pod(volumes=[{"name": "v", "secret": {"secretName": "db"}}]),
        {"template": ["volumes"]},
        "spec.template.spec.volumes[0].secret.secretName is 'db'",
    ),
    "secret-projected": (
        pod(volumes=[{"name": "v", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "db"}}]}}]),
        {"template": ["volumes"]},
        "spec.template.spec.volumes[0].projected.sources[1].secret.name is 'db'",
    ),
    "secret-of-a-driver": (
        pod(volumes=[{"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "db"}}}]),
        {"template": ["volumes.csi"]},
        "spec.template.spec.volumes[0].csi.nodePublishSecretRef.name is 'db'",
    ),
    "pull-secret": (
        pod(imagePullSecrets=[{"name": "db"}]),
        {"template": ["imagePullSecrets"]},
        "spec.template.spec.imagePullSecrets[0].name is 'db'",
    ),
    "secret-whose-name-is-no-name": (
        pod(volumes=[{"name": "v", "secret": {"secretName": {"a": 1}}}]),
        {"template": ["volumes"], "secrets": ["*"]},
        "spec.template.spec.volumes[0].secret.secretName is {'a': 1}",
    ),
    "token-with-volumes": (
        pod(volumes=[{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]),
        {"template": ["volumes"]},
        "sources[0].serviceAccountToken needs 'volumes.serviceAccountToken'",
    ),
    "claim-with-volumes": (
        pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "checkpoints"}}]),
        {"template": ["volumes"]},
        "volumes[0].persistentVolumeClaim needs 'volumes.persistentVolumeClaim'",
    ),
    "claim-cloned": (
        pod(volumes=[{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {"dataSource": {"name": "x"}}}}}]),
        {"template": ["volumes", "volumes.persistentVolumeClaim"]},
        "volumes[0].ephemeral needs 'volumes.ephemeral'",
    ),
    "volume-of-a-kind-that-nobody-knows": (
        pod(volumes=[{"name": "v", "flexVolume": {"driver": "x"}}]),
        {"template": ["volumes"]},
        "volumes[0].flexVolume cannot be set by an execution; only a runner's launch.template can have it",
    ),
    "host-network": (pod(hostNetwork=True), {}, "spec.template.spec.hostNetwork cannot be set"),
    "field-that-nobody-knows": (pod(newField=True), {}, "spec.template.spec.newField cannot be set"),
    "deprecated-spelling": (pod(serviceAccount="admin"), {}, "spec.template.spec.serviceAccount cannot be set"),
    "python-spelling": (pod(node_selector={"a": "b"}), {}, "spec.template.spec.node_selector cannot be set"),
    "sysctls": (
        pod(securityContext={"sysctls": []}),
        {"template": ["securityContext"]},
        "spec.template.spec.securityContext.sysctls cannot be set",
    ),
    "variable-of-the-interpreter": (
        container(env=[{"name": "PYTHONPATH", "value": "/mnt"}]),
        {"template": ["env"]},
        "spec.template.spec.containers[0].env[0].name: PYTHONPATH belongs to the operator",
    ),
    "label-of-a-job": (
        {"template": {"metadata": {"labels": {"batch.kubernetes.io/job-name": "x"}}}},
        {"template": ["metadata.labels"]},
        "batch.kubernetes.io/job-name belongs to Kubernetes",
    ),
    "annotation-of-the-operator": (
        {"template": {"metadata": {"annotations": {"workflowrunner.stigmer.ai/input": "x"}}}},
        {"template": ["metadata.annotations"]},
        "workflowrunner.stigmer.ai/input belongs to Kubernetes or to the operator",
    ),
    "mount-over-the-program": (
        pod(
            volumes=[{"name": "v", "configMap": {"name": "c"}}],
            containers=[{"name": "workflow", "volumeMounts": [{"name": "v", "mountPath": "/opt/venv/lib"}]}],
        ),
        {"template": ["volumes"]},
        "volumeMounts[0].mountPath: an execution mounts volumes below /mnt, /data, /srv only",
    ),
    "mount-by-a-detour": (
        pod(
            volumes=[{"name": "v", "configMap": {"name": "c"}}],
            containers=[{"name": "workflow", "volumeMounts": [{"name": "v", "mountPath": "/mnt/../opt"}]}],
        ),
        {"template": ["volumes"]},
        "volumeMounts[0].mountPath: an execution mounts volumes below /mnt, /data, /srv only",
    ),
    "mount-of-the-operators-volume": (
        container(volumeMounts=[{"name": "token", "mountPath": "/mnt/x"}]),
        {"template": ["volumes"]},
        "volumeMounts[0].name: spec.template has no volume 'token'",
    ),
    "volume-called-like-the-operators": (
        pod(volumes=[{"name": "handed", "emptyDir": {}}]),
        {"template": ["volumes"]},
        "volumes[0].name: there is a volume 'handed' in every run of this runner",
    ),
}


@pytest.mark.parametrize(("asked", "allow", "message"), ATTACKS.values(), ids=ATTACKS)
def test_one_permission_does_not_open_another_door(asked: Json, allow: Json, message: str) -> None:
    found = refusals(asked, allow)
    assert any(message in line for line in found), found


OF_RUNNER: Json = {
    "metadata": {"labels": {"egress": "none"}},
    "spec": {
        "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "containers": [
            {
                "name": "workflow",
                "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
                "volumeMounts": [{"name": "ca", "mountPath": "/data/ca"}],
            }
        ],
    },
}
OVERRIDES: dict[str, tuple[Json, str]] = {
    "label": ({"template": {"metadata": {"labels": {"egress": "all"}}}}, "egress is set by the runner's launch.template"),
    "volume": (pod(volumes=[{"name": "ca", "emptyDir": {}}]), "there is a volume 'ca' in every run of this runner"),
    "mount": (
        pod(
            volumes=[{"name": "v", "emptyDir": {}}],
            containers=[{"name": "workflow", "volumeMounts": [{"name": "v", "mountPath": "/data/./ca/"}]}],
        ),
        "the runner's launch.template mounts something there",
    ),
    "the-runners-volume-elsewhere": (
        container(volumeMounts=[{"name": "ca", "mountPath": "/mnt/ca"}]),
        "spec.template has no volume 'ca', and an execution mounts no others",
    ),
}


@pytest.mark.parametrize(("asked", "message"), OVERRIDES.values(), ids=OVERRIDES)
def test_what_the_runner_put_into_its_pods_stays_there(asked: Json, message: str) -> None:
    found = refusals(asked, {"template": ["metadata.labels", "volumes"]}, template=OF_RUNNER)
    assert any(message in line for line in found), found


def test_a_variable_of_the_runner_is_replaced_by_permission_only() -> None:
    asked = {"env": [{"name": "HTTPS_PROXY", "value": ""}]}
    [found] = refusals(asked, template=OF_RUNNER)
    assert found.startswith("spec.env[0].name HTTPS_PROXY is set by the runner's launch.template and needs 'env'")
    assert refusals(asked, {"template": ["env"]}, template=OF_RUNNER) == []


# Where the runner is, what its allow.namespaces says, how the execution names the namespace, whether that is allowed.
NAMESPACES: dict[str, tuple[str, list[str] | None, str | None, bool]] = {
    "its-own": ("team", None, None, True),
    "its-own-whatever-the-list-says": ("team", ["others"], "team", True),
    "the-operators-unnamed": ("workflow-runner", None, None, True),
    "the-operators-named": ("workflow-runner", None, "workflow-runner", True),
    "the-operators-for-others": ("workflow-runner", ["others"], None, False),
    "the-operators-for-us": ("workflow-runner", ["te*"], None, True),
    "a-strangers": ("strangers", None, "strangers", False),
    "a-strangers-for-us": ("strangers", ["team"], "strangers", True),
    "a-strangers-for-all": ("strangers", ["*"], "strangers", True),
    "a-strangers-for-nobody": ("strangers", [], "strangers", False),
}


@pytest.mark.parametrize(("where", "allowed", "named", "expected"), NAMESPACES.values(), ids=NAMESPACES)
def test_whose_runner_may_be_used(where: str, allowed: list[str] | None, named: str | None, expected: bool) -> None:
    asked = {"runnerRef": {"name": "default"} | ({"namespace": named} if named else {})}
    found = refusals(asked, {"namespaces": allowed} if allowed is not None else {}, runner_namespace=where)
    assert (found == []) is expected
    assert all(line.startswith("spec.runnerRef") and "spec.allow.namespaces" in line for line in found)


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("db", "db", True),
        ("db", "d", False),
        ("db", "*", True),
        ("", "*", True),
        ("db-user", "db-*", True),
        ("db", "db-*", False),
        ("my-db-user", "*-db-*", True),
        ("aa", "a*a", True),
        ("a", "a*a", False),
        ("abcabc", "a*bc", True),
        ("a.b", "a?b", False),
        ("axb", "a.b", False),
    ],
)
def test_patterns(name: str, pattern: str, expected: bool) -> None:
    assert matches(name, [pattern]) is expected


def test_a_pattern_of_many_stars_is_not_slow() -> None:
    """A regular expression made of it would never come back."""
    assert not matches("a" * 253, ["a*" * 126 + "b"] * 100)


def test_many_refusals_are_cut() -> None:
    asked = {"secrets": {f"s{number}": {"secretKeyRef": {"name": "x", "key": "k"}} for number in range(100)}}
    found = refusals(asked)
    assert len(found) == MAX_MESSAGES + 1
    assert found[-1] == "… and more"


def test_a_template_that_is_nested_too_deeply_is_refused() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    [found] = refusals(pod(affinity=deep), {"template": ["affinity"]})
    assert "nested too deeply" in found


@pytest.mark.parametrize("name", ["LD_PRELOAD", "OPENSSL_CONF", "WORKFLOW_RUNNER_SINK_ENDPOINT", "WORKFLOW_RUNNER_EVENT_SINK"])
def test_variables_that_decide_what_program_runs_are_refused_whatever_the_crd_lets_through(name: str) -> None:
    assert refusals({"env": [{"name": name, "value": "/mnt/x"}]}) == [f"spec.env[0].name: {name} belongs to the operator"]
