"""What `kubectl apply -k` applies, rendered by the pinned kubectl; tests/e2e/cases/manifests applies it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.cluster import tool
from tests.e2e.cluster.cache import REPOSITORY
from tests.e2e.cluster.shell import run
from tools.manifests import TARGET, VALUES, base
from tools.manifests import rendered as chart

from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.settings import operator_settings

Json = dict[str, Any]

OVERLAYS = REPOSITORY / "_kustomize" / "overlays"


def rendered(folder: Path) -> list[Json]:
    return list(yaml.safe_load_all(run([tool("kubectl"), "kustomize", folder], timeout=60)))


def of(objects: list[Json], kind: str) -> list[Json]:
    return [item for item in objects if item["kind"] == kind]


def test_the_base_is_what_the_chart_renders() -> None:
    assert TARGET.read_text() == base(), "run `make manifests` and commit what it makes"


@pytest.fixture(params=["prod", "local"])
def overlay(request: pytest.FixtureRequest) -> list[Json]:
    return rendered(OVERLAYS / request.param)


def environment(objects: list[Json]) -> dict[str, str]:
    """The operator's, as Kubernetes puts it together: from the generated ConfigMaps, then `$(NAME)` by what stands above."""
    config = {item["metadata"]["name"]: item["data"] for item in of(objects, "ConfigMap")}
    [deployment] = of(objects, "Deployment")
    found: dict[str, str] = {}
    for item in deployment["spec"]["template"]["spec"]["containers"][0]["env"]:
        source = item.get("valueFrom", {})
        if "configMapKeyRef" in source:
            assert "value" not in item
            value = config[source["configMapKeyRef"]["name"]][source["configMapKeyRef"]["key"]]
        else:
            value = item.get("value", "a-namespace")
        for name, known in found.items():
            value = value.replace(f"$({name})", known)
        found[item["name"]] = value
    return found


def test_everything_is_in_one_namespace_and_that_comes_along(overlay: list[Json]) -> None:
    [namespace] = of(overlay, "Namespace")
    name = namespace["metadata"]["name"]
    assert {item["metadata"]["namespace"] for item in overlay if "namespace" in item["metadata"]} == {name}
    for binding in [*of(overlay, "RoleBinding"), *of(overlay, "ClusterRoleBinding")]:
        assert [subject["namespace"] for subject in binding["subjects"]] == [name]


def test_the_definitions_come_along_and_no_resource_of_theirs(overlay: list[Json]) -> None:
    """kubectl cannot apply both at once."""
    assert len(of(overlay, "CustomResourceDefinition")) == 2
    assert not [item for item in overlay if item["apiVersion"].startswith("workflowrunner.stigmer.ai")]


def test_the_operator_understands_its_environment_and_makes_a_runner_that_reports_to_stigmer(overlay: list[Json]) -> None:
    settings = operator_settings(environment(overlay))
    assert settings.default_runner is not None
    spec = WorkflowRunnerSpec.model_validate(settings.default_runner)
    assert spec.stigmer is not None
    assert spec.stigmer.endpoint == "stigmer-prod-api.planton.live:443"
    assert spec.stigmer.use_tls is True
    assert spec.stigmer.api_key_secret_ref is not None
    ref = spec.stigmer.api_key_secret_ref
    [secret] = of(overlay, "Secret")
    assert (secret["metadata"]["name"], list(secret["data"])) == (ref.name, [ref.key])
    assert secret["data"][ref.key] == "", "no key is committed"
    [role] = [role for role in of(overlay, "Role") if not role["metadata"]["name"].endswith("-pools")]
    readable = [name for rule in role["rules"] if rule["verbs"] == ["get"] for name in rule["resourceNames"]]
    assert readable == [settings.ca_secret, ref.name]


def test_the_component_for_events_adds_what_the_chart_would(tmp_path: Path) -> None:
    base, component = (os.path.relpath(OVERLAYS.parent / name, tmp_path) for name in ("base", "components/events"))
    (tmp_path / "kustomization.yaml").write_text(json.dumps({"resources": [base], "components": [component]}))
    objects, wanted = rendered(tmp_path), json.loads(json.dumps(chart({**VALUES, "events": {"enabled": True}})))

    def deployed(found: list[Json]) -> Json:
        [deployment] = of(found, "Deployment")
        pod = deployment["spec"]["template"]["spec"]
        [container] = pod["containers"]
        by_name = {"env": container["env"], "ports": container["ports"], "mounts": container["volumeMounts"]}
        return {
            key: sorted(items, key=lambda item: str(item["name"]))
            for key, items in {**by_name, "volumes": pod["volumes"]}.items()
        }

    assert deployed(objects) == deployed(wanted)
    services = [{item["metadata"]["name"]: item["spec"] for item in of(found, "Service")} for found in (objects, wanted)]
    assert services[0] == services[1]


def test_launched_pods_run_the_operators_image(overlay: list[Json]) -> None:
    [deployment] = of(overlay, "Deployment")
    settings = operator_settings(environment(overlay))
    assert settings.image == deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert settings.image_pull_policy == "IfNotPresent"


def test_a_changed_variable_starts_the_operator_anew() -> None:
    """Generated ConfigMaps are named by their content, and the Deployment follows."""
    objects = rendered(OVERLAYS / "prod")
    names = {item["metadata"]["name"] for item in of(objects, "ConfigMap")}
    text = json.dumps(of(objects, "Deployment"))
    assert {name.rsplit("-", 1)[0] for name in names} == {"stigmer-temporal-config", "workflow-runner-config"}
    assert all(name in text for name in names)


def test_local_shows_more_and_uses_an_image_of_this_machine() -> None:
    settings = operator_settings(environment(rendered(OVERLAYS / "local")))
    assert settings.log_level == "debug"
    assert settings.image.startswith("localhost/")
