"""Merging pod templates, and naming what no template can set."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from workflow_runner.launchers.merge import merged, unsupported

Json = dict[str, Any]


def pod(**fields: Any) -> Json:
    return {"spec": fields}


def workflow(**fields: Any) -> Json:
    return pod(containers=[{"name": "workflow", **fields}])


CASES: dict[str, tuple[Json, Json, Json]] = {
    "maps-merge-key-by-key": (
        pod(nodeSelector={"a": "1", "b": "1"}),
        pod(nodeSelector={"b": "2", "c": "2"}),
        pod(nodeSelector={"a": "1", "b": "2", "c": "2"}),
    ),
    "maps-merge-to-the-bottom": (
        pod(affinity={"nodeAffinity": {"required": 1}, "podAffinity": {"x": 1}}),
        pod(affinity={"nodeAffinity": {"preferred": 2}}),
        pod(affinity={"nodeAffinity": {"required": 1, "preferred": 2}, "podAffinity": {"x": 1}}),
    ),
    "plain-lists-are-replaced": (
        pod(tolerations=[{"key": "a"}, {"key": "b"}]),
        pod(tolerations=[{"key": "c"}]),
        pod(tolerations=[{"key": "c"}]),
    ),
    "volumes-merge-by-name-and-are-replaced-whole": (
        pod(volumes=[{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {}}]),
        pod(volumes=[{"name": "a", "configMap": {"name": "x"}}, {"name": "c", "emptyDir": {}}]),
        pod(
            volumes=[
                {"name": "a", "configMap": {"name": "x"}},
                {"name": "b", "emptyDir": {}},
                {"name": "c", "emptyDir": {}},
            ]
        ),
    ),
    "a-variable-is-replaced-whole": (
        workflow(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
        workflow(env=[{"name": "A", "value": "1"}]),
        workflow(env=[{"name": "A", "value": "1"}]),
    ),
    "mounts-merge-by-path": (
        workflow(volumeMounts=[{"name": "a", "mountPath": "/mnt/x"}]),
        workflow(volumeMounts=[{"name": "b", "mountPath": "/mnt/x"}, {"name": "a", "mountPath": "/mnt/y"}]),
        workflow(volumeMounts=[{"name": "b", "mountPath": "/mnt/x"}, {"name": "a", "mountPath": "/mnt/y"}]),
    ),
    "pull-secrets-add-up": (
        pod(imagePullSecrets=[{"name": "a"}]),
        pod(imagePullSecrets=[{"name": "b"}, {"name": "a"}]),
        pod(imagePullSecrets=[{"name": "a"}, {"name": "b"}]),
    ),
    "null-takes-nothing-away": (
        pod(nodeSelector={"a": "1"}, priorityClassName="low"),
        pod(nodeSelector={"a": None}, priorityClassName=None),
        pod(nodeSelector={"a": "1"}, priorityClassName="low"),
    ),
    "other-containers-are-left-out": (
        pod(containers=[{"name": "sidecar", "env": []}]),
        workflow(resources={"limits": {"cpu": 1}}),
        workflow(resources={"limits": {"cpu": 1}}),
    ),
}


@pytest.mark.parametrize(("first", "second", "expected"), CASES.values(), ids=CASES)
def test_how_templates_merge(first: Json, second: Json, expected: Json) -> None:
    before = copy.deepcopy((first, second))
    assert merged(first, second)["spec"] == expected["spec"]
    assert (first, second) == before, "what was merged stays as it was"


def test_nothing_merges_to_nothing() -> None:
    assert merged(None, {}, {"spec": None}) == {"metadata": {}, "spec": {}}


def test_names_that_are_no_names_do_no_harm() -> None:
    odd = pod(volumes=[{"name": ["a"]}, {}, {"name": {"b": 1}}])
    assert len(merged(odd, odd)["spec"]["volumes"]) == 3


def test_what_no_template_can_set_is_named_with_its_place_and_why() -> None:
    template = {
        "kind": "Pod",
        "metadata": {"name": "x", "labels": {"a": "b"}},
        "spec": {
            "hostNetwork": True,
            "somethingNew": 1,
            "securityContext": {"runAsUser": 1, "sysctls": []},
            "containers": [
                {"name": "workflow", "image": "x", "resources": {"claims": []}},
                {"name": "sidecar", "image": "x"},
            ],
        },
    }
    assert unsupported(template, "spec.template") == [
        "spec.template.kind cannot be set: it is not supported",
        "spec.template.metadata.name cannot be set: it is not supported",
        "spec.template.spec.hostNetwork cannot be set: a run does not share the node's network",
        "spec.template.spec.somethingNew cannot be set: it is not supported",
        "spec.template.spec.securityContext.sysctls cannot be set: it is not supported",
        "spec.template.spec.containers[0].image cannot be set: the operator's image runs the workflow",
        "spec.template.spec.containers[0].resources.claims cannot be set: it is not supported",
        "spec.template.spec.containers[1]: a run has one container, called workflow: further containers cannot be added",
    ]
