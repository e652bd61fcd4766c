"""What the API server refuses at `kubectl apply`, and in which words (CEL rules and schemas of the CRDs)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.cluster import Cluster
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import Operator

Json = dict[str, Any]

YAML = "document: {dsl: 1.0.0, namespace: e2e, name: held, version: 0.1.0}\ndo: [{a: {set: {b: 1}}}]\n"
DEFINITION: Json = {
    "document": {"dsl": "1.0.0", "namespace": "e2e", "name": "held", "version": "0.1.0"},
    "do": [{"a": {"set": {"b": 1}}}],
}
KEY: Json = {"name": "some", "key": "key"}
SECRET: Json = {"secretKeyRef": KEY}
TEMPORAL: Json = {"address": "temporal:7233"}
AGAIN = "cannot be changed while runId stays: give spec.runId a new value to run again"


def execution(name: str = "held", **spec: Any) -> Json:
    """Paused, so that nothing is started for those that are accepted."""
    return _resource("WorkflowExecution", name, {"workflow": {"yaml": YAML}, "paused": True, **spec})


def runner(name: str = "refused", **spec: Any) -> Json:
    return _resource("WorkflowRunner", name, spec)


def _resource(kind: str, name: str, spec: Json) -> Json:
    return {"apiVersion": "workflowrunner.stigmer.ai/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def pod(**fields: Any) -> Json:
    return {"spec": fields}


def container(**fields: Any) -> Json:
    return pod(containers=[{"name": "workflow", **fields}])


AT_CREATION: dict[str, tuple[Json, str]] = {
    "no-workflow": (execution(workflow={}), "workflow needs exactly one of definition, yaml, configMapKeyRef and stigmer"),
    "two-workflows": (
        execution(workflow={"yaml": YAML, "definition": DEFINITION}),
        "workflow needs exactly one of definition, yaml, configMapKeyRef and stigmer",
    ),
    "workflow-here-and-in-a-config-map": (
        execution(workflow={"yaml": YAML, "configMapKeyRef": KEY}),
        "workflow needs exactly one of definition, yaml, configMapKeyRef and stigmer",
    ),
    "two-things-in-stigmer": (
        execution(workflow={"stigmer": {"workflowId": "a", "workflowInstanceId": "b"}}),
        "stigmer needs exactly one of workflowExecutionId, workflowInstanceId and workflowId",
    ),
    "nothing-in-stigmer": (
        execution(workflow={"stigmer": {}}),
        "stigmer needs exactly one of workflowExecutionId, workflowInstanceId and workflowId",
    ),
    "blank-yaml": (execution(workflow={"yaml": " \n "}), "yaml is blank: write a Serverless Workflow document"),
    "two-inputs": (
        execution(input={"a": 1}, inputFrom={"configMapKeyRef": KEY}),
        "no input beside inputFrom",
    ),
    "input-from-nowhere": (execution(inputFrom={}), "spec.inputFrom.configMapKeyRef: Required value"),
    "cancellation-alone": (
        execution(cancellation={"reason": "why"}),
        "cancellation says how to cancel and has no meaning without cancelled: true",
    ),
    "cancellation-of-a-third-kind": (execution(cancelled=True, cancellation={"mode": "Now"}), '"Graceful", "Force"'),
    "long-name": (execution("n" * 64), "may have at most 63 characters"),
    "run-id-that-is-no-label": (execution(runId="Second Run"), "spec.runId"),
    "duration-in-words": (execution(timeout="5 minutes"), "spec.timeout"),
    "duration-of-iso-8601": (execution(ttlAfterFinished="PT5M"), "spec.ttlAfterFinished"),
    "duration-of-centuries": (execution(ttlAfterFinished="999999h"), "a duration is at most ten years (87600h)"),
    "no-time-at-all": (execution(timeout="0s"), "timeout has to be longer than nothing"),
    "too-many-retries": (execution(retries=101), "spec.retries"),
    "fewer-than-no-retries": (execution(retries=-1), "spec.retries"),
    "variable-of-the-operator": (
        execution(env=[{"name": "WORKFLOW_RUNNER_SINK_ENDPOINT", "value": "elsewhere:1"}]),
        "names that begin with WORKFLOW_RUNNER_, PYTHON, LD_ or OPENSSL_, LOG_LEVEL and PATH belong to the operator",
    ),
    "variable-of-the-loader": (execution(env=[{"name": "LD_PRELOAD", "value": "x"}]), "PATH belong to the operator"),
    "variable-of-python": (execution(env=[{"name": "PYTHONPATH", "value": "x"}]), "PATH belong to the operator"),
    "variable-with-a-dash": (execution(env=[{"name": "A-B", "value": "x"}]), "spec.env[0].name"),
    "variable-twice": (execution(env=[{"name": "A", "value": "x"}, {"name": "A", "value": "y"}]), "Duplicate value"),
    "variable-without-value": (
        execution(env=[{"name": "A"}]),
        "an environment variable needs exactly one of value and valueFrom",
    ),
    "variable-with-two-values": (
        execution(env=[{"name": "A", "value": "x", "valueFrom": SECRET}]),
        "an environment variable needs exactly one of value and valueFrom",
    ),
    "variable-from-nowhere": (
        execution(env=[{"name": "A", "valueFrom": {}}]),
        "valueFrom needs exactly one of secretKeyRef and configMapKeyRef",
    ),
    "secret-with-a-dotted-name": (
        execution(secrets={"a.b": SECRET}),
        "the name of a secret has letters, digits, _ and -, and begins with a letter or _",
    ),
    "secret-that-climbs": (execution(secrets={"..": SECRET}), "the name of a secret has letters, digits, _ and -"),
    "host-network": (execution(template=pod(hostNetwork=True)), "hostNetwork cannot be set: a run does not share"),
    "host-pid": (execution(template=pod(hostPID=True)), "hostPID cannot be set: a run does not share"),
    "init-container": (
        execution(template=pod(initContainers=[{"name": "i", "image": "i"}])),
        "initContainers cannot be set: a run has one container",
    ),
    "sidecar": (
        execution(template=pod(containers=[{"name": "workflow"}, {"name": "workflow"}])),
        "a run has one container, called workflow: further containers cannot be added",
    ),
    "container-of-another-name": (execution(template=pod(containers=[{"name": "side"}])), 'supported values: "workflow"'),
    "another-image": (
        execution(template=container(image="evil")),
        "image cannot be set: the operator's image runs the workflow",
    ),
    "another-command": (execution(template=container(command=["sh"])), "command cannot be set"),
    "privileges": (
        execution(template=container(securityContext={"privileged": True})),
        "securityContext cannot be set: the container has no privileges and a read-only root",
    ),
    "root": (execution(template=pod(securityContext={"runAsUser": 0})), "spec.template.spec.securityContext.runAsUser"),
    "a-token-of-the-api": (
        execution(template=pod(automountServiceAccountToken=True)),
        "automountServiceAccountToken cannot be set: a run has no token of the Kubernetes API",
    ),
    "the-operators-volume": (
        execution(template=pod(volumes=[{"name": "handed", "emptyDir": {}}])),
        "the volumes handed, tmp, snapshots, payload-keys are the operator's: choose another name",
    ),
    "the-operators-folder": (
        execution(template=container(volumeMounts=[{"name": "mine", "mountPath": "/etc/workflow-runner/input"}])),
        "these are the operator's",
    ),
    "the-root-folder": (
        execution(template=container(volumeMounts=[{"name": "mine", "mountPath": "/"}])),
        "nothing can be mounted at / nor in",
    ),
    "the-operators-variable-in-a-template": (
        execution(template=container(env=[{"name": "WORKFLOW_RUNNER_ATTEMPT", "value": "9"}])),
        "environment variables that begin with WORKFLOW_RUNNER_, and LOG_LEVEL, are the operator's",
    ),
    "runner-with-host-network": (
        runner(launch={"template": pod(hostNetwork=True)}),
        "hostNetwork cannot be set: a run does not share",
    ),
    "runner-of-a-third-kind": (runner(launch={"mode": "Thread"}), '"Job", "Pod"'),
    "runner-that-runs-nothing": (runner(limits={"maxConcurrentExecutions": 0}), "spec.limits.maxConcurrentExecutions"),
    "runner-with-an-endless-default": (runner(defaults={"timeout": "forever"}), "spec.defaults.timeout"),
    "runner-that-allows-what-there-is-not": (runner(allow={"template": ["hostNetwork"]}), "spec.allow.template[0]"),
    "runner-that-allows-no-name": (runner(allow={"secrets": ["My Secret"]}), "spec.allow.secrets[0]"),
    "snapshots-nowhere": (runner(snapshots={}), "spec.snapshots.persistentVolumeClaim: Required value"),
    "endpoint-with-scheme": (
        runner(stigmer={"endpoint": "grpc://stigmer:443"}),
        "endpoint is HOST:PORT without a scheme",
    ),
    "endpoint-without-port": (
        runner(stigmer={"endpoint": "stigmer"}),
        "endpoint is HOST:PORT, such as stigmer.example.com:443",
    ),
    "ca-without-tls": (
        runner(stigmer={"endpoint": "stigmer:80", "useTLS": False, "caBundle": "-----BEGIN CERTIFICATE-----"}),
        "caBundle has no meaning when useTLS is false",
    ),
    "ca-that-is-none": (
        runner(stigmer={"endpoint": "stigmer:443", "caBundle": "hello"}),
        "caBundle holds certificates in PEM form",
    ),
    "temporal-that-is-nowhere": (runner(type="temporal"), "type temporal needs temporal.address"),
    "temporal-without-an-address": (runner(type="temporal", temporal={}), "spec.temporal.address: Required value"),
    "temporal-with-a-scheme": (
        runner(type="temporal", temporal={"address": "http://t:7233"}),
        "address is HOST:PORT without a scheme",
    ),
    "temporal-without-a-port": (runner(type="temporal", temporal={"address": "temporal"}), "address is HOST:PORT, such as"),
    "temporal-of-another-type": (runner(temporal=TEMPORAL), "temporal is about type temporal, and type is another"),
    "temporal-beside-an-endpoint": (
        runner(type="temporal", temporal=TEMPORAL, endpoint="grpc://r:9090"),
        "the runner at the endpoint has settings of its own",
    ),
    "temporal-queue-without-a-pool": (
        runner(type="temporal", temporal={**TEMPORAL, "taskQueue": "ours"}),
        "temporal.taskQueue is the queue of a pool: launch.mode is not Pool",
    ),
    "temporal-with-snapshots": (
        runner(type="temporal", temporal=TEMPORAL, snapshots={"persistentVolumeClaim": {"claimName": "c"}}),
        "with type temporal the state of runs is in Temporal",
    ),
    "temporal-with-two-cas": (
        runner(type="temporal", temporal={**TEMPORAL, "tls": {"caSecretRef": KEY, "caConfigMapRef": KEY}}),
        "tls has caSecretRef or caConfigMapRef: remove one of the two",
    ),
    "temporal-with-certificates-for-nothing": (
        runner(type="temporal", temporal={**TEMPORAL, "tls": {"enabled": False, "caSecretRef": KEY}}),
        "have no meaning when tls.enabled is false",
    ),
    "temporal-with-a-key-in-plain-text": (
        runner(type="temporal", temporal={**TEMPORAL, "apiKeySecretRef": KEY, "tls": {"enabled": False}}),
        "an API key is not sent in plain text",
    ),
    "temporal-with-credentials-for-no-store": (
        runner(type="temporal", temporal={**TEMPORAL, "payloads": {"storeSecretRef": {"name": "s3"}}}),
        "storeSecretRef and thresholdBytes are about a store: there is none",
    ),
    "temporal-with-a-store-that-is-no-url": (
        runner(type="temporal", temporal={**TEMPORAL, "payloads": {"store": "bucket"}}),
        "store is a URL, such as s3://bucket/folder",
    ),
    "temporal-whose-calls-are-lost-at-once": (
        runner(type="temporal", temporal={**TEMPORAL, "heartbeatTimeout": "10ms"}),
        "heartbeatTimeout is at least 1s",
    ),
}

SETTLED: Json = {
    "runId": "first",
    "workflow": {"definition": DEFINITION},
    "runnerRef": {"name": "nobody"},
    "inputFrom": {"configMapKeyRef": KEY},
    "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": SECRET}],
    "secrets": {"a": SECRET},
    "timeout": "1h",
    "retries": 1,
    "template": {
        "metadata": {"labels": {"team": "a"}},
        "spec": {
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
            "volumes": [{"name": "mine", "configMap": {"name": "some"}}],
            "containers": [{"name": "workflow", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}],
        },
    },
}


def settled(**changes: Any) -> Json:
    """A spec that says everything; None leaves a field out."""
    return {name: value for name, value in (SETTLED | changes).items() if value is not None}


AT_UPDATE: dict[str, tuple[Json, Json, str]] = {
    "another-yaml": ({}, {"workflow": {"yaml": YAML.replace("b: 1", "b: 2")}}, f"workflow {AGAIN}"),
    "yaml-becomes-definition": ({}, {"workflow": {"definition": DEFINITION}}, f"workflow {AGAIN}"),
    "another-task": (
        settled(),
        settled(workflow={"definition": DEFINITION | {"do": [{"a": {"set": {"b": 2}}}]}}),
        f"workflow {AGAIN}",
    ),
    "another-config-map": (
        {"workflow": {"configMapKeyRef": KEY}},
        {"workflow": {"configMapKeyRef": {"name": "other", "key": "key"}}},
        f"workflow {AGAIN}",
    ),
    "another-runner": ({}, {"runnerRef": {"name": "other"}}, f"runnerRef {AGAIN}"),
    "another-input": (
        settled(),
        settled(inputFrom={"configMapKeyRef": {"name": "other", "key": "key"}}),
        f"inputFrom {AGAIN}",
    ),
    "another-variable": (settled(), settled(env=[{"name": "A", "value": "2"}]), f"env {AGAIN}"),
    "no-variables": (settled(), settled(env=None), f"env {AGAIN}"),
    "another-secret": (settled(), settled(secrets={"b": SECRET}), f"secrets {AGAIN}"),
    "another-timeout": (settled(), settled(timeout="2h"), f"timeout {AGAIN}"),
    "more-retries": (settled(), settled(retries=2), f"retries {AGAIN}"),
    "another-resource": (settled(), settled(template=container(resources={"limits": {"cpu": 2}})), f"template {AGAIN}"),
    "another-volume": (
        settled(),
        settled(
            template={
                **SETTLED["template"],
                "spec": SETTLED["template"]["spec"] | {"volumes": [{"name": "mine", "secret": {"secretName": "some"}}]},
            }
        ),
        f"template {AGAIN}",
    ),
    "cancel-taken-back": ({"cancelled": True}, {"cancelled": False}, "a cancelled run stays cancelled"),
}

ACCEPTED: dict[str, tuple[Json, Json]] = {
    "the-same-again": (settled(), settled()),
    "what-steers-a-run": (
        settled(),
        settled(ttlAfterFinished="1h", deleteAfterFinished="2h", cancelled=True, cancellation={"gracePeriod": "5s"}),
    ),
    "everything-with-a-new-run-id": (
        settled(),
        {"runId": "second", "workflow": {"yaml": YAML}, "input": [1], "runnerRef": {"name": "other"}},
    ),
    "a-first-run-id": ({"workflow": {"yaml": YAML}}, settled()),
    "cancel-taken-back-with-a-new-run-id": ({"cancelled": True}, {"runId": "second"}),
}


@pytest.fixture(scope="module")
def place(cluster: Cluster, operator: Operator) -> Iterator[Namespace]:
    """One namespace for all: what is refused is not there afterwards, and the others have names of their own."""
    name = f"e2e-refusals-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    yield Namespace(cluster, name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize(("manifest", "message"), AT_CREATION.values(), ids=AT_CREATION)
def test_nonsense_is_refused_at_creation(place: Namespace, manifest: Json, message: str) -> None:
    assert message in place.refusal(manifest)


@pytest.mark.parametrize("case", AT_UPDATE)
def test_what_is_settled_cannot_be_changed(place: Namespace, case: str) -> None:
    before, after, message = AT_UPDATE[case]
    place.apply(execution(case, **before))
    assert message in place.refusal(execution(case, **after))


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_may_change_can_be_changed(place: Namespace, case: str) -> None:
    before, after = ACCEPTED[case]
    place.apply(execution(case, **before))
    place.apply(execution(case, **after))


def test_what_a_template_says_reaches_the_operator_whole(place: Namespace) -> None:
    """The API server drops what it does not know, unless the schema says otherwise at every level."""
    spec = settled(
        template=pod(
            somethingNew={"deep": [{"er": 1}]},
            affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
        )
    )
    place.apply(execution("whole", **spec))
    assert place.get("wfe", "whole")["spec"]["template"] == spec["template"]


RUNNERS_ON_TEMPORAL: dict[str, Json] = {
    "at-an-endpoint": {"type": "temporal", "endpoint": "grpc://temporal-runner.svc.cluster.local:9090"},
    "launched": {"type": "temporal", "temporal": TEMPORAL, "launch": {"mode": "Pod"}},
    "with-everything": {
        "type": "temporal",
        "temporal": {
            **TEMPORAL,
            "namespace": "orders.a1b2c",
            "apiKeySecretRef": KEY,
            "tls": {"caSecretRef": KEY, "clientCertificateSecretRef": {"name": "client"}, "serverName": "temporal"},
            "payloads": {
                "encryptionKeysSecretRef": {"name": "keys"},
                "store": "s3://bucket/folder",
                "storeSecretRef": {"name": "s3"},
                "thresholdBytes": 1000,
            },
            "heartbeatTimeout": "30s",
        },
    },
}


@pytest.mark.parametrize("name", RUNNERS_ON_TEMPORAL)
def test_runners_on_temporal_are_taken(place: Namespace, name: str) -> None:
    place.apply(runner(name, **RUNNERS_ON_TEMPORAL[name]))
    assert place.get("wfr", name)["spec"]["type"] == "temporal"


def test_a_runner_is_shown_in_columns(place: Namespace) -> None:
    place.apply(runner("shown", paused=True))
    head, row = place.kubectl("get", "wfr", "shown").splitlines()
    assert head.split() == ["NAME", "TYPE", "MODE", "ACTIVE", "QUEUED", "READY", "AGE"]
    assert row.split()[:3] == ["shown", "embedded", "Job"]
