"""What the chart renders with one set of values and another, with the pinned Helm and no cluster.

tests/e2e/cases/manifests holds the same manifests against a real API server.
"""

from __future__ import annotations

import json
import re
from typing import Any

import cyclopts
import pytest
import yaml
from tests.e2e.cluster import CommandFailed, tool
from tests.e2e.cluster.shell import run
from tools.manifests import CHART, rendered

from workflow_runner.cli.dev import dev
from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.launchers.run import LaunchedRun, labels
from workflow_runner.server.metrics import Metrics
from workflow_runner.settings import operator_settings

Json = dict[str, Any]

SECRET = {"name": "stigmer-key", "key": "api-key"}
EVERYTHING: Json = {
    "global": {"imagePullSecrets": [{"name": "from-above"}]},
    "image": {"digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "own"}],
    "logLevel": "trace",
    "runners": {
        "default": {
            "stigmer": {"endpoint": "stigmer:443", "apiKeySecretRef": SECRET},
            "limits": {"maxConcurrentExecutions": 5},
            "paused": True,
        },
        "pods": {"launch": {"mode": "Pod"}},
    },
    "rbac": {"apiKeySecrets": [{"namespace": "team-a", "name": "other-key"}]},
    "serviceAccount": {"annotations": {"a": "b"}},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
    "podLabels": {"team": "platform"},
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "priorityClassName": "high",
    "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "p"}}, "prometheusRule": {"enabled": True}},
    "events": {"enabled": True, "tokensSecret": "tokens", "service": {"annotations": {"a": "b"}}},
    "networkPolicy": {
        "enabled": True,
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "eventsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateways"}}}],
        "egress": {"enabled": True, "rules": [{"ports": [{"port": 8443}]}]},
        "launchedPods": {"enabled": True, "namespaces": ["team-a"]},
    },
}
NAMESPACED: Json = {
    "watchNamespaces": ["team-a", "team-b"],
    "events": {"enabled": True},
    "networkPolicy": {"enabled": True, "launchedPods": {"enabled": True}},
}
TEMPORAL: Json = {
    "podLabels": {"team": "platform"},
    "temporal": {"dev": {"enabled": True, "runner": True, "persistence": {"enabled": True, "storageClass": "fast"}}},
}
OPEN = {".resources", ".temporal.dev.resources", ".probes.startup", ".probes.readiness", ".probes.liveness"}
"""Where the schema knows more than the defaults say."""
SETS = [
    pytest.param({}, id="defaults"),
    pytest.param(EVERYTHING, id="everything"),
    pytest.param(NAMESPACED, id="namespaced"),
    pytest.param(TEMPORAL, id="temporal"),
]


def of(objects: list[Json], kind: str, name: str | None = None) -> list[Json]:
    return [item for item in objects if item["kind"] == kind and name in (None, item["metadata"]["name"])]


def operator_container(objects: list[Json]) -> Json:
    [deployment] = of(objects, "Deployment", "workflow-runner")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    found: Json = container
    return found


def environment(container: Json) -> dict[str, str]:
    return {item["name"]: item.get("value", "from elsewhere") for item in container["env"]}


@pytest.mark.parametrize("values", SETS)
def test_helm_finds_nothing_to_complain_about(values: Json) -> None:
    run([tool("helm"), "lint", "--strict", "--quiet", CHART, "--values", "-"], stdin=json.dumps(values), timeout=60)


@pytest.mark.parametrize("values", SETS)
def test_names_are_unique_and_everything_says_where_it_belongs(values: Json) -> None:
    objects = rendered(values)
    names = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects]
    assert len(names) == len(set(names))
    for kind, namespace, name in names:
        assert (namespace is None) == kind.startswith("Cluster"), name
    assert all(item["metadata"]["labels"]["app.kubernetes.io/name"] == "workflow-runner" for item in objects)


@pytest.mark.parametrize("values", SETS)
def test_the_operators_pod_needs_no_privileges(values: Json) -> None:
    objects = rendered(values)
    [deployment] = of(objects, "Deployment", "workflow-runner")
    pod, container = deployment["spec"]["template"]["spec"], operator_container(objects)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})


@pytest.mark.parametrize("values", SETS)
def test_the_operator_understands_what_the_chart_tells_it_and_serves_where_its_services_point(values: Json) -> None:
    objects = rendered(values)
    container = operator_container(objects)
    settings = operator_settings(environment(container))
    assert settings.watch_namespaces == tuple(values.get("watchNamespaces", ()))
    ports = {item["name"]: item["containerPort"] for item in container["ports"]}
    expected: dict[str, int | None] = {
        "grpc": settings.grpc_port,
        "health": settings.health_port,
        "metrics": settings.metrics_port,
    }
    if "events" in values:
        expected["events"] = settings.events_port
    assert ports == expected
    services = {item["metadata"]["name"]: item["spec"]["ports"] for item in of(objects, "Service")}
    assert services[settings.sink_service] == [{"name": "grpc", "port": settings.grpc_port, "targetPort": "grpc"}]
    assert services["workflow-runner-metrics"] == [{"name": "metrics", "port": 9090, "targetPort": "metrics"}]


@pytest.mark.parametrize("values", SETS)
def test_runners_are_what_the_definition_knows(values: Json) -> None:
    for runner in of(rendered(values), "WorkflowRunner"):
        dumped = WorkflowRunnerSpec.model_validate(runner["spec"]).model_dump(by_alias=True, exclude_unset=True, mode="json")
        assert dumped == runner["spec"], "no field is unknown"


def test_a_namespaced_install_asks_for_nothing_of_the_whole_cluster() -> None:
    objects = rendered(NAMESPACED)
    assert not [item["kind"] for item in objects if item["kind"].startswith("Cluster")]
    rules = [rule for role in of(objects, "Role") for rule in role["rules"]]
    assert "tokenreviews" not in {resource for rule in rules for resource in rule["resources"]}
    wide = of(rendered({}), "ClusterRole")[0]["rules"]
    for namespace in ("team-a", "team-b", "workflow-runner"):
        [role] = [item for item in of(objects, "Role", "workflow-runner") if item["metadata"]["namespace"] == namespace]
        assert role["rules"] == wide[:-1], "the same rights, but for TokenReviews"


@pytest.mark.parametrize("values", SETS)
def test_no_role_reads_more_secrets_than_it_names(values: Json) -> None:
    objects = rendered(values)
    for role in [*of(objects, "Role"), *of(objects, "ClusterRole")]:
        for rule in role["rules"]:
            assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
            if "secrets" in rule["resources"]:
                assert rule["verbs"] == ["create"] or (rule["verbs"] == ["get"] and rule["resourceNames"])
            if role["kind"] == "ClusterRole":
                assert "secrets" not in rule["resources"]


def test_keys_of_runners_may_be_read_where_they_are() -> None:
    found = {
        (role["metadata"]["namespace"], name)
        for role in of(rendered(EVERYTHING), "Role")
        for rule in role["rules"]
        if "secrets" in rule["resources"]
        for name in rule.get("resourceNames", [])
    }
    assert found == {
        ("workflow-runner", "workflow-runner-sink"),
        ("workflow-runner", "stigmer-key"),
        ("team-a", "other-key"),
    }


def test_what_is_asked_for_is_there() -> None:
    objects = rendered(EVERYTHING)
    [deployment] = of(objects, "Deployment", "workflow-runner")
    pod = deployment["spec"]["template"]["spec"]
    container = operator_container(objects)
    assert container["image"].endswith("@sha256:" + "0" * 64)
    assert environment(container)["WORKFLOW_RUNNER_IMAGE"] == container["image"]
    assert environment(container)["HTTPS_PROXY"] == "http://proxy:3128"
    assert pod["imagePullSecrets"] == [{"name": "from-above"}, {"name": "own"}]
    for key in ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName"):
        assert pod[key] == EVERYTHING[key]
    assert deployment["spec"]["template"]["metadata"]["labels"]["team"] == "platform"


def test_without_events_there_is_no_port_for_them_and_no_service() -> None:
    objects = rendered({})
    assert operator_settings(environment(operator_container(objects))).events_port is None
    assert of(objects, "Service", "workflow-runner-events") == []


@pytest.mark.parametrize(
    ("values", "secret"),
    [pytest.param(EVERYTHING, "tokens", id="named"), pytest.param(NAMESPACED, "workflow-runner-events", id="default")],
)
def test_events_come_by_a_service_of_their_own_and_their_tokens_from_a_secret(values: Json, secret: str) -> None:
    objects = rendered(values)
    [service] = of(objects, "Service", "workflow-runner-events")
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "events"}]
    assert service["metadata"].get("annotations") == values["events"].get("service", {}).get("annotations")
    container = operator_container(objects)
    settings = operator_settings(environment(container))
    [mount] = [item for item in container["volumeMounts"] if item["mountPath"] == str(settings.events_tokens_folder)]
    assert mount["readOnly"] is True
    [deployment] = of(objects, "Deployment", "workflow-runner")
    [volume] = [item for item in deployment["spec"]["template"]["spec"]["volumes"] if item["name"] == mount["name"]]
    assert volume["secret"] == {"secretName": secret, "optional": True}
    [policy] = of(objects, "NetworkPolicy", "workflow-runner")
    [rule] = [rule for rule in policy["spec"]["ingress"] if rule["ports"][0]["port"] == "events"]
    assert rule.get("from") == values["networkPolicy"].get("eventsFrom")


def test_no_runner_is_made_that_is_not_wanted() -> None:
    assert of(rendered({"runners": {"default": None}}), "WorkflowRunner") == []


def test_network_policies_name_the_pods_that_are_launched() -> None:
    launched = _labels_of_launched_pods()
    [operator, pods] = of(rendered(EVERYTHING), "NetworkPolicy")
    peer = operator["spec"]["ingress"][0]["from"][0]
    for selector in (peer["podSelector"]["matchLabels"], pods["spec"]["podSelector"]["matchLabels"]):
        assert selector.items() <= launched.items()
    assert peer["namespaceSelector"] == {}
    assert pods["spec"].get("ingress") is None
    [narrow, *_] = of(rendered(NAMESPACED), "NetworkPolicy", "workflow-runner")
    [expression] = narrow["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchExpressions"]
    assert expression["values"] == ["team-a", "team-b", "workflow-runner"]


def _labels_of_launched_pods() -> dict[str, str]:
    run = LaunchedRun(
        name="x", namespace="ns", uid="u", run_id="", execution_id="u", attempt=1, workflow="w", digest="d", packed=""
    )
    return labels(run)


MARK = "workflowrunner.stigmer.ai/not-for-production"


def test_temporals_development_server_is_where_its_runner_looks_and_says_what_it_is_not_for() -> None:
    objects = rendered(TEMPORAL)
    [runner] = of(objects, "WorkflowRunner", "temporal")
    [service] = of(objects, "Service", "workflow-runner-temporal")
    host, _, port = runner["spec"]["temporal"]["address"].partition(":")
    assert host == f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    ports = {item["name"]: item["port"] for item in service["spec"]["ports"]}
    assert (ports, port) == ({"grpc": 7233, "ui": 8233}, "7233")
    [server] = of(objects, "Deployment", "workflow-runner-temporal")
    [claim] = of(objects, "PersistentVolumeClaim")
    assert all(item["metadata"]["labels"][MARK] == "true" for item in (runner, service, server, claim))
    template = server["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    [container] = template["spec"]["containers"]
    assert container["args"][:2] == ["dev", "--server-only"]
    _, bound, ignored = cyclopts.App(default_command=dev).parse_args(container["args"][1:], exit_on_error=False)
    assert (bound.arguments["host"], bound.arguments["port"], ignored) == ("0.0.0.0", 7233, {})
    assert container["image"].startswith("ghcr.io/stigmer/workflow-runner-dev-server:")
    assert {item["name"]: item["containerPort"] for item in container["ports"]} == ports
    [database] = [volume for volume in template["spec"]["volumes"] if volume["name"] == "database"]
    assert database["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
    assert claim["spec"]["storageClassName"] == "fast"


def test_no_service_of_the_operator_finds_the_development_server() -> None:
    objects = rendered(TEMPORAL)
    [server] = of(objects, "Deployment", "workflow-runner-temporal")
    labels_of_it = server["spec"]["template"]["metadata"]["labels"].items()
    others = [item for item in of(objects, "Service") if item["metadata"]["name"] != "workflow-runner-temporal"]
    assert others
    assert not [item for item in others if item["spec"]["selector"].items() <= labels_of_it]
    [operator] = of(objects, "Deployment", "workflow-runner")
    assert not operator["spec"]["selector"]["matchLabels"].items() <= labels_of_it


def test_the_development_server_is_there_only_where_it_is_asked_for() -> None:
    assert not [item for item in rendered(EVERYTHING) if MARK in item["metadata"]["labels"]]
    plain = rendered({"temporal": {"dev": {"enabled": True}}})
    assert of(plain, "WorkflowRunner", "temporal") == of(plain, "PersistentVolumeClaim") == []
    own = {"enabled": True, "existingClaim": "mine"}
    brought = rendered({"temporal": {"dev": {"enabled": True, "persistence": own}}})
    assert of(brought, "PersistentVolumeClaim") == []
    [server] = of(brought, "Deployment", "workflow-runner-temporal")
    assert {"claimName": "mine"} in [
        volume.get("persistentVolumeClaim") for volume in server["spec"]["template"]["spec"]["volumes"]
    ]


def test_two_runners_of_one_name_are_refused() -> None:
    with pytest.raises(CommandFailed, match="one of that name in `runners`"):
        rendered({"temporal": {"dev": {"enabled": True, "runner": True}}, "runners": {"temporal": {"type": "embedded"}}})


def test_alerts_speak_of_metrics_that_there_are() -> None:
    [rule] = of(rendered(EVERYTHING), "PrometheusRule")
    expressions = " ".join(item["expr"] for group in rule["spec"]["groups"] for item in group["rules"])
    metrics = Metrics()
    metrics.queue(lambda: 0, lambda: 0, lambda: 0)
    metrics.callbacks.outboxes(list)
    names = {f"{family.name}{suffix}" for family in metrics.registry.collect() for suffix in ("", "_info", "_total", "_count")}
    assert set(re.findall(r"workflow_runner_\w+", expressions)) <= names


@pytest.mark.parametrize(
    "values",
    [
        {"watchNamespace": ["a"]},
        {"image": {"tagg": "1"}},
        {"image": {"digest": "latest"}},
        {"logLevel": "verbose"},
        {"watchNamespaces": ["Team_A"]},
        {"metrics": {"serviceMonitor": {"interval": "often"}}},
        {"probes": {"liveness": {"httpGet": {}}}},
        {"runners": {"default": "embedded"}},
        {"rbac": {"apiKeySecrets": [{"name": "no-namespace"}]}},
        {"replicas": 2},
        {"events": {"tokensSecret": "Not A Name"}},
        {"events": {"tokens": {"team-a": "in-the-open"}}},
    ],
    ids=lambda values: json.dumps(values)[:40],
)
def test_a_mistake_in_values_is_refused(values: Json) -> None:
    with pytest.raises(CommandFailed):
        rendered(values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"networkPolicy": {"launchedPods": {"enabled": True}}}, "networkPolicy.launchedPods.namespaces is needed"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is needed"),
        ({"metrics": {"service": {"create": False}, "serviceMonitor": {"enabled": True}}}, "needs metrics.service.create"),
    ],
    ids=["policy-without-namespaces", "no-account", "monitor-without-service"],
)
def test_what_cannot_work_is_refused_with_the_reason(values: Json, said: str) -> None:
    with pytest.raises(CommandFailed, match=said):
        rendered(values)


def test_every_value_is_in_the_schema() -> None:
    """Helm checks values against the schema; this checks that the schema knows no more than there is."""

    def compare(values: Json, schema: Json, place: str) -> None:
        known = schema.get("properties", {})
        assert set(known) == set(values) or place in OPEN, f"{place}: {set(known) ^ set(values)}"
        for key, value in values.items():
            if isinstance(value, dict) and key in known and "properties" in known[key] and f"{place}.{key}" not in OPEN:
                compare(value, known[key], f"{place}.{key}")

    compare(yaml.safe_load((CHART / "values.yaml").read_text()), json.loads((CHART / "values.schema.json").read_text()), "")


def test_secrets_of_a_runners_endpoint_can_be_read_and_no_others() -> None:
    tls = {"caSecretRef": {"name": "authority", "key": "ca.crt"}, "clientCertificateSecretRef": {"name": "own"}}
    runner = {
        "type": "temporal",
        "endpoint": "grpcs://runner:9090",
        "apiKeySecretRef": {"name": "key", "key": "token"},
        "tls": tls,
    }
    roles = of(rendered({"runners": {"default": None, "elsewhere": runner}}), "Role")
    read = [
        rule["resourceNames"]
        for role in roles
        for rule in role["rules"]
        if "secrets" in rule["resources"] and "get" in rule["verbs"] and "key-" in role["metadata"]["name"]
    ]
    assert sorted(read) == [["authority"], ["key"], ["own"]]


def test_pools_can_be_made_where_that_is_said_and_in_the_releases_own_namespace() -> None:
    roles = [
        role
        for role in of(rendered({"rbac": {"poolNamespaces": ["team-a"]}}), "Role")
        if role["metadata"]["name"].endswith("-pools")
    ]
    assert sorted(role["metadata"]["namespace"] for role in roles) == ["team-a", "workflow-runner"]
    for role in roles:
        assert {rule["resources"][0]: rule["verbs"] for rule in role["rules"]} == {
            "statefulsets": ["create", "patch", "delete"],
            "services": ["create", "patch"],
            "secrets": ["create"],
        }
