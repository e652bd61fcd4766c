"""Documents and inputs from ConfigMaps, and inputs that need one: small, large, too large."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from tests.e2e.harness.kube import Namespace, manifest_of


def test_a_run_waits_for_its_config_maps(namespace: Namespace, case: Path) -> None:
    execution = namespace.start(case / "execution.yaml")
    accepted = execution.wait_condition("Accepted", "False", "ConfigMapNotFound")
    assert "There is no ConfigMap 'documents'" in accepted["message"]
    assert execution.jobs() == []
    namespace.apply(case / "config-maps.yaml")
    status = execution.wait_phase("Completed")
    assert status["output"] == {"message": "Hello, Ada and Grace"}
    assert status["workflow"] == "e2e/from-config-maps:0.1.0"
    assert execution.condition("Accepted")["status"] == "True"


def test_a_large_input_travels_in_a_config_map_of_the_run(namespace: Namespace, case: Path) -> None:
    data = secrets.token_urlsafe(120_000)  # 160,000 characters that nothing can compress much
    execution = namespace.start(case / "large.yaml", input={"data": data})
    status = execution.wait_phase("Completed")
    assert status["output"] == {"kept": data}
    config_map = namespace.get("configmap", status["jobName"])
    assert config_map["immutable"] is True
    assert [owner["uid"] for owner in config_map["metadata"]["ownerReferences"]] == [execution.resource["metadata"]["uid"]]
    execution.delete()
    namespace.wait_gone("configmap", status["jobName"])


def test_an_input_that_no_config_map_holds_is_refused(namespace: Namespace, case: Path) -> None:
    manifest = manifest_of(case / "large.yaml", "too-large", input={"data": secrets.token_urlsafe(900_000)})
    namespace.kubectl("create", "-f", "-", stdin=json.dumps(manifest))  # too large for the annotation that apply makes
    execution = namespace.execution("too-large")
    status = execution.wait_phase("Failed")
    assert status["error"]["code"] == "input.too-large"
    accepted = execution.condition("Accepted")
    assert accepted["status"] == "False"
    assert "at most 1,048,576" in accepted["message"]
    assert (execution.jobs(), execution.pods()) == ([], [])
