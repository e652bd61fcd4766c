"""What a run is made from: the document and input of an execution, wherever they are. Called by observer.py.

Text that comes from a ConfigMap is not read here, nor is a workflow of Stigmer's made a document: that is the validator's,
in its killable child.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from workflow_runner.cluster import Cluster, NotFound
from workflow_runner.controller.stigmer_workflows import StigmerWorkflows, wanted_of
from workflow_runner.reconcile.observed import Missing

Json = dict[str, Any]

DOCUMENT_FILES = {"yaml": "spec.workflow.yaml", "definition": "spec.workflow.definition"}


class Source(Struct, frozen=True):
    """Document and input before they are read. `input_text` is JSON or YAML text and takes the place of `input`;
    `file` and `input_file` name the two in messages. A document in bytes is a WorkflowSpec of Stigmer's, which comes with
    plain values and the names of secret ones."""

    document: str | Json | bytes
    file: str
    input: Any = None
    input_text: str | None = None
    input_file: str = ""
    environment: dict[str, str] = {}
    secrets: tuple[str, ...] = ()


async def source_of(resource: Json, cluster: Cluster, stigmer: StigmerWorkflows) -> Source | Missing:
    """What an execution asks to run; Missing where a ConfigMap or its key is not there, or Stigmer does not give what was
    asked for. Raises ClusterError."""
    spec, namespace = resource["spec"], resource["metadata"]["namespace"]
    workflow = spec["workflow"]
    if "stigmer" in workflow:
        return await _of_stigmer(resource, cluster, stigmer)
    document, file = next(((workflow[key], name) for key, name in DOCUMENT_FILES.items() if key in workflow), (None, ""))
    if document is None:
        ref = workflow["configMapKeyRef"]
        document, file = await _text(cluster, namespace, ref), _place(ref)
    if isinstance(document, Missing):
        return document
    return await _with_input(Source(document, file), resource, cluster)


async def _with_input(source: Source, resource: Json, cluster: Cluster) -> Source | Missing:
    spec = resource["spec"]
    if "inputFrom" not in spec:
        return replace(source, input=spec.get("input", {} if source.input is None else source.input))
    ref = spec["inputFrom"]["configMapKeyRef"]
    text = await _text(cluster, resource["metadata"]["namespace"], ref)
    return text if isinstance(text, Missing) else replace(source, input=None, input_text=text, input_file=_place(ref))


async def _of_stigmer(resource: Json, cluster: Cluster, stigmer: StigmerWorkflows) -> Source | Missing:
    found = await stigmer.find(resource)
    if isinstance(found, Missing):
        return found
    triggered: Json | None = None
    if wanted_of(resource).kind == "execution":
        triggered = {"trigger_message": found.trigger_message, "trigger_metadata": found.trigger_metadata}
    source = Source(
        found.spec.SerializeToString(deterministic=True),
        "spec.workflow.stigmer",
        input=triggered,
        environment=found.environment.values,
        secrets=tuple(sorted(found.environment.secrets)),
    )
    return await _with_input(source, resource, cluster)


def is_inline(resource: Json) -> bool:
    """Whether document and input stand in the resource itself."""
    spec = resource["spec"]
    return not {"configMapKeyRef", "stigmer"} & set(spec["workflow"]) and "inputFrom" not in spec


async def _text(cluster: Cluster, namespace: str, ref: Json) -> str | Missing:
    try:
        data = await cluster.get_config_map(namespace, ref["name"])
    except NotFound:
        message = f"There is no ConfigMap {ref['name']!r} in namespace {namespace}; the run starts when there is one."
        return Missing("ConfigMapNotFound", message)
    if ref["key"] not in data:
        message = f"The ConfigMap {ref['name']!r} in namespace {namespace} has no text under the key {ref['key']!r}."
        return Missing("ConfigMapKeyNotFound", message)
    return data[ref["key"]]


def _place(ref: Json) -> str:
    return f"configmap/{ref['name']}/{ref['key']}"
