"""What the API server refuses at `kubectl apply`, and in which words (CEL rules of the CRDs)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.e2e.harness.kube import Namespace

Json = dict[str, Any]

YAML = "document: {dsl: 1.0.0, namespace: e2e, name: held, version: 0.1.0}\ndo: [{a: {set: {b: 1}}}]\n"
DEFINITION: Json = {
    "document": {"dsl": "1.0.0", "namespace": "e2e", "name": "held", "version": "0.1.0"},
    "do": [{"a": {"set": {"b": 1}}}],
}


def execution(name: str = "held", **spec: Any) -> Json:
    return _resource("WorkflowExecution", name, {"workflow": {"yaml": YAML}, "paused": True, **spec})


def runner(**stigmer: Any) -> Json:
    return _resource("WorkflowRunner", "refused", {"stigmer": stigmer})


def _resource(kind: str, name: str, spec: Json) -> Json:
    return {"apiVersion": "workflowrunner.stigmer.ai/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


AT_CREATION = {
    "no-workflow": (execution(workflow={}), "workflow needs exactly one of definition and yaml"),
    "two-workflows": (
        execution(workflow={"yaml": YAML, "definition": DEFINITION}),
        "workflow needs exactly one of definition and yaml",
    ),
    "blank-yaml": (execution(workflow={"yaml": " \n "}), "yaml is blank: write a Serverless Workflow document"),
    "cancellation-alone": (
        execution(cancellation={"reason": "why"}),
        "cancellation says how to cancel and has no meaning without cancelled: true",
    ),
    "long-name": (execution("n" * 64), "may have at most 63 characters"),
    "endpoint-with-scheme": (runner(endpoint="grpc://stigmer:443"), "endpoint is HOST:PORT without a scheme"),
    "endpoint-without-port": (runner(endpoint="stigmer"), "endpoint is HOST:PORT, such as stigmer.example.com:443"),
    "ca-without-tls": (
        runner(endpoint="stigmer:80", useTLS=False, caBundle="-----BEGIN CERTIFICATE-----"),
        "caBundle has no meaning when useTLS is false",
    ),
    "ca-that-is-none": (runner(endpoint="stigmer:443", caBundle="hello"), "caBundle holds certificates in PEM form"),
}

AT_UPDATE = {
    "another-yaml": (
        execution(workflow={"yaml": YAML.replace("b: 1", "b: 2")}),
        "the workflow of an execution cannot be changed",
    ),
    "yaml-becomes-definition": (
        execution(workflow={"definition": DEFINITION, "yaml": None}),
        "the workflow of an execution cannot be changed",
    ),
    "another-runner": (execution(runnerRef={"name": "other"}), "the runner of an execution cannot be changed"),
    "cancel-taken-back": (execution(cancelled=False), "a cancelled execution stays cancelled"),
}


@pytest.mark.parametrize(("manifest", "message"), AT_CREATION.values(), ids=AT_CREATION)
def test_nonsense_is_refused_at_creation(namespace: Namespace, manifest: Json, message: str) -> None:
    assert message in namespace.refusal(manifest)


@pytest.mark.parametrize(("manifest", "message"), AT_UPDATE.values(), ids=AT_UPDATE)
def test_what_is_settled_cannot_be_changed(namespace: Namespace, manifest: Json, message: str) -> None:
    namespace.apply(execution(cancelled="taken back" in message or "stays cancelled" in message))
    assert message in namespace.refusal(manifest)
