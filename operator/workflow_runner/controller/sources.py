"""What a run is made from: the document and input of an execution, wherever they are. Called by observer.py.

Text that comes from a ConfigMap is not read here: that is the validator's, in its killable child.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from workflow_runner.cluster import Cluster, NotFound
from workflow_runner.reconcile.observed import Missing

Json = dict[str, Any]

DOCUMENT_FILES = {"yaml": "spec.workflow.yaml", "definition": "spec.workflow.definition"}


class Source(Struct, frozen=True):
    """Document and input before they are read. `input_text` is JSON or YAML text and takes the place of `input`;
    `file` and `input_file` name the two in messages."""

    document: str | Json
    file: str
    input: Any = None
    input_text: str | None = None
    input_file: str = ""


async def source_of(resource: Json, cluster: Cluster) -> Source | Missing:
    """What an execution asks to run; Missing where a ConfigMap or its key is not there. Raises ClusterError."""
    spec, namespace = resource["spec"], resource["metadata"]["namespace"]
    workflow = spec["workflow"]
    document, file = next(((workflow[key], name) for key, name in DOCUMENT_FILES.items() if key in workflow), (None, ""))
    if document is None:
        ref = workflow["configMapKeyRef"]
        document, file = await _text(cluster, namespace, ref), _place(ref)
    if isinstance(document, Missing):
        return document
    if "inputFrom" not in spec:
        return Source(document, file, input=spec.get("input", {}))
    ref = spec["inputFrom"]["configMapKeyRef"]
    text = await _text(cluster, namespace, ref)
    return text if isinstance(text, Missing) else Source(document, file, input_text=text, input_file=_place(ref))


def is_inline(resource: Json) -> bool:
    """Whether document and input stand in the resource itself."""
    spec = resource["spec"]
    return "configMapKeyRef" not in spec["workflow"] and "inputFrom" not in spec


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
