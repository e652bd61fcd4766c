"""The examples for KEDA, held to what KEDA itself knows.

keda/keda-2.21.0.json holds, without their descriptions, the schemas of KEDA's definitions (config/crd/bases) and the
parameters of its scaler for Temporal (schema/generated) as they are in the Go module that the file names. An API server
drops what a schema does not know; here it is a mistake.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from workflow_runner.crd.definitions import _runner
from workflow_runner.crd.runner import WorkflowRunnerSpec
from workflow_runner.settings.temporal import RUNNER_TASK_QUEUE, STIGMER_TASK_QUEUE, temporal_settings

Json = dict[str, Any]

ROOT = Path(__file__).parents[3]
KEDA: Json = json.loads((Path(__file__).parent / "keda" / "keda-2.21.0.json").read_text())


def example(name: str) -> dict[str, Json]:
    """The resources of an example, by their kinds."""
    text = (ROOT / "examples" / "temporal" / name).read_text()
    return {resource["kind"]: resource for resource in yaml.safe_load_all(text)}


BY_KIND, POOL = example("worker-with-keda.yaml"), example("pool-with-keda.yaml")
TRIGGERS: list[Json] = BY_KIND["ScaledObject"]["spec"]["triggers"]
POOL_TRIGGERS: list[Json] = POOL["ScaledObject"]["spec"]["triggers"]


def strict(schema: Any) -> Any:
    """The schema, refusing what it does not know."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items()}
    known = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if known and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result["additionalProperties"] = False
    return result


def complaints(kind: str, spec: Json) -> list[str]:
    schema = strict(KEDA[kind]["spec"])
    return [error.message for error in jsonschema_rs.Draft7Validator(schema).iter_errors(spec)]


@pytest.mark.parametrize("kind", ["ScaledObject", "TriggerAuthentication"])
@pytest.mark.parametrize("resources", [BY_KIND, POOL], ids=["workers", "pool"])
def test_keda_takes_it(kind: str, resources: dict[str, Json]) -> None:
    resource = resources[kind]
    assert resource["apiVersion"] == KEDA[kind]["apiVersion"]
    assert complaints(kind, resource["spec"]) == []


def test_the_check_sees_a_mistake() -> None:
    spec = BY_KIND["ScaledObject"]["spec"]
    assert complaints("ScaledObject", {**spec, "maxReplicas": 3})
    assert complaints("ScaledObject", {**spec, "triggers": [{"type": "temporal"}]})


@pytest.mark.parametrize("trigger", [*TRIGGERS, *POOL_TRIGGERS], ids=lambda trigger: trigger["name"])
def test_its_scaler_knows_every_parameter_and_misses_none(trigger: Json) -> None:
    known = KEDA["temporal"]
    given = dict.fromkeys(trigger["metadata"], "metadata")
    references = BY_KIND["TriggerAuthentication"]["spec"]["secretTargetRef"]
    given |= {reference["parameter"]: "authentication" for reference in references}
    assert {name for name, where in given.items() if name not in known or where not in known[name]["from"]} == set()
    assert {name for name, parameter in known.items() if not parameter.get("optional")} <= set(given)
    assert trigger["authenticationRef"] == {"name": BY_KIND["TriggerAuthentication"]["metadata"]["name"]}
    assert set(trigger["metadata"]["queueTypes"].split(",")) <= {"workflow", "activity", "nexus"}


def test_the_pool_s_is_about_the_runner() -> None:
    runner, scaled = POOL["WorkflowRunner"], POOL["ScaledObject"]["spec"]
    target = {"apiVersion": runner["apiVersion"], "kind": runner["kind"], "name": runner["metadata"]["name"]}
    assert scaled["scaleTargetRef"] == target
    [version] = _runner()["spec"]["versions"]
    assert version["subresources"]["scale"]["specReplicasPath"] == ".spec.launch.replicas"
    spec = WorkflowRunnerSpec.model_validate(runner["spec"])
    assert spec.launch is not None
    assert (spec.mode, spec.launch.replicas) == ("Pool", None)
    assert spec.temporal is not None
    [trigger] = POOL_TRIGGERS
    metadata = trigger["metadata"]
    assert (metadata["endpoint"], metadata["namespace"]) == (spec.temporal.address, spec.temporal.namespace)
    assert metadata["taskQueue"] == spec.temporal.task_queue


def test_it_looks_where_the_workers_are() -> None:
    deployment = BY_KIND["Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"][0] == "worker"
    settings = temporal_settings({item["name"]: item.get("value", "key") for item in container["env"]})
    assert settings is not None
    for trigger in TRIGGERS:
        metadata = trigger["metadata"]
        assert (metadata["endpoint"], metadata["namespace"]) == (settings.address, settings.namespace)
        assert metadata["enableTLS"] == ("true" if settings.tls else "false")
    assert [trigger["metadata"]["taskQueue"] for trigger in TRIGGERS] == [STIGMER_TASK_QUEUE, RUNNER_TASK_QUEUE]
    assert BY_KIND["ScaledObject"]["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels


def test_both_name_the_same_secret() -> None:
    [container] = BY_KIND["Deployment"]["spec"]["template"]["spec"]["containers"]
    [key] = [item["valueFrom"]["secretKeyRef"] for item in container["env"] if "valueFrom" in item]
    [reference] = BY_KIND["TriggerAuthentication"]["spec"]["secretTargetRef"]
    assert (key["name"], key["key"]) == (reference["name"], reference["key"])


def test_the_facts_say_where_they_are_from() -> None:
    assert re.fullmatch(r"github\.com/kedacore/keda/v2@v2\.\d+\.\d+", KEDA["module"])
    assert KEDA["sum"].startswith("h1:")
